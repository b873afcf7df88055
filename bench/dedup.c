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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "zswap/zswap.h"

#define ROUNDS 9
#define SHARES 6
#define BYTES_MAX ((size_t)4 << 30)

static const char *compressor = "lz4";

struct pages {
    unsigned char *at;
    size_t count, room;
};

static _Noreturn void die(const char *what, int error)
{
    fprintf(stderr, "bench-dedup: %s: %s\n", what, strerror(error));
    exit(1);
}

/* Of this thread on a processor: others may use the machine. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t random_number(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull >> 16;
}

/* ---- pages */

static struct pages make_room(size_t bytes)
{
    struct pages p = {.room = bytes / PAGE_BYTES};
    p.at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p.at == MAP_FAILED) {
        die("pages", errno);
    }
    return p;
}

/* Whole pages of `fd` from `from` on. */
static void read_pages(struct pages *p, int fd, uint64_t from, uint64_t to)
{
    while (from + PAGE_BYTES <= to && p->count < p->room) {
        if (pread(fd, p->at + p->count * PAGE_BYTES, PAGE_BYTES, (off_t)from) == (ssize_t)PAGE_BYTES) {
            p->count++;
        } else if (to == UINT64_MAX) {
            return; /* the end of a file */
        }
        from += PAGE_BYTES;
    }
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
        die(path, errno);
    }
    while (fgets(line, sizeof line, maps)) {
        unsigned long first, end;
        if (sscanf(line, "%lx-%lx rw", &first, &end) != 2 || strstr(line, "[v")) {
            continue;
        }
        for (unsigned long at = first; at < end; at += PAGE_BYTES) {
            uint64_t entry = 0;
            if (pread(pagemap, &entry, sizeof entry, (off_t)(at / PAGE_BYTES * sizeof entry)) ==
                    sizeof entry &&
                entry >> 63 && !(entry >> 61 & 1)) {
                read_pages(p, memory, at, at + PAGE_BYTES);
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
    int fd = open(name, O_RDONLY);
    if (fd < 0) {
        die(name, errno);
    }
    read_pages(p, fd, 0, UINT64_MAX);
    close(fd);
}

/* `count` pages, of which so many of 100 are copies. */
static struct pages make_pages(size_t count, unsigned percent)
{
    struct pages source = make_room((size_t)64 << 20), p = make_room(count * PAGE_BYTES);
    uint64_t seed = 1;
    read_argument(&source, "/proc/self/exe");
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
    double store, load; /* seconds */
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
                                    .max_pool_bytes = BYTES_MAX,
                                    .accept_threshold_percent = 90,
                                    .writeback = ZSWAP_WRITEBACK_OFF,
                                    .deduplicate = deduplicate};
    struct round r;
    int error = codec_parse(compressor, &options.codec);
    error = error ? error : swap_cache_create(&options.swap_cache, &memory, 64);
    error = error ? error : zswap_create(&z, &options);
    error = error ? error : zswap_area_create(z, 0, p->count);
    if (error) {
        die("cache", -error);
    }
    double begin = now();
    for (uint64_t i = 0; i < p->count && !error; i++) {
        error = zswap_store(z, (struct swap_entry){0, i}, p->at + i * PAGE_BYTES);
    }
    r.store = now() - begin;
    begin = now();
    for (uint64_t i = 0; i < p->count && !error; i++) {
        error = zswap_load(z, (struct swap_entry){0, i}, page);
    }
    r.load = now() - begin;
    if (error) {
        die("store or load", -error);
    }
    zswap_get_stats(z, &r.stats);
    r.pool = account_bytes(&account, ACCOUNT_POOL);
    r.tables = account_bytes(&account, ACCOUNT_TABLES);
    zswap_destroy(z);
    swap_cache_destroy(options.swap_cache);
    return r;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof values[0], compare);
    return values[ROUNDS / 2];
}

static void report(const char *name, const struct pages *p)
{
    double store[ROUNDS], load[ROUNDS];
    struct round off = {0}, on = {0};
    if (!p->count) {
        printf("%-24s no pages\n", name);
        return;
    }
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
           median(store), median(load), (double)(on.pool + on.tables) / (double)(off.pool + off.tables),
           objects ? ((double)on.tables - (double)off.tables) / (double)objects : 0.0);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const unsigned percents[SHARES] = {0, 10, 25, 50, 75, 90};
    int next = 1;
    size_t mib =
        argc > 1 && argv[1][strspn(argv[1], "0123456789")] == 0 ? strtoul(argv[next++], NULL, 10) : 64;
    if (getenv("BENCH_COMPRESSOR")) {
        compressor = getenv("BENCH_COMPRESSOR");
    }
    if (!mib || mib > BYTES_MAX >> 21) {
        die("MIB", EINVAL);
    }
    printf("%s; with deduplication over without: time of stores and loads, memory; bytes of tables a page\n",
           compressor);
    printf("%-24s %9s %10s %8s %8s %10s %11s\n", "pages", "stored", "copies", "store", "load", "memory",
           "tables");
    for (int i = 0; i < SHARES; i++) {
        char name[32];
        struct pages p = make_pages((mib << 20) / PAGE_BYTES, percents[i]);
        snprintf(name, sizeof name, percents[i] ? "%u %% copies" : "unique", percents[i]);
        report(name, &p);
        munmap(p.at, p.room * PAGE_BYTES);
    }
    struct pages all = make_room(BYTES_MAX);
    for (int i = next; i < argc; i++) {
        struct pages p = make_room(BYTES_MAX);
        read_argument(&p, argv[i]);
        report(argv[i], &p);
        munmap(p.at, p.room * PAGE_BYTES);
        read_argument(&all, argv[i]);
    }
    if (argc - next > 1) {
        report("together", &all);
    }
    return 0;
}
