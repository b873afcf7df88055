/* SPDX-License-Identifier: MIT */
/*
 * What a store and a load cost with 64 M stored pages, over what they cost with 64 K; what memory a stored page takes; and what
 * an invalidation gives back.
 *
 *     bench-scale [--large LOG2] [--small LOG2] [--rounds N]
 *
 * Two caches side by side, zsmalloc and LZ4, with 2^LOG2 pages each (26 and 16). Half of the pages repeat one word and hold no
 * object; the others compress to some 30 bytes, so that the larger cache fits into memory. With objects as small as that, codec
 * and copies hide as little as can be of what the index costs.
 *
 *   fresh     the first half of the offsets is stored in order, the second at random. Means: the page faults are in few slices
 *   replace, load   slices of both caches in turn; medians
 *   cold      each page is read from, or written to, a ring of pages larger than the CPU's caches, as a program's pages are that
 *             come in or go out. The target is for these. "hot": always the same few pages
 *   floor     nothing but what a random load has to wait for: the entry's word, and then its object
 *   usual     pages that compress to a third, 2^LOG2 of the small cache's: their own cost, and that with what random loads and
 *             stores cost more in the large cache, since as many of them do not fit into memory
 *
 * Times are of the thread, not of the clock, so that what else runs on the machine costs it nothing but caches.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench/measure.h"
#include "pool/zsmalloc.h"
#include "zswap/internal.h"

#define RING_PAGES 32768u /* 128 MiB */
#define HOT_PAGES 16u
#define SLICE 65536u
#define ROUNDS_MAX 99
#define RATIO_TARGET 1.2
#define BYTES_TARGET 24.0
#define TYPE 1

struct side {
    unsigned bits;
    uint64_t pages;
    struct account account;
    struct memory memory;
    struct zswap *zswap;
    struct swap_cache *swap_cache;
    size_t fixed;                 /* bytes accounted before anything is stored */
    const unsigned char *sources; /* RING_PAGES pages */
    uint64_t next;
};

static unsigned char *targets;
static unsigned rounds = 9;
static uint64_t sink; /* so that what is read counts as used */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
    return x ^ x >> 29;
}

/* A permutation of 0 .. 2^bits - 1: each step of it is one. */
static uint64_t permute(uint64_t x, unsigned bits)
{
    uint64_t mask = (1ull << bits) - 1;
    for (int i = 0; i < 3; i++) {
        x = (x * 0x9e3779b97f4a7c15ull + 0x632be59bd9b4e019ull) & mask;
        x ^= x >> (bits / 2);
    }
    return x;
}

/* ---- pages */

/* Half of them repeat their first word; in the others only the middle differs. */
static const unsigned char *make_tiny_pages(void)
{
    unsigned char *pages = map_memory(RING_PAGES * PAGE_BYTES, true);
    for (uint64_t n = 0; n < RING_PAGES; n++) {
        uint64_t *page = (uint64_t *)(pages + n * PAGE_BYTES);
        uint64_t word = mix(n + 1) >> 4;
        for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
            page[i] = word;
        }
        page[PAGE_BYTES / 16] ^= mix(n) >> 63;
    }
    return pages;
}

/* One word in eight is new, the others are of a few. */
static const unsigned char *make_usual_pages(void)
{
    unsigned char *pages = map_memory(RING_PAGES * PAGE_BYTES, true);
    uint64_t *words = (uint64_t *)pages;
    for (uint64_t i = 0; i < RING_PAGES * PAGE_BYTES / 8; i++) {
        uint64_t n = mix(mix(i + 1) + i);
        words[i] = n % 8 ? mix(n / 8 % 16 + 1) : n;
    }
    return pages;
}

/* Which page is stored at an offset: far from its neighbours' in either order. */
static uint64_t source_of(uint64_t offset)
{
    return mix(offset) % RING_PAGES;
}

