/* SPDX-License-Identifier: MIT */
/*
 * A device that does not answer holds nobody up: while an entry is being written back, store, invalidate, load and the rest of
 * that entry return. Nothing else runs that could release the device: whoever waited for it would wait for ever, and the
 * alarm ends the program.
 *
 * Then the device answers late, and nothing old may come of it.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "tests/support/restless.h"
#include "tests/unit/zswap_fixture.h"

#define WRITE_BUFFERS 4
#define PATIENCE (HARNESS_SANITIZED ? 100 : 30) /* seconds: for a hang, not for slowness */

static const char *doing = "nothing";

static void give_up(int signal)
{
    (void)signal;
    (void)!write(STDOUT_FILENO, "# waits for a device that does not answer: ", 43);
    (void)!write(STDOUT_FILENO, doing, strlen(doing));
    (void)!write(STDOUT_FILENO, "\nnot ok - stopped\n", 18);
    _exit(1);
}

/* ---- a cache with the writeback of some entries stuck in the device */

static struct fixture f;

static void begin(enum zswap_writeback mode, enum ram_device_mode device_mode)
{
    fixture_prepare(&f, 1 << 20, mode, device_mode);
    f.options.pool = &restless_pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
    faulty_hold(f.device, SWAP_WRITE, true);
}

/* Offsets 0 .. n - 1, version 1, of which the writes have begun and do not end. */
static void block(enum zswap_writeback mode, enum ram_device_mode device_mode, uint64_t n)
{
    begin(mode, device_mode);
    for (uint64_t i = 0; i < n; i++) {
        REQUIRE(store_version(&f, at(i), 1) == 0);
    }
    REQUIRE(zswap_writeback(f.zswap, SIZE_MAX) > 0);
    REQUIRE(faulty_held(f.device) > 0 && zswap_writeback_in_flight(f.zswap));
}

/* The device still has not answered. */
static void check_blocked(void)
{
    zswap_writeback_reap(f.zswap, false);
    CHECK(faulty_held(f.device) > 0);
    CHECK(zswap_writeback_in_flight(f.zswap));
}

/* It answers now. */
static void answer_late(void)
{
    doing = "the end of the writes that were held back";
    faulty_let_go(f.device);
    zswap_writeback_reap(f.zswap, true);
    CHECK(!zswap_writeback_in_flight(f.zswap));
    CHECK(zswap_consistent(f.zswap));
    CHECK_EQUAL(swap_cache_count(f.swap_cache), 0);
}

/* `pages` entries are left in all, wherever; nothing else takes room. */
static void end(uint64_t pages)
{
    zswap_writeback_reap(f.zswap, true);
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.stored_pages + stats.device_pages, pages);
    CHECK_EQUAL(restless_objects(), stats.stored_pages - stats.same_filled_pages);
    zswap_invalidate_area(f.zswap, TYPE);
    stats = stats_of(&f);
    CHECK_EQUAL(stats.pool_payload, 0);
    CHECK_EQUAL(stats.device_bytes, 0);
    CHECK_EQUAL(restless_objects(), 0);
    fixture_destroy(&f);
    CHECK_EQUAL(restless_misuses(), 0);
}

/* ---- each verb, in each mode, on each kind of device */

static const struct setting {
    enum zswap_writeback mode;
    enum ram_device_mode device_mode;
} settings[] = {
    {ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_SYNC},
    {ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC_READ},
    {ZSWAP_WRITEBACK_PAGE, RAM_DEVICE_SYNC},
    {ZSWAP_WRITEBACK_PAGE, RAM_DEVICE_ASYNC_READ},
};

#define FOR_EACH_SETTING(s)                                                                                  \
    for (const struct setting *s = settings; s < settings + ARRAY_LENGTH(settings); s++)

TEST(load)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "load";
        CHECK_LOADS(&f, at(1), 1);
        CHECK_LOADS(&f, at(1), 1);
        check_blocked();
        answer_late();
        CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_ON_DEVICE);
        CHECK_LOADS(&f, at(1), 1);
        end(3);
    }
}

TEST(store)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "store";
        CHECK_LOADS(&f, at(1), 1);
        CHECK_EQUAL(store_version(&f, at(1), 2), 0);
        CHECK_LOADS(&f, at(1), 2);
        check_blocked();
        answer_late();
        CHECK_EQUAL(zswap_find(f.zswap, at(1)), ZSWAP_IN_POOL);
        CHECK_LOADS(&f, at(1), 2);
        CHECK_LOADS(&f, at(0), 1);
        CHECK_EQUAL(stats_of(&f).device_pages, 2);
        end(3);
    }
}

