/* SPDX-License-Identifier: MIT */
/*
 * Compaction under the cache: it makes room at the limit, it takes nothing away from anybody, and whatever another thread
 * does between the steps of a move wins.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "tests/support/restless.h"
#include "tests/unit/zswap_fixture.h"

#define ROUNDS (HARNESS_SANITIZED ? 500 : 2500)

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES];

static void set_up(size_t limit, enum zswap_writeback mode, const struct pool_ops *pool)
{
    fixture_prepare(&f, limit, mode, RAM_DEVICE_ASYNC);
    f.options.pool = pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
}

/* Invalidates those of offsets 0 .. n - 1 that are no multiple of `keep`. */
static void invalidate_but(uint64_t n, uint64_t keep)
{
    for (uint64_t i = 0; i < n; i++) {
        CHECK(i % keep == 0 || zswap_invalidate(f.zswap, at(i)));
    }
}

static void scatter(uint64_t n, uint64_t keep)
{
    store_range(&f, 0, n);
    invalidate_but(n, keep);
}

static void check_kept(uint64_t n, uint64_t keep)
{
    for (uint64_t i = 0; i < n; i++) {
        CHECK(i % keep ? is_gone(&f, at(i)) : loads_version(&f, at(i), 0));
    }
}

/* ---- by one thread */

/* Every second entry leaves a full pool; pages of another size come, which find no hole that fits. */
static void check_room_at_the_limit(enum zswap_writeback mode)
{
    uint64_t n = 0;
    set_up(SMALL, mode, &pool_zsmalloc);
    while (stats_of(&f).pool_total_size + 2 * PAGE_BYTES < SMALL) {
        CHECK_EQUAL(store_version(&f, at(n++), 0), 0);
    }
    invalidate_but(n, 2);
    uint64_t room = (SMALL - stats_of(&f).pool_payload) / PAGE_BYTES * 3 / 4;
    CHECK(room > 32);
    for (uint64_t i = 0; i < room; i++) {
        incompressible_page_for(page, at(10000 + i), 0);
        CHECK_EQUAL(zswap_store(f.zswap, at(10000 + i), page), 0);
    }
    struct zswap_stats stats = stats_of(&f);
    CHECK(stats.pool_limit_hit > 0);
    CHECK_EQUAL(stats.written_back_pages, 0);
    CHECK_EQUAL(stats.reject_reclaim_fail, 0);
    CHECK(stats.pool_total_size <= SMALL + PAGE_BYTES);
    check_kept(n, 2);
    fixture_destroy(&f);
}

TEST(at_the_limit_nothing_is_written_back_while_there_is_something_to_win)
{
    check_room_at_the_limit(ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(at_the_limit_nothing_is_refused_while_there_is_something_to_win)
{
    check_room_at_the_limit(ZSWAP_WRITEBACK_OFF);
}

TEST(trim_brings_a_scattered_pool_together)
{
    set_up(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &pool_zsmalloc);
    scatter(4000, 8);
    struct zswap_stats before = stats_of(&f);
    CHECK(before.pool_payload < before.pool_total_size / 2);
    size_t won = 0, step;
    while ((step = zswap_trim(f.zswap)) != 0) {
        won += step;
    }
    struct zswap_stats after = stats_of(&f);
    CHECK(after.pool_payload > after.pool_total_size / 100 * 80);
    CHECK_EQUAL(before.pool_total_size - after.pool_total_size, won);
    CHECK_EQUAL(after.pool_payload, before.pool_payload);
    CHECK_EQUAL(after.stored_pages, before.stored_pages);
    CHECK(zswap_consistent(f.zswap));
    check_kept(4000, 8);
    fixture_destroy(&f);
}

TEST(moved_entries_keep_their_place_in_the_lru)
{
    set_up(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &pool_zsmalloc);
    scatter(4000, 8);
    while (zswap_trim(f.zswap)) {
    }
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    zswap_writeback_reap(f.zswap, true);
    uint64_t out = stats_of(&f).device_pages;
    CHECK(out > 0 && out < 500);
    for (uint64_t i = 0; i < 500; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i * 8)), i < out ? ZSWAP_ON_DEVICE : ZSWAP_IN_POOL);
    }
    check_kept(4000, 8);
    fixture_destroy(&f);
}

