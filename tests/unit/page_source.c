/* SPDX-License-Identifier: MIT */
#include "pool/page_source.h"

#include "base/sys.h"
#include "tests/harness.h"

struct fixture {
    struct account account;
    struct memory memory;
    struct mutex lock;
    struct page_source source;
};

static void set_up(struct fixture *f, uint64_t pages)
{
    *f = (struct fixture){.lock = MUTEX_INIT(LOCK_RANK_POOL)};
    f->memory.account = &f->account;
    REQUIRE(page_source_init(&f->source, &f->memory, &f->lock, pages) == 0);
    mutex_lock(&f->lock);
}

static void tear_down(struct fixture *f)
{
    mutex_unlock(&f->lock);
    page_source_destroy(&f->source);
    CHECK_EQUAL(f->account.total, 0);
}

static uint32_t take(struct fixture *f)
{
    uint32_t page = page_source_next(&f->source);
    return page && page_source_take(&f->source, page) ? page : 0;
}

static void finish_release(struct fixture *f, struct page_run run)
{
    mutex_unlock(&f->lock);
    page_source_release(&f->source, run);
    mutex_lock(&f->lock);
    page_source_end_release(&f->source, run);
}

/* Gives a page and, if it comes to that, releases. How many pages were released. */
static uint32_t give(struct fixture *f, uint32_t page)
{
    struct page_run run = page_source_give(&f->source, page);
    if (run.pages) {
        finish_release(f, run);
    }
    return run.pages;
}

static bool is_resident(struct fixture *f, uint32_t page)
{
    unsigned char resident = 0;
    REQUIRE(sys_call3(SYS_mincore, (long)page_source_address(&f->source, page), PAGE_BYTES,
                      (long)&resident) == 0);
    return resident & 1;
}

TEST(set_finds_the_lowest_member)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct page_set set;
    REQUIRE(page_set_init(&set, &memory, 1u << 20) == 0);
    CHECK_EQUAL(page_set_lowest(&set), 0);
    static const uint32_t pages[] = {1u << 20, 70000, 4096, 64, 63, 1};
    for (size_t i = 0; i < ARRAY_LENGTH(pages); i++) {
        REQUIRE(page_set_prepare(&set, pages[i]));
        page_set_add(&set, pages[i]);
        CHECK_EQUAL(page_set_lowest(&set), pages[i]);
        CHECK(page_set_has(&set, pages[i]));
    }
    CHECK(page_set_consistent(&set, 1u << 20));
    for (size_t i = ARRAY_LENGTH(pages); i-- > 0;) {
        CHECK_EQUAL(page_set_lowest(&set), pages[i]);
        page_set_remove(&set, pages[i]);
        CHECK(!page_set_has(&set, pages[i]));
    }
    CHECK_EQUAL(page_set_lowest(&set), 0);
    page_set_destroy(&set);
    CHECK_EQUAL(account.total, 0);
}

TEST(set_reaches_the_highest_number)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct page_set set;
    REQUIRE(page_set_init(&set, &memory, UINT32_MAX) == 0);
    REQUIRE(page_set_prepare(&set, UINT32_MAX));
    page_set_add(&set, UINT32_MAX);
    CHECK_EQUAL(page_set_lowest(&set), UINT32_MAX);
    page_set_destroy(&set);
    CHECK_EQUAL(account.total, 0);
}

TEST(set_agrees_with_a_plain_array)
{
    enum { HIGHEST = 9000, STEPS = 60000 };
    static bool model[HIGHEST + 1];
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct page_set set;
    uint64_t seed = 7;
    REQUIRE(page_set_init(&set, &memory, HIGHEST) == 0);
    for (uint32_t page = 1; page <= HIGHEST; page++) {
        REQUIRE(page_set_prepare(&set, page));
    }
    for (int step = 0; step < STEPS; step++) {
        /* Now dense, now sparse: whole words fill and empty. */
        uint32_t page = 1 + (uint32_t)(harness_random(&seed) % HIGHEST);
        bool add = harness_random(&seed) % 16 < (step / 10000 % 2 ? 1u : 14u);
        if (add != model[page]) {
            (add ? page_set_add : page_set_remove)(&set, page);
            model[page] = add;
        }
        if (step % 64 == 0) {
            uint32_t lowest = 1;
            while (lowest <= HIGHEST && !model[lowest]) {
                lowest++;
            }
            CHECK_EQUAL(page_set_lowest(&set), lowest <= HIGHEST ? lowest : 0);
        }
    }
    CHECK(page_set_consistent(&set, HIGHEST));
    page_set_destroy(&set);
}

TEST(pages_come_in_order_and_run_out)
{
    struct fixture f;
    set_up(&f, 3);
    CHECK_EQUAL(take(&f), 1);
    CHECK_EQUAL(take(&f), 2);
    CHECK_EQUAL(take(&f), 3);
    CHECK_EQUAL(take(&f), 0);
    CHECK_EQUAL(page_source_total_size(&f.source), 3 * PAGE_BYTES);
    CHECK_EQUAL(f.account.bytes[ACCOUNT_POOL], 3 * PAGE_BYTES);
    CHECK(page_source_consistent(&f.source, 3));
    tear_down(&f);
}

TEST(the_reserve_comes_before_free_pages_and_those_before_new_ones)
{
    struct fixture f;
    set_up(&f, 64 * 8); /* a reserve of 8 */
    for (uint32_t page = 1; page <= 40; page++) {
        REQUIRE(take(&f) == page);
    }
    CHECK_EQUAL(give(&f, 5), 0);
    struct page_run run = page_source_begin_release(&f.source, 0);
    finish_release(&f, run);
    CHECK_EQUAL(give(&f, 30), 0);
    CHECK_EQUAL(give(&f, 20), 0);
    CHECK_EQUAL(take(&f), 20);
    CHECK_EQUAL(take(&f), 30);
    CHECK_EQUAL(take(&f), 5);
    CHECK_EQUAL(take(&f), 41);
    CHECK(page_source_consistent(&f.source, 41));
    tear_down(&f);
}