TEST(store_again_and_write_that_back_too)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 1);
        doing = "store and writeback of the same entry";
        CHECK_EQUAL(store_version(&f, at(0), 2), 0);
        /* One writeback of an entry at a time: the old one's slot in the swap cache is still taken. */
        CHECK_EQUAL(zswap_writeback(f.zswap, SIZE_MAX), 0);
        CHECK_LOADS(&f, at(0), 2);
        check_blocked();
        answer_late();
        write_back_all(&f);
        CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_ON_DEVICE);
        CHECK_LOADS(&f, at(0), 2);
        end(1);
    }
}

TEST(store_that_fails)
{
    FOR_EACH_SETTING(s)
    {
        _Alignas(8) unsigned char page[PAGE_BYTES];
        block(s->mode, s->device_mode, 3);
        /* The first has the context made that the second uses too; then only the pool asks for memory, a page each. */
        int errors[2];
        for (int i = 0; i < 2; i++) {
            doing = i ? "store without memory" : "store";
            zswap_trim(f.zswap);
            incompressible_page_for(page, at(1), 2 + (uint64_t)i);
            atomic_set_relaxed(&f.memory.fail_countdown, i);
            errors[i] = zswap_store(f.zswap, at(i ? 1 : 5), page);
        }
        CHECK_EQUAL(errors[0], 0);
        CHECK_EQUAL(errors[1], -ENOMEM);
        CHECK_EQUAL(atomic_read_relaxed(&f.memory.fail_countdown), 0);
        CHECK_GONE(&f, at(1));
        check_blocked();
        answer_late();
        CHECK_GONE(&f, at(1));
        end(3);
    }
}

TEST(invalidate)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "invalidate";
        CHECK(zswap_invalidate(f.zswap, at(1)));
        CHECK_GONE(&f, at(1));
        CHECK(!zswap_invalidate(f.zswap, at(1)));
        check_blocked();
        answer_late();
        CHECK_GONE(&f, at(1));
        CHECK_LOADS(&f, at(2), 1);
        end(2);
    }
}

TEST(invalidate_and_store_again)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "invalidate and store";
        CHECK(zswap_invalidate(f.zswap, at(1)));
        CHECK_EQUAL(store_version(&f, at(1), 2), 0);
        CHECK_LOADS(&f, at(1), 2);
        check_blocked();
        answer_late();
        CHECK_LOADS(&f, at(1), 2);
        end(3);
    }
}

TEST(invalidate_area)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "invalidate area";
        CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), 3);
        for (uint64_t i = 0; i < 3; i++) {
            CHECK_GONE(&f, at(i));
        }
        check_blocked();
        answer_late();
        for (uint64_t i = 0; i < 3; i++) {
            CHECK_GONE(&f, at(i));
        }
        CHECK_EQUAL(stats_of(&f).device_bytes, 0);
        end(0);
    }
}

/* The index page of the entries is given back and taken again under the writeback, which knows the word's place. */
TEST(invalidate_area_and_store_again)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 3);
        doing = "invalidate area and store";
        zswap_invalidate_area(f.zswap, TYPE);
        CHECK_EQUAL(store_version(&f, at(0), 2), 0);
        CHECK_EQUAL(store_version(&f, at(2), 3), 0);
        check_blocked();
        answer_late();
        CHECK_LOADS(&f, at(0), 2);
        CHECK_GONE(&f, at(1));
        CHECK_LOADS(&f, at(2), 3);
        end(2);
    }
}

TEST(exclusive_load)
{
    FOR_EACH_SETTING(s)
    {
        _Alignas(8) unsigned char page[PAGE_BYTES], expected[PAGE_BYTES];
        block(s->mode, s->device_mode, 3);
        doing = "exclusive load";
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(1), page), 0);
        page_for(expected, at(1), 1);
        CHECK(memcmp(page, expected, PAGE_BYTES) == 0);
        CHECK_GONE(&f, at(1));
        CHECK_EQUAL(zswap_load_exclusive(f.zswap, at(1), page), -ENOENT);
        check_blocked();
        answer_late();
        CHECK_GONE(&f, at(1));
        end(2);
    }
}

