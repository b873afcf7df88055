/* SPDX-License-Identifier: MIT */
/* Which file a program's name means, by the rules of execvp. */
#ifndef UZSWAP_CLI_PROGRAM_FIND_H
#define UZSWAP_CLI_PROGRAM_FIND_H

#include <limits.h>

/* 0 and `path`; -ENOENT (no such file), -EACCES (not executable, or in a folder that is closed to us), -EISDIR,
 * -ENOTDIR (the way to it leads through a file), or another -errno. Where the error is about a file, `path` names it. */
int program_find(const char *name, char path[PATH_MAX]);

#endif
