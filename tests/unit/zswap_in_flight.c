/* SPDX-License-Identifier: MIT */
/*
 * The cache while the device has not answered: what becomes of entries whose reads and writes are in flight. That none of the
 * verbs waits, in any mode: zswap_blocked.c.
 */
#include <pthread.h>
#include <time.h>

#include "tests/unit/zswap_fixture.h"
#include "zswap/internal.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], expected[PAGE_BYTES];

TEST(verbs_do_not_wait_for_a_write_in_flight)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_PAGE; mode++) {
        fixture_init(&f, ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_SYNC);
        store_range(&f, 0, 8);
        faulty_hold(f.device, SWAP_WRITE, true);
        zswap_writeback(f.zswap, SIZE_MAX);
        CHECK(faulty_held(f.device) > 0);
        /* All eight are being written. None of this waits, or it would wait for ever. */
        CHECK_LOADS(&f, at(0), 0);
        CHECK_EQUAL(store_version(&f, at(1), 1), 0);
        CHECK_LOADS(&f, at(1), 1);
        CHECK(zswap_invalidate(f.zswap, at(2)));
        CHECK_GONE(&f, at(2));
        page_for(expected, at(3), 0);
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(3), page), 0);
        CHECK(memcmp(page, expected, PAGE_BYTES) == 0);
        CHECK_GONE(&f, at(3));
        CHECK(zswap_invalidate(f.zswap, at(4)));
        CHECK_EQUAL(store_version(&f, at(4), 1), 0); /* came and went and came */
        CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 5, 1), 1);
        memset(page, 0, PAGE_BYTES);
        CHECK_EQUAL(zswap_store(f.zswap, at(6), page), 0);
        faulty_let_go(f.device);
        zswap_writeback_reap(f.zswap, true);
        CHECK(zswap_consistent(f.zswap));
        CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
        CHECK_LOADS(&f, at(0), 0);
        CHECK_LOADS(&f, at(1), 1); /* and not the page that was written meanwhile */
        CHECK_GONE(&f, at(2));
        CHECK_GONE(&f, at(3));
        CHECK_LOADS(&f, at(4), 1);
        CHECK_GONE(&f, at(5));
        CHECK_EQUAL(zswap_load(f.zswap, at(6), page), 0);
        CHECK_EQUAL(page[0] | page[PAGE_BYTES - 1], 0);
        CHECK_LOADS(&f, at(7), 0);
        CHECK_EQUAL(stats_of(&f).written_back_pages, 2);
        fixture_destroy(&f);
    }
}

/* A newer version is written too, while the older one's write is still out; they end in either order. */
TEST(newer_write_may_end_before_the_older)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    CHECK_EQUAL(store_version(&f, at(0), 1), 0);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(faulty_held(f.device), 1);
    /* A fault takes the slot over from the writeback, and ends; then it is free for a second writeback. */
    struct swap_cache_token token;
    uint64_t name;
    CHECK_EQUAL(swap_cache_take(f.swap_cache, at(0), &token, &name), SWAP_CACHE_NEW);
    swap_cache_release(f.swap_cache, token);
    CHECK_EQUAL(store_version(&f, at(0), 2), 0);
    faulty_hold(f.device, SWAP_WRITE, false);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
    CHECK_LOADS(&f, at(0), 2);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_LOADS(&f, at(0), 2);
    CHECK(zswap_consistent(f.zswap));
    CHECK_EQUAL(stats_of(&f).device_pages, 1);
    fixture_destroy(&f);
}

/* A store has published its entry and comes to link it only when the entry's writeback is under way already (the offset
 * was linked from an older store). */
