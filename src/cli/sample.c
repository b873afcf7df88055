/* SPDX-License-Identifier: MIT */
/*
 * Two passes: the first counts the pages, the second takes every n-th. Memory changes meanwhile; a page that has gone
 * is left out.
 */
#include "cli/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE_OR_SHARED (1ull << 61)
#define PAGEMAP_BATCH 4096

static int begin_sample(struct sample *sample)
{
    *sample = (struct sample){0};
    sample->pages = aligned_alloc(PAGE_BYTES, SAMPLE_PAGES_MAX * PAGE_BYTES);
    return sample->pages ? 0 : -ENOMEM;
}

/* Page `number` of the population: take it? */
static bool is_chosen(const struct sample *sample, uint64_t number)
{
    uint64_t step = (sample->population + SAMPLE_PAGES_MAX - 1) / SAMPLE_PAGES_MAX;
    return number % step == step / 2 && sample->count < SAMPLE_PAGES_MAX;
}

static int end_sample(struct sample *sample, int error)
{
    if (!error && !sample->count) {
        error = -ENODATA;
    }
    if (error) {
        sample_free(sample);
    }
    return error;
}

void sample_free(struct sample *sample)
{
    free(sample->pages);
    sample->pages = NULL;
}

/* A walk over a process's memory. */
struct walk {
    FILE *maps;
    int pagemap;
    int memory;
    struct sample *sample; /* NULL on the first pass */
    uint64_t seen;
};

static void see_page(struct walk *w, uint64_t address)
{
    uint64_t number = w->seen++;
    if (!w->sample || !is_chosen(w->sample, number)) {
        return;
    }
    void *to = w->sample->pages + w->sample->count * PAGE_BYTES;
    if (pread(w->memory, to, PAGE_BYTES, (off_t)address) == (ssize_t)PAGE_BYTES) {
        w->sample->count++;
    }
}

/* Pages that were never touched, and those of files, are not ours to manage. */
static void walk_range(struct walk *w, uint64_t from, uint64_t to)
{
    uint64_t entries[PAGEMAP_BATCH];
    while (from < to) {
        size_t wanted = min_size((to - from) >> PAGE_SHIFT, PAGEMAP_BATCH);
        ssize_t got = pread(w->pagemap, entries, wanted * sizeof *entries, (off_t)(from >> PAGE_SHIFT) * 8);
        if (got < (ssize_t)sizeof *entries) {
            return;
        }
        for (size_t i = 0; i < (size_t)got / sizeof *entries; i++) {
            bool is_there = entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
            if (is_there && !(entries[i] & PAGEMAP_FILE_OR_SHARED)) {
                see_page(w, from + i * PAGE_BYTES);
            }
        }
        from += (size_t)got / sizeof *entries * PAGE_BYTES;
    }
}

/* All private writable mappings. */
static void walk_memory(struct walk *w)
{
    char line[512];
    w->seen = 0;
    rewind(w->maps);
    while (fgets(line, sizeof line, w->maps)) {
        unsigned long long from, to;
        char rights[8];
        if (sscanf(line, "%llx-%llx %7s", &from, &to, rights) == 3 && strcmp(rights, "rw-p") == 0) {
            walk_range(w, from, to);
        }
    }
}

static int open_of(uint32_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int open_walk(struct walk *w, uint32_t pid)
{
    *w = (struct walk){.pagemap = open_of(pid, "pagemap"), .memory = open_of(pid, "mem")};
    int maps = open_of(pid, "maps");
    w->maps = maps >= 0 ? fdopen(maps, "r") : NULL;
    if (w->maps) {
        /* Read afresh on each pass. */
        setvbuf(w->maps, NULL, _IOFBF, 1 << 16);
    }
    return maps < 0 ? maps : !w->maps ? -ENOMEM : w->pagemap < 0 ? w->pagemap : w->memory < 0 ? w->memory : 0;
}

static void close_walk(struct walk *w)
{
    if (w->maps) {
        fclose(w->maps);
    }
    if (w->pagemap >= 0) {
        close(w->pagemap);
    }
    if (w->memory >= 0) {
        close(w->memory);
    }
}

int sample_process(struct sample *sample, uint32_t pid)
{
    struct walk w;
    int error = begin_sample(sample);
    if (error) {
        return error;
    }
    error = open_walk(&w, pid);
    if (!error) {
        walk_memory(&w);
        sample->population = w.seen;
        w.sample = sample;
        walk_memory(&w);
    }
    close_walk(&w);
    return end_sample(sample, error);
}

static int count_file(const char *path, uint64_t *pages)
{
    struct stat status;
    if (stat(path, &status)) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    *pages = round_up((size_t)status.st_size, PAGE_BYTES) / PAGE_BYTES;
    return 0;
}

/* Takes the chosen ones of the file's pages, the first of which has number `first`. The last one is filled with 0. */
static int sample_file(struct sample *sample, const char *path, uint64_t first, uint64_t pages)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : 0;
    for (uint64_t i = 0; !error && i < pages; i++) {
        unsigned char *to = sample->pages + sample->count * PAGE_BYTES;
        if (!is_chosen(sample, first + i)) {
            continue;
        }
        ssize_t got = pread(fd, to, PAGE_BYTES, (off_t)(i * PAGE_BYTES));
        if (got < 0) {
            error = -errno;
        } else if (got > 0) {
            memset(to + got, 0, PAGE_BYTES - (size_t)got);
            sample->count++;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

int sample_files(struct sample *sample, char *const paths[], size_t n, const char **failed)
{
    uint64_t pages = 0, first = 0;
    int error = begin_sample(sample);
    *failed = n ? paths[0] : NULL;
    for (size_t i = 0; !error && i < n; i++) {
        *failed = paths[i];
        error = count_file(paths[i], &pages);
        sample->population += error ? 0 : pages;
    }
    for (size_t i = 0; !error && i < n; i++) {
        *failed = paths[i];
        error = count_file(paths[i], &pages);
        if (!error) {
            error = sample_file(sample, paths[i], first, pages);
            first += pages;
        }
    }
    return end_sample(sample, error);
}