TEST(many_stores_of_one_entry)
{
    FOR_EACH_SETTING(s)
    {
        block(s->mode, s->device_mode, 1);
        doing = "many stores";
        for (uint64_t version = 2; version < 100; version++) {
            CHECK_EQUAL(store_version(&f, at(0), version), 0);
            CHECK_LOADS(&f, at(0), version);
        }
        CHECK_EQUAL(restless_objects(), 2); /* the newest, and the one that is being written */
        check_blocked();
        answer_late();
        CHECK_LOADS(&f, at(0), 99);
        end(1);
    }
}

/* The write ends with an error, late, after the entry has become another. */
TEST(late_failure)
{
    FOR_EACH_SETTING(s)
    {
        begin(s->mode, s->device_mode);
        for (uint64_t i = 0; i < 4; i++) {
            REQUIRE(store_version(&f, at(i), 1) == 0);
        }
        faulty_fail_all(f.device, SWAP_WRITE, -EIO);
        REQUIRE(zswap_writeback(f.zswap, SIZE_MAX) > 0);
        faulty_fail_all(f.device, SWAP_WRITE, 0);
        doing = "verbs before a late failure";
        CHECK_EQUAL(store_version(&f, at(0), 2), 0);
        CHECK(zswap_invalidate(f.zswap, at(1)));
        check_blocked();
        answer_late();
        CHECK_LOADS(&f, at(0), 2);
        CHECK_GONE(&f, at(1));
        CHECK_LOADS(&f, at(2), 1);
        CHECK_EQUAL(stats_of(&f).device_pages, 0);
        end(3);
    }
}

/* ---- all write buffers stuck, and the pool at its limit */

/* Stores one entry after the other until no store makes room any more. How many were stored. */
static uint64_t fill_all(void)
{
    uint64_t n = 0;
    while (n < AREA_PAGES && store_version(&f, at(n), 1) == 0) {
        n++;
    }
    return n;
}

TEST(all_write_buffers_blocked)
{
    FOR_EACH_SETTING(s)
    {
        begin(s->mode, s->device_mode);
        zswap_set_max_pool_bytes(f.zswap, 256 << 10);
        doing = "stores with all write buffers in flight";
        uint64_t n = fill_all();
        CHECK(n > 100 && n < AREA_PAGES);   /* one was refused, and it has said so at once */
        zswap_writeback(f.zswap, SIZE_MAX); /* the rest of them */
        CHECK(faulty_held(f.device) >= WRITE_BUFFERS);
        CHECK_EQUAL(zswap_writeback(f.zswap, SIZE_MAX), 0);
        CHECK_GONE(&f, at(n));
        uint64_t reject = stats_of(&f).reject_reclaim_fail;
        CHECK_EQUAL(store_version(&f, at(0), 2), -ENOSPC); /* being written, and now gone */
        CHECK_EQUAL(store_version(&f, at(n - 1), 2), -ENOSPC);
        CHECK_EQUAL(stats_of(&f).reject_reclaim_fail, reject + 2);
        CHECK_GONE(&f, at(0));
        CHECK_GONE(&f, at(n - 1));
        doing = "loads and removals with all write buffers in flight";
        for (uint64_t i = 1; i < n - 1; i++) {
            CHECK_LOADS(&f, at(i), 1);
        }
        CHECK(zswap_invalidate(f.zswap, at(1)));
        CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, 2, 10), 10);
        zswap_trim(f.zswap);
        check_blocked();
        answer_late();
        for (uint64_t i = 0; i < n; i++) {
            if (i < 12 || i == n - 1) {
                CHECK_GONE(&f, at(i));
            } else {
                CHECK_LOADS(&f, at(i), 1);
            }
        }
        CHECK_EQUAL(store_version(&f, at(0), 3), 0); /* there is room again */
        CHECK_LOADS(&f, at(0), 3);
        end(n - 12);
    }
}

/* Pages of one word need no room: their stores do not even fail. */
TEST(same_filled_pages_when_there_is_no_room)
{
    uint64_t page[PAGE_BYTES / 8] = {0};
    begin(ZSWAP_WRITEBACK_COMPRESSED, RAM_DEVICE_ASYNC);
    zswap_set_max_pool_bytes(f.zswap, 256 << 10);
    doing = "stores of same-filled pages";
    uint64_t n = fill_all();
    CHECK_EQUAL(zswap_store(f.zswap, at(0), page), 0);
    CHECK_EQUAL(zswap_load(f.zswap, at(0), page), 0);
    check_blocked();
    answer_late();
    CHECK_EQUAL(zswap_load(f.zswap, at(0), page), 0);
    CHECK_EQUAL(zswap_find(f.zswap, at(0)), ZSWAP_IN_POOL);
    CHECK_EQUAL(page[0] | page[511], 0);
    end(n);
}

