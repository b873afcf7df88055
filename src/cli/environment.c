/* SPDX-License-Identifier: MIT */
#include "cli/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/session.h"
#include "cli/cli.h"

#define RUNTIME_NAME "libuzswap-preload.so"
#define ALLOCATOR_VARIABLE "UZSWAP_ALLOCATOR"
#define PRELOAD_VARIABLE "LD_PRELOAD"
/*
 * The root folder, for glibc's loader: it puts a folder of its libraries for $LIB. musl's knows no $LIB, finds
 * nothing there, and goes on without our libraries, which it could not link: so a program that is linked to musl,
 * further down the tree, runs unmanaged instead of not at all.
 */
#define ROOT_OF_GLIBC "/$LIB/../../../../../../.."

#if defined(__aarch64__)
#define MULTIARCH "aarch64-linux-gnu"
#else
#define MULTIARCH "x86_64-linux-gnu"
#endif

/*
 * Freed memory is to come back soon, and as plain empty pages (no MADV_FREE in between, which has the kernel decide
 * when); a huge page would be resident as a whole for one touch. No thread of jemalloc's own: it would have to be
 * stopped at fork.
 */
#define JEMALLOC_DEFAULTS "dirty_decay_ms:1000,muzzy_decay_ms:0,thp:never,background_thread:false"

/* Beside the program (the build folder), or where `make install` puts it. */
static const char *const runtime_folders[] = {"", "../lib/uzswap/"};

static const char *const allocator_folders[] = {
    "/usr/lib/" MULTIARCH "/", "/lib/" MULTIARCH "/", "/usr/lib64/", "/lib64/", "/usr/lib/",
    "/usr/local/lib/",
};
static const char *const allocator_names[] = {"libjemalloc.so.2", "libmimalloc.so.2"};

static int find_runtime(char path[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) {
        return fail("/proc/self/exe: %s; uzswap needs /proc", strerror(errno));
    }
    self[length] = 0;
    char *slash = strrchr(self, '/');
    slash[1] = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(runtime_folders); i++) {
        int bytes = snprintf(path, PATH_MAX, "%s%s" RUNTIME_NAME, self, runtime_folders[i]);
        if (bytes < PATH_MAX && access(path, R_OK) == 0) {
            return 0;
        }
    }
    return fail(RUNTIME_NAME ": neither in %s nor in %s../lib/uzswap/; build or install uzswap again", self,
                self);
}

static bool search_allocator(char path[PATH_MAX])
{
    for (size_t n = 0; n < ARRAY_LENGTH(allocator_names); n++) {
        for (size_t f = 0; f < ARRAY_LENGTH(allocator_folders); f++) {
            snprintf(path, PATH_MAX, "%s%s", allocator_folders[f], allocator_names[n]);
            if (access(path, R_OK) == 0) {
                return true;
            }
        }
    }
    return false;
}

static int find_allocator(char path[PATH_MAX])
{
    const char *chosen = getenv(ALLOCATOR_VARIABLE);
    if (chosen && strcmp(chosen, "none") == 0) {
        path[0] = 0;
        return 0;
    }
    if (chosen && *chosen) {
        if (!realpath(chosen, path)) {
            return fail(ALLOCATOR_VARIABLE "=%s: %s; it names the allocator's library, or is \"none\"",
                        chosen, strerror(errno));
        }
        return 0;
    }
    if (!search_allocator(path)) {
        return fail(
            "libjemalloc.so.2: not found in the usual folders. The program's malloc is managed through it: "
            "install it (Debian: apt install libjemalloc2; Fedora: dnf install jemalloc), or say where it is "
            "by " ALLOCATOR_VARIABLE "=/path/to/libjemalloc.so.2, or set " ALLOCATOR_VARIABLE
            "=none: then only memory that the program itself maps is managed");
    }
    return 0;
}

/* The loader takes spaces and colons in LD_PRELOAD for ends of names, and knows no escape. */
static int check_name(const char *path)
{
    if (strpbrk(path, " :\t\n")) {
        return fail("%s: LD_PRELOAD cannot name a file with a space or a colon in its path; move it", path);
    }
    return 0;
}

int libraries_find(struct libraries *libraries)
{
    *libraries = (struct libraries){0};
    if (find_runtime(libraries->runtime) || find_allocator(libraries->allocator) ||
        check_name(libraries->runtime) || check_name(libraries->allocator)) {
        return EXIT_FAILED;
    }
    return 0;
}

/* Appends `length` bytes at `name` to the list, unless it is there already. */
static void append_to_list(char *list, const char *name, size_t length)
{
    for (const char *at = list; *at; at += strcspn(at, ":"), at += *at == ':') {
        if (strcspn(at, ":") == length && memcmp(at, name, length) == 0) {
            return;
        }
    }
    if (length) {
        char *end = list + strlen(list);
        if (end != list) {
            *end++ = ':';
        }
        memcpy(end, name, length);
        end[length] = 0;
    }
}

/* Ours first: our mmap must be the one that counts. What the user had comes behind. */
static int set_preload(const struct libraries *libraries)
{
    const char *old = getenv(PRELOAD_VARIABLE);
    old = old ? old : "";
    const char *const ours[] = {libraries->runtime, libraries->allocator};
    char *list = calloc(1, ARRAY_LENGTH(ours) * strlen(ROOT_OF_GLIBC) + strlen(libraries->runtime) +
                               strlen(libraries->allocator) + strlen(old) + 3);
    if (!list) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(ours); i++) {
        char name[PATH_MAX + sizeof ROOT_OF_GLIBC];
        snprintf(name, sizeof name, "%s%s", *ours[i] ? ROOT_OF_GLIBC : "", ours[i]);
        append_to_list(list, name, strlen(name));
    }
    while (*old) {
        size_t length = strcspn(old, " :\t\n");
        append_to_list(list, old, length);
        old += length + (old[length] != 0);
    }
    int error = setenv(PRELOAD_VARIABLE, list, 1) ? -errno : 0;
    free(list);
    return error;
}

/*
 * Every option goes on to the children, so that each image reads the same. But not --stats: the figures are the
 * session's, and a `uzswap run` inside the program would overwrite the file.
 */
static int set_options(const struct run_options *options)
{
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        char text[24];
        const char *value = run_option_value(options, option, text);
        if (!option->environment) {
            continue;
        }
        if (!value || option->offset == offsetof(struct run_options, stats)) {
            unsetenv(option->environment);
        } else if (setenv(option->environment, value, 1)) {
            return -errno;
        }
    }
    return 0;
}

static int set_session(int session)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), session);
    return setenv(SESSION_ENVIRONMENT, path, 1) ? -errno : 0;
}

int environment_set(const struct run_options *options, int session, const struct libraries *libraries)
{
    int error = set_options(options);
    if (!error) {
        error = set_session(session);
    }
    if (!error) {
        error = set_preload(libraries);
    }
    if (!error && strstr(libraries->allocator, "jemalloc") && setenv("MALLOC_CONF", JEMALLOC_DEFAULTS, 0)) {
        error = -errno;
    }
    return error ? fail("the environment cannot be set: %s", strerror(-error)) : 0;
}
