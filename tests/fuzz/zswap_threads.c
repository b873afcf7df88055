/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: short lists of verbs, each run by a thread of its own, all at once; the histories of the entries are checked
 * for linearizability.
 *
 * The input says what is done, not in which order: that is the scheduler's, which is asked for another often (restless.h).
 * So a finding may need its input to be run again, many times: -runs=100000 FILE.
 *
 *   byte 0      bits 0-1: another limit, device errors; 2-3: what is stored and written back beforehand
 *   then        for each thread in turn a verb: bits 0-1 entry, 2-7 what
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/faulty_device.h"
#include "tests/support/ram_device.h"
#include "tests/support/recorder.h"
#include "tests/support/require.h"
#include "tests/support/restless.h"
#include "tests/support/versioned.h"
#include "zswap/zswap.h"

#define THREADS 3
#define KEYS 4
#define VERBS_MAX 24 /* of each thread */
#define TYPE 1
#define LIMIT ((size_t)1 << 20)

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_cache *swap_cache;
static struct swap_device *device;
static struct zswap *zswap;
static struct recorder recorder;
static pthread_barrier_t start, end;

/* Each thread's verbs of this run; written while they wait. */
static struct list {
    uint8_t verbs[VERBS_MAX];
    size_t used;
    uint64_t stores; /* never begins anew: versions are unique */
} lists[THREADS + 1];

static bool device_fails;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In two pages of the index. */
static struct swap_entry entry_of(unsigned key)
{
    return (struct swap_entry){TYPE, key % 2 * 512 + key / 2};
}

static void record(unsigned thread, uint64_t begin, uint64_t ended, enum history_verb verb, uint64_t version,
                   uint32_t keys)
{
    struct record record = {.begin = begin, .end = ended, .version = version, .keys = keys, .verb = verb};
    recorder_add(&recorder, thread, record);
}

static void store(unsigned thread, unsigned key, unsigned kind)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t version = version_make(key, thread, ++lists[thread].stores, (enum versioned_kind)kind);
    version_fill(page, version);
    uint64_t begin = recorder_begin(&recorder);
    int error = zswap_store(zswap, entry_of(key), page);
    record(thread, begin, recorder_now(&recorder), error ? HISTORY_STORE_FAIL : HISTORY_STORE, version,
           1u << key);
    REQUIRE(!error || error == -ENOSPC);
}

static void load(unsigned thread, unsigned key, bool exclusive)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t begin = recorder_begin(&recorder);
    int error = (exclusive ? zswap_load_exclusive : zswap_load)(zswap, entry_of(key), page);
    uint64_t ended = recorder_now(&recorder), version = error ? 0 : version_read(page, key);
    bool says = !error || error == -ENOENT;
    REQUIRE(error || version); /* torn, or another's */
    REQUIRE(says || ((error == -EIO || error == -EBADMSG) && device_fails));
    record(thread, begin, ended,
           !says       ? HISTORY_NOTHING
           : exclusive ? HISTORY_EXCLUSIVE
                       : HISTORY_LOAD,
           version, 1u << key);
}

/* `removed` of the `keys` were there. */
static void removal(unsigned thread, uint64_t begin, uint64_t removed, uint32_t keys)
{
    uint64_t ended = recorder_now(&recorder), all = (uint64_t)__builtin_popcount(keys);
    REQUIRE(removed <= all);
    record(thread, begin, ended,
           !removed         ? HISTORY_LOAD
           : removed == all ? HISTORY_REMOVE
                            : HISTORY_INVALIDATE,
           0, keys);
}

static void invalidate(unsigned thread, unsigned key)
{
    uint64_t begin = recorder_begin(&recorder);
    removal(thread, begin, zswap_invalidate(zswap, entry_of(key)), 1u << key);
}

static void invalidate_range(unsigned thread, unsigned key)
{
    uint64_t begin = recorder_begin(&recorder);
    uint64_t removed = zswap_invalidate_range(zswap, TYPE, key % 2 * 512, 512);
    removal(thread, begin, removed, key % 2 ? 0xa : 0x5);
}

static void invalidate_area(unsigned thread)
{
    uint64_t begin = recorder_begin(&recorder);
    removal(thread, begin, zswap_invalidate_area(zswap, TYPE), (1u << KEYS) - 1);
}

