/* SPDX-License-Identifier: MIT */
/*
 * The lifecycle of entries, proven by mass: threads use a few entries in all ways at once, over a device that fails, tears,
 * flips and keeps things back; each verb is recorded, and the history of each entry is checked for linearizability.
 *
 *   epoch   all threads run EPOCH_VERBS verbs each; then they stand still
 *           each checks the histories of some entries
 *           thread 0 makes the device fail in each way once, mends it, and loads each entry (all of which goes into the next
 *           epoch's history); now and then it checks the whole cache, and empties it, after which nothing may be left of
 *           what was stored
 *
 * Every fourth epoch nothing fails, and then no verb may say that something did: no damage lasts.
 *
 * The pool and the device give way in the middle of verbs (tests/support/restless.h), so that threads meet inside of them, and
 * the pool watches that nothing is freed twice, or in use. Each page names its version, and no two stores have the same.
 *
 * UZSWAP_TEST_POOL names the pool, UZSWAP_STRESS_VERBS sets the number of verbs, UZSWAP_STRESS_THREADS that of threads, UZSWAP_STRESS_SEED what they do.
 */
#include <pthread.h>
#include <time.h>

#include "tests/support/recorder.h"
#include "tests/support/restless.h"
#include "tests/support/versioned.h"
#include "tests/unit/zswap_fixture.h"

#define EPOCH_VERBS (HARNESS_SANITIZED ? 512 : 4096)
#define THREADS_MAX RECORDER_THREADS
#define INDEX_PAGE 512 /* offsets in a page of the index */
#define LIMIT ((size_t)1 << 20)

/* What happened. */
enum count {
    STORED,
    REFUSED,
    FOUND,
    NOT_HERE,
    WOULD_WAIT,
    READ_FAILED,
    DAMAGED,
    WON, /* exclusive loads that got the page */
    REMOVED,
    REMOVED_NONE,
    RANGES,
    AREAS,
    STARTED, /* writebacks */
    WAITED,  /* for all writebacks */
    HELD,    /* times that writes were found held back */
    COUNTS,
};

static const char *const count_names[COUNTS] = {
    [STORED] = "stored",
    [REFUSED] = "stores refused",
    [FOUND] = "loads found",
    [NOT_HERE] = "not here",
    [WOULD_WAIT] = "would wait",
    [READ_FAILED] = "device could not read",
    [DAMAGED] = "damaged",
    [WON] = "exclusive loads won",
    [REMOVED] = "invalidated",
    [REMOVED_NONE] = "nothing to invalidate",
    [RANGES] = "ranges",
    [AREAS] = "areas",
    [STARTED] = "writebacks started",
    [WAITED] = "writebacks waited for",
    [HELD] = "writes held back",
};

struct run {
    enum zswap_writeback mode;
    enum ram_device_mode device_mode;
    unsigned keys;
    unsigned percent; /* of all verbs */
};

struct user {
    unsigned number;
    uint64_t seed, stores;
    uint64_t counts[COUNTS];
} __attribute__((aligned(64)));

static struct fixture f;
static struct swap_device *faulty; /* behind the restless one */
static struct recorder recorder;
static struct run run;
static struct user users[THREADS_MAX];
static pthread_barrier_t barrier;
static uint64_t epoch, epochs; /* changed while all stand still; so is the next */
static bool nothing_fails;
static uint32_t violated; /* atomic */
static uint64_t verbs_wanted = HARNESS_SANITIZED ? 400000 : 5000000, threads_wanted = 8, seed_wanted = 1;

/* ---- entries: half of them in each of two pages of the index */

static struct swap_entry entry_of(unsigned key)
{
    return at(key % 2 * INDEX_PAGE + key / 2 * 3);
}

/* The first `n` keys of index page `page`. */
static uint32_t keys_of(unsigned page, unsigned n)
{
    uint32_t keys = 0;
    for (unsigned key = page; key < run.keys && key / 2 < n; key += 2) {
        keys |= 1u << key;
    }
    return keys;
}

