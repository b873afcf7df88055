/* SPDX-License-Identifier: MIT */
/*
 * What deduplication costs, and what it saves.
 *
 *   bench-dedup [MIB] [FILE | pid:NUMBER]...
 *
 * Caches with and without it take turns, with the same pages: all are stored, then all are loaded, ROUNDS times. Printed: the
 * median of the rounds' ratios of time, with over without; and memory (pool and tables) with over without.
 *
 *   unique     MIB (64) of pages of this program's own file and of text, each made unlike all others
 *   N %        the same, but N of 100 pages are copies of an earlier one
 *   argument   the pages of a file, or what a process has of its own in memory
 *   together   those of all arguments in one cache
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/measure.h"
#include "zswap/zswap.h"

#define ROUNDS 9
#define BYTES_MAX ((size_t)4 << 30)

static const char *compressor = "lz4";

struct pages {
    unsigned char *at;
    size_t count, room;
};

static const char usage[] =
    "bench-dedup [MIB] [FILE | pid:NUMBER]...\n"
    "What deduplication costs and saves: with MIB (64) of pages of which some are copies, with the pages of\n"
    "each FILE of tools/page-images.py, and with what a process has of its own in memory.\n"
    "BENCH_COMPRESSOR names the compressor (lz4).\n";

/* ---- pages */

static struct pages make_room(size_t bytes)
{
    return (struct pages){.at = map_memory(bytes, false), .room = bytes / PAGE_BYTES};
}

static void add_page(struct pages *p, const void *page)
{
    if (p->count == p->room) {
        die("more than %zu MiB of pages are too many", p->room >> (20 - PAGE_SHIFT));
    }
    memcpy(p->at + p->count++ * PAGE_BYTES, page, PAGE_BYTES);
}