static void one_verb(unsigned thread, uint8_t byte)
{
    unsigned key = byte % KEYS, what = byte / KEYS % 16;
    switch (what) {
    case 0 ... 3:
        store(thread, key, what);
        break;
    case 4 ... 6:
        load(thread, key, false);
        break;
    case 7:
    case 8:
        load(thread, key, true);
        break;
    case 9:
        invalidate(thread, key);
        break;
    case 10:
        invalidate_range(thread, key);
        break;
    case 11:
        invalidate_area(thread);
        break;
    case 12:
    case 13:
        zswap_writeback(zswap, SIZE_MAX);
        break;
    case 14:
        zswap_writeback_reap(zswap, false);
        break;
    default:
        zswap_trim(zswap);
    }
}

static void *work(void *list)
{
    unsigned thread = (unsigned)((struct list *)list - lists);
    for (;;) {
        pthread_barrier_wait(&start);
        for (size_t i = 0; i < lists[thread].used; i++) {
            one_verb(thread, lists[thread].verbs[i]);
        }
        pthread_barrier_wait(&end);
    }
    return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct zswap_options options = {.memory = &memory,
                                    .pool = &restless_pool,
                                    .max_pool_bytes = LIMIT,
                                    .accept_threshold_percent = 90,
                                    .writeback = ZSWAP_WRITEBACK_COMPRESSED};
    (void)argc;
    (void)argv;
    device = faulty_device_create(ram_device_create(1 << 20, RAM_DEVICE_ASYNC_READ));
    REQUIRE(swap_cache_create(&swap_cache, &memory, 64) == 0);
    options.device = device;
    options.swap_cache = swap_cache;
    REQUIRE(codec_parse("lz4", &options.codec) == 0);
    REQUIRE(zswap_create(&zswap, &options) == 0);
    REQUIRE(zswap_area_create(zswap, TYPE, 1024) == 0);
    /* The last thread is the fuzzer's own. */
    recorder_create(&recorder, THREADS + 1, KEYS, 2 * VERBS_MAX + 4 * KEYS);
    REQUIRE(pthread_barrier_init(&start, NULL, THREADS + 1) == 0);
    REQUIRE(pthread_barrier_init(&end, NULL, THREADS + 1) == 0);
    restless_set(3);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, work, &lists[i]) == 0);
        pthread_detach(thread);
    }
    return 0;
}

static void prepare(uint8_t how)
{
    device_fails = how & 2;
    zswap_set_max_pool_bytes(zswap, how & 1 ? 1 : LIMIT);
    for (unsigned key = 0; how & 4 && key < KEYS; key++) {
        store(THREADS, key, (how >> 4) % 4);
    }
    if (how & 8) {
        zswap_writeback(zswap, SIZE_MAX);
    }
    if (device_fails) {
        faulty_fail_nth(device, SWAP_WRITE, 1 + (how >> 6), -EIO);
        faulty_fail_nth(device, SWAP_READ, 1 + (how >> 5) % 4, -EIO);
        faulty_flip_nth_read(device, 1 + (how >> 4) % 4);
    }
}

/* All stand still. */
static void check(void)
{
    struct zswap_stats stats;
    faulty_fail_nth(device, SWAP_WRITE, UINT32_MAX, 0);
    faulty_fail_nth(device, SWAP_READ, UINT32_MAX, 0);
    faulty_flip_nth_read(device, UINT32_MAX);
    device_fails = false;
    zswap_writeback_reap(zswap, true);
    for (unsigned key = 0; key < KEYS; key++) {
        load(THREADS, key, false);
    }
    REQUIRE(zswap_consistent(zswap));
    invalidate_area(THREADS);
    for (unsigned key = 0; key < KEYS; key++) {
        load(THREADS, key, false);
        REQUIRE(recorder_check(&recorder, key));
    }
    zswap_get_stats(zswap, &stats);
    REQUIRE(stats.stored_pages + stats.device_pages + stats.pool_payload + stats.device_bytes == 0);
    REQUIRE(restless_objects() == 0 && restless_misuses() == 0);
    REQUIRE(swap_cache_count(swap_cache) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    recorder_clear(&recorder);
    prepare(data[0]);
    for (int i = 0; i < THREADS; i++) {
        lists[i].used = 0;
    }
    for (size_t i = 1; i < size && i <= VERBS_MAX * THREADS; i++) {
        struct list *list = &lists[i % THREADS];
        list->verbs[list->used++] = data[i];
    }
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&end);
    check();
    return 0;
}
