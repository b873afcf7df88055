/* SPDX-License-Identifier: MIT */
/*
 * Threads against each other on few entries, with a pool so small that writeback never rests, and a device that fails
 * now and then.
 *
 * Each page carries its entry, its version and a checksum. A version is unique, and rises with each store of an entry.
 * `ordered`: the stores and removals of one entry take turns (a lock of this test, which loads do not take), so that
 * their order is known, and each load is held against it:
 *
 *   before the load:  floor = the newest store that had finished
 *   after the load:   ceiling = the newest store that had begun
 *
 *   a page is of a version from floor to ceiling
 *   "not here" needs a removal: one (invalidate, exclusive load, failed store) that began after the store `floor`
 *
 * `free`: no lock, several stores of an entry at once: whole pages, of that entry, of a version that somebody began to
 * store; and after a store of one thread alone (at the end), just that.
 *
 * `alike`: the cache deduplicates, and versions alternate between few pages, the same for all entries: then a load's page must be
 * that of some version that it may have seen.
 *
 * UZSWAP_TEST_POOL names the pool, UZSWAP_STRESS_ROUNDS sets the rounds of each thread, UZSWAP_STRESS_THREADS their number.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "tests/unit/zswap_fixture.h"

#define ENTRIES 48
#define SPREAD 37 /* offsets apart, so that several pages of the index are in use */
#define THREADS_MAX 64
#define ALIKE 5

struct known {
    pthread_mutex_t turn; /* held by who stores or removes, in the ordered tests */
    uint64_t begun;       /* the newest version that a store began with; atomic */
    uint64_t finished;    /* the newest version whose store has finished; atomic */
    uint64_t gone_after;  /* a removal has begun while the newest store was this one, + 1; atomic */
};

struct run {
    enum zswap_writeback mode;
    enum ram_device_mode device_mode;
    bool ordered, faults, alike;
    uint64_t rounds;
    uint64_t loads, not_here, damaged; /* atomic */
};

static struct fixture f;
static struct known known[ENTRIES];
static struct run run;
static uint64_t threads_wanted = 4, rounds_wanted = HARNESS_SANITIZED ? 800 : 4000;
static uint32_t done; /* atomic */

static struct swap_entry entry_number(uint64_t i)
{
    return at(i * SPREAD);
}

/* ---- pages that prove themselves */

struct stamp {
    uint64_t type, offset, version, sum;
};

static uint64_t sum_of(const uint64_t *words)
{
    uint64_t sum = 0;
    for (size_t i = sizeof(struct stamp) / 8; i < PAGE_BYTES / 8; i++) {
        sum = sum * 0x9e3779b97f4a7c15 + words[i];
    }
    return sum;
}

/* Of all kinds: text, incompressible, hardly more than its stamp; every eighth is same-filled with its version. */
static void make_stamped(uint64_t *page, struct swap_entry entry, uint64_t version)
{
    if (run.alike) {
        entry.offset = 0;
        version = 1 + version % ALIKE;
    }
    uint64_t seed = version * 977 + entry.offset + 1;
    if (version % 8 == 7) {
        for (size_t i = 0; i < PAGE_BYTES / 8; i++) {
            page[i] = version << 16 | entry.offset;
        }
        return;
    }
    make_page(page, version % 8 == 0 ? PAGE_MOSTLY_RANDOM : version % 2 ? PAGE_TEXT : PAGE_SPARSE, &seed);
    *(struct stamp *)page = (struct stamp){entry.type, entry.offset, version, sum_of(page)};
}

/* The page's version, 0 if it is torn, or another entry's. `alike`: the newest one up to `newest` with this page. */
static uint64_t version_of(const uint64_t *page, struct swap_entry entry, uint64_t newest)
{
    if (run.alike) {
        uint64_t expected[PAGE_BYTES / 8];
        for (uint64_t version = newest; version && version + ALIKE > newest; version--) {
            make_stamped(expected, entry, version);
            if (!memcmp(page, expected, PAGE_BYTES)) {
                return version;
            }
        }
        return 0;
    }
    if (page[0] == page[1]) {
        for (size_t i = 1; i < PAGE_BYTES / 8; i++) {
            if (page[i] != page[0]) {
                return 0;
            }
        }
        return (page[0] & 0xffff) == entry.offset ? page[0] >> 16 : 0;
    }
    const struct stamp *stamp = (const struct stamp *)page;
    return stamp->type == entry.type && stamp->offset == entry.offset && stamp->sum == sum_of(page)
               ? stamp->version
               : 0;
}

/* ---- verbs */

