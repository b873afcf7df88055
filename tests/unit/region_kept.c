/* SPDX-License-Identifier: MIT */
/* Pages that were stored before a fork: read, they stay stored; written, dropped or moved, they are as any other. */
#include <pthread.h>

#include "tests/unit/region_lent_fixture.h"
#include "zswap/internal.h"

#define STORED 64u /* from here on pages are out at the fork */
#define OUT (PAGES - STORED)

/* Pages 64 .. 127 on the device, 128 .. 191 in the pool. */
static void begin_stored(struct fixture *f)
{
    begin_to_lend(f);
    fixture_to(f, 128, 64, PLACE_RESIDENT);
    fixture_to(f, STORED, 64, PLACE_DEVICE);
    fixture_to(f, 128, 64, PLACE_POOL);
}

static unsigned kept_count(struct fixture *f)
{
    unsigned count = 0;
    fixture_settle(f);
    for (uint64_t i = 0; i < f->region->pages / CLUSTER_PAGES; i++) {
        count +=
            (unsigned)__builtin_popcountll(region_cluster(f->region, i) ? kept_pages_of(f->region, i) : 0);
    }
    return count;
}

static int64_t stores(struct fixture *f)
{
    return counter_sum(f->zswap, COUNTER_STORES);
}

static bool is_stored(struct fixture *f, uint64_t page)
{
    fixture_settle(f);
    return zswap_find(f->zswap, page_entry(f->region, page)) != ZSWAP_NOWHERE;
}

/* On both sides of a fork at once. */
static void on_both_sides(void (*behave)(struct fixture *f))
{
    struct fixture f;
    begin_stored(&f);
    pid_t child = fork_lending(&f);
    behave(&f);
    CHECK(region_consistent(f.region));
    if (!child) {
        child_exit(&f);
    }
    wait_for_child(child);
    end_lending(&f);
}

static void read_all_twice(struct fixture *f)
{
    int64_t before = stores(f);
    for (int turn = 0; turn < 2; turn++) {
        CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
        CHECK_EQUAL(kept_count(f), OUT);
        CHECK(region_consistent(f->region));
        fixture_to(f, STORED, OUT, PLACE_POOL);
        CHECK_EQUAL(fixture_count(f, STORED, OUT, PLACE_RESIDENT), 0);
    }
    CHECK_EQUAL(stores(f), before);
}

TEST(what_is_only_read_is_not_stored_again)
{
    on_both_sides(read_all_twice);
}

static void come_back_from_staging(struct fixture *f)
{
    int64_t before = stores(f);
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    fixture_to(f, STORED, OUT, PLACE_STAGED);
    CHECK(region_consistent(f->region));
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(kept_count(f), OUT);
    fixture_fill(f, STORED, 8, 2);
    fixture_to(f, STORED, OUT, PLACE_STAGED);
    fixture_drain_staging(f);
    CHECK_EQUAL(stores(f), before + 8);
    CHECK_EQUAL(fixture_wrong(f, STORED, 8, 2), 0);
    CHECK_EQUAL(fixture_wrong(f, STORED + 8, OUT - 8, 1), 0);
}

TEST(a_second_chance_keeps_the_copy)
{
    on_both_sides(come_back_from_staging);
}

static void write_some(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    for (uint64_t page = STORED; page < PAGES; page += 2) {
        fixture_fill(f, page, 1, 2);
        CHECK(!is_stored(f, page));
    }
    CHECK_EQUAL(kept_count(f), OUT / 2);
    for (int turn = 0; turn < 2; turn++) {
        fixture_to(f, STORED, OUT, turn ? PLACE_DEVICE : PLACE_POOL);
        for (uint64_t page = STORED; page < PAGES; page++) {
            CHECK(fixture_is(f, fixture_page(f, page), page, page % 2 ? 1 : 2));
        }
    }
    CHECK_EQUAL(kept_count(f), OUT / 2);
}