static const void *source(const struct side *s, uint64_t offset, bool hot)
{
    uint64_t n = source_of(offset);
    return s->sources + (hot ? n % HOT_PAGES : n) * PAGE_BYTES;
}

/* ---- the caches */

static void create(struct side *s, unsigned bits, const unsigned char *sources)
{
    *s =
        (struct side){.bits = bits, .pages = 1ull << bits, .memory.account = &s->account, .sources = sources};
    struct zswap_options options = {.memory = &s->memory,
                                    .pool = pool_by_name("zsmalloc"),
                                    .codec = codec_named("lz4"),
                                    .max_pool_bytes = (size_t)1 << 36,
                                    .accept_threshold_percent = 90,
                                    .writeback = ZSWAP_WRITEBACK_OFF};
    if (swap_cache_create(&options.swap_cache, &s->memory, 64)) {
        die("no memory for a swap cache");
    }
    s->swap_cache = options.swap_cache;
    if (zswap_create(&s->zswap, &options) || zswap_area_create(s->zswap, TYPE, s->pages)) {
        die("no memory for a cache of 2^%u pages", bits);
    }
    s->fixed = account_total(&s->account);
}

static void destroy(struct side *s)
{
    zswap_destroy(s->zswap);
    swap_cache_destroy(s->swap_cache);
    if (account_total(&s->account)) {
        die("%zu bytes are left of a cache that is gone", account_total(&s->account));
    }
}

static void store(struct side *s, uint64_t offset, bool hot)
{
    must(zswap_store(s->zswap, (struct swap_entry){TYPE, offset}, source(s, offset, hot)), "store", offset);
}

static void load(struct side *s, uint64_t offset, bool hot)
{
    uint64_t *page = (uint64_t *)(targets + (hot ? 0 : s->next++ % RING_PAGES) * PAGE_BYTES);
    must(zswap_load(s->zswap, (struct swap_entry){TYPE, offset}, page), "load", offset);
    if (!hot && page[0] != *(const uint64_t *)source(s, offset, false)) {
        die("load of page %llu: it brought something else", (unsigned long long)offset);
    }
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (!file || fscanf(file, "%*u %lu", &pages) != 1) {
        die("cannot read /proc/self/statm");
    }
    fclose(file);
    return pages * PAGE_BYTES;
}

/* ---- the table */

static const char *verdict(double value, double target)
{
    return value <= target ? "met" : "missed";
}

static void print_costs(const char *what, double small, double large, bool has_target)
{
    double ratio = large / small;
    printf("%-34s %9.0f %9.0f %8.2f", what, small, large, ratio);
    if (has_target) {
        printf("   <= %.1f  %s", RATIO_TARGET, verdict(ratio, RATIO_TARGET));
    }
    printf("\n");
    fflush(stdout);
}

/* ---- fresh stores */

struct fresh {
    double ns[2]; /* in order, at random */
    uint64_t stores[2];
};

static void store_fresh(struct side *s, uint64_t first, uint64_t n, bool at_random, struct fresh *f)
{
    uint64_t half = s->pages / 2;
    uint64_t start = thread_ns();
    for (uint64_t i = first; i < first + n; i++) {
        store(s, at_random ? half + permute(i, s->bits - 1) : i, false);
    }
    f->ns[at_random] += (double)(thread_ns() - start);
    f->stores[at_random] += n;
}

/* The small cache is filled and emptied again as often as the large one has taken 16 times as many pages. */
static void fill(struct side *small, struct side *large)
{
    struct fresh f[2] = {0};
    for (int at_random = 0; at_random < 2; at_random++) {
        uint64_t half = large->pages / 2;
        uint64_t slice = min_size(half, 16 * small->pages);
        for (uint64_t first = 0; first < half; first += slice) {
            store_fresh(large, first, slice, at_random, &f[1]);
            zswap_invalidate_area(small->zswap, TYPE);
            zswap_trim(small->zswap);
            store_fresh(small, 0, small->pages / 2, false, &f[0]);
            store_fresh(small, 0, small->pages / 2, true, &f[0]);
        }
    }
    for (int at_random = 0; at_random < 2; at_random++) {
        print_costs(at_random ? "store, fresh, random" : "store, fresh, in order",
                    f[0].ns[at_random] / (double)f[0].stores[at_random],
                    f[1].ns[at_random] / (double)f[1].stores[at_random], true);
    }
}