static void check_load(uint64_t i, int error, const uint64_t *page, uint64_t floor, uint64_t ceiling)
{
    struct swap_entry entry = entry_number(i);
    atomic_add_relaxed(&run.loads, 1);
    if (error == -ENOENT) {
        atomic_add_relaxed(&run.not_here, 1);
        /* Seq-cst reads and writes of `known` throughout: they stand for the order that an observer sees. */
        CHECK(!run.ordered || !floor || atomic_read_seq_cst(&known[i].gone_after) >= floor + 1);
        return;
    }
    if (error == -EIO && run.faults) {
        return;
    }
    if (error == -EBADMSG && run.faults) {
        atomic_add_relaxed(&run.damaged, 1);
        return;
    }
    CHECK_EQUAL(error, 0);
    uint64_t version = error ? 0 : version_of(page, entry, ceiling);
    CHECK(version || error);                          /* torn, or another's */
    CHECK(error || version <= ceiling);               /* from the future */
    CHECK(error || !run.ordered || version >= floor); /* stale */
}

static void one_load(uint64_t i)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t floor = atomic_read_seq_cst(&known[i].finished);
    int error = zswap_load(f.zswap, entry_number(i), page);
    check_load(i, error, page, floor, atomic_read_seq_cst(&known[i].begun));
}

/* What is removed from now on is at most as new as the newest store that has begun. */
static void note_removal(uint64_t i)
{
    atomic_set_seq_cst(&known[i].gone_after, atomic_read_seq_cst(&known[i].begun) + 1);
}

static void one_exclusive_load(uint64_t i)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t floor = atomic_read_seq_cst(&known[i].finished);
    note_removal(i);
    int error = zswap_load_exclusive(f.zswap, entry_number(i), page);
    check_load(i, error, page, floor, atomic_read_seq_cst(&known[i].begun));
}

static void one_store(uint64_t i)
{
    uint64_t page[PAGE_BYTES / 8];
    uint64_t version = __atomic_add_fetch(&known[i].begun, 1, __ATOMIC_SEQ_CST);
    make_stamped(page, entry_number(i), version);
    int error = zswap_store(f.zswap, entry_number(i), page);
    CHECK(error == 0 || error == -ENOSPC || error == -ENOMEM);
    if (error) {
        /* It has removed what was there. Nobody may have seen that before it was noted: see below. */
        CHECK(!run.ordered || zswap_find(f.zswap, entry_number(i)) == ZSWAP_NOWHERE);
    } else if (run.ordered) {
        atomic_set_seq_cst(&known[i].finished, version);
    }
}

static void one_removal(uint64_t i)
{
    note_removal(i);
    zswap_invalidate(f.zswap, entry_number(i));
    CHECK(!run.ordered || zswap_find(f.zswap, entry_number(i)) == ZSWAP_NOWHERE);
}

/* In turns with the others who change entry `i`, if the test is ordered. A store may fail, and then has removed the
 * older page: it is noted beforehand as a removal of that. */
static void change(uint64_t i, unsigned what)
{
    if (run.ordered) {
        pthread_mutex_lock(&known[i].turn);
    }
    if (what < 10) {
        note_removal(i);
        one_store(i);
    } else if (what < 12) {
        one_removal(i);
    } else {
        one_exclusive_load(i);
    }
    if (run.ordered) {
        pthread_mutex_unlock(&known[i].turn);
    }
}

/* Removes whole index pages under the others: entries lie in it in unknown number, so all turns are taken, in order. */
static void remove_range(uint64_t first, uint64_t last)
{
    for (uint64_t i = first; run.ordered && i < last; i++) {
        pthread_mutex_lock(&known[i].turn);
    }
    for (uint64_t i = first; i < last; i++) {
        note_removal(i);
    }
    zswap_invalidate_range(f.zswap, TYPE, first * SPREAD, (last - first) * SPREAD);
    for (uint64_t i = first; run.ordered && i < last; i++) {
        pthread_mutex_unlock(&known[i].turn);
    }
}

static void *use_cache(void *number)
{
    uint64_t seed = (uintptr_t)number * 104729 + 1;
    for (uint64_t round = 0; round < run.rounds; round++) {
        uint64_t i = harness_random(&seed) % ENTRIES;
        unsigned what = harness_random(&seed) % 32;
        if (what < 14) {
            change(i, what);
        } else if (what < 28) {
            one_load(i);
        } else if (what == 28 && round % 8 == 0) {
            uint64_t first = harness_random(&seed) % 2 * 24;
            remove_range(first, harness_random(&seed) % 4 ? first + 24 : ENTRIES);
        } else if (what == 29) {
            zswap_writeback(f.zswap, 16384);
        } else {
            zswap_writeback_reap(f.zswap, what == 30 && round % 64 == 0);
            if (run.alike) {
                zswap_trim(f.zswap);
            }
        }
    }
    return NULL;
}