TEST(an_overflowing_reserve_releases_its_longest_run)
{
    struct fixture f;
    set_up(&f, 64 * 8); /* a reserve of 8, of which 2 stay */
    for (uint32_t page = 1; page <= 40; page++) {
        REQUIRE(take(&f) == page);
        memset(page_source_address(&f.source, page), 1, PAGE_BYTES);
    }
    static const uint32_t given[] = {3, 23, 9, 21, 30, 20, 24, 35};
    for (size_t i = 0; i < ARRAY_LENGTH(given); i++) {
        CHECK_EQUAL(give(&f, given[i]), 0);
    }
    CHECK(page_source_consistent(&f.source, 32));
    CHECK_EQUAL(give(&f, 22), 5); /* 20 .. 24 */
    for (uint32_t page = 20; page <= 24; page++) {
        CHECK(!is_resident(&f, page));
    }
    CHECK(is_resident(&f, 3));
    CHECK(is_resident(&f, 19));
    CHECK(is_resident(&f, 25));
    CHECK_EQUAL(page_source_total_size(&f.source), 35 * PAGE_BYTES);
    CHECK_EQUAL(f.account.bytes[ACCOUNT_POOL], 35 * PAGE_BYTES);
    CHECK(page_source_consistent(&f.source, 31));
    tear_down(&f);
}

TEST(of_a_run_that_is_too_long_the_low_end_stays)
{
    struct fixture f;
    set_up(&f, 64 * 8);
    for (uint32_t page = 1; page <= 9; page++) {
        REQUIRE(take(&f) == page);
    }
    for (uint32_t page = 9; page > 1; page--) {
        CHECK_EQUAL(give(&f, page), 0);
    }
    CHECK_EQUAL(give(&f, 1), 7);
    CHECK_EQUAL(take(&f), 1);
    CHECK_EQUAL(take(&f), 2);
    CHECK_EQUAL(take(&f), 3);
    CHECK(page_source_consistent(&f.source, 3));
    tear_down(&f);
}

TEST(nobody_takes_a_page_that_is_being_released)
{
    struct fixture f;
    set_up(&f, 2);
    REQUIRE(take(&f) == 1);
    REQUIRE(take(&f) == 2);
    CHECK_EQUAL(give(&f, 1), 0);
    struct page_run run = page_source_begin_release(&f.source, 0);
    CHECK_EQUAL(run.first, 1);
    CHECK_EQUAL(run.pages, 1);
    CHECK_EQUAL(f.source.releasing, 1);
    CHECK_EQUAL(page_source_total_size(&f.source), 2 * PAGE_BYTES);
    CHECK_EQUAL(take(&f), 0);
    finish_release(&f, run);
    CHECK_EQUAL(f.source.releasing, 0);
    CHECK_EQUAL(take(&f), 1);
    tear_down(&f);
}

TEST(a_released_page_reads_as_zero)
{
    struct fixture f;
    set_up(&f, 4);
    REQUIRE(take(&f) == 1);
    char *bytes = page_source_address(&f.source, 1);
    memset(bytes, 1, PAGE_BYTES);
    CHECK_EQUAL(give(&f, 1), 0);
    finish_release(&f, page_source_begin_release(&f.source, 0));
    REQUIRE(take(&f) == 1);
    CHECK_EQUAL(bytes[0], 0);
    CHECK_EQUAL(bytes[PAGE_BYTES - 1], 0);
    tear_down(&f);
}

TEST(a_take_that_fails_changes_nothing)
{
    struct fixture f;
    set_up(&f, 4);
    int failures = 0;
    for (;; failures++) {
        REQUIRE(failures < 10);
        f.memory.fail_countdown = failures + 1;
        if (take(&f)) {
            break;
        }
        CHECK_EQUAL(page_source_total_size(&f.source), 0);
        CHECK_EQUAL(f.account.bytes[ACCOUNT_POOL], 0);
        CHECK(page_source_consistent(&f.source, 0));
    }
    CHECK(failures > 0);
    f.memory.fail_countdown = 0;
    CHECK(page_source_consistent(&f.source, 1));
    tear_down(&f);
}

TEST(bad_sizes_are_refused)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct mutex lock = MUTEX_INIT(LOCK_RANK_POOL);
    struct page_source source;
    CHECK_EQUAL(page_source_init(&source, &memory, &lock, 0), -EINVAL);
    CHECK_EQUAL(page_source_init(&source, &memory, &lock, (uint64_t)PAGE_SOURCE_PAGES_MAX + 1), -EINVAL);
    CHECK_EQUAL(account.total, 0);
}

int main(void)
{
    RUN(set_finds_the_lowest_member);
    RUN(set_reaches_the_highest_number);
    RUN(set_agrees_with_a_plain_array);
    RUN(pages_come_in_order_and_run_out);
    RUN(the_reserve_comes_before_free_pages_and_those_before_new_ones);
    RUN(an_overflowing_reserve_releases_its_longest_run);
    RUN(of_a_run_that_is_too_long_the_low_end_stays);
    RUN(nobody_takes_a_page_that_is_being_released);
    RUN(a_released_page_reads_as_zero);
    RUN(a_take_that_fails_changes_nothing);
    RUN(bad_sizes_are_refused);
    return harness_finish();
}