/* Memory that is there, and nobody else's: not of files. */
static void read_process(struct pages *p, const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%s/mem", pid);
    int memory = open(path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%s/pagemap", pid);
    int pagemap = open(path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "r");
    if (memory < 0 || pagemap < 0 || !maps) {
        die("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof line, maps)) {
        unsigned long first, end;
        if (sscanf(line, "%lx-%lx rw", &first, &end) != 2 || strstr(line, "[v")) {
            continue;
        }
        for (unsigned long at = first; at < end; at += PAGE_BYTES) {
            unsigned char page[PAGE_BYTES];
            uint64_t entry = 0;
            if (pread(pagemap, &entry, sizeof entry, (off_t)(at / PAGE_BYTES * sizeof entry)) ==
                    sizeof entry &&
                entry >> 63 && !(entry >> 61 & 1) &&
                pread(memory, page, PAGE_BYTES, (off_t)at) == (ssize_t)PAGE_BYTES) {
                add_page(p, page);
            }
        }
    }
    fclose(maps);
    close(pagemap);
    close(memory);
}

static void read_argument(struct pages *p, const char *name)
{
    if (!strncmp(name, "pid:", 4)) {
        read_process(p, name + 4);
        return;
    }
    struct page_image image = open_page_image(name);
    for (size_t i = 0; i < image.pages; i++) {
        add_page(p, page_image_page(&image, i));
    }
    page_image_close(&image);
}

/* The whole ones of this program's file. */
static void read_own_file(struct pages *p)
{
    unsigned char page[PAGE_BYTES];
    FILE *file = fopen("/proc/self/exe", "r");
    while (file && fread(page, PAGE_BYTES, 1, file)) {
        add_page(p, page);
    }
    if (!p->count) {
        die("/proc/self/exe: cannot be read");
    }
    fclose(file);
}

/* `count` pages, of which so many of 100 are copies. */
static struct pages make_pages(size_t count, unsigned percent)
{
    struct pages source = make_room((size_t)64 << 20), p = make_room(count * PAGE_BYTES);
    uint64_t seed = 1;
    read_own_file(&source);
    for (; p.count < count; p.count++) {
        unsigned char *page = p.at + p.count * PAGE_BYTES;
        if (p.count && random_number(&seed) % 100 < percent) {
            memcpy(page, p.at + random_number(&seed) % p.count * PAGE_BYTES, PAGE_BYTES);
            continue;
        }
        memcpy(page, source.at + random_number(&seed) % source.count * PAGE_BYTES, PAGE_BYTES);
        for (size_t i = 0; i < 32; i++) { /* in every line of 128 bytes, so that no codec sees copies */
            uint64_t word = random_number(&seed);
            memcpy(page + i * 128, &word, 6);
        }
    }
    munmap(source.at, source.room * PAGE_BYTES);
    return p;
}

/* ---- one round */

struct round {
    double store, load; /* ns */
    size_t pool, tables;
    struct zswap_stats stats;
};

static struct round run(const struct pages *p, bool deduplicate)
{
    static unsigned char page[PAGE_BYTES];
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct zswap *z;
    struct zswap_options options = {.memory = &memory,
                                    .pool = &pool_zsmalloc,
                                    .codec = codec_named(compressor),
                                    .max_pool_bytes = BYTES_MAX,
                                    .accept_threshold_percent = 90,
                                    .writeback = ZSWAP_WRITEBACK_OFF,
                                    .deduplicate = deduplicate};
    struct round r;
    int error = swap_cache_create(&options.swap_cache, &memory, 64);
    error = error ? error : zswap_create(&z, &options);
    error = error ? error : zswap_area_create(z, 0, p->count);
    if (error) {
        die("cannot make a cache of %zu pages: %s", p->count, strerror(-error));
    }
    uint64_t begin = thread_ns();
    for (uint64_t i = 0; i < p->count; i++) {
        must(zswap_store(z, (struct swap_entry){0, i}, p->at + i * PAGE_BYTES), "store", i);
    }
    r.store = (double)(thread_ns() - begin);
    begin = thread_ns();
    for (uint64_t i = 0; i < p->count; i++) {
        must(zswap_load(z, (struct swap_entry){0, i}, page), "load", i);
    }
    r.load = (double)(thread_ns() - begin);
    zswap_get_stats(z, &r.stats);
    r.pool = account_bytes(&account, ACCOUNT_POOL);
    r.tables = account_bytes(&account, ACCOUNT_TABLES);
    zswap_destroy(z);
    swap_cache_destroy(options.swap_cache);
    return r;
}

static void report(const char *name, const struct pages *p)
{
    double store[ROUNDS], load[ROUNDS];
    struct round off = {0}, on = {0};
    for (int i = -1; i < ROUNDS; i++) { /* the first to warm up */
        off = run(p, false);
        on = run(p, true);
        if (i >= 0) {
            store[i] = on.store / off.store;
            load[i] = on.load / off.load;
        }
    }
    const struct zswap_stats *s = &on.stats;
    uint64_t objects = s->stored_pages - s->same_filled_pages;
    printf("%-24s %9zu %8.1f %% %8.3f %8.3f %10.3f %11.1f\n", name, p->count,
           objects ? 100.0 * (double)(s->deduplicated_pages - s->shared_objects) / (double)objects : 0.0,
           median_of(store, ROUNDS), median_of(load, ROUNDS),
           (double)(on.pool + on.tables) / (double)(off.pool + off.tables),
           objects ? ((double)on.tables - (double)off.tables) / (double)objects : 0.0);
    fflush(stdout);
}

static void report_made(size_t bytes)
{
    static const unsigned percents[] = {0, 10, 25, 50, 75, 90};
    for (size_t i = 0; i < ARRAY_LENGTH(percents); i++) {
        char name[32];
        struct pages p = make_pages(bytes / PAGE_BYTES, percents[i]);
        snprintf(name, sizeof name, percents[i] ? "%u %% copies" : "unique", percents[i]);
        report(name, &p);
        munmap(p.at, p.room * PAGE_BYTES);
    }
}

int main(int argc, char **argv)
{
    int next = program_start(argc, argv, usage, (struct program_option[]){{0}}, 0, INT_MAX);
    unsigned mib = 64;
    if (next < argc && argv[next][strspn(argv[next], "0123456789")] == 0) {
        mib = number_of("MIB", argv[next++], 1, BYTES_MAX >> 21);
    }
    if (getenv("BENCH_COMPRESSOR")) {
        compressor = getenv("BENCH_COMPRESSOR");
    }
    codec_named(compressor);
    /* The arguments' pages are all read before anything is measured, so that a wrong name shows at once. */
    struct pages all = make_room(BYTES_MAX);
    size_t *ends = calloc((size_t)argc, sizeof ends[0]);
    if (!ends) {
        die("no memory");
    }
    for (int i = next; i < argc; i++) {
        size_t before = all.count;
        read_argument(&all, argv[i]);
        ends[i] = all.count;
        if (all.count == before) {
            die("%s: it has no pages of its own in memory", argv[i]);
        }
    }
    printf("%s; with deduplication over without: time of stores and loads, memory; bytes of tables a page\n",
           compressor);
    printf("%-24s %9s %10s %8s %8s %10s %11s\n", "pages", "stored", "copies", "store", "load", "memory",
           "tables");
    report_made((size_t)mib << 20);
    for (int i = next; i < argc; i++) {
        size_t first = i == next ? 0 : ends[i - 1];
        report(argv[i], &(struct pages){.at = all.at + first * PAGE_BYTES, .count = ends[i] - first});
    }
    if (argc - next > 1) {
        report("together", &all);
    }
    free(ends);
    return 0;
}