TEST(what_is_written_is_stored_anew)
{
    on_both_sides(write_some);
}

/* A write by the kernel, for the program. */
static void read_into(struct fixture *f)
{
    int ends[2];
    REQUIRE(!pipe(ends));
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    for (uint64_t page = STORED; page < PAGES; page += 9) {
        unsigned char made[PAGE_BYTES];
        fixture_make(f, made, page, 3);
        REQUIRE(write(ends[1], made, PAGE_BYTES) == (ssize_t)PAGE_BYTES);
        REQUIRE(read(ends[0], fixture_page(f, page), PAGE_BYTES) == (ssize_t)PAGE_BYTES);
    }
    fixture_to(f, STORED, OUT, PLACE_DEVICE);
    for (uint64_t page = STORED; page < PAGES; page++) {
        CHECK(fixture_is(f, fixture_page(f, page), page, (page - STORED) % 9 ? 1 : 3));
    }
    close(ends[0]);
    close(ends[1]);
}

TEST(what_the_kernel_writes_is_stored_anew)
{
    on_both_sides(read_into);
}

static void drop_and_move(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(region_discard(f->region, fixture_page(f, 70), 10 * PAGE_BYTES), 0);
    CHECK(!is_stored(f, 75));
    CHECK_EQUAL(region_move(f->region, fixture_page(f, 90), fixture_page(f, 300), 8 * PAGE_BYTES), 0);
    CHECK(!is_stored(f, 95) && !is_stored(f, 305));
    CHECK_EQUAL(region_hand_over(f->region, fixture_page(f, 140), 4 * PAGE_BYTES), 0);
    fixture_fill(f, 304, 4, 2);
    fixture_fill(f, 140, 4, 2);
    fixture_to(f, STORED, 300 - STORED + 8, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, 70, 10, 0), 0);
    CHECK_EQUAL(fixture_wrong(f, 90, 8, 0), 0);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK(fixture_is(f, fixture_page(f, 300 + i), i < 4 ? 90 + i : 300 + i, i < 4 ? 1 : 2));
    }
    CHECK_EQUAL(fixture_wrong(f, 140, 4, 2), 0);
    CHECK_EQUAL(fixture_wrong(f, 144, PAGES - 144, 1), 0);
}

TEST(dropped_and_moved_pages_leave_no_copy)
{
    on_both_sides(drop_and_move);
}

/* By system calls of its own: what it drops reads as zero, and not as what was stored of it. */
static void drop_unseen(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    REQUIRE(!madvise(fixture_page(f, 80), 20 * PAGE_BYTES, MADV_DONTNEED));
    CHECK_EQUAL(fixture_wrong(f, 80, 10, 0), 0); /* ten are touched, ten are not */
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, 80, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(f, 100, PAGES - 100, 1), 0);
    CHECK_EQUAL(fixture_wrong(f, STORED, 16, 1), 0);
}

TEST(pages_dropped_unseen_read_as_zero_and_stay_so)
{
    on_both_sides(drop_unseen);
}

/* MOVE takes plain read-write memory only. */
static void forbid(struct fixture *f)
{
    int64_t before = stores(f);
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 10 * PAGE_BYTES, PROT_READ), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 90), 10 * PAGE_BYTES, PROT_NONE), 0);
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_count(f, STORED, OUT, PLACE_RESIDENT), 0);
    CHECK_EQUAL(stores(f), before);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 30 * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 30 * PAGE_BYTES, PROT_READ), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 30 * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    fixture_fill(f, 70, 30, 2);
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(stores(f), before + 30);
    CHECK_EQUAL(fixture_wrong(f, 70, 30, 2), 0);
}

TEST(pages_that_cannot_be_moved_are_copied_and_not_stored_again)
{
    on_both_sides(forbid);
}