/* ---- slices */

enum work { REPLACE, LOAD, FLOOR };

/* Something of the entry, below 2^32. Cannot begin before `before`, what the last call returned, is there. */
static uint64_t touch(struct side *s, uint64_t offset, uint64_t before)
{
    __asm__ volatile("" : "+r"(before));
    uint64_t word = *area_word(s->zswap->areas[TYPE], offset + (before >> 63));
    if (entry_kind(word) != ENTRY_POOL) {
        return word >> 32;
    }
    return *(volatile unsigned char *)s->zswap->pool->ops->map(s->zswap->pool, entry_name(word));
}

static double slice_ns(struct side *s, enum work work, bool at_random, bool hot, uint64_t round)
{
    /* In order where the entries were stored in order. */
    uint64_t n = min_size(SLICE, s->pages / 2), slices = s->pages / 2 / n, value = 0;
    uint64_t first = mix(round + 1) % slices * n, start = thread_ns();
    for (uint64_t i = first; i < first + n; i++) {
        uint64_t offset = at_random ? permute(i, s->bits) : i;
        if (work == REPLACE) {
            store(s, offset, hot);
        } else if (work == LOAD) {
            load(s, offset, hot);
        } else {
            value = touch(s, offset, value);
        }
    }
    sink += value;
    return (double)(thread_ns() - start) / (double)n;
}

struct medians {
    double small, large;
};

static struct medians in_turn(struct side *small, struct side *large, enum work work, bool at_random,
                              bool hot)
{
    double ns[2][ROUNDS_MAX];
    slice_ns(small, work, at_random, hot, 0);
    for (unsigned round = 0; round < rounds; round++) {
        ns[0][round] = slice_ns(small, work, at_random, hot, round);
        ns[1][round] = slice_ns(large, work, at_random, hot, round);
    }
    return (struct medians){median_of(ns[0], rounds), median_of(ns[1], rounds)};
}

static void print_usual(struct side *usual, bool is_load, struct medians tiny)
{
    double ns[ROUNDS_MAX];
    for (unsigned round = 0; round < rounds; round++) {
        ns[round] = slice_ns(usual, is_load ? LOAD : REPLACE, true, false, round);
    }
    double cost = median_of(ns, rounds);
    print_costs(is_load ? "load, random, usual" : "store, replacing, random, usual", cost,
                cost + tiny.large - tiny.small, true);
}

static void measure_slices(struct side *small, struct side *large, struct side *usual)
{
    static const struct {
        const char *name;
        enum work work;
        bool at_random, hot, usual;
    } rows[] = {
        {"load, in order", LOAD, false, false, false},
        {"load, random", LOAD, true, false, true},
        {"store, replacing, in order", REPLACE, false, false, false},
        {"store, replacing, random", REPLACE, true, false, true},
        {"load, in order, hot page", LOAD, false, true, false},
        {"load, random, hot page", LOAD, true, true, false},
        {"store, replacing, in order, hot page", REPLACE, false, true, false},
        {"store, replacing, random, hot page", REPLACE, true, true, false},
    };
    struct fresh unused = {0};
    store_fresh(usual, 0, usual->pages / 2, false, &unused);
    store_fresh(usual, 0, usual->pages / 2, true, &unused);
    struct medians floor = in_turn(small, large, FLOOR, true, false);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct medians m = in_turn(small, large, rows[i].work, rows[i].at_random, rows[i].hot);
        print_costs(rows[i].name, m.small, m.large, !rows[i].hot);
        if (rows[i].usual) {
            print_usual(usual, rows[i].work == LOAD, m);
        }
    }
    print_costs("floor: word, then object, random", floor.small, floor.large, false);
    zswap_invalidate_area(usual->zswap, TYPE);
    zswap_trim(usual->zswap);
}