TEST(moved_entries_keep_their_second_chance)
{
    set_up(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &pool_zsmalloc);
    scatter(4000, 8);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_LOADS(&f, at(i * 8), 0);
    }
    while (zswap_trim(f.zswap)) {
    }
    CHECK(stats_of(&f).objects_moved > 300);
    CHECK(zswap_writeback(f.zswap, 1) > 0);
    zswap_writeback_reap(f.zswap, true);
    for (uint64_t i = 0; i < 20; i++) {
        CHECK_EQUAL(zswap_find(f.zswap, at(i * 8)), i < 10 ? ZSWAP_IN_POOL : ZSWAP_ON_DEVICE);
    }
    CHECK_EQUAL(stats_of(&f).second_chances, 10);
    fixture_destroy(&f);
}

TEST(what_is_being_written_back_is_left_alone)
{
    set_up(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &pool_zsmalloc);
    scatter(400, 4);
    faulty_hold(f.device, SWAP_WRITE, true);
    CHECK(zswap_writeback(f.zswap, SIZE_MAX) > 0);
    zswap_trim(f.zswap);
    check_kept(400, 4);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(stats_of(&f).device_pages, 100);
    check_kept(400, 4);
    fixture_destroy(&f);
}

/* ---- another thread, between hold and commit of each move */

static struct {
    void (*act)(uint64_t offset);
    const struct pool_mover *mover;
    void *context;
    uint64_t offset;
    unsigned moves, refused;
} between;

static void *act_in_thread(void *unused)
{
    between.act(between.offset);
    return unused;
}

static bool hold_and_act(void *context, uint64_t owner, uint64_t handle)
{
    pthread_t thread;
    (void)context;
    if (!between.mover->hold(between.context, owner, handle)) {
        return false;
    }
    between.offset = owner & UINT32_MAX;
    REQUIRE(pthread_create(&thread, NULL, act_in_thread, NULL) == 0);
    pthread_join(thread, NULL);
    return true;
}

static bool commit_and_count(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    (void)context;
    bool done = between.mover->commit(between.context, owner, handle, moved);
    between.moves += done;
    between.refused += !done;
    return done;
}

static size_t compact_with_act(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context)
{
    static const struct pool_mover acting = {.hold = hold_and_act, .commit = commit_and_count};
    between.mover = mover;
    between.context = context;
    return pool_zsmalloc.compact(pool, bytes, &acting, NULL);
}

static struct pool_ops acted_pool;

static int create_acted(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    int error = pool_zsmalloc.create(pool, memory, max_bytes);
    if (!error) {
        (*pool)->ops = &acted_pool;
    }
    return error;
}

/* The entries that scatter leaves, compacted while `act` is done to each that moves. */
static void compact_scattered(uint64_t n, uint64_t keep, enum zswap_writeback mode,
                              void (*act)(uint64_t offset))
{
    acted_pool = pool_zsmalloc;
    acted_pool.create = create_acted;
    acted_pool.compact = compact_with_act;
    set_up(ROOMY, mode, &acted_pool);
    scatter(n, keep);
    memset(&between, 0, sizeof between);
    between.act = act;
    zswap_trim(f.zswap);
    CHECK(between.moves + between.refused > 0);
}

/* 50 entries. */
static void compact_under(void (*act)(uint64_t offset))
{
    compact_scattered(400, 8, ZSWAP_WRITEBACK_COMPRESSED, act);
}

static void write_it_back(uint64_t offset)
{
    (void)offset;
    zswap_writeback(f.zswap, SIZE_MAX);
}

TEST(writeback_that_begins_meanwhile_has_nothing_to_publish)
{
    compact_under(write_it_back);
    zswap_writeback_reap(f.zswap, true);
    CHECK(between.moves > 0);
    CHECK(zswap_consistent(f.zswap)); /* what was moved is in the LRU again */
    check_kept(400, 8);
    write_back_all(&f);
    CHECK_EQUAL(stats_of(&f).device_pages, 50);
    check_kept(400, 8);
    fixture_destroy(&f);
}

static void store_over_it(uint64_t offset)
{
    CHECK_EQUAL(store_version(&f, at(offset), 1), 0);
}

