/* SPDX-License-Identifier: MIT */
/*
 * Which victims give zsmalloc's pages back? What a page of room costs in bytes written and copied, and what it costs in
 * later reads, by how the victims are chosen:
 *
 *   oldest        strictly in LRU order; compaction then draws together what is left
 *   peers 1/N     and with each victim all that is left in its chain, if that is at most one in N slots
 *   window N      of the oldest N batches, those first whose chains lie within these the most
 *
 *   bench-shrink-victims [MIB]
 *
 * A pool of MIB (32) and a working set of four times that. Page k is touched with a likelihood that falls with k: it is read back (from
 * the device, if it was written back) and removed, and then stored again as the newest. At the limit, room is made down
 * to 90 % in batches of 128 KiB: compaction as long as it wins anything, else a batch of victims. The figures are of the second
 * half of the run.
 *
 *   pages      given back, by victims and by compaction, for each MiB written and copied
 *   written, copied, read     bytes for each byte stored; `read` of pages that had been written back
 *   place      of victims in the LRU, 0 = oldest, 1 = newest: mean, and 99 of 100 are below
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "pool/pool.h"
#include "pool/zsmalloc.h"

#define BATCH ((size_t)128 << 10)
#define SLOT 512
#define HEADER 16

enum { OLDEST, PEERS, WINDOW };

struct policy {
    const char *name;
    int kind;
    unsigned n;
};

static const struct policy policies[] = {
    {"oldest", OLDEST, 0},   {"peers 1/16", PEERS, 16}, {"peers 1/8", PEERS, 8},   {"peers 1/4", PEERS, 4},
    {"window 2", WINDOW, 2}, {"window 4", WINDOW, 4},   {"window 16", WINDOW, 16},
};

struct object {
    uint64_t handle;       /* 0 = not in the pool */
    uint32_t bytes;        /* always the same for one page */
    uint32_t older, newer; /* pages, in the LRU; [count] is its head */
    uint32_t stamp;        /* of the store */
    bool on_device;
};

struct candidate {
    uint32_t page, chain, in_chain;
    double share; /* of the chain's objects, those that are candidates */
};

struct bench {
    struct policy policy;
    struct account account;
    struct memory memory;
    struct pool *pool;
    struct object *objects;
    struct candidate *candidates;
    uint32_t *in_chain; /* by chain */
    uint32_t *ranks;    /* a Fenwick tree over stamps */
    uint32_t count, stamps, stamp, live;
    uint64_t seed;
    /* figures */
    size_t stored, written, copied, read, given;
    uint64_t victims, places[1001];
    double place_sum;
};

static void *need(void *memory)
{
    if (!memory) {
        die("no memory");
    }
    return memory;
}

static double random_unit(uint64_t *state)
{
    return (double)(random_number(state) % 1000000) / 1e6;
}

/* ---- sizes */

static uint32_t size_alike(uint64_t *seed)
{
    return 1400 + random_number(seed) % 200;
}

/* As pages of programs under lz4: most at 500 to 2000, few above 3000. */
static uint32_t size_spread(uint64_t *seed)
{
    double u = random_unit(seed), v = random_unit(seed);
    return (uint32_t)(64 + 3436 * (u < v ? u : v));
}

static uint32_t size_small_and_raw(uint64_t *seed)
{
    return random_number(seed) % 100 < 30 ? PAGE_BYTES : 64 + random_number(seed) % 400;
}

static const struct mix {
    const char *name;
    uint32_t (*size)(uint64_t *seed);
} mixes[] = {
    {"1400 to 1600", size_alike}, {"64 to 3500", size_spread}, {"64 to 464, 30 % raw", size_small_and_raw}};

/* ---- the LRU, and places in it */

static void rank_add(struct bench *b, uint32_t stamp, int32_t n)
{
    for (uint32_t i = stamp + 1; i <= b->stamps; i += i & -i) {
        b->ranks[i] += (uint32_t)n;
    }
}

static uint32_t rank_of(const struct bench *b, uint32_t stamp)
{
    uint32_t sum = 0;
    for (uint32_t i = stamp; i; i -= i & -i) {
        sum += b->ranks[i];
    }
    return sum;
}

