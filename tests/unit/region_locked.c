/* SPDX-License-Identifier: MIT */
/* Locked pages stay in the program, and the others go on moving around them. */
#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u

static const struct fixture_options roomy = {.bytes = 16 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};
static const struct fixture_options tight = {.bytes = 32 * MIB, .budget = 16 * MIB, .device = FIXTURE_RAM};

TEST(locked_pages_stay_and_their_neighbours_go)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK_EQUAL(region_lock(f.region, fixture_page(&f, 10), 100 * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_stats(&f).locked_bytes, 100 * PAGE_BYTES);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 10, 100, PLACE_RESIDENT), 100);
    CHECK_EQUAL(fixture_count(&f, 0, 10, PLACE_POOL), 10);
    CHECK_EQUAL(fixture_count(&f, 110, PAGES - 110, PLACE_POOL), PAGES - 110);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK(region_consistent(f.region));
    fixture_close(&f);
}

TEST(a_page_locked_while_it_is_out_stays_once_it_is_back)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_DEVICE);
    CHECK_EQUAL(region_lock(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_DEVICE), PAGES);
    fixture_to(&f, 0, PAGES, PLACE_RESIDENT);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(unlocked_pages_can_go_again)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK_EQUAL(region_lock(f.region, f.base, PAGES * PAGE_BYTES), 0);
    region_unlock(f.region, fixture_page(&f, 5), 7 * PAGE_BYTES);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 5, 7, PLACE_POOL), 7);
    CHECK_EQUAL(fixture_stats(&f).locked_bytes, (PAGES - 7) * PAGE_BYTES);
    region_unlock(f.region, f.base, roomy.bytes);
    CHECK_EQUAL(fixture_stats(&f).locked_bytes, 0);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_POOL), PAGES);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

/* Reclaim passes locked clusters over, however many, and finds them again when they are unlocked. */
TEST(the_budget_holds_around_locked_pages)
{
    struct fixture f;
    fixture_open(&f, tight);
    uint64_t locked = region_lock_limit(f.region) / PAGE_BYTES;
    CHECK_EQUAL(region_lock(f.region, f.base, locked * PAGE_BYTES), 0);
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_count(&f, 0, locked, PLACE_RESIDENT), locked);
    CHECK(account_total(&f.account) <= tight.budget);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    region_unlock(f.region, f.base, locked * PAGE_BYTES);
    CHECK(region_consistent(f.region));
    fixture_fill(&f, locked, f.pages - locked, 2);
    CHECK(fixture_count(&f, 0, locked, PLACE_RESIDENT) < locked);
    CHECK_EQUAL(fixture_wrong(&f, 0, locked, 1), 0);
    CHECK_EQUAL(fixture_stats(&f).over_budget_bytes, 0);
    fixture_close(&f);
}

TEST(a_lock_that_finds_no_memory_locks_nothing)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    f.memory.fail_countdown = 1;
    CHECK_EQUAL(region_lock(f.region, f.base, PAGES * PAGE_BYTES), -ENOMEM);
    f.memory.fail_countdown = 0;
    CHECK_EQUAL(fixture_stats(&f).locked_bytes, 0);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_POOL), PAGES);
    fixture_close(&f);
}

TEST(discarded_pages_stay_locked)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK_EQUAL(region_lock(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(region_discard(f.region, f.base, PAGES * PAGE_BYTES), 0);
    fixture_fill(&f, 0, PAGES, 2);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    CHECK(region_consistent(f.region));
    fixture_close(&f);
}

TEST(a_wrong_count_of_locked_bytes_is_found)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(region_lock(f.region, f.base, 5 * PAGE_BYTES), 0);
    CHECK(region_consistent(f.region));
    printf("# a complaint should follow\n");
    fflush(stdout);
    f.region->locked_bytes += PAGE_BYTES;
    CHECK(!region_consistent(f.region));
    f.region->locked_bytes -= PAGE_BYTES;
    fixture_close(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(locked_pages_stay_and_their_neighbours_go);
    RUN(a_page_locked_while_it_is_out_stays_once_it_is_back);
    RUN(unlocked_pages_can_go_again);
    RUN(the_budget_holds_around_locked_pages);
    RUN(a_lock_that_finds_no_memory_locks_nothing);
    RUN(discarded_pages_stay_locked);
    RUN(a_wrong_count_of_locked_bytes_is_found);
    return harness_finish();
}