TEST(entry_linked_late_is_unlinked_when_it_has_left)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, 2);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    area_lru_add(f.zswap->areas[TYPE], 1);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(stores_go_on_while_all_buffers_are_out)
{
    fixture_init(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    faulty_hold(f.device, SWAP_WRITE, true);
    uint64_t i = 0;
    int error;
    while (!(error = store_version(&f, at(i), 0))) {
        REQUIRE(++i < 2000);
    }
    CHECK_EQUAL(error, -ENOSPC); /* over the limit by the slack, at once */
    CHECK(stats_of(&f).pool_total_size <= SMALL + (256 << 10) + PAGE_BYTES);
    for (uint64_t k = 0; k < i; k++) {
        CHECK_LOADS(&f, at(k), 0);
    }
    CHECK(zswap_invalidate_area(f.zswap, TYPE) == i);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(stats_of(&f).device_bytes, 0);
    CHECK_EQUAL(stats_of(&f).pool_payload, 0);
    CHECK(zswap_consistent(f.zswap));
    fixture_destroy(&f);
}

TEST(destroying_an_area_waits_for_no_write_of_another)
{
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, 4);
    faulty_hold(f.device, SWAP_WRITE, true);
    zswap_writeback(f.zswap, SIZE_MAX);
    CHECK(faulty_held(f.device) > 0);
    REQUIRE(zswap_area_create(f.zswap, 2, 100) == 0);
    CHECK_EQUAL(store_version(&f, (struct swap_entry){2, 7}, 0), 0);
    zswap_area_destroy(f.zswap, 2);
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(zswap_find(f.zswap, at(3)), ZSWAP_ON_DEVICE);
    fixture_destroy(&f);
}

static void *load_zero(void *result)
{
    _Alignas(8) unsigned char mine[PAGE_BYTES], wanted[PAGE_BYTES];
    page_for(wanted, at(0), 0);
    *(int *)result = zswap_load(f.zswap, at(0), mine);
    CHECK(memcmp(mine, wanted, PAGE_BYTES) == 0);
    return NULL;
}

static void wait_until_held(size_t n)
{
    for (int ms = 0; ms < 5000 && faulty_held(f.device) != n; ms++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    CHECK_EQUAL(faulty_held(f.device), n);
}

/* A read waits for the device; meanwhile its entry is replaced or removed, and its slots may not be used again. */
TEST(verbs_do_not_wait_for_a_read_in_flight)
{
    for (int remove = 0; remove < 2; remove++) {
        int result = 1;
        pthread_t loader;
        fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
        store_range(&f, 0, 2);
        fixture_write_back(&f);
        faulty_hold(f.device, SWAP_READ, true);
        REQUIRE(pthread_create(&loader, NULL, load_zero, &result) == 0);
        wait_until_held(1);
        if (remove) {
            CHECK(zswap_invalidate(f.zswap, at(0)));
            CHECK_GONE(&f, at(0));
        } else {
            CHECK_EQUAL(store_version(&f, at(0), 1), 0);
            CHECK_LOADS(&f, at(0), 1);
        }
        CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
        store_range(&f, 100, 60);
        fixture_write_back(&f); /* would overwrite the slots, were they free */
        faulty_let_go(f.device);
        pthread_join(loader, NULL);
        CHECK_EQUAL(result, 0); /* the page as it was when the load began */
        CHECK(zswap_consistent(f.zswap));
        fixture_destroy(&f);
    }
}

static void *load_own(void *number)
{
    _Alignas(8) unsigned char mine[PAGE_BYTES], wanted[PAGE_BYTES];
    struct swap_entry entry = at((uintptr_t)number);
    page_for(wanted, entry, 0);
    int error = zswap_load(f.zswap, entry, mine);
    CHECK(error == -ENOENT || (!error && memcmp(mine, wanted, PAGE_BYTES) == 0));
    return NULL;
}

/*
 * More loads than there are contexts wait for the device, each for a page of its own or all for one (`step` 0), of whom
 * `waiting` can: verbs that need no device go on. Then the entries are removed: each that is held leaves an orphan, and the
 * table has room for as many as there are contexts.
 */
static void load_from_a_silent_device(uintptr_t step, size_t waiting)
{
    enum { LOADERS = CONTEXTS_MAX + 40 };
    static pthread_t loaders[LOADERS];
    uintptr_t started = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    fixture_init(&f, ROOMY, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    store_range(&f, 0, LOADERS);
    write_back_all(&f);
    faulty_hold(f.device, SWAP_READ, true);
    while (started < LOADERS &&
           !pthread_create(&loaders[started], &attributes, load_own, (void *)(started * step))) {
        started++;
    }
    wait_until_held(min_size(started, waiting));
    CHECK_EQUAL(store_version(&f, at(LOADERS), 1), 0);
    CHECK_LOADS(&f, at(LOADERS), 1);
    CHECK(zswap_invalidate(f.zswap, at(LOADERS)));
    unsigned char page[PAGE_BYTES];
    CHECK(step || zswap_load_at_once(f.zswap, at(0), page) == -EAGAIN);
    CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), LOADERS);
    CHECK(lifecycle_orphans(&f.zswap->lifecycle) <= CONTEXTS_MAX);
    faulty_let_go(f.device);
    while (started) {
        pthread_join(loaders[--started], NULL);
    }
    fixture_destroy(&f);
}

