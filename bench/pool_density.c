/* SPDX-License-Identifier: MIT */
/*
 * How densely each pool packs, and how fast it is.
 *
 *   pool_density [MIB] [PERCENT_RAW]
 *
 * Objects of 64 to 3500 bytes (triangular, mean 1500), and PERCENT_RAW of raw pages, until the payload is MIB (256). Payload over
 * pool size after each stage:
 *
 *   filled        only allocs
 *   half freed    every second object, at random; then compacted
 *   churned       refilled; then ten times the payload freed and allocated again, at random; then compacted
 *
 * Metadata: all tables, and what lies beside the objects in the pool, an object, when filled. Speed: a free and an alloc of random
 * objects, with nothing written to them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "pool/pool.h"
#include "pool/zsmalloc.h"

struct object {
    uint64_t handle;
    uint32_t bytes;
};

struct bench {
    const struct pool_ops *ops;
    struct account account;
    struct memory memory;
    struct pool *pool;
    struct object *objects;
    size_t room, count, payload, moved;
    unsigned percent_raw;
    uint64_t seed;
};

static uint64_t random_number(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull >> 16;
}

static double square_root(double x)
{
    double root = x < 1 ? 1 : x;
    for (int i = 0; i < 40; i++) {
        root = (root + x / root) / 2;
    }
    return root;
}

/* A triangular distribution, most often 936. */
static uint32_t random_size(uint64_t *seed, unsigned percent_raw)
{
    enum { LOW = 64, HIGH = 3500, MODE = 936 };
    if (random_number(seed) % 100 < percent_raw) {
        return PAGE_BYTES;
    }
    double u = (double)(random_number(seed) % 1000000) / 1e6, width = HIGH - LOW;
    double split = (MODE - LOW) / width;
    return (uint32_t)(u < split ? LOW + square_root(u * width * (MODE - LOW))
                                : HIGH - square_root((1 - u) * width * (HIGH - MODE)));
}

static void add(struct bench *b)
{
    struct object *object = &b->objects[b->count];
    object->bytes = random_size(&b->seed, b->percent_raw);
    if (b->count == b->room || b->ops->alloc(b->pool, object->bytes, b->count, &object->handle)) {
        fprintf(stderr, "pool_density: no room\n");
        exit(1);
    }
    b->count++;
    b->payload += object->bytes;
}

static void drop(struct bench *b, size_t i)
{
    b->ops->free(b->pool, b->objects[i].handle);
    b->payload -= b->objects[i].bytes;
    b->objects[i].handle = 0;
}

/* The owner is the object's place in the table, so that table must not move: a freed place is filled again later. */
static void refill(struct bench *b, size_t i)
{
    struct object *object = &b->objects[i];
    object->bytes = random_size(&b->seed, b->percent_raw);
    if (b->ops->alloc(b->pool, object->bytes, i, &object->handle)) {
        fprintf(stderr, "pool_density: no room\n");
        exit(1);
    }
    b->payload += object->bytes;
}

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct bench *b = context;
    return b->objects[owner].handle == handle;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct bench *b = context;
    b->objects[owner].handle = moved;
    b->moved += b->objects[owner].bytes;
    b->ops->free(b->pool, handle);
    return true;
}

static const struct pool_mover mover = {.hold = hold, .commit = commit};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(struct bench *b, const char *stage)
{
    size_t total = b->ops->total_size(b->pool);
    printf("%-10s %-24s %6.2f %%  of %5zu MiB\n", b->ops->name, stage,
           100.0 * (double)b->payload / (double)total, total >> 20);
    fflush(stdout);
}

static void compact(struct bench *b, const char *stage)
{
    if (!b->ops->compact) {
        b->ops->trim(b->pool);
        report(b, stage);
        return;
    }
    b->moved = 0;
    double begin = now();
    size_t won = 0, step;
    while ((step = b->ops->compact(b->pool, (size_t)1 << 20, &mover, b)) != 0) {
        won += step;
    }
    double seconds = now() - begin;
    report(b, stage);
    printf("%-10s %24s given back %zu MiB, moved %zu MiB, in %.0f ms\n", "", "", won >> 20, b->moved >> 20,
           seconds * 1e3);
}

