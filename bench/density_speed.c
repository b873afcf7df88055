/* SPDX-License-Identifier: MIT */
/*
 * How fast a filled pool is, with one and two threads, each on its own half of the objects: the median of five rounds, in
 * nanoseconds an operation of each thread.
 *
 *   read    map, copy out, unmap a random object
 *   copy    the same from the objects' own memory, without a pool: what `read` cannot be faster than
 *   alloc   free a random object, allocate another; nothing is written
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bench/measure.h"
#include "density.h"

enum { ROUNDS = 5, STEPS = 200000, THREADS_MAX = 2 };

struct worker {
    struct bench *bench;
    void (*step)(struct bench *b, size_t i, uint64_t *seed);
    size_t first, count;
    uint64_t seed;
    pthread_t thread;
    pthread_barrier_t *start;
};

static void step_read(struct bench *b, size_t i, uint64_t *seed)
{
    unsigned char page[PAGE_BYTES];
    (void)seed;
    memcpy(page, b->ops->map(b->pool, b->handles[i]), b->objects->list[b->sources[i]].bytes);
    b->ops->unmap(b->pool, b->handles[i]);
    __asm__ volatile("" : : "r"(page) : "memory");
}

static void step_copy(struct bench *b, size_t i, uint64_t *seed)
{
    unsigned char page[PAGE_BYTES];
    (void)seed;
    memcpy(page, object_bytes(b->objects, b->sources[i]), b->objects->list[b->sources[i]].bytes);
    __asm__ volatile("" : : "r"(page) : "memory");
}

static void step_alloc(struct bench *b, size_t i, uint64_t *seed)
{
    b->ops->free(b->pool, b->handles[i]);
    bench_alloc(b, i, (uint32_t)(random_number(seed) % b->objects->count), false);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    pthread_barrier_wait(w->start);
    for (int i = 0; i < STEPS; i++) {
        w->step(w->bench, w->first + random_number(&w->seed) % w->count, &w->seed);
    }
    return NULL;
}

static double time_round(struct bench *b, void (*step)(struct bench *, size_t, uint64_t *), unsigned threads,
                         int round)
{
    struct worker workers[THREADS_MAX];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct worker){.bench = b,
                                     .step = step,
                                     .first = b->count / THREADS_MAX * i,
                                     .count = b->count / threads,
                                     .seed = (uint64_t)round * THREADS_MAX + i + 1,
                                     .start = &start};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
            die("cannot start a thread");
        }
    }
    pthread_barrier_wait(&start);
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    uint64_t ns = now_ns() - begin;
    pthread_barrier_destroy(&start);
    return (double)ns / STEPS;
}

static void print_median(struct bench *b, const char *name, void (*step)(struct bench *, size_t, uint64_t *))
{
    for (unsigned threads = 1; threads <= THREADS_MAX; threads++) {
        double ns[ROUNDS];
        for (int round = 0; round < ROUNDS; round++) {
            ns[round] = time_round(b, step, threads, round);
        }
        printf(" \"%s_ns_%u\": %.1f,\n", name, threads, median_of(ns, ROUNDS));
    }
}

void print_speed(struct bench *b)
{
    print_median(b, "copy", step_copy);
    print_median(b, "read", step_read);
    print_median(b, "alloc", step_alloc);
}
