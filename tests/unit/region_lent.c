/* SPDX-License-Identifier: MIT */
/* Pages that a fork shares: who writes or evicts one pays for the copy, and what the kernel writes for who forks is not lent. */
#include "tests/unit/region_lent_fixture.h"

static int64_t pages_of_credit(void)
{
    return atomic_read_relaxed(&lending.account->credit) / (int64_t)PAGE_BYTES;
}

static int64_t pages_of_debt(void)
{
    return atomic_read_relaxed(&lending.account->debt) / (int64_t)PAGE_BYTES;
}

TEST(copies_of_lent_pages_are_paid_for)
{
    struct fixture f;
    int go[2];
    char byte;
    if (access("/proc/self/pagemap", R_OK)) {
        SKIP("needs /proc");
    }
    begin_to_lend(&f);
    REQUIRE(!pipe(go));
    pid_t child = fork_lending(&f);
    CHECK_EQUAL(lent, account_bytes(&f.account, ACCOUNT_RESIDENT));
    if (!child) {
        int64_t credit = pages_of_credit();
        CHECK_EQUAL(credit, (int64_t)(lent / PAGE_BYTES));
        fixture_fill(&f, 0, 10, 2);
        CHECK_EQUAL(pages_of_credit(), credit - 10);
        fixture_fill(&f, 0, 10, 3);
        CHECK_EQUAL(pages_of_credit(), credit - 10);
        CHECK_EQUAL(region_discard(f.region, fixture_page(&f, 10), 4 * PAGE_BYTES), 0);
        CHECK_EQUAL(pages_of_credit(), credit - 14);
        CHECK(read(go[0], &byte, 1) == 1); /* the parent has evicted 64 .. 127, and written 20 .. 24 */
        WAIT_FOR(region_settle(f.region));
        CHECK_EQUAL(pages_of_credit(), credit - 14 - 64 - 5);
        fixture_to(&f, 64, 64, PLACE_POOL);
        CHECK_EQUAL(pages_of_credit(), credit - 14 - 64 - 5);
        CHECK_EQUAL(fixture_wrong(&f, 14, PAGES - 14, 1), 0);
        child_exit(&f);
    }
    fixture_fill(&f, 20, 5, 2);
    CHECK_EQUAL(pages_of_debt(), 5);
    fixture_to(&f, 64, 64, PLACE_POOL);
    CHECK_EQUAL(pages_of_debt(), 69);
    REQUIRE(write(go[1], "x", 1) == 1);
    wait_for_child(child);
    CHECK_EQUAL(fixture_wrong(&f, 20, 5, 2), 0);
    CHECK_EQUAL(fixture_wrong(&f, 64, 128, 1), 0);
    account_end_debt(&f.account, SIZE_MAX / 2);
    atomic_set_relaxed(&lending.lends, 0);
    fixture_fill(&f, 30, 5, 2); /* nobody's else by now */
    CHECK_EQUAL(pages_of_debt(), 0);
    close(go[0]);
    close(go[1]);
    end_lending(&f);
}

/* The kernel protects up to a mapping that is not the region's, and then refuses. */
TEST(lent_pages_beside_foreign_ones_can_be_evicted)
{
    struct fixture f;
    if (access("/proc/self/pagemap", R_OK)) {
        SKIP("needs /proc");
    }
    begin_to_lend(&f);
    unsigned char *foreign = fixture_page(&f, 70);
    REQUIRE(mmap(foreign, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            foreign);
    CHECK_EQUAL(region_disown(f.region, foreign, 2 * PAGE_BYTES), 0);
    pid_t child = fork_lending(&f);
    CHECK_EQUAL(lent, account_bytes(&f.account, ACCOUNT_RESIDENT));
    fixture_to(&f, 64, 6, PLACE_POOL);
    fixture_to(&f, 72, 56, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 64, 6, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 72, 56, 1), 0);
    fixture_fill(&f, 72, 56, 2);
    if (!child) {
        child_exit(&f);
    }
    wait_for_child(child);
    CHECK_EQUAL(region_adopt(f.region, foreign, 2 * PAGE_BYTES), 0);
    end_lending(&f);
}

TEST(what_the_kernel_writes_for_who_forks_is_there_and_free)
{
    struct fixture f;
    begin_to_lend(&f); /* pages 128 .. 191 are out */
    region_fork_prepare(f.region);
    region_lend(f.region, NULL, 0);
    region_bring_back(f.region, fixture_page(&f, 127) + 5, PAGE_BYTES);
    CHECK_EQUAL(region_lend(f.region, fixture_page(&f, 127) + 5, PAGE_BYTES),
                account_bytes(&f.account, ACCOUNT_RESIDENT) - 65 * PAGE_BYTES);
    region_fork_parent(f.region);
    CHECK_EQUAL(lent_pages_of(f.region, 1) | lent_pages_of(f.region, 2), 0);
    CHECK_EQUAL(atomic_read_relaxed(&region_cluster(f.region, 2)->resident), 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    end_lending(&f);
}

TEST(who_forks_with_nothing_out_takes_no_memory)
{
    enum { MANY = 1000 };
    struct fixture f;
    begin_to_lend(&f);
    region_fork_prepare(f.region);
    region_lend(f.region, NULL, 0); /* the table of what is lent is there from now on */
    f.memory.fail_countdown = MANY;
    region_bring_back(f.region, fixture_page(&f, 3) + 5, PAGE_BYTES);
    region_lend(f.region, fixture_page(&f, 3) + 5, PAGE_BYTES);
    CHECK_EQUAL(f.memory.fail_countdown, MANY);
    f.memory.fail_countdown = 0;
    region_fork_parent(f.region);
    end_lending(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    members_join(NULL);
    RUN(copies_of_lent_pages_are_paid_for);
    RUN(lent_pages_beside_foreign_ones_can_be_evicted);
    RUN(what_the_kernel_writes_for_who_forks_is_there_and_free);
    RUN(who_forks_with_nothing_out_takes_no_memory);
    return harness_finish();
}