TEST(store_meanwhile_wins)
{
    compact_under(store_over_it);
    CHECK_EQUAL(between.moves, 0);
    uint64_t newer = 0;
    for (uint64_t i = 0; i < 400; i += 8) {
        bool is_newer = loads_version(&f, at(i), 1);
        CHECK(is_newer || loads_version(&f, at(i), 0));
        newer += is_newer;
    }
    CHECK(newer > 0 && newer <= between.refused);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

static void invalidate_it(uint64_t offset)
{
    CHECK(zswap_invalidate(f.zswap, at(offset)));
}

TEST(invalidate_meanwhile_wins)
{
    compact_under(invalidate_it);
    CHECK_EQUAL(between.moves, 0);
    CHECK_EQUAL(stats_of(&f).stored_pages, 50 - between.refused);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

static void load_it(uint64_t offset)
{
    CHECK_LOADS(&f, at(offset), 0);
}

TEST(load_meanwhile_disturbs_nothing)
{
    compact_under(load_it);
    CHECK_EQUAL(between.refused, 0);
    CHECK(zswap_consistent(f.zswap));
    check_kept(400, 8);
    fixture_destroy(&f);
}

static int error_beside;

static void store_at_limit_once(uint64_t offset)
{
    (void)offset;
    if (error_beside > 0) {
        incompressible_page_for(page, at(15000), 0);
        zswap_set_max_pool_bytes(f.zswap, stats_of(&f).pool_total_size);
        error_beside = zswap_store(f.zswap, at(15000), page);
    }
}

TEST(stores_beside_a_compaction_are_not_refused_then_or_after)
{
    error_beside = 1;
    compact_scattered(4000, 2, ZSWAP_WRITEBACK_OFF, store_at_limit_once);
    CHECK_EQUAL(error_beside, 0);
    zswap_set_max_pool_bytes(f.zswap, stats_of(&f).pool_total_size);
    for (uint64_t i = 16000; i < 16064; i++) {
        incompressible_page_for(page, at(i), 0);
        CHECK_EQUAL(zswap_store(f.zswap, at(i), page), 0);
    }
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

static void trim_again(uint64_t offset)
{
    (void)offset;
    zswap_trim(f.zswap);
}

TEST(second_compaction_does_not_wait_for_the_first)
{
    compact_under(trim_again);
    CHECK_EQUAL(between.refused, 0);
    CHECK(zswap_consistent(f.zswap));
    check_kept(400, 8);
    fixture_destroy(&f);
}

static pthread_t destroyer;

static void *destroy_area(void *unused)
{
    zswap_area_destroy(f.zswap, TYPE);
    return unused;
}

static void destroy_its_area(uint64_t offset)
{
    REQUIRE(pthread_create(&destroyer, NULL, destroy_area, NULL) == 0);
    while (zswap_find(f.zswap, at(offset)) != ZSWAP_NOWHERE) { /* until it is out of the table */
        sched_yield();
    }
    /* Who did not wait for the move would now be through, and the word that commit swaps be gone. */
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

TEST(area_is_destroyed_only_after_the_move)
{
    compact_under(destroy_its_area);
    pthread_join(destroyer, NULL);
    CHECK_EQUAL(between.moves, 1); /* the others' area was gone already */
    CHECK_EQUAL(between.refused, 0);
    CHECK_EQUAL(stats_of(&f).stored_pages, 0);
    fixture_destroy(&f);
}

/* ---- threads */

#define USERS 3
#define OWN 64 /* offsets of each */

static uint32_t done; /* atomic */

/* On a busy machine the users may be through before the compactor had its turn. */
static bool nothing_has_moved(void)
{
    return restless_moves() == 0;
}

/* Each changes its own offsets, and knows what they hold; and loads those of the others, which must be whole. */
static void *use(void *number)
{
    uint64_t first = (uintptr_t)number * OWN, seed = first + 1, version[OWN] = {0};
    _Alignas(8) unsigned char mine[PAGE_BYTES], expected[PAGE_BYTES];
    for (uint64_t round = 1; round <= ROUNDS || nothing_has_moved(); round++) {
        uint64_t i = harness_random(&seed) % OWN, foreign = harness_random(&seed) % (USERS * OWN);
        unsigned what = harness_random(&seed) % 8;
        if (what < 3) {
            CHECK_EQUAL(store_version(&f, at(first + i), round), 0);
            version[i] = round;
        } else if (what == 3) {
            CHECK(zswap_invalidate(f.zswap, at(first + i)) == (version[i] != 0));
            version[i] = 0;
        } else if (what < 6) {
            int error = (what == 4 ? zswap_load : zswap_load_exclusive)(f.zswap, at(first + i), mine);
            CHECK_EQUAL(error, version[i] ? 0 : -ENOENT);
            page_for(expected, at(first + i), version[i]);
            CHECK(error || memcmp(mine, expected, PAGE_BYTES) == 0);
            version[i] = what == 4 ? version[i] : 0;
        } else if (zswap_load(f.zswap, at(foreign), mine) == 0) {
            uint64_t words[4];
            memcpy(words, mine, sizeof words);
            page_for(expected, at(foreign), words[2]);
            CHECK(memcmp(mine, expected, PAGE_BYTES) == 0);
        }
    }
    return NULL;
}

static void *compact_for_ever(void *unused)
{
    while (!atomic_read_relaxed(&done)) {
        zswap_trim(f.zswap);
        sched_yield();
    }
    return unused;
}

TEST(verbs_beside_compaction)
{
    pthread_t users[USERS], compactor;
    set_up(ROOMY, ZSWAP_WRITEBACK_OFF, &restless_pool);
    restless_set(16);
    done = 0;
    REQUIRE(pthread_create(&compactor, NULL, compact_for_ever, NULL) == 0);
    for (uintptr_t i = 0; i < USERS; i++) {
        REQUIRE(pthread_create(&users[i], NULL, use, (void *)i) == 0);
    }
    for (int i = 0; i < USERS; i++) {
        pthread_join(users[i], NULL);
    }
    atomic_set_relaxed(&done, 1);
    pthread_join(compactor, NULL);
    restless_set(0);
    printf("# %llu objects moved\n", (unsigned long long)restless_moves());
    CHECK(restless_moves() > 0);
    CHECK_EQUAL(restless_misuses(), 0);
    fixture_destroy(&f);
}

TEST(areas_come_and_go_beside_compaction)
{
    pthread_t compactor;
    set_up(ROOMY, ZSWAP_WRITEBACK_COMPRESSED, &restless_pool);
    store_range(&f, 0, 100);
    restless_set(8);
    done = 0;
    REQUIRE(pthread_create(&compactor, NULL, compact_for_ever, NULL) == 0);
    for (unsigned round = 0; round < ROUNDS / 50 || nothing_has_moved(); round++) {
        REQUIRE(zswap_area_create(f.zswap, 2, 100) == 0);
        for (uint64_t i = 0; i < 100; i++) {
            struct swap_entry entry = {2, i};
            incompressible_page_for(page, entry, 1);
            CHECK_EQUAL(zswap_store(f.zswap, entry, page), 0);
        }
        for (uint64_t i = 0; i < 100; i++) {
            CHECK(i % 6 == 0 || zswap_invalidate(f.zswap, (struct swap_entry){2, i}));
        }
        zswap_area_destroy(f.zswap, 2);
    }
    atomic_set_relaxed(&done, 1);
    pthread_join(compactor, NULL);
    restless_set(0);
    printf("# %llu objects moved\n", (unsigned long long)restless_moves());
    CHECK(restless_moves() > 0);
    CHECK_EQUAL(restless_misuses(), 0);
    check_kept(100, 1);
    fixture_destroy(&f);
}

int main(void)
{
    setenv("UZSWAP_TEST_POOL", "zsmalloc", 1); /* for restless_pool */
    RUN(at_the_limit_nothing_is_written_back_while_there_is_something_to_win);
    RUN(at_the_limit_nothing_is_refused_while_there_is_something_to_win);
    RUN(trim_brings_a_scattered_pool_together);
    RUN(moved_entries_keep_their_place_in_the_lru);
    RUN(moved_entries_keep_their_second_chance);
    RUN(what_is_being_written_back_is_left_alone);
    RUN(writeback_that_begins_meanwhile_has_nothing_to_publish);
    RUN(store_meanwhile_wins);
    RUN(invalidate_meanwhile_wins);
    RUN(load_meanwhile_disturbs_nothing);
    RUN(stores_beside_a_compaction_are_not_refused_then_or_after);
    RUN(second_compaction_does_not_wait_for_the_first);
    RUN(area_is_destroyed_only_after_the_move);
    RUN(verbs_beside_compaction);
    RUN(areas_come_and_go_beside_compaction);
    return harness_finish();
}