/* As if the kernel had merged the pages with others that are equal (KSM). */
static void lose_protection(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(userfault_protect(&f->region->userfault, fixture_page(f, 80), 20 * PAGE_BYTES, false), 0);
    fixture_fill(f, 80, 10, 2);
    CHECK_EQUAL(kept_count(f), OUT); /* nobody has told us */
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, 80, 10, 2), 0);
    CHECK_EQUAL(fixture_wrong(f, 90, PAGES - 90, 1), 0);
}

/* The next fork protects all that is resident, and this again. That it leaves by a copy, for want of write access, so that MOVE does
 * not look whether it is shared. */
static void lose_protection_and_fork(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(userfault_protect(&f->region->userfault, fixture_page(f, 80), 20 * PAGE_BYTES, false), 0);
    fixture_fill(f, 80, 10, 2);
    region_fork_prepare(f->region);
    region_lend(f->region, NULL, 0);
    region_fork_parent(f->region);
    CHECK_EQUAL(kept_count(f), OUT - 20);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 80), 20 * PAGE_BYTES, PROT_READ), 0);
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, 80, 10, 2), 0);
    CHECK_EQUAL(fixture_wrong(f, 90, PAGES - 90, 1), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 80), 20 * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
}

TEST(who_has_lost_its_protection_before_a_fork_is_stored)
{
    on_both_sides(lose_protection_and_fork);
}

TEST(who_has_lost_its_protection_is_stored)
{
    on_both_sides(lose_protection);
}

/* Far from each other, so that nothing is read ahead. */
static void write_first(struct fixture *f)
{
    for (int turn = 0; turn < 2; turn++) {
        for (uint64_t page = STORED + 5; page < PAGES; page += 50) {
            __atomic_fetch_xor(fixture_page(f, page), 1, __ATOMIC_RELAXED);
        }
        CHECK_EQUAL(kept_count(f), 0);
    }
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(kept_count(f), OUT - 3);
}

TEST(what_is_brought_in_by_a_write_is_not_kept)
{
    on_both_sides(write_first);
}

static void lock_and_forbid(struct fixture *f)
{
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 10 * PAGE_BYTES, PROT_READ), 0);
    /* Unseen, so that what is copied cannot be dropped; by number, as sanitizers make nothing of mlock. */
    REQUIRE(!sys_call3(SYS_mlock, (long)fixture_page(f, 70), 10 * PAGE_BYTES, 0));
    CHECK_EQUAL(kept_count(f), OUT);
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_count(f, 70, 10, PLACE_RESIDENT), 10);
    REQUIRE(!sys_call3(SYS_munlock, (long)fixture_page(f, 70), 10 * PAGE_BYTES, 0));
    CHECK_EQUAL(region_protect(f->region, fixture_page(f, 70), 10 * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    fixture_fill(f, 70, 10, 2);
    fixture_to(f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, 70, 10, 2), 0);
}

TEST(kept_pages_that_cannot_be_dropped_stay_protected)
{
    on_both_sides(lock_and_forbid);
}

static void move_over(struct fixture *f)
{
    fixture_fill(f, 0, 8, 2); /* the copy is this process's alone, and can be moved */
    CHECK_EQUAL(region_move(f->region, fixture_page(f, 0), fixture_page(f, 130), 8 * PAGE_BYTES), 0);
    CHECK_EQUAL(kept_count(f), 0);
    CHECK(region_consistent(f->region));
    fixture_to(f, 128, 64, PLACE_POOL);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK(fixture_is(f, fixture_page(f, 130 + i), i, 2));
    }
}

TEST(what_is_moved_to_a_place_that_had_a_copy_is_not_kept)
{
    on_both_sides(move_over);
}

/* Forks once, so that what is read then is kept. */
static void begin_keeping(struct fixture *f)
{
    begin_stored(f);
    pid_t child = fork_lending(f);
    if (!child) {
        child_exit(f);
    }
    wait_for_child(child);
    CHECK_EQUAL(fixture_wrong(f, STORED, OUT, 1), 0);
    CHECK_EQUAL(kept_count(f), OUT);
}