static void measure_density(const struct pool_ops *ops, size_t payload, unsigned percent_raw)
{
    struct bench b = {.ops = ops, .percent_raw = percent_raw, .seed = 42, .room = payload / 1000 + 1000};
    b.memory.account = &b.account;
    b.objects = calloc(b.room, sizeof b.objects[0]);
    if (!b.objects || ops->create(&b.pool, &b.memory, 4 * payload + ((size_t)1 << 30))) {
        fprintf(stderr, "pool_density: no memory\n");
        exit(1);
    }
    while (b.payload < payload) {
        add(&b);
    }
    report(&b, "filled");
    bool inside = strcmp(ops->name, "zsmalloc") == 0;
    printf("%-10s %-24s %6.2f bytes an object\n", ops->name, "metadata",
           (double)account_bytes(&b.account, ACCOUNT_TABLES) / (double)b.count +
               (inside ? ZS_OWNER_BYTES : 0));
    for (size_t i = 0; i < b.count; i++) {
        if (random_number(&b.seed) % 2) {
            drop(&b, i);
        }
    }
    report(&b, "half freed");
    compact(&b, "half freed, compacted");
    for (size_t i = 0; i < b.count; i++) {
        if (!b.objects[i].handle) {
            refill(&b, i);
        }
    }
    for (size_t churned = 0; churned < 10 * payload;) {
        size_t i = random_number(&b.seed) % b.count;
        drop(&b, i);
        refill(&b, i);
        churned += b.objects[i].bytes;
    }
    report(&b, "churned");
    compact(&b, "churned, compacted");
    ops->destroy(b.pool);
    free(b.objects);
}

struct worker {
    const struct pool_ops *ops;
    struct pool *pool;
    pthread_t thread;
    uint64_t seed;
    uint32_t *sizes; /* drawn before */
};

enum { WORKER_OBJECTS = 50000, WORKER_STEPS = 1000000 };

static void *work(void *argument)
{
    struct worker *w = argument;
    uint64_t *handles = calloc(WORKER_OBJECTS, sizeof *handles);
    for (size_t i = 0; i < WORKER_OBJECTS; i++) {
        w->ops->alloc(w->pool, w->sizes[i], i, &handles[i]);
    }
    for (size_t step = 0; step < WORKER_STEPS; step++) {
        size_t i = random_number(&w->seed) % WORKER_OBJECTS;
        w->ops->free(w->pool, handles[i]);
        w->ops->alloc(w->pool, w->sizes[step], i, &handles[i]);
    }
    free(handles);
    return NULL;
}

static double time_workers(const struct pool_ops *ops, unsigned threads, bool one_size)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct worker workers[2];
    struct pool *pool;
    if (ops->create(&pool, &memory, (size_t)1 << 30)) {
        exit(1);
    }
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct worker){.ops = ops, .pool = pool, .seed = i + 1};
        workers[i].sizes = malloc(WORKER_STEPS * sizeof(uint32_t));
        for (size_t n = 0; n < WORKER_STEPS; n++) {
            workers[i].sizes[n] = one_size ? 1500 : random_size(&workers[i].seed, 0);
        }
    }
    double begin = now();
    for (unsigned i = 0; i < threads; i++) {
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].sizes);
    }
    double seconds = now() - begin;
    ops->destroy(pool);
    return seconds;
}

/* The best of five: other programs may be running. */
static void measure_speed(const struct pool_ops *ops, unsigned threads, bool one_size)
{
    double best = 1e9;
    for (int run = 0; run < 5; run++) {
        double seconds = time_workers(ops, threads, one_size);
        best = seconds < best ? seconds : best;
    }
    printf("%-10s free and alloc, %s, %u thread%s %8.0f ns each\n", ops->name,
           one_size ? "one size " : "all sizes", threads, threads > 1 ? "s" : " ", best * 1e9 / WORKER_STEPS);
}

int main(int argc, char **argv)
{
    static const struct pool_ops *const pools[] = {&pool_zbud, &pool_zsmalloc};
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    unsigned percent_raw = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; i < ARRAY_LENGTH(pools); i++) {
        measure_density(pools[i], mib << 20, percent_raw);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(pools); i++) {
        for (unsigned threads = 1; threads <= 2; threads++) {
            measure_speed(pools[i], threads, false);
            measure_speed(pools[i], threads, true);
        }
    }
    return 0;
}