/* ---- verbs, each recorded with what it said */

static void record(struct user *u, uint64_t begin, uint64_t end, enum history_verb verb, uint64_t version,
                   uint32_t keys)
{
    struct record record = {.begin = begin, .end = end, .version = version, .keys = keys, .verb = verb};
    recorder_add(&recorder, u->number, record);
}

static void store_kind(struct user *u, unsigned key, enum versioned_kind kind)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t version = version_make(key, u->number, ++u->stores, kind);
    version_fill(page, version);
    uint64_t begin = recorder_begin(&recorder);
    int error = zswap_store(f.zswap, entry_of(key), page);
    record(u, begin, recorder_now(&recorder), error ? HISTORY_STORE_FAIL : HISTORY_STORE, version, 1u << key);
    CHECK(!error || error == -ENOSPC);
    u->counts[error ? REFUSED : STORED]++;
}

static void do_store(struct user *u, unsigned key)
{
    unsigned kind = harness_random(&u->seed) % 8;
    store_kind(u, key, kind < 4 ? VERSIONED_FILL8 : (enum versioned_kind)(kind % 4));
}

/* Records a load that has said `error` and `page`. */
static void judge_load(struct user *u, unsigned key, uint64_t begin, enum history_verb verb, int error,
                       const uint64_t *page)
{
    uint64_t end = recorder_now(&recorder);
    uint64_t version = error ? 0 : version_read(page, key);
    record(u, begin, end, error && error != -ENOENT ? HISTORY_NOTHING : verb, version, 1u << key);
    switch (error) {
    case 0:
        CHECK(version); /* torn, or another's */
        u->counts[verb == HISTORY_LOAD ? FOUND : WON]++;
        break;
    case -ENOENT:
        u->counts[NOT_HERE]++;
        break;
    case -EIO:
        CHECK(!nothing_fails);
        u->counts[READ_FAILED]++;
        break;
    case -EBADMSG:
        CHECK(!nothing_fails);
        u->counts[DAMAGED]++;
        break;
    case -EAGAIN:
        u->counts[WOULD_WAIT]++;
        break;
    default:
        CHECK_EQUAL(error, 0);
    }
}

static void do_load(struct user *u, unsigned key)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t begin = recorder_begin(&recorder);
    int error = zswap_load(f.zswap, entry_of(key), page);
    judge_load(u, key, begin, HISTORY_LOAD, error, page);
    CHECK(error != -EAGAIN);
}

static void do_load_at_once(struct user *u, unsigned key)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t begin = recorder_begin(&recorder);
    int error = zswap_load_at_once(f.zswap, entry_of(key), page);
    judge_load(u, key, begin, HISTORY_LOAD, error, page);
}

static void do_load_exclusive(struct user *u, unsigned key)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t begin = recorder_begin(&recorder);
    int error = zswap_load_exclusive(f.zswap, entry_of(key), page);
    judge_load(u, key, begin, HISTORY_EXCLUSIVE, error, page);
    CHECK(error != -EAGAIN);
}

/* `removed` of the `keys` were there. If it was all or none, that says something of each. */
static void judge_removal(struct user *u, uint64_t begin, uint64_t removed, uint32_t keys)
{
    uint64_t end = recorder_now(&recorder), all = (uint64_t)__builtin_popcount(keys);
    CHECK(removed <= all);
    record(u, begin, end,
           !removed         ? HISTORY_LOAD
           : removed == all ? HISTORY_REMOVE
                            : HISTORY_INVALIDATE,
           0, keys);
    u->counts[removed ? REMOVED : REMOVED_NONE]++;
}

static void do_invalidate(struct user *u, unsigned key)
{
    uint64_t begin = recorder_begin(&recorder);
    judge_removal(u, begin, zswap_invalidate(f.zswap, entry_of(key)), 1u << key);
}

