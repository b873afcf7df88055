/* SPDX-License-Identifier: MIT */
/*
 * The four lifecycles side by side: each verb alone, two threads on one entry and on two, loads against writebacks and
 * against invalidations.
 *
 *     bench-lifecycle [--rounds N] [--milliseconds N] [--json]
 *
 * In each round every measure is taken of every lifecycle in turn, so that whatever else the machine does falls on all. Threads
 * are pinned, a CPU each. The table shows medians; the JSON has all rounds.
 *
 * What an entry's object is. "bare": 8 bytes, so that hardly anything but the lifecycle is measured. "page": a compressed page,
 * and a load decompresses it (LZ4), as real loads do.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/atomic.h"
#include "bench/measure.h"
#include "tests/lifecycles/memory_substrate.h"

#define KEYS 1024
#define FEW 4          /* entries that two threads fight for */
#define WRITE_NS 10000 /* a write by a fast device */
#define THREADS 2
#define ROUNDS_MAX 99
#define ATTEMPTS 3

static const struct lifecycle_ops *const lifecycles[] = {&lifecycle_baseline, &lifecycle_getput,
                                                         &lifecycle_cas, &lifecycle_production};
#define LIFECYCLES ARRAY_LENGTH(lifecycles)

struct run;

struct worker {
    struct run *run;
    unsigned number;
    uint64_t count, ns; /* what it did, and in what time */
    long disturbed;     /* how often something else took its CPU meanwhile */
};

struct run {
    const struct lifecycle_ops *ops;
    struct cache *cache;
    struct substrate *substrate;
    unsigned threads;
    uint32_t ready, go, stop; /* atomic */
    struct worker workers[THREADS];
};

/* ---- what the threads do: each until it is stopped */

#define UNTIL_STOPPED(w) for (; !atomic_read_relaxed(&(w)->run->stop);)

static void load_key(struct worker *w, unsigned key)
{
    const struct lifecycle_ops *ops = w->run->ops;
    uint64_t version;
    UNTIL_STOPPED(w)
    {
        ops->load(w->run->cache, key, &version);
        w->count++;
    }
}

static void load_hot(struct worker *w)
{
    load_key(w, 0);
}

static void load_far(struct worker *w)
{
    load_key(w, w->number * KEYS / 2);
}

static void load_neighbour(struct worker *w)
{
    load_key(w, w->number);
}

static void store_all(struct worker *w)
{
    for (unsigned key = 0; key < KEYS; key++) {
        if (w->run->ops->store(w->run->cache, key, key + 1)) {
            die("a store failed");
        }
    }
}

static void load_many(struct worker *w)
{
    uint64_t version;
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < KEYS; key++, w->count++) {
            w->run->ops->load(w->run->cache, key, &version);
        }
    }
}

static void store_many(struct worker *w)
{
    UNTIL_STOPPED(w)
    {
        store_all(w);
        w->count += KEYS;
    }
}

static void exclusive_and_store(struct worker *w)
{
    uint64_t version;
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < KEYS; key++, w->count++) {
            w->run->ops->load_exclusive(w->run->cache, key, &version);
            w->run->ops->store(w->run->cache, key, version);
        }
    }
}

static void invalidate_and_store(struct worker *w)
{
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < KEYS; key++, w->count++) {
            w->run->ops->invalidate(w->run->cache, key);
            w->run->ops->store(w->run->cache, key, key + 1);
        }
    }
}

/* The writebacks' own time; the stores between them are not counted. */
static void write_back_many(struct worker *w)
{
    UNTIL_STOPPED(w)
    {
        store_all(w);
        uint64_t start = now_ns();
        for (unsigned key = 0; key < KEYS; key++, w->count++) {
            w->run->ops->writeback(w->run->cache, key);
        }
        w->ns += now_ns() - start;
    }
}

/* The first thread loads a few entries, the second does something else to them. */
static void load_few(struct worker *w)
{
    uint64_t version;
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < FEW; key++, w->count++) {
            w->run->ops->load(w->run->cache, key, &version);
        }
    }
}

static void reclaim_few(struct worker *w)
{
    const struct lifecycle_ops *ops = w->run->ops;
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < FEW; key++) {
            if (ops->writeback(w->run->cache, key) || ops->writeback(w->run->cache, key)) {
                w->count++;
            }
            ops->store(w->run->cache, key, key + 1);
        }
    }
}

