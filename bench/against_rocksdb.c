/* SPDX-License-Identifier: MIT */
/*
 * The cache against RocksDB's CompressedSecondaryCache, with LZ4, on the same pages, in one process.
 *
 *     bench-against-rocksdb [--rounds N] [--mib N] FILE...
 *
 * The files are as in store_load.c. First both get capacity for all pages. RocksDB is told each key once before, untimed: only what
 * comes again is worth memory to it (rocksdb_cache.cc). One after the other they are filled, and by how much the process's resident
 * memory grows is compared with the bytes that LZ4 makes of the pages.
 *
 * Then, in each round, both store each page in the place of another, and load each in random order, in turns, a slice at a
 * time. Every call is timed, less what reading the clock takes. At last both get a budget of half of the bytes that LZ4 makes,
 * and all pages: how many they have then, and how much memory. (RocksDB drops the oldest; the cache, which has no device here, refuses the
 * newest.) Prints JSON.
 */
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "bench/rocksdb_cache.h"
#include "zswap/zswap.h"

#define ROUNDS_MAX 99
#define SLICES 16

struct bench {
    struct account account;
    struct memory memory;
    struct swap_cache *swap_cache;
    struct codec codec;
    size_t count;
    unsigned char *pages;
    uint32_t *random;
    struct zswap *zswap;
    struct rocksdb_cache *rocksdb;
    double clock_ns;
    double *ns;
    uint32_t shift;
};

enum who { UZSWAP, ROCKSDB, WHO };
enum verb { STORE, LOAD, VERBS };

static const char *const who_names[WHO] = {"uzswap", "rocksdb"};
static const char *const verb_names[VERBS] = {"store", "load"};

static struct quantiles {
    double p50, p99;
} results[WHO][VERBS][ROUNDS_MAX];

static const unsigned char *page(const struct bench *b, size_t i)
{
    return b->pages + i % b->count * PAGE_BYTES;
}

static void create_uzswap(struct bench *b, size_t bytes)
{
    struct zswap_options options = {.memory = &b->memory,
                                    .pool = &pool_zsmalloc,
                                    .codec = b->codec,
                                    .max_pool_bytes = bytes,
                                    .accept_threshold_percent = 100,
                                    .writeback = ZSWAP_WRITEBACK_OFF,
                                    .swap_cache = b->swap_cache};
    if (zswap_create(&b->zswap, &options) || zswap_area_create(b->zswap, 0, b->count)) {
        die("no memory for a cache of %zu pages", b->count);
    }
}

/* A store may be refused: at the limit, without a device. */
static void store(struct bench *b, enum who who, size_t i, size_t shift)
{
    if (who == UZSWAP) {
        (void)zswap_store(b->zswap, (struct swap_entry){0, i}, page(b, i + shift));
    } else {
        rocksdb_cache_store(b->rocksdb, i, page(b, i + shift));
    }
}

static bool load(struct bench *b, enum who who, size_t i, void *to)
{
    return who == UZSWAP ? zswap_load(b->zswap, (struct swap_entry){0, i}, to) == 0
                         : rocksdb_cache_load(b->rocksdb, i, to);
}

/* ---- time */

static double clock_cost(void)
{
    double ns[1001];
    for (size_t i = 0; i < ARRAY_LENGTH(ns); i++) {
        uint64_t start = now_ns();
        ns[i] = (double)(now_ns() - start);
    }
    return median_of(ns, ARRAY_LENGTH(ns));
}

static void time_slice(struct bench *b, enum who who, enum verb verb, size_t slice, double *ns)
{
    static unsigned char to[PAGE_BYTES];
    size_t first = slice * b->count / SLICES, end = (slice + 1) * b->count / SLICES;
    for (size_t i = first; i < end; i++) {
        uint64_t start = now_ns();
        if (verb == STORE) {
            store(b, who, i, b->shift);
        } else if (!load(b, who, b->random[i], to)) {
            die("%s: page %u is gone", who_names[who], b->random[i]);
        }
        ns[i] = (double)(now_ns() - start) - b->clock_ns;
    }
}

static void run_round(struct bench *b, unsigned round)
{
    for (enum verb verb = 0; verb < VERBS; verb++) {
        for (size_t slice = 0; slice < SLICES; slice++) {
            time_slice(b, UZSWAP, verb, slice, b->ns);
            time_slice(b, ROCKSDB, verb, (slice + SLICES / 2) % SLICES, b->ns + b->count);
        }
        for (enum who who = 0; who < WHO; who++) {
            double *ns = b->ns + who * b->count;
            double p50 = median_of(ns, (unsigned)b->count);
            results[who][verb][round] = (struct quantiles){p50, ns[b->count / 100 * 99]};
        }
    }
    b->shift++;
}

/* ---- memory */

static size_t resident(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "Rss: %zu", &kib) != 1) {
    }
    if (!file || !kib) {
        die("/proc/self/smaps_rollup does not say how much memory is resident");
    }
    fclose(file);
    return kib << 10;
}

/* How much the process grows by. */
static size_t fill(struct bench *b, enum who who)
{
    malloc_trim(0);
    size_t before = resident();
    for (size_t i = 0; who == ROCKSDB && i < b->count; i++) {
        rocksdb_cache_store(b->rocksdb, i, page(b, i)); /* told once */
    }
    for (size_t i = 0; i < b->count; i++) {
        store(b, who, i, 0);
    }
    return resident() - before;
}

