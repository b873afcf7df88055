/* SPDX-License-Identifier: MIT */
/* Blocks of chains of small objects: when they are huge pages, and that nothing stays behind when parts of them go. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/zsmalloc_fixture.h"

#define SIZE ZS_SMALL_BYTES
#define ROOM (64 << 20)
#define BLOCK_OBJECTS_MAX 9000
#define BLOCK_PAGES (ZS_BLOCK_BYTES / PAGE_BYTES)
#define THREADS 3

static struct fixture f;                    /* large */
static uint64_t handles[BLOCK_OBJECTS_MAX]; /* by owner; 0 = none */

static unsigned slots(void)
{
    return shape_of(&f, SIZE)->slots;
}

static unsigned block_objects(void)
{
    return slots() * ZS_BLOCK_CHAINS;
}

static void put_some(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        REQUIRE(pool_zsmalloc.alloc(f.pool, SIZE, i, &handles[i]) == 0);
        fill(map(&f, handles[i]), SIZE, i + 1);
    }
}

static void drop_some(unsigned first, unsigned end, unsigned step)
{
    for (unsigned i = first; i < end; i += step) {
        if (handles[i]) {
            pool_zsmalloc.free(f.pool, handles[i]);
            handles[i] = 0;
        }
    }
}

static bool all_there(void)
{
    for (unsigned i = 0; i < BLOCK_OBJECTS_MAX; i++) {
        if (handles[i] && !holds(map(&f, handles[i]), SIZE, i + 1)) {
            return false;
        }
    }
    return true;
}

/* Does the address's memory belong to a huge page, mapped as one or not? Asked of the kernel; -1 if it does not tell. */
static int is_in_huge_page(const void *at)
{
    uint64_t entry = 0, flags = 0;
    int map = open("/proc/self/pagemap", O_RDONLY), pages = open("/proc/kpageflags", O_RDONLY);
    bool told = map >= 0 && pages >= 0 &&
                pread(map, &entry, 8, (off_t)((uintptr_t)at / PAGE_BYTES * 8)) == 8 && entry << 9 &&
                pread(pages, &flags, 8, (off_t)((entry & ((1ull << 55) - 1)) * 8)) == 8;
    close(map);
    close(pages);
    return told ? (int)(flags >> 22 & 1) : -1;
}

/* A full block, if it can become a huge page here. */
static bool set_up_block(void)
{
    set_up(&f, ROOM);
    memset(handles, 0, sizeof handles);
    put_some(0, block_objects());
    return is_in_huge_page(map(&f, handles[0])) == 1;
}

TEST(small_slots_lie_in_chains_without_gaps)
{
    set_up(&f, ROOM);
    for (size_t bytes = 1; bytes <= PAGE_BYTES; bytes++) {
        const struct zs_shape *shape = shape_of(&f, bytes);
        CHECK_EQUAL(zs_shape_kind(shape) == ZS_SMALL, bytes <= ZS_SMALL_BYTES);
        CHECK(bytes > ZS_SMALL_BYTES || shape->pages == ZS_CHAIN_PAGES);
    }
    CHECK_EQUAL(f.z->source.ranges[ZS_SMALL].first % ZS_BLOCK_CHAINS, 0);
    tear_down(&f);
}

TEST(a_block_becomes_huge_when_all_of_it_is_charged_and_not_before)
{
    set_up(&f, ROOM);
    memset(handles, 0, sizeof handles);
    put_some(0, block_objects() - 17);
    CHECK(pages_held(&f) < BLOCK_PAGES);
    CHECK(is_in_huge_page(map(&f, handles[0])) != 1);
    put_some(block_objects() - 17, block_objects());
    CHECK_EQUAL(pages_held(&f), BLOCK_PAGES);
    CHECK(all_there());
    bool huge = is_in_huge_page(map(&f, handles[0])) == 1;
    tear_down(&f);
    if (!huge) {
        SKIP("no huge pages here, or the kernel does not say");
    }
}