static void invalidate_few(struct worker *w)
{
    UNTIL_STOPPED(w)
    {
        for (unsigned key = 0; key < FEW; key++, w->count++) {
            w->run->ops->invalidate(w->run->cache, key);
            w->run->ops->store(w->run->cache, key, key + 1);
        }
    }
}

/* ---- measures */

enum object { BARE = 1, PAGE = 2 };

static const struct measure {
    const char *name;
    unsigned objects; /* with which: enum object */
    unsigned threads;
    void (*work[THREADS])(struct worker *);
    unsigned write_ns;
} measures[] = {
    {"load", BARE | PAGE, 1, {load_many}, 0},
    {"store", BARE | PAGE, 1, {store_many}, 0},
    {"exclusive load, store", BARE | PAGE, 1, {exclusive_and_store}, 0},
    {"invalidate, store", BARE | PAGE, 1, {invalidate_and_store}, 0},
    {"writeback", BARE | PAGE, 1, {write_back_many}, 0},
    {"loads of one entry", BARE | PAGE, 1, {load_hot}, 0},
    {"loads of one entry", BARE | PAGE, 2, {load_hot, load_hot}, 0},
    {"loads of different entries", BARE | PAGE, 1, {load_far}, 0},
    {"loads of different entries", BARE | PAGE, 2, {load_far, load_far}, 0},
    {"loads of neighbours", BARE | PAGE, 2, {load_neighbour, load_neighbour}, 0},
    {"loads against writebacks", PAGE, 2, {load_few, reclaim_few}, WRITE_NS},
    {"loads against invalidations", PAGE, 2, {load_few, invalidate_few}, 0},
};
#define MEASURES ARRAY_LENGTH(measures)

/* Operations a second of each thread, by measure, object, lifecycle and round. */
static double rates[MEASURES][2][LIFECYCLES][ROUNDS_MAX][THREADS];
static const char *const object_names[] = {"bare", "page"};

static const struct measure *measure_now; /* set while no worker runs */

static long times_disturbed(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static void *run_worker(void *argument)
{
    struct worker *w = argument;
    pin_to_cpu(w->number);
    memory_substrate_enter(w->number);
    atomic_add_acq_rel(&w->run->ready, 1);
    while (!atomic_read_acquire(&w->run->go)) {
        cpu_relax();
    }
    struct worker mine = {.run = w->run, .number = w->number}; /* on its own stack: counts share no line */
    long disturbed = times_disturbed();
    uint64_t start = now_ns();
    measure_now->work[w->number](&mine);
    w->ns = mine.ns ? mine.ns : now_ns() - start;
    w->count = mine.count;
    w->disturbed = times_disturbed() - disturbed;
    return NULL;
}

/* Takes one measure. How often it was disturbed. */
static long take_once(const struct measure *m, enum object object, const struct lifecycle_ops *ops,
                      unsigned milliseconds, double rate[THREADS])
{
    struct memory_options options = {
        .keys = KEYS, .object_bytes = 8, .compressed = object == PAGE, .write_ns = m->write_ns};
    struct run run = {.ops = ops, .substrate = memory_substrate_create(&options), .threads = m->threads};
    if (!run.substrate || ops->create(&run.cache, run.substrate, KEYS)) {
        die("no memory");
    }
    store_all(&(struct worker){.run = &run});
    pthread_t threads[THREADS];
    measure_now = m;
    for (unsigned i = 0; i < m->threads; i++) {
        run.workers[i] = (struct worker){.run = &run, .number = i};
        if (pthread_create(&threads[i], NULL, run_worker, &run.workers[i])) {
            die("cannot start a thread");
        }
    }
    while (atomic_read_acquire(&run.ready) < m->threads) {
        sched_yield();
    }
    atomic_set_release(&run.go, 1);
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000l}, NULL);
    atomic_set_release(&run.stop, 1);
    long disturbed = 0;
    for (unsigned i = 0; i < m->threads; i++) {
        pthread_join(threads[i], NULL);
        disturbed += run.workers[i].disturbed;
        rate[i] = (double)run.workers[i].count * 1e9 / (double)run.workers[i].ns;
    }
    memory_substrate_destroy(run.substrate);
    return disturbed;
}

