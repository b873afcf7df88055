/* SPDX-License-Identifier: MIT */
/*
 * The statistics file: one JSON object. A plain file is written beside its place and renamed into it. The program may
 * run for days before that, so all that can be known is checked before it starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/report.h"

#define FORMAT_VERSION 1

static int refuse(const char *path, int error)
{
    return fail("--stats %s: %s; name a file in a folder that you can write to", path, strerror(error));
}

/* A new file beside `path`; its descriptor, or -errno. */
static int open_beside(const char *path, char beside[PATH_MAX])
{
    if (snprintf(beside, PATH_MAX, "%s.XXXXXX", path) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    int fd = mkostemp(beside, O_CLOEXEC);
    return fd < 0 ? -errno : above_standard_streams(fd);
}

static int check_plain_file(const char *given, const char *path)
{
    char beside[PATH_MAX];
    int fd = open_beside(path, beside);
    if (fd < 0) {
        return refuse(given, -fd);
    }
    close(fd);
    unlink(beside);
    return 0;
}

int stats_file_prepare(struct stats_file *file, const char *path)
{
    struct stat status;
    file->fd = -1;
    snprintf(file->path, sizeof file->path, "%s", path);
    if (stat(path, &status)) {
        /* A symbolic link to nowhere is replaced. */
        return errno == ENOENT ? check_plain_file(path, path) : refuse(path, errno);
    }
    if (S_ISDIR(status.st_mode)) {
        return refuse(path, EISDIR);
    }
    if (!S_ISREG(status.st_mode)) {
        file->fd = above_standard_streams(open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
        return file->fd < 0 ? refuse(path, errno) : 0;
    }
    if (access(path, W_OK) || !realpath(path, file->path)) {
        return refuse(path, errno);
    }
    return check_plain_file(path, file->path);
}

static void write_string(FILE *to, const char *name, const char *value)
{
    fprintf(to, "  \"%s\": \"", name);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (*p == '"' || *p == '\\') {
            fprintf(to, "\\%c", *p);
        } else if (*p < 0x20) {
            fprintf(to, "\\u%04x", *p);
        } else {
            putc(*p, to);
        }
    }
    fputs("\",\n", to);
}

static void write_number(FILE *to, const char *name, unsigned long long value)
{
    fprintf(to, "  \"%s\": %llu,\n", name, value);
}

static void write_options(FILE *to, const struct run_options *options)
{
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        char text[24];
        if (option->kind == RUN_OPTION_WORD ||
            (option->kind == RUN_OPTION_TEXT && option->offset != offsetof(struct run_options, stats))) {
            write_string(to, option->name, run_option_value(options, option, text));
        }
    }
    write_number(to, "swap_size", options->swap_size);
}

static void write_ending(FILE *to, const struct report *r)
{
    write_number(to, "exit_status",
                 (unsigned)(WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status)));
    if (WIFSIGNALED(r->status)) {
        write_number(to, "signal", (unsigned)WTERMSIG(r->status));
    } else {
        fputs("  \"signal\": null,\n", to);
    }
    fprintf(to, "  \"wall_seconds\": %.6f,\n", r->wall_seconds);
    write_number(to, "processes", r->processes);
    write_number(to, "processes_unmanaged", r->unmanaged);
    fprintf(to, "  \"managed\": %s,\n", r->sum.managed ? "true" : "false");
}

static void write_json(FILE *to, const struct report *r)
{
    const struct session_process *sum = &r->sum;
    fputs("{\n", to);
    write_number(to, "memory_limit", r->options->memory);
    write_number(to, "peak_bytes", (unsigned long long)sum->account.peak);
    write_number(to, "resident_bytes", account_bytes(&sum->account, ACCOUNT_RESIDENT));
    write_number(to, "swap_cache_bytes", account_bytes(&sum->account, ACCOUNT_SWAP_CACHE));
    write_number(to, "pool_total_size", account_bytes(&sum->account, ACCOUNT_POOL));
    write_number(to, "tables_bytes", account_bytes(&sum->account, ACCOUNT_TABLES));
#define X(name) write_number(to, #name, sum->name);
    SESSION_COUNTERS(X)
#undef X
    write_options(to, r->options);
    write_ending(to, r);
    write_string(to, "version", UZSWAP_VERSION);
    fprintf(to, "  \"format\": %d\n}\n", FORMAT_VERSION);
}

/* Writes to `fd`, which it closes. 0 or -errno. */
static int write_to(int fd, const struct report *report)
{
    FILE *to = fdopen(fd, "w");
    if (!to) {
        close(fd);
        return -ENOMEM;
    }
    write_json(to, report);
    int error = fflush(to) ? -errno : 0;
    return fclose(to) && !error ? -errno : error;
}

/* The mode that a new file gets here. */
static mode_t plain_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static int replace(const char *path, const struct report *report)
{
    char beside[PATH_MAX];
    struct stat old;
    int fd = open_beside(path, beside);
    if (fd < 0) {
        return fd;
    }
    fchmod(fd, stat(path, &old) ? plain_mode() : old.st_mode & 07777);
    int error = write_to(fd, report);
    if (!error && rename(beside, path)) {
        error = -errno;
    }
    if (error) {
        unlink(beside);
    }
    return error;
}

int stats_file_write(const struct stats_file *file, const struct report *report)
{
    int error = file->fd >= 0 ? write_to(file->fd, report) : replace(file->path, report);
    return error ? fail("--stats %s: could not be written: %s", file->path, strerror(-error)) : 0;
}
