/* SPDX-License-Identifier: MIT */
/* What is told when the program has ended: the summary for people, the statistics file for programs. */
#ifndef UZSWAP_CLI_REPORT_H
#define UZSWAP_CLI_REPORT_H

#include <limits.h>

#include "base/run_options.h"
#include "base/session.h"

struct report {
    const struct run_options *options;
    struct session_process sum;
    unsigned processes;
    unsigned unmanaged; /* of them, those that could not be */
    int status;         /* of waitpid */
    double wall_seconds;
};

/* A statistics file that can be written later: a descriptor where the name is no plain file (/dev/stderr, a FIFO),
 * else a path. */
struct stats_file {
    char path[PATH_MAX];
    int fd; /* -1 = `path` is replaced as a whole */
};

/* Makes sure that the file can be written. 0, or EXIT_FAILED after saying why not. */
int stats_file_prepare(struct stats_file *file, const char *path);

/* Writes the file in one piece: readers see the old one or the new one. 0, or EXIT_FAILED after saying why not. */
int stats_file_write(const struct stats_file *file, const struct report *report);

/* Prints the summary to standard error; nothing of what is not known. */
void report_summary(const struct report *report);

/* Prints every figure of `process` as "name value" lines. */
void print_figures(const struct session_process *process);

#endif
