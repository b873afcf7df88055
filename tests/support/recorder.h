/* SPDX-License-Identifier: MIT */
/*
 * Records what threads did to a few entries, each thread in a log of its own, and checks that the history of each entry is
 * linearizable (history.h).
 *
 *     uint64_t begin = recorder_begin(&r);
 *     int error = zswap_store(...);
 *     recorder_add(&r, thread, (struct record){begin, recorder_now(&r), version, 1u << key, HISTORY_STORE});
 *
 * When the threads stand still: recorder_check for each key, by any threads side by side; then recorder_clear. What
 * an entry may hold at the end is what it may begin with after that.
 *
 * The clock is a counter that each beginning moves on. A verb's end only reads it: who begins at that value or later moved the
 * counter on after it was read.
 */
#ifndef UZSWAP_TESTS_RECORDER_H
#define UZSWAP_TESTS_RECORDER_H

#include "base/atomic.h"
#include "tests/support/history.h"

#define RECORDER_THREADS HISTORY_SLOTS
#define RECORDER_KEYS 32

struct record {
    uint64_t begin, end, version;
    uint32_t keys; /* a bit for each; a range does the same to several */
    enum history_verb verb;
};

struct recorder_log {
    struct record *records;
    size_t used;
} __attribute__((aligned(64)));

struct recorder {
    uint64_t clock __attribute__((aligned(64))); /* atomic */
    unsigned threads, keys;
    size_t capacity;                            /* of each log */
    struct recorder_log logs[RECORDER_THREADS]; /* each its thread's */
    struct history histories[RECORDER_KEYS];
};

/* Each of `threads` can do `capacity` verbs before it is cleared. All entries are empty. Without memory it aborts. */
void recorder_create(struct recorder *r, unsigned threads, unsigned keys, size_t capacity);
void recorder_destroy(struct recorder *r);

static inline uint64_t recorder_begin(struct recorder *r)
{
    return __atomic_fetch_add(&r->clock, 1, __ATOMIC_SEQ_CST);
}

static inline uint64_t recorder_now(struct recorder *r)
{
    return atomic_read_seq_cst(&r->clock);
}

static inline void recorder_add(struct recorder *r, unsigned thread, struct record record)
{
    r->logs[thread].records[r->logs[thread].used++] = record;
}

/* True if the history of the entry is linearizable; else prints its end, up to where it was found out. */
bool recorder_check(struct recorder *r, unsigned key);

void recorder_clear(struct recorder *r);

#endif
