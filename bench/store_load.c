/* SPDX-License-Identifier: MIT */
/*
 * Store and load through the cache, against the bare codec on the same pages, in one run.
 *
 *     bench-store-load [--rounds N] [--mib N] [--threads 1] [--codec NAME] [--pool NAME] FILE...
 *
 * FILEs hold raw pages, as tools/page-images.py takes them. They are repeated until they take --mib (128), which must be more than
 * the CPU's caches hold, so that every source page is cold, as a page is that a program has not used for a while. Pages that repeat one word
 * are left out: the codec never sees them.
 *
 *   compress        codec_compress of each page, with the room that a store gives it, into one buffer, which is always hot
 *   compress, kept  the same, but one behind the other into memory that was not touched before: the least that any store does
 *   store, fresh    zswap_store of each page into a new cache
 *   store, replace  zswap_store of the next page in the place of each: what is freed is used again
 *   decompress      codec_decompress of each page's bytes into one page, which is always hot. The bytes lie one behind the other,
 *                   as closely as can be; in order, and in random order
 *   load            zswap_load of each page, into one page, in the same orders; after the stores that replace
 *   load, exclusive zswap_load_exclusive, in random order
 *
 * Passes that are compared form a group, and are taken in turns, a slice of the pages each, so that what else the machine does
 * falls on all of them: while one is at slice n, the next is at one that has left the caches. "again" is a pass once more: how
 * far its ratio is from 1 tells the noise. In each round every group comes once with one thread, and once with two, which have half of the pages
 * each, begin each slice together and are pinned, a CPU each. What a thread waited, ready to run, for a CPU that other programs had is not
 * counted; what the kernel does for it is. Prints JSON: pages a second of each pass, by round.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "bench/measure.h"
#include "codec/codec.h"
#include "zswap/internal.h"

#define THREADS 2
#define ROUNDS_MAX 99
#define SLICES 16
#define GROUP_MAX 4 /* passes */

struct bench {
    struct account account;
    struct memory memory;
    struct codec codec;
    const struct pool_ops *pool;
    struct swap_cache *swap_cache;
    struct zswap *zswap;

    size_t count;
    unsigned char *pages; /* `count` of them */
    uint32_t *random;     /* their numbers, those of each half shuffled */
    unsigned char *packed;
    size_t *packed_at; /* [count]: where each page's bytes begin, and where the last end */
    unsigned char *kept[THREADS];
    uint32_t shift; /* offset i holds page i + shift of its half */
};

struct barrier {
    uint32_t arrived, turn; /* atomic */
};

struct worker {
    struct bench *bench;
    const struct group *group;
    unsigned number, threads;
    size_t first_of_half, half; /* the worker's pages */
    size_t first, end;          /* of the slice */
    struct barrier *barrier;
    struct codec_context *context;
    unsigned char *out;  /* two pages */
    unsigned char *kept; /* where the next page's bytes go */
    uint64_t ns[GROUP_MAX], waited[GROUP_MAX];
};

/* ---- what a thread does with its pages */

static const unsigned char *page(const struct bench *b, size_t i)
{
    return b->pages + i * PAGE_BYTES;
}

static void compress(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        must(codec_compress(w->context, w->out, ZSWAP_COMPRESSED_MAX, page(w->bench, i)), "compression", i);
    }
}

static size_t pack(struct codec_context *context, unsigned char *to, const unsigned char *from)
{
    int bytes = codec_compress(context, to, ZSWAP_COMPRESSED_MAX, from);
    if (bytes > 0) {
        return (size_t)bytes;
    }
    memcpy(to, from, PAGE_BYTES);
    return PAGE_BYTES;
}

static void compress_kept(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        w->kept += pack(w->context, w->kept, page(w->bench, i));
    }
}

static void store_shifted(struct worker *w, size_t shift)
{
    for (size_t i = w->first; i < w->end; i++) {
        size_t from = w->first_of_half + (i - w->first_of_half + shift) % w->half;
        must(zswap_store(w->bench->zswap, (struct swap_entry){0, i}, page(w->bench, from)), "store", i);
    }
}

static void store_fresh(struct worker *w)
{
    store_shifted(w, 0);
}

static void store_replace(struct worker *w)
{
    store_shifted(w, w->bench->shift);
}

static void unpack(struct worker *w, size_t i)
{
    const struct bench *b = w->bench;
    const unsigned char *from = b->packed + b->packed_at[i];
    size_t bytes = b->packed_at[i + 1] - b->packed_at[i];
    if (bytes == PAGE_BYTES) {
        memcpy(w->out, from, PAGE_BYTES);
    } else {
        must(codec_decompress(w->context, codec_output_format(&b->codec), w->out, from, bytes),
             "decompression", i);
    }
}

static void decompress(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        unpack(w, i);
    }
}

static void decompress_random(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        unpack(w, w->bench->random[i]);
    }
}

static void load(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        must(zswap_load(w->bench->zswap, (struct swap_entry){0, i}, w->out), "load", i);
    }
}