/* ---- memory */

static size_t sparse_bytes(const struct sparse *s)
{
    size_t bytes = 0;
    for (uint64_t i = 0; (i = sparse_next_committed(s, i)) < s->slots_total; i += sparse_slots_per_page(s)) {
        bytes += PAGE_BYTES;
    }
    return bytes;
}

static void print_bytes(const char *what, double bytes, double pages, double target)
{
    printf("%-34s %9.2f bytes", what, bytes / pages);
    if (target > 0) {
        printf("            <= %.0f  %s", target, verdict(bytes / pages, target));
    }
    printf("\n");
}

/* What the objects' slots are larger than they. */
static size_t rounding_bytes(const struct side *s)
{
    const struct zs *z = zs_of(s->zswap->pool);
    struct area *area = s->zswap->areas[TYPE];
    size_t bytes = 0;
    for (uint64_t i = 0; (i = sparse_next_committed(&area->words, i)) < s->pages; i++) {
        uint64_t word = *area_word(area, i);
        if (entry_kind(word) == ENTRY_POOL) {
            bytes += z->shapes[z->class_of_units[(entry_bytes(word) - 1) >> ZS_UNIT_SHIFT]].slot_bytes -
                     entry_bytes(word);
        }
    }
    return bytes;
}

/* `grown`: by how much the process is larger than with the cache empty. */
static void measure_memory(const struct side *s, size_t grown, double target)
{
    struct zswap_stats stats;
    zswap_get_stats(s->zswap, &stats);
    struct area *area = s->zswap->areas[TYPE];
    double pages = (double)stats.stored_pages, objects = pages - (double)stats.same_filled_pages;
    double words = (double)sparse_bytes(&area->words), links = (double)sparse_bytes(&area->links);
    size_t no_metadata = stats.pool_payload + rounding_bytes(s);
    double pool = (double)(stats.pool_total_size - no_metadata);
    double all = (double)(account_total(&s->account) - s->fixed - no_metadata);
    printf("\n%.0f stored pages, %.1f%% same-filled; objects of %.1f bytes in slots of %.1f\n", pages,
           100 - 100 * objects / pages, (double)stats.pool_payload / objects, (double)no_metadata / objects);
    print_bytes("index, a page", words, pages, 0);
    print_bytes("LRU, a page", links, pages, 0);
    print_bytes("bitmaps and chain records, a page", all - words - links - pool, pages, 0);
    print_bytes("owners and chain ends, an object", pool, objects, 0);
    print_bytes("all of this, a page", all, pages, target);
    if (grown) {
        print_bytes("the same by VmRSS, a page", (double)grown - (double)no_metadata, pages, target);
    }
    print_bytes("accounted, if all had objects", all - pool + pool / objects * pages, pages, target);
}

/* The dearest: each entry alone in its page of the index. */
static void measure_sparse(const unsigned char *pages)
{
    static struct side sparse;
    const uint64_t entries = 4096, apart = PAGE_BYTES / sizeof(uint64_t);
    create(&sparse, 21, pages);
    for (uint64_t i = 0; i < entries; i++) {
        store(&sparse, i * apart, false);
    }
    printf("\n%llu entries, %llu apart\n", (unsigned long long)entries, (unsigned long long)apart);
    measure_memory(&sparse, 0, 0);
    destroy(&sparse);
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576;
}

/* A thousandth, or a MiB, may be left: bitmaps, and what the C library and the kernel keep. */
static void print_left(const char *what, size_t before, size_t peak, size_t after)
{
    size_t left = after > before ? after - before : 0;
    bool good = left <= max_size((peak - before) / 1000, 1 << 20);
    printf("  %-32s %9.1f MiB, then %.2f   <= 0.1%%  %s\n", what, mib(peak - before), mib(left),
           good ? "met" : "missed");
}