/* A whole page of the index, which is then given back, or some entries of it. */
static void do_invalidate_range(struct user *u)
{
    unsigned page = harness_random(&u->seed) % 2, n = 1 + harness_random(&u->seed) % 3;
    bool whole = harness_random(&u->seed) % 2;
    uint64_t begin = recorder_begin(&recorder);
    uint64_t removed =
        zswap_invalidate_range(f.zswap, TYPE, page * INDEX_PAGE, whole ? INDEX_PAGE : (n - 1) * 3 + 1);
    judge_removal(u, begin, removed, keys_of(page, whole ? run.keys : n));
    u->counts[RANGES]++;
}

static void do_invalidate_area(struct user *u)
{
    uint64_t begin = recorder_begin(&recorder);
    judge_removal(u, begin, zswap_invalidate_area(f.zswap, TYPE), (1u << run.keys) - 1);
    u->counts[AREAS]++;
}

static void do_writeback(struct user *u)
{
    u->counts[STARTED] += zswap_writeback(f.zswap, 1 + harness_random(&u->seed) % 8192) != 0;
}

/* Whoever waits has first ended all holds, so that nobody waits for ever. */
static void do_reap(struct user *u)
{
    bool wait = harness_random(&u->seed) % 16 == 0;
    if (wait) {
        faulty_let_go(faulty);
        u->counts[WAITED]++;
    }
    zswap_writeback_reap(f.zswap, wait);
}

/* What is not a verb of the cache: the device's moods, and the limit. */
static void disturb(struct user *u)
{
    uint64_t n = 1 + harness_random(&u->seed) % 8;
    unsigned what = harness_random(&u->seed) % 12;
    if (nothing_fails && what >= 5) {
        return;
    }
    switch (what) {
    case 0:
    case 1:
        faulty_hold(faulty, SWAP_WRITE, true);
        break;
    case 2:
        u->counts[HELD] += faulty_held(faulty) != 0;
        faulty_let_go(faulty);
        break;
    case 3:
    case 4:
        zswap_set_max_pool_bytes(f.zswap, n > 2 ? LIMIT : 1);
        break;
    case 5:
        faulty_fail_nth(faulty, SWAP_WRITE, n, -EIO);
        break;
    case 6:
        faulty_fail_nth(faulty, SWAP_READ, n, -EIO);
        break;
    case 7:
        faulty_tear_nth_write(faulty, n, -EIO);
        break;
    case 8:
    case 9:
        faulty_flip_nth_read(faulty, n);
        break;
    default: /* more often mended than broken */
        faulty_fail_all(faulty, SWAP_WRITE, n == 1 ? -EIO : 0);
    }
}

static void do_something(struct user *u)
{
    unsigned key = harness_random(&u->seed) % run.keys;
    unsigned what = harness_random(&u->seed) % 256;
    if (what < 76) {
        do_store(u, key);
    } else if (what < 156) {
        do_load(u, key);
    } else if (what < 168) {
        do_load_at_once(u, key);
    } else if (what < 188) {
        do_load_exclusive(u, key);
    } else if (what < 202) {
        do_invalidate(u, key);
    } else if (what < 207) {
        do_invalidate_range(u);
    } else if (what < 208) {
        do_invalidate_area(u);
    } else if (what < 226) {
        do_writeback(u);
    } else if (what < 248) {
        do_reap(u);
    } else if (what < 250) {
        zswap_trim(f.zswap);
    } else {
        disturb(u);
    }
}

/* ---- at rest */

static void mend_device(void)
{
    faulty_fail_all(faulty, SWAP_WRITE, 0);
    faulty_fail_nth(faulty, SWAP_WRITE, UINT32_MAX, 0);
    faulty_tear_nth_write(faulty, UINT32_MAX, 0);
    faulty_fail_nth(faulty, SWAP_READ, UINT32_MAX, 0);
    faulty_flip_nth_read(faulty, UINT32_MAX);
    faulty_let_go(faulty);
}

