/* SPDX-License-Identifier: MIT */
/* The environment by which the runtime gets into the program and its children. */
#ifndef UZSWAP_CLI_ENVIRONMENT_H
#define UZSWAP_CLI_ENVIRONMENT_H

#include <limits.h>

#include "base/run_options.h"

struct libraries {
    char runtime[PATH_MAX];   /* libuzswap-preload.so */
    char allocator[PATH_MAX]; /* "" = the program keeps its own */
};

/* Finds both. 0, or EXIT_FAILED after saying what is missing. */
int libraries_find(struct libraries *libraries);

/* Puts the options, the session at descriptor `session`, and the libraries into this process's environment. 0, or
 * EXIT_FAILED after saying why. */
int environment_set(const struct run_options *options, int session, const struct libraries *libraries);

#endif