/* Plans failures while the others run. */
static void *spoil(void *unused)
{
    uint64_t seed = 99;
    (void)unused;
    while (!atomic_read_relaxed(&done)) {
        uint64_t n = 1 + harness_random(&seed) % 20;
        switch (harness_random(&seed) % 5) {
        case 0:
            faulty_fail_nth(f.device, SWAP_WRITE, n, -EIO);
            break;
        case 1:
            faulty_fail_nth(f.device, SWAP_READ, n, -EIO);
            break;
        case 2:
            faulty_tear_nth_write(f.device, n, -EIO);
            break;
        case 3:
            faulty_flip_nth_read(f.device, n);
            break;
        default:
            faulty_hold(f.device, SWAP_WRITE, true);
            sched_yield();
            faulty_let_go(f.device);
        }
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    faulty_let_go(f.device);
    return NULL;
}

static void check_at_rest(void)
{
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    faulty_fail_nth(f.device, SWAP_READ, UINT32_MAX, 0);
    faulty_flip_nth_read(f.device, UINT32_MAX);
    CHECK(zswap_consistent(f.zswap));
    for (uint64_t i = 0; i < ENTRIES; i++) {
        one_load(i);
        if (!run.ordered) { /* and of one store alone, just that page */
            uint64_t page[PAGE_BYTES / 8];
            one_store(i);
            int error = zswap_load(f.zswap, entry_number(i), page);
            CHECK(error ? error == -ENOENT
                        : version_of(page, entry_number(i), known[i].begun) == known[i].begun);
        }
    }
    zswap_invalidate_area(f.zswap, TYPE);
    zswap_writeback_reap(f.zswap, true); /* of the stores just now */
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.stored_pages + stats.device_pages, 0);
    CHECK_EQUAL(stats.pool_payload, 0);
    CHECK_EQUAL(stats.device_bytes, 0);
}

static void stress(struct run wanted)
{
    pthread_t threads[THREADS_MAX], spoiler;
    run = wanted;
    run.rounds = rounds_wanted;
    done = 0;
    fixture_prepare(&f, 32 << 10, run.mode, run.device_mode);
    f.options.deduplicate |= run.alike;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, ENTRIES * SPREAD) == 0);
    for (size_t i = 0; i < ENTRIES; i++) {
        known[i] = (struct known){.turn = PTHREAD_MUTEX_INITIALIZER};
    }
    for (uintptr_t i = 0; i < threads_wanted; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, use_cache, (void *)i) == 0);
    }
    if (run.faults) {
        REQUIRE(pthread_create(&spoiler, NULL, spoil, NULL) == 0);
    }
    for (uint64_t i = 0; i < threads_wanted; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_set_relaxed(&done, 1);
    if (run.faults) {
        pthread_join(spoiler, NULL);
    }
    struct zswap_stats stats = stats_of(&f);
    printf(
        "# loads %llu, not here %llu, damaged %llu, written back %llu, from the device %llu, refused %llu\n",
        (unsigned long long)run.loads, (unsigned long long)run.not_here, (unsigned long long)run.damaged,
        (unsigned long long)stats.written_back_pages, (unsigned long long)stats.device_loads,
        (unsigned long long)stats.reject_reclaim_fail);
    /* It has looked at something. Without writeback, how much is refused for want of room is a matter of scheduling. */
    CHECK(run.loads - run.not_here > run.loads / (run.mode == ZSWAP_WRITEBACK_OFF ? 32 : 4));
    CHECK(run.mode == ZSWAP_WRITEBACK_OFF || (stats.written_back_pages > 100 && stats.device_loads > 100));
    check_at_rest();
    fixture_destroy(&f);
}

TEST(ordered_compressed)
{
    stress(
        (struct run){.mode = ZSWAP_WRITEBACK_COMPRESSED, .device_mode = RAM_DEVICE_ASYNC, .ordered = true});
}

TEST(ordered_compressed_with_failures)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_COMPRESSED,
                        .device_mode = RAM_DEVICE_ASYNC_READ,
                        .ordered = true,
                        .faults = true});
}

TEST(ordered_pages_with_failures)
{
    stress((struct run){
        .mode = ZSWAP_WRITEBACK_PAGE, .device_mode = RAM_DEVICE_ASYNC, .ordered = true, .faults = true});
}