/* The least disturbed of some attempts. Once is this program's own main thread, when it stops the others. */
static void take(const struct measure *m, enum object object, const struct lifecycle_ops *ops,
                 unsigned milliseconds, double rate[THREADS])
{
    long least = LONG_MAX;
    for (unsigned i = 0; i < ATTEMPTS && least > 1; i++) {
        double once[THREADS] = {0};
        long disturbed = take_once(m, object, ops, milliseconds, once);
        if (disturbed < least) {
            least = disturbed;
            memcpy(rate, once, sizeof once);
        }
    }
}

/* ---- what is printed */

static double median(double (*by_round)[THREADS], unsigned rounds, int thread)
{
    double values[ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++) {
        values[i] = thread < 0 ? by_round[i][0] + by_round[i][1] : by_round[i][thread];
    }
    return median_of(values, rounds);
}

static void print_row(const struct measure *m, unsigned object, unsigned rounds, int thread, const char *unit)
{
    char name[100];
    snprintf(name, sizeof name, "%s, %s%s", m->name, object_names[object],
             thread == 1      ? ": the other"
             : thread == 0    ? ": loads"
             : m->threads > 1 ? ", 2 threads"
                              : "");
    printf("%-48s", name);
    for (size_t l = 0; l < LIFECYCLES; l++) {
        double rate = median(rates[m - measures][object][l], rounds, thread);
        printf(" %12.2f", *unit == 'n' ? 1e9 / rate : rate / 1e6);
    }
    printf("  %s\n", unit);
}

static void print_table(unsigned rounds)
{
    printf("%-48s", "median");
    for (size_t l = 0; l < LIFECYCLES; l++) {
        printf(" %12s", lifecycles[l]->name);
    }
    printf("\n");
    for (const struct measure *m = measures; m < measures + MEASURES; m++) {
        for (unsigned object = 0; object < 2; object++) {
            if (!(m->objects & 1u << object)) {
                continue;
            }
            if (m->threads == 2 && m->work[0] != m->work[1]) {
                print_row(m, object, rounds, 0, "M/s");
                print_row(m, object, rounds, 1, "M/s");
            } else {
                print_row(m, object, rounds, -1, m - measures < 5 ? "ns" : "M/s");
            }
        }
    }
}

static void print_rates(const struct measure *m, unsigned object, size_t l, unsigned rounds)
{
    for (unsigned thread = 0; thread < m->threads; thread++) {
        printf("%s[", thread ? ", " : "");
        for (unsigned i = 0; i < rounds; i++) {
            printf("%s%.1f", i ? ", " : "", rates[m - measures][object][l][i][thread]);
        }
        printf("]");
    }
}

static void print_json(unsigned rounds)
{
    const char *separator = "[";
    for (const struct measure *m = measures; m < measures + MEASURES; m++) {
        for (unsigned object = 0; object < 2; object++) {
            for (size_t l = 0; m->objects & 1u << object && l < LIFECYCLES; l++) {
                printf("%s{\"measure\": \"%s\", \"object\": \"%s\", \"lifecycle\": \"%s\", \"rates\": [",
                       separator, m->name, object_names[object], lifecycles[l]->name);
                print_rates(m, object, l, rounds);
                printf("]}");
                separator = ",\n ";
            }
        }
    }
    printf("]\n");
}

static const char usage[] =
    "bench-lifecycle [--rounds N] [--milliseconds N] [--json]\n"
    "The four lifecycles of an entry, side by side: medians of N (15) rounds, of N (10) ms a measure.\n"
    "--json prints all rounds instead.\n";

int main(int argc, char **argv)
{
    unsigned rounds = 15, milliseconds = 10;
    bool json = false;
    program_start(
        argc, argv, usage,
        (struct program_option[]){{"--rounds", .number = &rounds, .least = 1, .most = ROUNDS_MAX},
                                  {"--milliseconds", .number = &milliseconds, .least = 1, .most = 999},
                                  {"--json", .flag = &json},
                                  {0}},
        0, 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t m = 0; m < MEASURES; m++) {
            for (unsigned object = 0; object < 2; object++) {
                for (size_t l = 0; measures[m].objects & 1u << object && l < LIFECYCLES; l++) {
                    take(&measures[m], 1u << object, lifecycles[l], milliseconds, rates[m][object][l][round]);
                }
            }
        }
    }
    (json ? print_json : print_table)(rounds);
    return 0;
}