static void load_random(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        uint32_t at = w->bench->random[i];
        must(zswap_load(w->bench->zswap, (struct swap_entry){0, at}, w->out), "load", at);
    }
}

static void load_exclusive(struct worker *w)
{
    for (size_t i = w->first; i < w->end; i++) {
        uint32_t at = w->bench->random[i];
        must(zswap_load_exclusive(w->bench->zswap, (struct swap_entry){0, at}, w->out), "exclusive load", at);
    }
}

/* ---- what is made ready before a group */

static void make_cache(struct bench *b)
{
    if (b->zswap) {
        zswap_destroy(b->zswap);
    }
    struct zswap_options options = {.memory = &b->memory,
                                    .pool = b->pool,
                                    .codec = b->codec,
                                    .max_pool_bytes = 2 * b->count * PAGE_BYTES,
                                    .accept_threshold_percent = 90,
                                    .writeback = ZSWAP_WRITEBACK_OFF,
                                    .swap_cache = b->swap_cache};
    if (zswap_create(&b->zswap, &options) || zswap_area_create(b->zswap, 0, b->count)) {
        die("no memory for a cache of %zu pages", b->count);
    }
}

static void make_untouched(struct bench *b)
{
    for (unsigned i = 0; i < THREADS; i++) {
        if (b->kept[i]) {
            munmap(b->kept[i], b->count * PAGE_BYTES);
        }
        b->kept[i] = map_memory(b->count * PAGE_BYTES, false);
    }
}

static void prepare_fresh(struct bench *b)
{
    make_cache(b);
    make_untouched(b);
}

static void prepare_replace(struct bench *b)
{
    b->shift++;
}

/* ---- passes */

struct pass {
    const char *name;
    void (*work)(struct worker *);
};

/* In the order in which the cache's state asks for them. */
static const struct group {
    void (*prepare)(struct bench *); /* not timed */
    struct pass passes[GROUP_MAX];
} groups[] = {
    {prepare_fresh,
     {{"compress", compress},
      {"store, fresh", store_fresh},
      {"compress, kept", compress_kept},
      {"compress, again", compress}}},
    {prepare_replace, {{"compress", compress}, {"store, replace", store_replace}}},
    {NULL, {{"decompress", decompress}, {"load", load}, {"decompress, again", decompress}}},
    {NULL, {{"decompress, random", decompress_random}, {"load, random", load_random}}},
    {NULL, {{"decompress, random", decompress_random}, {"load, exclusive", load_exclusive}}},
};
#define GROUPS ARRAY_LENGTH(groups)

/* Pages a second, and how much of the threads' time went to waiting for a CPU. */
static struct result {
    double rate, waited;
} results[GROUPS][GROUP_MAX][THREADS][ROUNDS_MAX];

static unsigned passes_of(const struct group *g)
{
    unsigned passes = 0;
    while (passes < GROUP_MAX && g->passes[passes].work) {
        passes++;
    }
    return passes;
}

static void meet(struct barrier *barrier, unsigned threads)
{
    uint32_t turn = atomic_read_relaxed(&barrier->turn);
    if (atomic_add_acq_rel(&barrier->arrived, 1) == threads) {
        atomic_set_relaxed(&barrier->arrived, 0);
        atomic_set_release(&barrier->turn, turn + 1);
        return;
    }
    for (unsigned spin = 0; atomic_read_acquire(&barrier->turn) == turn; spin++) {
        spin < 1000 ? cpu_relax() : (void)sched_yield();
    }
}

static void run_slice(struct worker *w, unsigned pass, size_t slice)
{
    w->first = w->first_of_half + slice * w->half / SLICES;
    w->end = w->first_of_half + (slice + 1) * w->half / SLICES;
    meet(w->barrier, w->threads);
    uint64_t waited = waited_ns(), start = now_ns();
    w->group->passes[pass].work(w);
    uint64_t ns = now_ns() - start;
    waited = min_size(waited_ns() - waited, ns);
    w->ns[pass] += ns - waited;
    w->waited[pass] += waited;
}

static void *run_worker(void *argument)
{
    struct worker *w = argument;
    unsigned passes = passes_of(w->group);
    pin_to_cpu(w->number);
    for (size_t slice = 0; slice < SLICES; slice++) {
        for (unsigned pass = 0; pass < passes; pass++) {
            run_slice(w, pass, (slice + pass * SLICES / passes) % SLICES);
        }
    }
    return NULL;
}

static void run_group(struct bench *b, const struct group *g, unsigned threads,
                      struct worker workers[THREADS], unsigned round)
{
    pthread_t ids[THREADS];
    struct barrier barrier = {0};
    if (g->prepare) {
        g->prepare(b);
    }
    for (unsigned i = 0; i < threads; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.bench = b,
                             .group = g,
                             .number = i,
                             .threads = threads,
                             .first_of_half = i * b->count / 2,
                             .half = threads == 1 ? b->count : b->count / 2,
                             .barrier = &barrier,
                             .context = w->context,
                             .out = w->out,
                             .kept = b->kept[i]};
        if (pthread_create(&ids[i], NULL, run_worker, w)) {
            die("cannot start a thread");
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        for (unsigned pass = 0; pass < passes_of(g); pass++) {
            const struct worker *w = &workers[i];
            struct result *r = &results[g - groups][pass][threads - 1][round];
            r->rate += (double)w->half * 1e9 / (double)w->ns[pass];
            r->waited += (double)w->waited[pass] / (double)(w->ns[pass] + w->waited[pass]) / threads;
        }
    }
}