TEST(more_loads_than_contexts)
{
    load_from_a_silent_device(1, CONTEXTS_WAITING_MAX);
}

TEST(more_loads_of_one_page_than_its_word_counts)
{
    load_from_a_silent_device(0, ENTRY_HOLDERS_MAX);
}

/* ---- two threads and a slow submit */

static struct swap_device slow;
static struct swap_device_ops slow_ops;
static uint32_t gate; /* 1: a write is inside submit; 2: it may go on; atomic */

static void submit_behind_gate(struct swap_device *device, struct swap_io *io)
{
    (void)device;
    if (io->operation == SWAP_WRITE && atomic_read_acquire(&gate) == 0) {
        atomic_set_release(&gate, 1);
        while (atomic_read_acquire(&gate) != 2) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    f.device->ops->submit(f.device, io);
}

static size_t reap_behind_gate(struct swap_device *device, bool wait)
{
    (void)device;
    return f.device->ops->reap(f.device, wait);
}

static void *write_back_once(void *unused)
{
    (void)unused;
    zswap_writeback(f.zswap, 1);
    return NULL;
}

/* A device without a queue writes inside submit. Who is at the limit meanwhile, and has slack, does not wait for that. */
TEST(store_at_the_limit_does_not_wait_for_anothers_submit)
{
    pthread_t writer;
    fixture_prepare(&f, SMALL, ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC);
    slow = *f.device;
    slow_ops = (struct swap_device_ops){.submit = submit_behind_gate, .reap = reap_behind_gate};
    slow.ops = &slow_ops;
    f.options.device = &slow;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    gate = 2;
    uint64_t i = 0;
    while (stats_of(&f).pool_total_size < SMALL) {
        CHECK_EQUAL(store_version(&f, at(i), 0), 0);
        REQUIRE(++i < 1000);
    }
    gate = 0;
    REQUIRE(pthread_create(&writer, NULL, write_back_once, NULL) == 0);
    while (atomic_read_acquire(&gate) != 1) {
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    for (uint64_t k = 0; k < 5; k++) {
        CHECK_EQUAL(store_version(&f, at(5000 + k), 0), 0);
    }
    atomic_set_release(&gate, 2);
    pthread_join(writer, NULL);
    fixture_destroy(&f);
}

int main(void)
{
    RUN(verbs_do_not_wait_for_a_write_in_flight);
    RUN(newer_write_may_end_before_the_older);
    RUN(entry_linked_late_is_unlinked_when_it_has_left);
    RUN(stores_go_on_while_all_buffers_are_out);
    RUN(destroying_an_area_waits_for_no_write_of_another);
    RUN(verbs_do_not_wait_for_a_read_in_flight);
    RUN(more_loads_than_contexts);
    RUN(more_loads_of_one_page_than_its_word_counts);
    RUN(store_at_the_limit_does_not_wait_for_anothers_submit);
    return harness_finish();
}
