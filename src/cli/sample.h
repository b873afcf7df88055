/* SPDX-License-Identifier: MIT */
/* Pages taken evenly from the memory of a process, or from files, to estimate from. */
#ifndef UZSWAP_CLI_SAMPLE_H
#define UZSWAP_CLI_SAMPLE_H

#include "base/types.h"

/* About 16 MiB: enough for a ratio within a few per cent, compressed by all compressors in seconds. */
#define SAMPLE_PAGES_MAX 4096

struct sample {
    unsigned char *pages; /* aligned to pages */
    size_t count;
    uint64_t population; /* how many pages they were taken from */
};

/* Both: 0, or -errno; -ENODATA if there is no page to take. The sample is freed by sample_free. */

/* From the private memory of process `pid` that is in RAM or swapped out. */
int sample_process(struct sample *sample, uint32_t pid);

/* From the files' whole pages and last parts of pages. *failed is the file that an error is about. */
int sample_files(struct sample *sample, char *const paths[], size_t n, const char **failed);

void sample_free(struct sample *sample);

#endif