/* What the threads meet by chance only, and on some runs not at all. */
static void force_failures(struct user *u)
{
    zswap_set_max_pool_bytes(f.zswap, LIMIT);
    store_kind(u, 0, VERSIONED_RAW);
    /* After many failures the device is tried only now and then. */
    for (int tries = 0; tries < 100 && zswap_find(f.zswap, entry_of(0)) != ZSWAP_ON_DEVICE; tries++) {
        faulty_hold(faulty, SWAP_WRITE, true);
        zswap_writeback(f.zswap, SIZE_MAX);
        u->counts[HELD] += faulty_held(faulty) != 0;
        faulty_let_go(faulty);
        zswap_writeback_reap(f.zswap, true);
    }
    do_load_at_once(u, 0);
    faulty_flip_nth_read(faulty, 1);
    do_load(u, 0);
    faulty_fail_nth(faulty, SWAP_READ, 1, -EIO);
    do_load(u, 0);
}

/* After all has been invalidated, nothing is left. */
static void check_empty(struct user *u)
{
    do_invalidate_area(u);
    zswap_trim(f.zswap);
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.stored_pages, 0);
    CHECK_EQUAL(stats.device_pages, 0);
    CHECK_EQUAL(stats.pool_payload, 0);
    CHECK_EQUAL(stats.pool_total_size, 0);
    CHECK_EQUAL(stats.device_bytes, 0);
    CHECK_EQUAL(f.account.bytes[ACCOUNT_POOL], 0);
    CHECK_EQUAL(restless_objects(), 0);
    CHECK_EQUAL(swap_cache_count(f.swap_cache), 0);
}

static void rest(struct user *u)
{
    bool last = epoch + 1 == epochs;
    recorder_clear(&recorder);
    mend_device();
    zswap_writeback_reap(f.zswap, true);
    nothing_fails = false;
    force_failures(u);
    nothing_fails = true;
    for (unsigned key = 0; key < run.keys; key++) {
        do_load(u, key);
    }
    if (epoch % 16 == 0 || last) {
        CHECK(zswap_consistent(f.zswap));
        CHECK(swap_cache_consistent(f.swap_cache));
    }
    if (epoch % 32 == 0 || last) {
        check_empty(u);
        for (unsigned key = 0; key < run.keys; key++) {
            do_load(u, key);
        }
    }
    if (restless_misuses() || harness_failures) {
        CHECK(!"the pool was misused, or worse");
        atomic_set_relaxed(&violated, 1);
    }
    nothing_fails = ++epoch % 4 == 3;
}

static void check_some(unsigned number)
{
    for (unsigned key = number; key < run.keys; key += (unsigned)threads_wanted) {
        if (!recorder_check(&recorder, key)) {
            CHECK(!"linearizable");
            atomic_set_relaxed(&violated, 1);
        }
    }
}

