/* SPDX-License-Identifier: MIT */
#include "cli/program_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What execvp searches when there is no PATH. */
#define PATH_WITHOUT_PATH "/bin:/usr/bin"

static int check_file(const char *path)
{
    struct stat status;
    if (stat(path, &status)) {
        return -errno;
    }
    if (S_ISDIR(status.st_mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(status.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS)) {
        return -EACCES;
    }
    return 0;
}

static int search_path(const char *name, char path[PATH_MAX])
{
    const char *folders = getenv("PATH");
    int seen = -ENOENT;
    char candidate[PATH_MAX];
    for (const char *folder = folders ? folders : PATH_WITHOUT_PATH; folder;) {
        size_t length = strcspn(folder, ":");
        int bytes =
            snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)length, folder, length ? "/" : "", name);
        int error = bytes < (int)sizeof candidate ? check_file(candidate) : -ENAMETOOLONG;
        if (!error) {
            strcpy(path, candidate);
            return 0;
        }
        /* The search goes on behind a file that cannot be run; it is named if there is no better one. */
        if ((error == -EACCES || error == -EISDIR) && seen == -ENOENT) {
            strcpy(path, candidate);
            seen = error;
        }
        folder = folder[length] ? folder + length + 1 : NULL;
    }
    return seen == -EISDIR ? -ENOENT : seen;
}

int program_find(const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s", name);
    if (!*name) {
        return -ENOENT;
    }
    if (!strchr(name, '/')) {
        return search_path(name, path);
    }
    return strlen(name) < PATH_MAX ? check_file(path) : -ENAMETOOLONG;
}
