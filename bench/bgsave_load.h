/* SPDX-License-Identifier: MIT */
/* The load of bench-bgsave, and the BGSAVE in the middle of it. */
#ifndef UZSWAP_BENCH_BGSAVE_LOAD_H
#define UZSWAP_BENCH_BGSAVE_LOAD_H

#include "base/types.h"

struct load_options {
    const char *socket;
    unsigned keys;
    unsigned connections;
    unsigned set_percent; /* of the requests; the others are GET */
    unsigned warm_up_ms, before_ms, after_ms;
    const char *journal; /* where it is written to */
};

/* Prints one JSON object. False if a value that was read is not the one that had to be there. */
bool load_run(const struct load_options *options);

#endif