static void unlink_page(struct bench *b, uint32_t page)
{
    struct object *o = &b->objects[page];
    b->objects[o->older].newer = o->newer;
    b->objects[o->newer].older = o->older;
    rank_add(b, o->stamp, -1);
    b->live--;
}

static void link_newest(struct bench *b, uint32_t page)
{
    struct object *o = &b->objects[page], *head = &b->objects[b->count];
    o->newer = b->count;
    o->older = head->older;
    b->objects[o->older].newer = page;
    head->older = page;
    o->stamp = b->stamp++;
    rank_add(b, o->stamp, 1);
    b->live++;
}

/* ---- victims */

static struct zs_chain *chain_of(struct bench *b, uint64_t handle, unsigned *slots)
{
    struct zs *z = zs_of(b->pool);
    struct zs_chain *chain = zs_chain(z, zs_handle_chain(handle));
    *slots = z->shapes[chain->class].slots;
    return chain;
}

static void write_back(struct bench *b, uint32_t page)
{
    struct object *o = &b->objects[page];
    double place = (double)rank_of(b, o->stamp) / b->live;
    b->place_sum += place;
    b->places[(int)(place * 1000)]++;
    b->victims++;
    b->written += (o->bytes + HEADER + SLOT - 1) / SLOT * SLOT;
    unlink_page(b, page);
    b->pool->ops->free(b->pool, o->handle);
    o->handle = 0;
    o->on_device = true;
}

/* All that is left in the chain, if it is little. */
static void write_peers(struct bench *b, uint32_t number)
{
    struct zs *z = zs_of(b->pool);
    struct zs_chain *chain = zs_chain(z, number);
    const struct zs_shape *shape = &z->shapes[chain->class];
    uint32_t owners[4096], n = 0;
    if (!chain->used || chain->used * b->policy.n > shape->slots) {
        return;
    }
    for (unsigned slot = 0; slot < chain->reached; slot++) {
        uint64_t owner = zs_owner_get(zs_owners(z, shape, number), slot);
        if (owner & ZS_LIVE) {
            owners[n++] = (uint32_t)(owner & ~ZS_LIVE);
        }
    }
    while (n) {
        write_back(b, owners[--n]);
    }
}

static int by_share(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->share != y->share) {
        return x->share > y->share ? -1 : 1;
    }
    return x->chain < y->chain ? -1 : x->chain > y->chain;
}

static void write_window(struct bench *b)
{
    size_t n = 0, bytes = 0;
    unsigned slots;
    for (uint32_t page = b->objects[b->count].newer; page != b->count && bytes < BATCH * b->policy.n;
         page = b->objects[page].newer) {
        uint32_t chain = zs_handle_chain(b->objects[page].handle);
        b->candidates[n++] = (struct candidate){.page = page, .chain = chain};
        b->in_chain[chain]++;
        bytes += b->objects[page].bytes;
    }
    for (size_t i = 0; i < n; i++) {
        struct candidate *c = &b->candidates[i];
        c->share = (double)b->in_chain[c->chain] / chain_of(b, b->objects[c->page].handle, &slots)->used;
    }
    for (size_t i = 0; i < n; i++) {
        b->in_chain[b->candidates[i].chain] = 0;
    }
    qsort(b->candidates, n, sizeof b->candidates[0], by_share);
    size_t until = b->written + BATCH;
    for (size_t i = 0; i < n && b->written < until; i++) {
        write_back(b, b->candidates[i].page);
    }
}

static void write_batch(struct bench *b)
{
    size_t until = b->written + BATCH;
    if (b->policy.kind == WINDOW) {
        write_window(b);
        return;
    }
    while (b->written < until && b->live) {
        uint32_t page = b->objects[b->count].newer, chain = zs_handle_chain(b->objects[page].handle);
        write_back(b, page);
        if (b->policy.kind == PEERS) {
            write_peers(b, chain);
        }
    }
}

/* ---- compaction */

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct bench *b = context;
    return b->objects[owner].handle == handle;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct bench *b = context;
    b->objects[owner].handle = moved;
    b->copied += b->objects[owner].bytes;
    b->pool->ops->free(b->pool, handle);
    return true;
}