static void *use_cache(void *user)
{
    struct user *u = user;
    while (epoch < epochs && !violated) {
        for (int i = 0; i < EPOCH_VERBS; i++) {
            do_something(u);
        }
        faulty_let_go(faulty); /* so that nobody waits for what only this thread would let go */
        pthread_barrier_wait(&barrier);
        check_some(u->number);
        pthread_barrier_wait(&barrier);
        if (u->number == 0) {
            rest(u);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* ---- a run */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void make_cache(void)
{
    fixture_prepare(&f, LIMIT, run.mode, run.device_mode);
    faulty = f.device;
    f.device = restless_device_create(faulty);
    f.options.device = f.device;
    f.options.pool = &restless_pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, 2 * INDEX_PAGE) == 0);
}

static void end_cache(void)
{
    zswap_destroy(f.zswap);
    CHECK_EQUAL(restless_objects(), 0);
    fixture_end(&f);
}

/* Each kind of thing has happened, and not once. */
static void check_counts(const uint64_t *counts, const struct zswap_stats *stats, double seconds)
{
    uint64_t verbs = epochs * EPOCH_VERBS * threads_wanted;
    printf("# %llu verbs, %.0f a second\n# ", (unsigned long long)verbs, (double)verbs / seconds);
    for (int i = 0; i < COUNTS; i++) {
        printf("%s %llu, ", count_names[i], (unsigned long long)counts[i]);
        CHECK(counts[i] >= epochs);
    }
    printf("written back %llu, loads from the device %llu, writes failed %llu, replaced %llu\n",
           (unsigned long long)stats->written_back_pages, (unsigned long long)stats->device_loads,
           (unsigned long long)stats->device_write_fail, (unsigned long long)stats->duplicate_entry);
    CHECK(stats->written_back_pages > verbs / 1000);
    CHECK(stats->device_loads > verbs / 1000);
    CHECK(stats->device_write_fail > verbs / 10000);
    CHECK(stats->duplicate_entry > verbs / 1000);
}

static void stress(struct run wanted)
{
    pthread_t threads[THREADS_MAX];
    uint64_t counts[COUNTS] = {0};
    size_t most = 0;
    run = wanted;
    epoch = 0;
    epochs = verbs_wanted / 100 * run.percent / (EPOCH_VERBS * threads_wanted) + 1;
    nothing_fails = false;
    make_cache();
    recorder_create(&recorder, (unsigned)threads_wanted, run.keys, EPOCH_VERBS + 2 * run.keys + 8);
    REQUIRE(pthread_barrier_init(&barrier, NULL, (unsigned)threads_wanted) == 0);
    restless_set(32);
    double start = seconds_now();
    for (unsigned i = 0; i < threads_wanted; i++) {
        users[i] =
            (struct user){.number = i, .seed = (seed_wanted * THREADS_MAX + i) * 0x9e3779b97f4a7c15 + 1};
        REQUIRE(pthread_create(&threads[i], NULL, use_cache, &users[i]) == 0);
    }
    for (unsigned i = 0; i < threads_wanted; i++) {
        pthread_join(threads[i], NULL);
        for (int j = 0; j < COUNTS; j++) {
            counts[j] += users[i].counts[j];
        }
    }
    double seconds = seconds_now() - start;
    for (unsigned key = 0; key < run.keys; key++) {
        most = max_size(most, recorder.histories[key].most);
    }
    printf("# at most %zu states of one entry's history at one time; %llu objects moved\n", most,
           (unsigned long long)restless_moves());
    CHECK(!test_pool()->compact || run.keys < 16 || restless_moves()); /* few entries are seldom scattered */
    restless_set(0);
    REQUIRE(!violated);
    struct zswap_stats stats = stats_of(&f);
    check_counts(counts, &stats, seconds);
    end_cache();
    recorder_destroy(&recorder);
    pthread_barrier_destroy(&barrier);
}

TEST(compressed_16_entries)
{
    stress((struct run){ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC_READ, .keys = 16, .percent = 50});
}

TEST(compressed_3_entries)
{
    stress((struct run){ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC, .keys = 3, .percent = 25});
}

TEST(pages_6_entries)
{
    stress((struct run){ZSWAP_WRITEBACK_PAGE, RAM_DEVICE_ASYNC_READ, .keys = 6, .percent = 25});
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    verbs_wanted = from_environment("UZSWAP_STRESS_VERBS", verbs_wanted);
    seed_wanted = from_environment("UZSWAP_STRESS_SEED", seed_wanted);
    threads_wanted = from_environment("UZSWAP_STRESS_THREADS", threads_wanted);
    threads_wanted = threads_wanted < 1 ? 1 : min_size(threads_wanted, THREADS_MAX);
    RUN(compressed_16_entries);
    RUN(compressed_3_entries);
    RUN(pages_6_entries);
    return harness_finish();
}