static size_t count_pages(struct bench *b, enum who who)
{
    size_t found = 0;
    unsigned char to[PAGE_BYTES];
    for (size_t i = 0; i < b->count; i++) {
        if (load(b, who, i, to)) {
            if (memcmp(to, page(b, i), PAGE_BYTES)) {
                die("%s: page %zu came back wrong", who_names[who], i);
            }
            found++;
        }
    }
    return found;
}

static size_t packed_bytes(struct bench *b)
{
    struct codec_context *context;
    unsigned char to[PAGE_BYTES];
    size_t bytes = 0;
    if (codec_context_create(&context, &b->memory, &b->codec)) {
        die("no memory");
    }
    for (size_t i = 0; i < b->count; i++) {
        int packed = codec_compress(context, to, PAGE_BYTES - 1, page(b, i));
        bytes += packed > 0 ? (size_t)packed : PAGE_BYTES;
    }
    codec_context_destroy(context);
    return bytes;
}

static void destroy(struct bench *b)
{
    zswap_destroy(b->zswap);
    rocksdb_cache_destroy(b->rocksdb);
}

/* ---- what is printed */

static void print_sizes(const char *what, const size_t value[WHO])
{
    printf(" \"%s\": {\"uzswap\": %zu, \"rocksdb\": %zu},\n", what, value[UZSWAP], value[ROCKSDB]);
}

static void print_times(unsigned rounds)
{
    const char *separator = "";
    printf(" \"times\": [");
    for (enum who who = 0; who < WHO; who++) {
        for (enum verb verb = 0; verb < VERBS; verb++) {
            printf("%s\n  {\"cache\": \"%s\", \"verb\": \"%s\", \"p50\": [", separator, who_names[who],
                   verb_names[verb]);
            for (unsigned r = 0; r < rounds; r++) {
                printf("%s%.0f", r ? ", " : "", results[who][verb][r].p50);
            }
            printf("], \"p99\": [");
            for (unsigned r = 0; r < rounds; r++) {
                printf("%s%.0f", r ? ", " : "", results[who][verb][r].p99);
            }
            printf("]}");
            separator = ",";
        }
    }
    printf("]}\n");
}

static void make_ready(struct bench *b, char **paths, size_t files)
{
    uint64_t seed = 42;
    b->memory.account = &b->account;
    b->pages = read_page_images(paths, files, b->count);
    b->random = calloc(b->count, sizeof b->random[0]);
    b->ns = calloc(WHO * b->count, sizeof b->ns[0]);
    if (!b->random || !b->ns || swap_cache_create(&b->swap_cache, &b->memory, 64) ||
        codec_parse("lz4", &b->codec)) {
        die("no memory");
    }
    memset(b->ns, 1, WHO * b->count * sizeof b->ns[0]); /* resident from here on */
    fill_shuffled(b->random, 0, b->count, &seed);
    b->clock_ns = clock_cost();
}

static const char usage[] =
    "bench-against-rocksdb [--rounds N] [--mib N] FILE...\n"
    "The cache against RocksDB's compressed cache, on the same N MiB (128) of pages: memory, and the times\n"
    "of N (5) rounds, as JSON. FILEs have raw pages, of tools/page-images.py.\n";

int main(int argc, char **argv)
{
    static struct bench b;
    unsigned rounds = 5, mib = 128;
    int first = program_start(
        argc, argv, usage,
        (struct program_option[]){{"--rounds", .number = &rounds, .least = 1, .most = ROUNDS_MAX},
                                  {"--mib", .number = &mib, .least = 1, .most = 1 << 14},
                                  {0}},
        1, INT_MAX);
    pin_to_cpu(0);
    b.count = (size_t)mib << (20 - PAGE_SHIFT);
    make_ready(&b, argv + first, (size_t)(argc - first));
    size_t packed = packed_bytes(&b), memory[WHO], small_memory[WHO], kept[WHO];
    create_uzswap(&b, 2 * b.count * PAGE_BYTES);
    b.rocksdb = rocksdb_cache_create(2 * b.count * PAGE_BYTES);
    for (enum who who = 0; who < WHO; who++) {
        memory[who] = fill(&b, who);
        if (count_pages(&b, who) != b.count) {
            die("%s: not all pages are there", who_names[who]);
        }
    }
    b.shift = 1;
    for (unsigned round = 0; round < rounds; round++) {
        run_round(&b, round);
    }
    destroy(&b);
    create_uzswap(&b, packed / 2);
    b.rocksdb = rocksdb_cache_create(packed / 2);
    for (enum who who = 0; who < WHO; who++) {
        small_memory[who] = fill(&b, who);
        kept[who] = count_pages(&b, who);
    }
    destroy(&b);
    printf("{\"rocksdb\": \"%s\", \"pages\": %zu, \"packed\": %zu,\n", rocksdb_cache_version(), b.count,
           packed);
    print_sizes("memory", memory);
    print_sizes("memory_of_budget", small_memory);
    print_sizes("pages_in_budget", kept);
    print_times(rounds);
    return 0;
}