static void invalidate(struct side *s, const char *what, uint64_t first, uint64_t pages,
                       size_t empty_resident)
{
    size_t resident = resident_bytes(), accounted = account_total(&s->account);
    uint64_t start = thread_ns();
    uint64_t removed = zswap_invalidate_range(s->zswap, TYPE, first, pages);
    double ns = (double)(thread_ns() - start);
    zswap_trim(s->zswap);
    printf("\n%s: %llu pages in %.2f s, %.1f ns a page\n", what, (unsigned long long)removed, ns / 1e9,
           ns / (double)removed);
    if (pages < s->pages) {
        printf("  %-32s %9.1f MiB, then %.1f\n", "VmRSS", mib(resident - empty_resident),
               mib(resident_bytes()) - mib(empty_resident));
        printf("  %-32s %9.1f MiB, then %.1f\n", "accounted", mib(accounted - s->fixed),
               mib(account_total(&s->account) - s->fixed));
    } else {
        print_left("VmRSS", empty_resident, resident, resident_bytes());
        print_left("accounted", s->fixed, accounted, account_total(&s->account));
    }
}

/* ---- */

/* So that the pages fit into half of the machine's memory. */
static unsigned affordable(unsigned bits, size_t bytes_a_page)
{
    size_t half = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 2;
    unsigned most = bits;
    while (most > 20 && bytes_a_page << most > half) {
        most--;
    }
    if (most < bits) {
        fprintf(stderr, "bench-scale: 2^%u pages: for 2^%u there is not enough memory\n", most, bits);
    }
    return most;
}

static const char usage[] =
    "bench-scale [--large LOG2] [--small LOG2] [--rounds N]\n"
    "What stores and loads cost with 2^LOG2 (26) stored pages, over what they cost with 2^LOG2 (16), and\n"
    "what memory a stored page takes: medians of N (9) rounds. 2^26 pages take 3 GiB.\n";

int main(int argc, char **argv)
{
    unsigned large_bits = affordable(26, 48), small_bits = 16;
    program_start(argc, argv, usage,
                  (struct program_option[]){{"--large", .number = &large_bits, .least = 12, .most = 31},
                                            {"--small", .number = &small_bits, .least = 12, .most = 31},
                                            {"--rounds", .number = &rounds, .least = 1, .most = ROUNDS_MAX},
                                            {0}},
                  0, 0);
    if (large_bits <= small_bits) {
        die("--large %u, --small %u: the first must be the larger", large_bits, small_bits);
    }
    static struct side small, large, usual;
    targets = map_memory(RING_PAGES * PAGE_BYTES, true);
    const unsigned char *tiny = make_tiny_pages();
    create(&usual, small_bits, make_usual_pages());
    create(&small, small_bits, tiny);
    create(&large, large_bits, tiny);
    size_t empty = resident_bytes();
    char names[2][24];
    snprintf(names[0], sizeof names[0], "2^%u", small_bits);
    snprintf(names[1], sizeof names[1], "2^%u", large_bits);
    printf("%-34s %9s %9s %8s   target\n", "ns, at so many stored pages", names[0], names[1], "ratio");
    fill(&small, &large);
    size_t grown = resident_bytes() - empty - (account_total(&small.account) - small.fixed);
    measure_memory(&small, 0, BYTES_TARGET);
    measure_memory(&large, grown, BYTES_TARGET);
    measure_sparse(tiny);
    printf("\n");
    measure_slices(&small, &large, &usual);
    zswap_invalidate_area(small.zswap, TYPE);
    zswap_trim(small.zswap);
    invalidate(&large, "invalidate range, the second half", large.pages / 2, large.pages / 2, empty);
    invalidate(&large, "invalidate area", 0, large.pages, empty);
    destroy(&small);
    destroy(&large);
    destroy(&usual);
    return sink == 42;
}