/* ---- the pages, and what they become */

static void make_ready(struct bench *b, char **paths, size_t files, struct worker workers[THREADS])
{
    uint64_t seed = 42;
    b->memory.account = &b->account;
    b->pages = read_page_images(paths, files, b->count);
    b->random = map_memory(b->count * sizeof b->random[0], false);
    fill_shuffled(b->random, 0, b->count / 2, &seed);
    fill_shuffled(b->random + b->count / 2, b->count / 2, b->count - b->count / 2, &seed);
    if (swap_cache_create(&b->swap_cache, &b->memory, 64)) {
        die("no memory for codecs and a swap cache");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.out = map_memory(2 * PAGE_BYTES, false)};
        if (codec_context_create(&workers[i].context, &b->memory, &b->codec)) {
            die("no memory for codecs and a swap cache");
        }
    }
    b->packed = map_memory(b->count * PAGE_BYTES, false);
    b->packed_at = map_memory((b->count + 1) * sizeof b->packed_at[0], false);
    for (size_t i = 0; i < b->count; i++) {
        b->packed_at[i + 1] =
            b->packed_at[i] + pack(workers[0].context, b->packed + b->packed_at[i], page(b, i));
    }
}

/* Every page must come back as it was. */
static void check(const struct bench *b, struct worker *w)
{
    for (size_t i = 0; i < b->count; i++) {
        if (zswap_load(b->zswap, (struct swap_entry){0, i}, w->out) ||
            memcmp(w->out, page(b, i), PAGE_BYTES)) {
            die("page %zu came back wrong", i);
        }
    }
}

static void print_rounds(const struct result *by_round, unsigned rounds)
{
    for (unsigned r = 0; r < rounds; r++) {
        printf("%s%.0f", r ? ", " : "", by_round[r].rate);
    }
    printf("], \"waited\": [");
    for (unsigned r = 0; r < rounds; r++) {
        printf("%s%.3f", r ? ", " : "", by_round[r].waited);
    }
    printf("]}");
}

static void print_json(const struct bench *b, unsigned rounds, unsigned threads)
{
    char name[CODEC_NAME_MAX];
    printf("{\"pages\": %zu, \"compressed_to\": %.4f, \"codec\": \"%s\", \"pool\": \"%s\",\n \"passes\": [",
           b->count, (double)b->packed_at[b->count] / (double)(b->count * PAGE_BYTES),
           codec_format_name(&b->codec, name), b->pool->name);
    const char *separator = "";
    for (size_t g = 0; g < GROUPS; g++) {
        for (unsigned p = 0; p < passes_of(&groups[g]); p++) {
            for (unsigned t = 0; t < threads; t++) {
                printf("%s\n  {\"group\": %zu, \"pass\": \"%s\", \"threads\": %u, \"rates\": [", separator, g,
                       groups[g].passes[p].name, t + 1);
                print_rounds(results[g][p][t], rounds);
                separator = ",";
            }
        }
    }
    printf("]}\n");
}

static const char usage[] =
    "bench-store-load [--rounds N] [--mib N] [--threads 1] [--codec NAME] [--pool NAME] FILE...\n"
    "Store and load through the cache, and the bare codec, on the same N MiB (128) of pages, as JSON: pages\n"
    "a second, in each of N (15) rounds. FILEs have raw pages, of tools/page-images.py.\n";

int main(int argc, char **argv)
{
    static struct bench bench;
    struct worker workers[THREADS];
    unsigned rounds = 15, mib = 128, threads = THREADS;
    const char *codec = "lz4", *pool = "zsmalloc";
    int first = program_start(
        argc, argv, usage,
        (struct program_option[]){{"--rounds", .number = &rounds, .least = 1, .most = ROUNDS_MAX},
                                  {"--mib", .number = &mib, .least = 1, .most = 1 << 14},
                                  {"--threads", .number = &threads, .least = 1, .most = THREADS},
                                  {"--codec", .text = &codec},
                                  {"--pool", .text = &pool},
                                  {0}},
        1, INT_MAX);
    bench.codec = codec_named(codec);
    bench.pool = pool_by_name(pool);
    if (!bench.pool) {
        die("no pool is called %s; there are %s", pool, pool_list());
    }
    bench.count = (size_t)mib << (20 - PAGE_SHIFT);
    make_ready(&bench, argv + first, (size_t)(argc - first), workers);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned t = 0; t < threads; t++) {
            for (size_t g = 0; g < GROUPS; g++) {
                run_group(&bench, &groups[g], t + 1, workers, round);
                if (!round && !t && groups[g].prepare == prepare_fresh) {
                    check(&bench, workers);
                }
            }
        }
    }
    print_json(&bench, rounds, threads);
    return 0;
}
