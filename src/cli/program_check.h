/* SPDX-License-Identifier: MIT */
/*
 * Can this program run, and can its memory be managed? Asked before it starts, as a program that runs without the
 * runtime it was to have fails much later, and for no visible reason.
 *
 * The check follows scripts to their interpreters (and through `env`). It sees the image that is started, not those
 * that it will start.
 */
#ifndef UZSWAP_CLI_PROGRAM_CHECK_H
#define UZSWAP_CLI_PROGRAM_CHECK_H

#include <limits.h>

enum program_verdict {
    PROGRAM_MANAGEABLE,
    PROGRAM_UNMANAGEABLE, /* it runs, but its memory cannot be managed */
    PROGRAM_CANNOT_RUN,
};

struct program_check {
    char path[PATH_MAX]; /* what to exec */
    int exit_status;     /* for one that cannot run: 126 or 127 */
    char reason[1024];   /* for a person: thing, cause, way out */
};

enum program_verdict program_check(const char *name, struct program_check *check);

/* What is in an ELF file at `path`: PROGRAM_MANAGEABLE, or another verdict and check->reason. */
enum program_verdict elf_check(const char *path, int fd, struct program_check *check);

/* Sets the reason and the exit status, and answers the verdict. */
enum program_verdict program_refuse(struct program_check *check, enum program_verdict verdict,
                                    int exit_status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