/* A mapping that we do not know of keeps the cluster from being protected, and so from being lent. */
TEST(kept_pages_are_protected_where_none_can_be_lent)
{
    struct fixture f;
    begin_keeping(&f);
    void *unseen = fixture_page(&f, 70);
    REQUIRE(mmap(unseen, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == unseen);
    pid_t child = fork_lending(&f);
    CHECK_EQUAL(lent_pages_of(f.region, 1), 0);
    for (uint64_t page = STORED; page < 100; page += 16) {
        fixture_fill(&f, page, 6, child ? 2 : 3);
        fixture_to(&f, page, 6, PLACE_POOL);
        CHECK_EQUAL(fixture_wrong(&f, page, 6, child ? 2 : 3), 0);
    }
    CHECK_EQUAL(region_adopt(f.region, unseen, PAGE_BYTES), 0);
    if (!child) {
        child_exit(&f);
    }
    wait_for_child(child);
    end_lending(&f);
}

TEST(a_write_that_gives_lent_neighbours_free_leaves_kept_ones_protected)
{
    struct fixture f;
    begin_keeping(&f);
    CHECK_EQUAL(region_discard(f.region, fixture_page(&f, STORED), PAGE_BYTES), 0);
    fixture_fill(&f, STORED, 1, 2);
    pid_t child = fork_lending(&f);
    if (!child) {
        child_exit(&f);
    }
    wait_for_child(child);
    atomic_set_relaxed(&lending.lends, 0);
    fixture_fill(&f, STORED, 1, 3); /* all of the cluster that was lent is free now */
    CHECK_EQUAL(lent_pages_of(f.region, 1), 0);
    CHECK_EQUAL(kept_count(&f), OUT - 1);
    fixture_fill(&f, STORED + 1, 10, 3);
    fixture_to(&f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, STORED, 11, 3), 0);
    end_lending(&f);
}

TEST(a_fork_amid_kept_pages)
{
    struct fixture f;
    begin_keeping(&f);
    fixture_to(&f, STORED, 10, PLACE_STAGED);
    pid_t child = fork_lending(&f);
    CHECK_EQUAL(kept_count(&f), OUT - 10);
    fixture_fill(&f, STORED + 5, 20, child ? 2 : 3);
    fixture_to(&f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, STORED + 5, 20, child ? 2 : 3), 0);
    CHECK_EQUAL(fixture_wrong(&f, STORED, 5, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, STORED + 25, OUT - 25, 1), 0);
    if (!child) {
        child_exit(&f);
    }
    wait_for_child(child);
    end_lending(&f);
}

TEST(once_nobody_shares_the_copies_go)
{
    struct fixture f;
    begin_keeping(&f); /* so that what is kept is lent as well */
    fixture_to(&f, 0, PAGES, PLACE_RESIDENT);
    pid_t child = fork_lending(&f);
    if (!child) {
        child_exit(&f);
    }
    CHECK_EQUAL(fixture_wrong(&f, STORED, OUT, 1), 0);
    fixture_to(&f, STORED, 10, PLACE_POOL);
    wait_for_child(child);
    atomic_set_relaxed(&lending.lends, 0);
    CHECK(region_end_keeping(f.region));
    CHECK_EQUAL(kept_count(&f), 0);
    CHECK_EQUAL(lent_pages_of(f.region, 1) | lent_pages_of(f.region, 2), 0);
    CHECK_EQUAL(fixture_count(&f, STORED + 10, OUT - 10, PLACE_RESIDENT), OUT - 10);
    CHECK(!is_stored(&f, STORED + 10) && is_stored(&f, STORED));
    fixture_fill(&f, STORED + 20, 20, 2);
    CHECK_EQUAL(fixture_wrong(&f, STORED, 20, 1), 0);
    CHECK(!is_stored(&f, STORED));
    fixture_to(&f, STORED, OUT, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, STORED, 20, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, STORED + 20, 20, 2), 0);
    end_lending(&f);
}