/* ---- a load that the device does not answer holds up nobody else */

/* Offsets 0 and 1, version 1, on the device, which keeps reads back. */
static void block_reads(const struct setting *s)
{
    begin(s->mode, s->device_mode);
    faulty_let_go(f.device);
    for (uint64_t i = 0; i < 2; i++) {
        REQUIRE(store_version(&f, at(i), 1) == 0);
    }
    write_back_all(&f);
    REQUIRE(zswap_find(f.zswap, at(0)) == ZSWAP_ON_DEVICE);
    faulty_hold(f.device, SWAP_READ, true);
}

static _Alignas(8) unsigned char read_late[PAGE_BYTES];

static void *load_late(void *exclusive)
{
    CHECK_EQUAL((exclusive ? zswap_load_exclusive : zswap_load)(f.zswap, at(0), read_late), 0);
    return NULL;
}

/* A thread that loads offset 0 and is stuck. */
static pthread_t stick(bool exclusive)
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, load_late, exclusive ? read_late : NULL) == 0);
    while (!faulty_held(f.device)) {
        sched_yield();
    }
    return thread;
}

static void check_read(uint64_t version)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    page_for(expected, at(0), version);
    CHECK(memcmp(read_late, expected, PAGE_BYTES) == 0);
}

TEST(load_at_once_does_not_ask_the_device)
{
    FOR_EACH_SETTING(s)
    {
        _Alignas(8) unsigned char page[PAGE_BYTES];
        block_reads(s);
        doing = "load that must not wait";
        CHECK_EQUAL(zswap_load_at_once(f.zswap, at(0), page), -EAGAIN);
        CHECK_EQUAL(faulty_held(f.device), 0);
        answer_late();
        end(2);
    }
}

TEST(store_under_a_stuck_load)
{
    FOR_EACH_SETTING(s)
    {
        block_reads(s);
        pthread_t thread = stick(false);
        doing = "store of what another loads";
        CHECK_EQUAL(store_version(&f, at(0), 2), 0);
        CHECK_LOADS(&f, at(0), 2);
        CHECK(stats_of(&f).device_bytes > 0); /* the old one's slots are still being read */
        faulty_let_go(f.device);
        pthread_join(thread, NULL);
        check_read(1);
        answer_late();
        end(2);
    }
}

TEST(invalidate_under_a_stuck_load)
{
    FOR_EACH_SETTING(s)
    {
        block_reads(s);
        pthread_t thread = stick(false);
        doing = "invalidate area of what another loads";
        CHECK_EQUAL(zswap_invalidate_area(f.zswap, TYPE), 2);
        CHECK_GONE(&f, at(0));
        faulty_let_go(f.device);
        pthread_join(thread, NULL);
        check_read(1);
        answer_late();
        CHECK_EQUAL(stats_of(&f).device_bytes, 0);
        end(0);
    }
}

/* What it read is not the entry any more: it reads again, and takes what is. */
TEST(store_under_a_stuck_exclusive_load)
{
    FOR_EACH_SETTING(s)
    {
        block_reads(s);
        pthread_t thread = stick(true);
        doing = "store of what another loads exclusively";
        CHECK_EQUAL(store_version(&f, at(0), 2), 0);
        CHECK_LOADS(&f, at(0), 2);
        faulty_let_go(f.device);
        pthread_join(thread, NULL);
        check_read(2);
        CHECK_GONE(&f, at(0));
        answer_late();
        end(1);
    }
}

int main(void)
{
    signal(SIGALRM, give_up);
    alarm(PATIENCE);
    RUN(load);
    RUN(store);
    RUN(store_again_and_write_that_back_too);
    RUN(store_that_fails);
    RUN(invalidate);
    RUN(invalidate_and_store_again);
    RUN(invalidate_area);
    RUN(invalidate_area_and_store_again);
    RUN(exclusive_load);
    RUN(many_stores_of_one_entry);
    RUN(late_failure);
    RUN(all_write_buffers_blocked);
    RUN(same_filled_pages_when_there_is_no_room);
    RUN(load_at_once_does_not_ask_the_device);
    RUN(store_under_a_stuck_load);
    RUN(invalidate_under_a_stuck_load);
    RUN(store_under_a_stuck_exclusive_load);
    return harness_finish();
}
