/* SPDX-License-Identifier: MIT */
#include "preload/address_space.h"

#include "tests/harness.h"

#include <sys/mman.h>

static struct account account;
static struct memory memory = {.account = &account};

#define RW (PROT_READ | PROT_WRITE)

static void begin(struct address_space *space, uint64_t pages)
{
    REQUIRE(address_space_init(space, &memory, pages) == 0);
}

TEST(a_new_space_is_one_free_range)
{
    struct address_space space;
    begin(&space, 1000);
    struct range r = address_space_find(&space, 999);
    CHECK_EQUAL(r.first, 0);
    CHECK_EQUAL(r.pages, 1000);
    CHECK_EQUAL(r.kind, RANGE_FREE);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(set_splits_and_neighbours_alike_merge)
{
    struct address_space space;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 100, 50, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(address_space_set(&space, 150, 50, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(space.count, 3);
    CHECK_EQUAL(address_space_find(&space, 120).pages, 100);
    CHECK_EQUAL(address_space_set(&space, 120, 10, RANGE_MANAGED, PROT_READ), 0);
    CHECK_EQUAL(space.count, 5);
    CHECK_EQUAL(address_space_find(&space, 125).protection, PROT_READ);
    CHECK_EQUAL(address_space_find(&space, 130).first, 130);
    CHECK_EQUAL(address_space_set(&space, 120, 10, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(space.count, 3);
    CHECK_EQUAL(address_space_set(&space, 100, 100, RANGE_FREE, 0), 0);
    CHECK_EQUAL(space.count, 1);
    CHECK_EQUAL(space.free_pages, 1000);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(flags_are_kept_apart_and_counted)
{
    struct address_space space;
    begin(&space, 1000);
    struct range r = {
        .first = 100, .pages = 50, .kind = RANGE_MANAGED, .protection = RW, .flags = RANGE_LOCKED};
    CHECK_EQUAL(address_space_set(&space, 150, 50, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(address_space_put(&space, r), 0);
    CHECK_EQUAL(space.count, 4);
    CHECK_EQUAL(space.locked_pages, 50);
    CHECK_EQUAL(address_space_find(&space, 120).flags, RANGE_LOCKED);
    CHECK_EQUAL(address_space_find(&space, 160).flags, 0);
    r.first = 110;
    r.pages = 10;
    r.flags = RANGE_WIPED_BY_FORK;
    CHECK_EQUAL(address_space_put(&space, r), 0);
    CHECK_EQUAL(space.locked_pages, 40);
    CHECK_EQUAL(space.fork_flagged_pages, 10);
    CHECK_EQUAL(address_space_find(&space, 125).flags, RANGE_LOCKED);
    CHECK(address_space_consistent(&space));
    CHECK_EQUAL(address_space_set(&space, 100, 50, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(space.count, 3);
    CHECK_EQUAL(space.locked_pages, 0);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(what_is_kept_is_not_found)
{
    struct address_space space;
    uint64_t first;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 0, 600, RANGE_KEPT, 0), 0);
    CHECK(!address_space_find_free(&space, 401, 1, &first));
    CHECK(address_space_find_free(&space, 400, 1, &first));
    CHECK_EQUAL(first, 600);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(a_wrong_count_is_found)
{
    struct address_space space;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 100, 50, RANGE_MANAGED, RW), 0);
    printf("# a complaint should follow\n");
    fflush(stdout);
    space.locked_pages++;
    CHECK(!address_space_consistent(&space));
    space.locked_pages--;
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(set_outside_the_space_is_refused)
{
    struct address_space space;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 1000, 1, RANGE_MANAGED, RW), -EINVAL);
    CHECK_EQUAL(address_space_set(&space, 999, 2, RANGE_MANAGED, RW), -EINVAL);
    CHECK_EQUAL(address_space_set(&space, 5, 0, RANGE_MANAGED, RW), -EINVAL);
    CHECK_EQUAL(address_space_set(&space, 5, UINT64_MAX, RANGE_MANAGED, RW), -EINVAL);
    CHECK_EQUAL(space.count, 1);
    address_space_destroy(&space);
}

TEST(find_free_takes_the_lowest_place_that_fits)
{
    struct address_space space;
    uint64_t first = 0;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 10, 10, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(address_space_set(&space, 50, 900, RANGE_MANAGED, RW), 0);
    CHECK(address_space_find_free(&space, 10, 1, &first));
    CHECK_EQUAL(first, 0);
    CHECK(address_space_find_free(&space, 11, 1, &first));
    CHECK_EQUAL(first, 20);
    CHECK(address_space_find_free(&space, 31, 1, &first));
    CHECK_EQUAL(first, 950);
    CHECK(!address_space_find_free(&space, 51, 1, &first));
    CHECK(!address_space_find_free(&space, UINT64_MAX, 1, &first));
    address_space_destroy(&space);
}

TEST(find_free_keeps_to_the_alignment)
{
    struct address_space space;
    uint64_t first = 0;
    begin(&space, 4096);
    CHECK_EQUAL(address_space_set(&space, 0, 1, RANGE_MANAGED, RW), 0);
    CHECK_EQUAL(address_space_set(&space, 600, 10, RANGE_MANAGED, RW), 0);
    CHECK(address_space_find_free(&space, 80, 512, &first));
    CHECK_EQUAL(first, 512);
    CHECK(address_space_find_free(&space, 100, 512, &first));
    CHECK_EQUAL(first, 1024);
    CHECK(!address_space_find_free(&space, 3000, 2048, &first));
    address_space_destroy(&space);
}

TEST(a_full_table_says_no_memory_and_changes_nothing)
{
    struct address_space space;
    begin(&space, 1000);
    space.limit = 50;
    uint64_t page = 0;
    int error;
    while (!(error = address_space_set(&space, page, 1, RANGE_MANAGED, RW))) {
        page += 2;
        REQUIRE(page < 1000);
    }
    CHECK_EQUAL(error, -ENOMEM);
    CHECK_EQUAL(address_space_find(&space, page).kind, RANGE_FREE);
    CHECK(page > 30);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(memory_that_fails_is_reported_at_any_point)
{
    for (int fail = 1; fail < 12; fail++) {
        struct address_space space;
        memory.fail_countdown = fail;
        int error = address_space_init(&space, &memory, 1000);
        memory.fail_countdown = 0;
        if (error) {
            CHECK_EQUAL(error, -ENOMEM);
            CHECK_EQUAL(account_total(&account), 0);
            continue;
        }
        address_space_destroy(&space);
    }
    CHECK_EQUAL(account_total(&account), 0);
}

/* One byte a page: kind and protection. */
#define MODEL_PAGES 4000
static uint8_t model[MODEL_PAGES];

static bool model_agrees(const struct address_space *space)
{
    for (uint64_t page = 0; page < MODEL_PAGES;) {
        struct range r = address_space_find(space, page);
        uint8_t want = (uint8_t)(r.kind * 16 + r.protection);
        if (r.first != page || (page && model[page - 1] == want)) {
            return false;
        }
        for (; page < r.first + r.pages; page++) {
            if (model[page] != want) {
                return false;
            }
        }
    }
    return true;
}

static bool model_find_free(uint64_t pages, uint64_t alignment, uint64_t *first)
{
    for (uint64_t at = 0; at + pages <= MODEL_PAGES; at += alignment) {
        uint64_t n = 0;
        while (n < pages && !model[at + n]) {
            n++;
        }
        if (n == pages) {
            *first = at;
            return true;
        }
    }
    return false;
}

static bool model_is(uint64_t first, uint64_t pages, enum range_kind kind)
{
    for (uint64_t page = first; page < first + pages; page++) {
        if (model[page] / 16 != kind) {
            return false;
        }
    }
    return true;
}

TEST(random_changes_agree_with_a_page_map)
{
    struct address_space space;
    uint64_t seed = 20240607;
    begin(&space, MODEL_PAGES);
    memset(model, 0, sizeof model);
    for (int i = 0; i < 20000; i++) {
        uint64_t first = harness_random(&seed) % MODEL_PAGES;
        uint64_t pages = 1 + harness_random(&seed) % (i % 10 ? 40 : 1500);
        pages = pages > MODEL_PAGES - first ? MODEL_PAGES - first : pages;
        enum range_kind kind = (enum range_kind)(harness_random(&seed) % 3);
        int protection = kind == RANGE_MANAGED ? (int)(harness_random(&seed) % 4) : 0;
        CHECK_EQUAL(address_space_is(&space, first, pages, kind), model_is(first, pages, kind));
        CHECK_EQUAL(address_space_set(&space, first, pages, kind, protection), 0);
        memset(model + first, kind * 16 + protection, pages);
        uint64_t want = 0, found = 0, alignment = 1ull << harness_random(&seed) % 6;
        pages = 1 + harness_random(&seed) % 100;
        CHECK_EQUAL(address_space_find_free(&space, pages, alignment, &found),
                    model_find_free(pages, alignment, &want));
        CHECK_EQUAL(found, want);
        if (i % 50 == 0) {
            REQUIRE(address_space_consistent(&space));
            REQUIRE(model_agrees(&space));
        }
    }
    address_space_destroy(&space);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(sixty_thousand_ranges_in_sixteen_tebibytes)
{
    struct address_space space;
    begin(&space, 1ull << 32);
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t first;
        REQUIRE(address_space_find_free(&space, 17, 1, &first));
        CHECK_EQUAL(first, i * 17);
        REQUIRE(address_space_set(&space, first, 17, RANGE_MANAGED, i % 2 ? RW : PROT_READ) == 0);
    }
    CHECK(address_space_consistent(&space));
    for (uint64_t i = 0; i < 60000; i += 3) {
        CHECK_EQUAL(address_space_set(&space, i * 17, 17, RANGE_FREE, 0), 0);
    }
    CHECK(address_space_consistent(&space));
    CHECK_EQUAL(address_space_set(&space, 0, 1ull << 32, RANGE_FREE, 0), 0);
    CHECK_EQUAL(space.count, 1);
    CHECK(address_space_consistent(&space));
    address_space_destroy(&space);
}

TEST(the_checker_sees_a_planted_fault)
{
    struct address_space space;
    begin(&space, 1000);
    CHECK_EQUAL(address_space_set(&space, 100, 50, RANGE_MANAGED, RW), 0);
    fflush(stderr);
    FILE *kept = stderr;
    stderr = fopen("/dev/null", "w");
    space.free_pages++;
    CHECK(!address_space_consistent(&space));
    space.free_pages--;
    uint64_t *first = (uint64_t *)(space.nodes.slots + 64 * space.root);
    first[1]++; /* pages */
    CHECK(!address_space_consistent(&space));
    first[1]--;
    first[2]++; /* longest_free */
    CHECK(!address_space_consistent(&space));
    first[2]--;
    space.unused = 0;
    CHECK(!address_space_consistent(&space));
    fclose(stderr);
    stderr = kept;
    address_space_destroy(&space);
}

int main(void)
{
    RUN(a_new_space_is_one_free_range);
    RUN(set_splits_and_neighbours_alike_merge);
    RUN(flags_are_kept_apart_and_counted);
    RUN(what_is_kept_is_not_found);
    RUN(a_wrong_count_is_found);
    RUN(set_outside_the_space_is_refused);
    RUN(find_free_takes_the_lowest_place_that_fits);
    RUN(find_free_keeps_to_the_alignment);
    RUN(a_full_table_says_no_memory_and_changes_nothing);
    RUN(memory_that_fails_is_reported_at_any_point);
    RUN(random_changes_agree_with_a_page_map);
    RUN(sixty_thousand_ranges_in_sixteen_tebibytes);
    RUN(the_checker_sees_a_planted_fault);
    return harness_finish();
}