static void make_room(struct bench *b, size_t limit)
{
    static const struct pool_mover mover = {.hold = hold, .commit = commit};
    size_t low = limit / 10 * 9, total = b->pool->ops->total_size(b->pool), before = total;
    if (total < limit) {
        return;
    }
    while ((total = b->pool->ops->total_size(b->pool)) > low) {
        if (b->pool->ops->compact(b->pool, BATCH, &mover, b) < PAGE_BYTES) {
            write_batch(b);
        }
    }
    b->given += before - total;
}

/* ---- the run */

static void touch(struct bench *b, size_t limit)
{
    double u = random_unit(&b->seed);
    uint32_t page = (uint32_t)(u * u * u * b->count);
    struct object *o = &b->objects[page];
    if (o->handle) {
        unlink_page(b, page);
        b->pool->ops->free(b->pool, o->handle);
    } else if (o->on_device) {
        b->read += o->bytes;
        o->on_device = false;
    }
    make_room(b, limit);
    if (b->pool->ops->alloc(b->pool, o->bytes, page, &o->handle)) {
        need(NULL);
    }
    link_newest(b, page);
    b->stored += o->bytes;
}

static void report(const struct bench *b)
{
    uint64_t below = 0;
    int p99 = 0;
    while (below * 100 < b->victims * 99) {
        below += b->places[p99++];
    }
    double stored = (double)b->stored;
    printf("  %-11s %7.0f %9.3f %8.3f %7.3f %9.3f %6.3f\n", b->policy.name,
           (double)(b->given / PAGE_BYTES) / ((double)(b->written + b->copied) / (1 << 20)),
           (double)b->written / stored, (double)b->copied / stored, (double)b->read / stored,
           b->place_sum / (double)b->victims, p99 / 1000.0);
    fflush(stdout);
}

static void run(const struct policy *policy, const struct mix *mix, size_t limit)
{
    struct bench b = {.policy = *policy, .seed = 42};
    size_t payload = 0;
    b.memory.account = &b.account;
    for (uint64_t seed = 7; payload < 4 * limit; b.count++) {
        payload += mix->size(&seed);
    }
    b.stamps = 12 * b.count;
    b.objects = need(calloc(b.count + 1, sizeof b.objects[0]));
    b.candidates = need(calloc(b.count, sizeof b.candidates[0]));
    b.ranks = need(calloc(b.stamps + 1, sizeof b.ranks[0]));
    if (pool_zsmalloc.create(&b.pool, &b.memory, 4 * limit)) {
        need(NULL);
    }
    b.in_chain =
        need(calloc(zs_of(b.pool)->source.ranges[ZS_RAW].first + zs_of(b.pool)->source.ranges[ZS_RAW].total,
                    sizeof b.in_chain[0]));
    uint64_t seed = 7;
    for (uint32_t i = 0; i < b.count; i++) {
        b.objects[i].bytes = mix->size(&seed);
    }
    b.objects[b.count].older = b.objects[b.count].newer = b.count;
    for (uint32_t i = 0; i < b.stamps; i++) {
        if (i == b.stamps / 2) {
            b.stored = b.written = b.copied = b.read = b.given = b.victims = 0;
            memset(b.places, 0, sizeof b.places);
            b.place_sum = 0;
        }
        touch(&b, limit);
    }
    report(&b);
    pool_zsmalloc.destroy(b.pool);
    free(b.in_chain);
    free(b.ranks);
    free(b.candidates);
    free(b.objects);
}

static const char usage[] = "bench-shrink-victims [MIB]\n"
                            "Which victims give zsmalloc's pages back, in a pool of MIB (32): bytes written, "
                            "copied and read, by how\n"
                            "the victims are chosen.\n";

int main(int argc, char **argv)
{
    int first = program_start(argc, argv, usage, (struct program_option[]){{0}}, 0, 1);
    size_t limit = (size_t)(first < argc ? number_of("MIB", argv[first], 1, 1 << 10) : 32) << 20;
    for (size_t m = 0; m < ARRAY_LENGTH(mixes); m++) {
        printf("objects of %s\n  %-11s %7s %9s %8s %7s %16s\n", mixes[m].name, "victims", "pages", "written",
               "copied", "read", "place mean, p99");
        for (size_t p = 0; p < ARRAY_LENGTH(policies); p++) {
            run(&policies[p], &mixes[m], limit);
        }
    }
    return 0;
}
