/* SPDX-License-Identifier: MIT */
/*
 * Runs a program as if uzswap were not there: signals sent to uzswap reach it, uzswap stops and goes on with it, and
 * ends as it ended.
 */
#ifndef UZSWAP_CLI_SUPERVISE_H
#define UZSWAP_CLI_SUPERVISE_H

#include <stddef.h>
#include <stdint.h>

struct launch {
    const char *path;
    char **argv;
    const int *keep; /* descriptors that uzswap needs later, beside standard error */
    size_t keep_count;
};

struct ending {
    int exec_error; /* not 0: the program could not be executed, -errno */
    int status;     /* of waitpid */
    double wall_seconds;
};

/*
 * Starts the program with this process's environment and standard streams and waits until it has ended. From then on
 * all signals are blocked here, and standard input and output are closed. 0, or -errno if there is no process to be
 * had.
 */
int supervise(const struct launch *launch, struct ending *ending);

/* Ends this process as the program did: by exit status or by signal. */
_Noreturn void end_like(int status);

#endif