/* ---- beside a model: each page has a version; others read, write and evict at the same time */

static uint64_t versions[PAGES];
static uint32_t stop; /* atomic */

static void act(struct fixture *f, uint64_t *random)
{
    uint64_t page = harness_random(random) % PAGES, count = 1 + harness_random(random) % 12;
    count = min_size(count, PAGES - page);
    switch (harness_random(random) % 16) {
    case 0 ... 5:
        CHECK(fixture_is(f, fixture_page(f, page), page, versions[page]));
        break;
    case 6 ... 8:
        fixture_fill(f, page, 1, ++versions[page]);
        break;
    case 9 ... 12:
        region_pageout(f->region, fixture_page(f, page), count * PAGE_BYTES);
        break;
    case 13:
        CHECK_EQUAL(region_discard(f->region, fixture_page(f, page), PAGE_BYTES), 0);
        versions[page] = 0;
        break;
    case 14:
        fixture_drain_staging(f);
        break;
    default:
        rwlock_read_lock(&f->region->layout);
        zswap_writeback(f->zswap, MIB);
        rwlock_read_unlock(&f->region->layout);
        break;
    }
}

static void *run_evictor(void *argument)
{
    struct fixture *f = argument;
    uint64_t random = 5;
    unsigned number = members_enter();
    while (!atomic_read_acquire(&stop)) {
        region_pageout(f->region, fixture_page(f, harness_random(&random) % (PAGES - 20)), 20 * PAGE_BYTES);
        fixture_drain_staging(f);
    }
    members_leave(number);
    return NULL;
}

static void behave_at_random(struct fixture *f)
{
    pthread_t evictor;
    uint64_t random = (uint64_t)getpid();
    for (uint64_t page = 0; page < PAGES; page++) {
        versions[page] = 1;
    }
    stop = 0;
    REQUIRE(!pthread_create(&evictor, NULL, run_evictor, f));
    for (int i = 0; i < (HARNESS_SANITIZED ? 1500 : 8000); i++) {
        act(f, &random);
        if (i % 500 == 0) {
            CHECK(region_consistent(f->region));
        }
    }
    atomic_set_release(&stop, 1);
    pthread_join(evictor, NULL);
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK(fixture_is(f, fixture_page(f, page), page, versions[page]));
    }
}

TEST(both_sides_keep_to_the_model)
{
    on_both_sides(behave_at_random);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    if (access("/proc/self/pagemap", R_OK)) {
        printf("1..0 # SKIP needs /proc\n");
        return 0;
    }
    members_join(NULL);
    RUN(what_is_only_read_is_not_stored_again);
    RUN(a_second_chance_keeps_the_copy);
    RUN(what_is_written_is_stored_anew);
    RUN(what_the_kernel_writes_is_stored_anew);
    RUN(dropped_and_moved_pages_leave_no_copy);
    RUN(pages_dropped_unseen_read_as_zero_and_stay_so);
    RUN(pages_that_cannot_be_moved_are_copied_and_not_stored_again);
    RUN(who_has_lost_its_protection_is_stored);
    RUN(who_has_lost_its_protection_before_a_fork_is_stored);
    RUN(what_is_brought_in_by_a_write_is_not_kept);
    RUN(kept_pages_that_cannot_be_dropped_stay_protected);
    RUN(what_is_moved_to_a_place_that_had_a_copy_is_not_kept);
    RUN(kept_pages_are_protected_where_none_can_be_lent);
    RUN(a_write_that_gives_lent_neighbours_free_leaves_kept_ones_protected);
    RUN(a_fork_amid_kept_pages);
    RUN(once_nobody_shares_the_copies_go);
    RUN(both_sides_keep_to_the_model);
    return harness_finish();
}
