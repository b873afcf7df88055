/* SPDX-License-Identifier: MIT */
#include "tests/support/recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 8 threads need less than 4352 in any case (history.h); more threads mostly do with this. */
#define STATES 16384
#define SHOWN 40

static const char *const verb_names[] = {
    [HISTORY_STORE] = "store",
    [HISTORY_STORE_FAIL] = "store failed",
    [HISTORY_LOAD] = "load",
    [HISTORY_EXCLUSIVE] = "exclusive load",
    [HISTORY_INVALIDATE] = "invalidate",
    [HISTORY_REMOVE] = "invalidate, was there",
    [HISTORY_NOTHING] = "failed",
};

/* The way through all logs, along the clock. */
struct walk {
    const struct recorder *r;
    uint32_t key_bit;
    size_t at[RECORDER_THREADS];
    bool under_way[RECORDER_THREADS];
    struct {
        unsigned thread;
        const struct record *record;
    } latest[SHOWN]; /* those that began last */
    size_t begun;
};

static void *allocate(size_t n, size_t bytes)
{
    void *at = calloc(n, bytes);
    if (!at) {
        fprintf(stderr, "recorder: no memory\n");
        abort();
    }
    return at;
}

void recorder_create(struct recorder *r, unsigned threads, unsigned keys, size_t capacity)
{
    if (threads > RECORDER_THREADS || keys > RECORDER_KEYS) {
        fprintf(stderr, "recorder: %u threads, %u keys\n", threads, keys);
        abort();
    }
    memset(r, 0, sizeof *r);
    r->threads = threads;
    r->keys = keys;
    r->capacity = capacity;
    for (unsigned i = 0; i < threads; i++) {
        r->logs[i].records = allocate(capacity, sizeof(struct record));
    }
    for (unsigned key = 0; key < keys; key++) {
        history_open(&r->histories[key], allocate(STATES, sizeof(struct history_state)), STATES, 0);
    }
}

void recorder_destroy(struct recorder *r)
{
    for (unsigned i = 0; i < r->threads; i++) {
        free(r->logs[i].records);
    }
    for (unsigned key = 0; key < r->keys; key++) {
        free(r->histories[key].states);
    }
}

void recorder_clear(struct recorder *r)
{
    for (unsigned i = 0; i < r->threads; i++) {
        r->logs[i].used = 0;
    }
}

/* The thread that does the next thing to the entry, begin or end; `threads` if all is done. Ends come before beginnings
 * of the same time. */
static unsigned next_thread(struct walk *w)
{
    const struct recorder *r = w->r;
    unsigned next = r->threads;
    uint64_t when = UINT64_MAX;
    for (unsigned i = 0; i < r->threads; i++) {
        const struct recorder_log *log = &r->logs[i];
        while (w->at[i] < log->used && !(log->records[w->at[i]].keys & w->key_bit)) {
            w->at[i]++;
        }
        if (w->at[i] == log->used) {
            continue;
        }
        const struct record *record = &log->records[w->at[i]];
        uint64_t time = w->under_way[i] ? record->end * 2 : record->begin * 2 + 1;
        if (time < when) {
            when = time;
            next = i;
        }
    }
    return next;
}

static void print_latest(const struct walk *w, unsigned key)
{
    size_t first = w->begun > SHOWN ? w->begun - SHOWN : 0;
    for (size_t i = first; i < w->begun; i++) {
        const struct record *record = w->latest[i % SHOWN].record;
        printf("#   entry %u thread %u  %llu .. %llu  %s %llx\n", key, w->latest[i % SHOWN].thread,
               (unsigned long long)record->begin, (unsigned long long)record->end, verb_names[record->verb],
               (unsigned long long)record->version);
    }
}

static void print_violation(const struct walk *w, unsigned key, unsigned thread, int error)
{
    static uint32_t lock; /* several threads check */
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {
    }
    print_latest(w, key);
    printf("#   entry %u: %s, at the end of thread %u's verb\n", key,
           error == -E2BIG ? "too much at one time to be checked" : "NOT LINEARIZABLE", thread);
    fflush(stdout);
    atomic_set_release(&lock, 0);
}

bool recorder_check(struct recorder *r, unsigned key)
{
    struct walk w = {.r = r, .key_bit = 1u << key};
    struct history *h = &r->histories[key];
    unsigned thread;
    while ((thread = next_thread(&w)) < r->threads) {
        const struct record *record = &r->logs[thread].records[w.at[thread]];
        if (!w.under_way[thread]) {
            w.under_way[thread] = true;
            w.latest[w.begun % SHOWN].thread = thread;
            w.latest[w.begun++ % SHOWN].record = record;
            history_begin(h, thread, record->verb, record->version);
            continue;
        }
        int error = history_end(h, thread);
        if (error) {
            print_violation(&w, key, thread, error);
            return false;
        }
        w.under_way[thread] = false;
        w.at[thread]++;
    }
    return true;
}