TEST(what_is_given_back_of_a_huge_block_goes_back)
{
    bool huge = set_up_block();
    drop_some(slots(), 2 * slots(), 1);
    pool_zsmalloc.trim(f.pool);
    CHECK_EQUAL(pages_held(&f), BLOCK_PAGES - ZS_CHAIN_PAGES);
    CHECK(is_in_huge_page(map(&f, handles[0])) != 1); /* else the kernel has kept the memory */
    CHECK(all_there());
    tear_down(&f);
    if (!huge) {
        SKIP("no huge pages here, or the kernel does not say");
    }
}

TEST(a_block_becomes_huge_once_in_a_life)
{
    bool huge = set_up_block();
    drop_some(0, slots(), 1);
    pool_zsmalloc.trim(f.pool);
    put_some(0, slots());
    CHECK_EQUAL(pages_held(&f), BLOCK_PAGES);
    CHECK(is_in_huge_page(map(&f, handles[0])) != 1);
    drop_some(0, block_objects(), 1);
    pool_zsmalloc.trim(f.pool);
    CHECK_EQUAL(pages_held(&f), 0);
    put_some(0, block_objects());
    CHECK_EQUAL(is_in_huge_page(map(&f, handles[0])) == 1, huge);
    CHECK(all_there());
    tear_down(&f);
    if (!huge) {
        SKIP("no huge pages here, or the kernel does not say");
    }
}

/* ---- compaction */

static bool hold_object(void *context, uint64_t owner, uint64_t handle)
{
    (void)context;
    return handles[owner] == handle;
}

static bool commit_object(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    (void)context;
    handles[owner] = moved;
    pool_zsmalloc.free(f.pool, handle);
    return true;
}

TEST(a_huge_block_can_be_compacted)
{
    static const struct pool_mover mover = {.hold = hold_object, .commit = commit_object};
    set_up_block();
    drop_some(0, block_objects(), 2);
    pool_zsmalloc.compact(f.pool, SIZE_MAX, &mover, NULL);
    CHECK(pages_held(&f) <= BLOCK_PAGES / 2 + ZS_CHAIN_PAGES);
    CHECK(all_there());
    tear_down(&f);
}

/* ---- threads */

static void *fill_and_empty(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument, objects = BLOCK_OBJECTS_MAX / THREADS;
    for (int round = 0; round < 8; round++) {
        put_some(thread * objects, (thread + 1) * objects);
        drop_some(thread * objects, (thread + 1) * objects, 1 + (round & 1));
        drop_some(thread * objects, (thread + 1) * objects, 1);
        pool_zsmalloc.trim(f.pool);
    }
    put_some(thread * objects, (thread + 1) * objects);
    return NULL;
}

TEST(threads_fill_and_empty_blocks)
{
    pthread_t threads[THREADS];
    set_up(&f, ROOM);
    memset(handles, 0, sizeof handles);
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, fill_and_empty, (void *)i) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(all_there());
    tear_down(&f);
}

TEST(the_checker_catches_wrong_counts_of_full_chains)
{
    set_up_block();
    uint32_t *word = (uint32_t *)f.z->blocks.slots, right = *word;
    fflush(stdout);
    int console = dup(2);
    REQUIRE(freopen("/dev/null", "w", stderr)); /* the mismatches are wanted here */
    *word = right - 1;
    CHECK(!pool_zsmalloc.consistent(f.pool));
    *word = 0;
    CHECK(!pool_zsmalloc.consistent(f.pool));
    *word = right;
    fflush(stderr);
    dup2(console, 2);
    close(console);
    tear_down(&f);
}

int main(void)
{
    RUN(small_slots_lie_in_chains_without_gaps);
    RUN(a_block_becomes_huge_when_all_of_it_is_charged_and_not_before);
    RUN(what_is_given_back_of_a_huge_block_goes_back);
    RUN(a_block_becomes_huge_once_in_a_life);
    RUN(a_huge_block_can_be_compacted);
    RUN(threads_fill_and_empty_blocks);
    RUN(the_checker_catches_wrong_counts_of_full_chains);
    return harness_finish();
}