TEST(ordered_pages_on_a_device_without_a_queue)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_PAGE, .device_mode = RAM_DEVICE_SYNC, .ordered = true});
}

TEST(free_compressed_with_failures)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_COMPRESSED, .device_mode = RAM_DEVICE_ASYNC, .faults = true});
}

TEST(free_pages)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_PAGE, .device_mode = RAM_DEVICE_ASYNC_READ});
}

TEST(free_without_writeback)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_OFF, .device_mode = RAM_DEVICE_SYNC});
}

TEST(ordered_alike_with_failures)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_COMPRESSED,
                        .device_mode = RAM_DEVICE_ASYNC_READ,
                        .ordered = true,
                        .faults = true,
                        .alike = true});
}

TEST(ordered_alike_pages)
{
    stress((struct run){
        .mode = ZSWAP_WRITEBACK_PAGE, .device_mode = RAM_DEVICE_ASYNC, .ordered = true, .alike = true});
}

TEST(free_alike_without_writeback)
{
    stress((struct run){.mode = ZSWAP_WRITEBACK_OFF, .device_mode = RAM_DEVICE_SYNC, .alike = true});
}

/* ---- ranges and areas under the others */

/* One page of the index: each finds the words of the others, and the others giving it back. */
static void *fill_and_empty_range(void *number)
{
    uint64_t seed = (uintptr_t)number + 1, page[PAGE_BYTES / 8] = {0};
    for (uint64_t round = 0; round < rounds_wanted; round++) {
        CHECK_EQUAL(zswap_store(f.zswap, at(harness_random(&seed) % 512), page), 0);
        zswap_invalidate_range(f.zswap, TYPE, 0, 512);
    }
    return NULL;
}

TEST(ranges_removed_by_several_at_once)
{
    pthread_t threads[4];
    fixture_init(&f, 1 << 20, ZSWAP_WRITEBACK_OFF, RAM_DEVICE_SYNC);
    for (uintptr_t i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, fill_and_empty_range, (void *)i) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    zswap_invalidate_area(f.zswap, TYPE);
    CHECK_EQUAL(stats_of(&f).stored_pages, 0);
    fixture_destroy(&f);
}

static void *store_and_write_back(void *number)
{
    uint64_t seed = (uintptr_t)number + 1, page[PAGE_BYTES / 8];
    while (!atomic_read_relaxed(&done)) {
        uint64_t offset = harness_random(&seed) % 64;
        make_stamped(page, at(offset), 1);
        int error = zswap_store(f.zswap, at(offset), page);
        CHECK(!error || error == -ENOSPC);
        zswap_writeback(f.zswap, 1);
        if (offset % 4 == 0) {
            zswap_writeback_reap(f.zswap, false);
        }
        sched_yield(); /* mutexes are not fair: let the destroyer have its turn */
    }
    return NULL;
}

/* An area comes and goes, while verbs on another write back whatever is oldest, of either. */
TEST(area_is_destroyed_while_another_is_written_back)
{
    pthread_t threads[2];
    done = 0;
    fixture_init(&f, 1 << 20, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    for (uintptr_t i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, store_and_write_back, (void *)i) == 0);
    }
    for (uint64_t round = 0; round < rounds_wanted / 40; round++) {
        uint64_t page[PAGE_BYTES / 8];
        REQUIRE(zswap_area_create(f.zswap, 2, 200) == 0);
        for (uint64_t i = 0; i < 200; i++) {
            struct swap_entry entry = {2, i};
            make_stamped(page, entry, 1);
            zswap_store(f.zswap, entry, page);
        }
        zswap_area_destroy(f.zswap, 2);
    }
    atomic_set_relaxed(&done, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    fixture_destroy(&f);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    rounds_wanted = from_environment("UZSWAP_STRESS_ROUNDS", rounds_wanted);
    threads_wanted = from_environment("UZSWAP_STRESS_THREADS", threads_wanted);
    threads_wanted = threads_wanted < 1 ? 1 : min_size(threads_wanted, THREADS_MAX);
    RUN(ordered_compressed);
    RUN(ordered_compressed_with_failures);
    RUN(ordered_pages_with_failures);
    RUN(ordered_pages_on_a_device_without_a_queue);
    RUN(free_compressed_with_failures);
    RUN(free_pages);
    RUN(free_without_writeback);
    RUN(ordered_alike_with_failures);
    RUN(ordered_alike_pages);
    RUN(free_alike_without_writeback);
    RUN(ranges_removed_by_several_at_once);
    RUN(area_is_destroyed_while_another_is_written_back);
    return harness_finish();
}
