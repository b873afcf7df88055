/* SPDX-License-Identifier: MIT */
/* A region's pages: through every state and back, within the budget and beyond it. */
#include <pthread.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u

/* Room for everything: pages move only when the test says so. */
static const struct fixture_options roomy = {.bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};

TEST(bad_options_are_refused)
{
    struct fixture f;
    fixture_open(&f, roomy);
    struct region *r = NULL;
    struct fixture_options good = roomy;
    struct region_options o = fixture_region_options(&f, &good);
    o.type = 3; /* in use */
    CHECK_EQUAL(region_create(&r, &o), -EINVAL);
    o.type = ZSWAP_TYPES_MAX;
    CHECK_EQUAL(region_create(&r, &o), -EINVAL);
    o.type = 4;
    o.bytes = 0;
    CHECK_EQUAL(region_create(&r, &o), -EINVAL);
    o.bytes = MIB;
    int64_t limit = f.account.most;
    account_set_limit(&f.account, 0);
    CHECK_EQUAL(region_create(&r, &o), -EINVAL);
    account_set_limit(&f.account, (size_t)limit);
    CHECK(!r);
    fixture_close(&f);
}

TEST(an_odd_length_is_rounded_up)
{
    struct fixture f;
    struct fixture_options o = roomy;
    o.bytes = 5 * PAGE_BYTES - 100;
    fixture_open(&f, o);
    CHECK_EQUAL(region_bytes(f.region), 5 * PAGE_BYTES);
    fixture_fill(&f, 0, 5, 1);
    fixture_to(&f, 0, 5, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 0, 5, 1), 0);
    fixture_close(&f);
}

TEST(first_touch_reads_zero)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    CHECK(fixture_stats(&f).zero_fills > 0);
    CHECK_EQUAL(fixture_zswap_stats(&f).loads, 0);
    CHECK_EQUAL(account_bytes(&f.account, ACCOUNT_RESIDENT) % PAGE_BYTES, 0);
    CHECK(account_bytes(&f.account, ACCOUNT_RESIDENT) >= PAGES * PAGE_BYTES);
    fixture_close(&f);
}

TEST(ordered_touch_takes_fewer_faults_than_pages)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    CHECK(fixture_stats(&f).faults < PAGES / 4);
    fixture_close(&f);
}

/* Into `place`, checked, and back. */
static void round_trip(struct fixture_options o, enum place place)
{
    struct fixture f;
    fixture_open(&f, o);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, place);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, place), PAGES);
    CHECK_EQUAL(account_bytes(&f.account, ACCOUNT_RESIDENT), 0);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    struct region_stats stats = fixture_stats(&f);
    CHECK_EQUAL(stats.evicted_pages, PAGES);
    CHECK_EQUAL(stats.poisoned_pages, 0);
    fixture_close(&f);
}

TEST(content_survives_the_staging_area)
{
    round_trip(roomy, PLACE_STAGED);
}

TEST(content_survives_the_pool)
{
    round_trip(roomy, PLACE_POOL);
}

TEST(content_survives_the_device)
{
    round_trip(roomy, PLACE_DEVICE);
}

TEST(content_survives_the_device_as_plain_pages)
{
    struct fixture_options o = roomy;
    o.writeback = ZSWAP_WRITEBACK_PAGE;
    round_trip(o, PLACE_DEVICE);
}

TEST(content_survives_a_file)
{
    struct fixture_options o = roomy;
    o.device = FIXTURE_FILE;
    round_trip(o, PLACE_DEVICE);
}

TEST(incompressible_content_survives_the_device)
{
    struct fixture_options o = roomy;
    o.incompressible = true;
    round_trip(o, PLACE_DEVICE);
}

TEST(a_refault_needs_no_codec)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_STAGED);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK_EQUAL(fixture_stats(&f).refaults, PAGES);
    CHECK_EQUAL(fixture_zswap_stats(&f).stores, 0);
    CHECK_EQUAL(fixture_zswap_stats(&f).loads, 0);
    fixture_close(&f);
}

TEST(a_loaded_page_is_nowhere_else)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES / 2, PLACE_DEVICE);
    fixture_to(&f, PAGES / 2, PAGES / 2, PLACE_POOL);
    fixture_fill(&f, 0, PAGES, 2);
    fixture_settle(&f);
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK_EQUAL(zswap_find(f.zswap, page_entry(f.region, page)), ZSWAP_NOWHERE);
    }
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 2), 0);
    fixture_close(&f);
}

TEST(newest_version_wins_through_many_rounds)
{
    struct fixture f;
    uint64_t random = 99;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    for (uint64_t version = 1; version < 12; version++) {
        enum place place = PLACE_STAGED + harness_random(&random) % 3;
        fixture_to(&f, 0, PAGES, place);
        fixture_fill(&f, 0, 16, version); /* some come back before the rest */
        fixture_to(&f, 0, PAGES, PLACE_STAGED + harness_random(&random) % 3);
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, version), 0);
        fixture_fill(&f, 0, PAGES, version + 1);
    }
    fixture_close(&f);
}

TEST(pageout_of_part_of_a_cluster_leaves_the_rest)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    region_pageout(f.region, fixture_page(&f, 10), 3 * PAGE_BYTES);
    region_pageout(f.region, fixture_page(&f, 60), 8 * PAGE_BYTES);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_STAGED), 11);
    CHECK_EQUAL(fixture_count(&f, 10, 3, PLACE_STAGED), 3);
    CHECK_EQUAL(fixture_count(&f, 60, 8, PLACE_STAGED), 8);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(scattered_pages_go_out_one_by_one_and_together)
{
    struct fixture f;
    fixture_open(&f, roomy);
    for (uint64_t page = 0; page < PAGES; page += 3) {
        fixture_fill(&f, page, 1, 1);
    }
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK(fixture_is(&f, fixture_page(&f, page), page, page % 3 == 0));
    }
    fixture_close(&f);
}

TEST(willneed_brings_in_from_everywhere)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, 64, PLACE_DEVICE);
    fixture_to(&f, 64, 64, PLACE_POOL);
    fixture_to(&f, 128, 64, PLACE_STAGED);
    region_willneed(f.region, f.base, PAGES * PAGE_BYTES);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    uint64_t faults = fixture_stats(&f).faults;
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK_EQUAL(fixture_stats(&f).faults, faults);
    fixture_close(&f);
}

TEST(hints_of_bad_ranges_are_refused)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(region_pageout(f.region, f.base + 1, PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(region_pageout(f.region, f.base, 5), -EINVAL);
    CHECK_EQUAL(region_pageout(f.region, f.base - PAGE_BYTES, PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(region_willneed(f.region, f.base, 5 * MIB), -EINVAL);
    CHECK_EQUAL(region_discard(f.region, f.base + 4 * MIB, PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(region_discard(f.region, f.base, 0), -EINVAL);
    CHECK_EQUAL(region_protect(f.region, f.base + 4 * MIB - PAGE_BYTES, 2 * PAGE_BYTES, PROT_READ), -EINVAL);
    fixture_close(&f);
}

/* ---- faults of pages that are just being compressed */

static struct fixture *touched;

static void *run_ordered_touch(void *argument)
{
    (void)argument;
    for (uint64_t page = 0; page < CLUSTER_PAGES; page++) {
        CHECK(fixture_is(touched, fixture_page(touched, page), page, 1));
    }
    return NULL;
}

TEST(a_fault_during_compression_gets_the_page_and_leaves_no_copy)
{
    struct fixture f;
    struct codec slow;
    fixture_open(&f, roomy);
    REQUIRE(!codec_parse("zstd:19", &slow));
    zswap_set_codec(f.zswap, &slow);
    touched = &f;
    fixture_fill(&f, 0, CLUSTER_PAGES, 1);
    for (int i = 0; i < 15; i++) {
        pthread_t toucher;
        fixture_to(&f, 0, CLUSTER_PAGES, PLACE_STAGED);
        REQUIRE(!pthread_create(&toucher, NULL, run_ordered_touch, NULL));
        fixture_drain_staging(&f);
        pthread_join(toucher, NULL);
        CHECK(region_consistent(f.region));
    }
    fixture_close(&f);
}

/* ---- a swap cache that is too small */

TEST(faults_go_on_when_every_slot_waits)
{
    struct fixture f;
    struct fixture_options o = roomy;
    o.slots = 128;
    fixture_open(&f, o);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    region_pageout(f.region, f.base, PAGES * PAGE_BYTES);
    CHECK_EQUAL(swap_cache_count(f.cache), 128);
    /* No slot for these, and no pressure that would make reclaim free some. */
    CHECK_EQUAL(fixture_wrong(&f, 512, 4, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

/* ---- the budget */

static uint32_t warnings; /* atomic */
static size_t warned_bytes;

static void note_warning(void *context, size_t over_bytes)
{
    (void)context;
    atomic_set_relaxed(&warned_bytes, over_bytes);
    atomic_add_relaxed(&warnings, 1);
}

/* Fills more than the budget, and reads it back in order and at random. */
static void overcommit(struct fixture_options o)
{
    struct fixture f;
    uint64_t random = 5;
    o.over_budget = note_warning;
    warnings = 0;
    fixture_open(&f, o);
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    for (int i = 0; i < 2000; i++) {
        uint64_t page = harness_random(&random) % f.pages;
        CHECK(fixture_is(&f, fixture_page(&f, page), page, 1));
    }
    CHECK(atomic_read_relaxed(&f.account.peak) <= f.account.limit);
    if (atomic_read_relaxed(&f.account.peak) > f.account.limit) {
        printf("# peak %lld KiB, limit %lld\n", (long long)atomic_read_relaxed(&f.account.peak) >> 10,
               (long long)f.account.limit >> 10);
    }
    CHECK_EQUAL(fixture_stats(&f).over_budget_bytes, 0);
    CHECK_EQUAL(warnings, 0);
    CHECK(fixture_stats(&f).evicted_pages > 0);
    fixture_close(&f);
}

TEST(the_budget_holds_with_compressible_data)
{
    overcommit((struct fixture_options){.bytes = 28 * MIB, .budget = 12 * MIB, .device = FIXTURE_RAM_QUEUED});
}

TEST(the_budget_holds_with_incompressible_data)
{
    overcommit((struct fixture_options){
        .bytes = 24 * MIB, .budget = 12 * MIB, .device = FIXTURE_RAM_QUEUED, .incompressible = true});
}

TEST(the_budget_holds_without_a_device)
{
    overcommit((struct fixture_options){.bytes = 20 * MIB, .budget = 16 * MIB});
}

TEST(over_budget_the_program_goes_on_and_is_told_once)
{
    struct fixture f;
    warnings = 0;
    fixture_open(
        &f, (struct fixture_options){
                .bytes = 24 * MIB, .budget = 12 * MIB, .incompressible = true, .over_budget = note_warning});
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    CHECK_EQUAL(atomic_read_relaxed(&warnings), 1);
    CHECK(atomic_read_relaxed(&warned_bytes) > 0);
    uint64_t over = fixture_stats(&f).over_budget_bytes;
    CHECK(over > 0 && over <= (uint64_t)(atomic_read_relaxed(&f.account.peak) - f.account.limit));
    CHECK(over >= (uint64_t)(atomic_read_relaxed(&f.account.peak) - f.account.limit) / 2);
    /* Room again: it is held to the budget again. */
    CHECK_EQUAL(region_discard(f.region, f.base, 20 * MIB), 0);
    CHECK_EQUAL(fixture_wrong(&f, 20 * MIB / PAGE_BYTES, 4 * MIB / PAGE_BYTES, 1), 0);
    CHECK((int64_t)account_total(&f.account) <= f.account.limit);
    fixture_close(&f);
}

TEST(a_limit_that_rises_ends_being_over_budget)
{
    struct fixture f;
    fixture_open(&f, (struct fixture_options){.bytes = 16 * MIB, .budget = 12 * MIB, .incompressible = true});
    fixture_fill(&f, 0, f.pages, 1);
    WAIT_FOR(atomic_read_relaxed(&f.region->over_budget));
    atomic_set_relaxed(&f.account.limit, 64 * MIB);
    region_set_limit(f.region, 64 * MIB);
    CHECK_EQUAL(atomic_read_relaxed(&f.region->over_budget), 0);
    fixture_close(&f);
}

/* ---- creation without memory */

TEST(every_failed_allocation_of_create_is_a_clean_error)
{
    struct fixture f;
    struct fixture_options o = roomy;
    fixture_open(&f, o);
    size_t before = account_total(&f.account);
    int error = -ENOMEM;
    for (int64_t n = 1; error && n < 200; n++) {
        struct region *r = NULL;
        struct region_options options = fixture_region_options(&f, &o);
        options.type = 4;
        f.memory.fail_countdown = n;
        error = region_create(&r, &options);
        f.memory.fail_countdown = 0;
        if (error) {
            CHECK_EQUAL(error, -ENOMEM);
            CHECK(!r);
        } else {
            CHECK(n > 8); /* there was something to fail */
            region_destroy(r);
        }
        CHECK_EQUAL(account_total(&f.account), before);
    }
    CHECK_EQUAL(error, 0);
    fixture_close(&f);
}

static int refuse_start(struct thread *t, void (*run)(void *), void *argument, const char *name)
{
    static int left = 1;
    return left-- > 0 ? thread_ops_pthread.start(t, run, argument, name) : -EAGAIN;
}

TEST(threads_that_do_not_start_are_a_clean_error)
{
    struct fixture f;
    struct fixture_options o = roomy;
    struct region *r = NULL;
    fixture_open(&f, o);
    size_t before = account_total(&f.account);
    struct region_options options = fixture_region_options(&f, &o);
    struct thread_ops threads = {.start = refuse_start, .join = thread_ops_pthread.join};
    options.type = 4;
    options.threads = &threads;
    CHECK_EQUAL(region_create(&r, &options), -EAGAIN);
    CHECK(!r);
    CHECK_EQUAL(account_total(&f.account), before);
    fixture_close(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(bad_options_are_refused);
    RUN(an_odd_length_is_rounded_up);
    RUN(first_touch_reads_zero);
    RUN(ordered_touch_takes_fewer_faults_than_pages);
    RUN(content_survives_the_staging_area);
    RUN(content_survives_the_pool);
    RUN(content_survives_the_device);
    RUN(content_survives_the_device_as_plain_pages);
    RUN(content_survives_a_file);
    RUN(incompressible_content_survives_the_device);
    RUN(a_refault_needs_no_codec);
    RUN(a_loaded_page_is_nowhere_else);
    RUN(newest_version_wins_through_many_rounds);
    RUN(pageout_of_part_of_a_cluster_leaves_the_rest);
    RUN(scattered_pages_go_out_one_by_one_and_together);
    RUN(willneed_brings_in_from_everywhere);
    RUN(hints_of_bad_ranges_are_refused);
    RUN(a_fault_during_compression_gets_the_page_and_leaves_no_copy);
    RUN(faults_go_on_when_every_slot_waits);
    RUN(the_budget_holds_with_compressible_data);
    RUN(the_budget_holds_with_incompressible_data);
    RUN(the_budget_holds_without_a_device);
    RUN(over_budget_the_program_goes_on_and_is_told_once);
    RUN(a_limit_that_rises_ends_being_over_budget);
    RUN(every_failed_allocation_of_create_is_a_clean_error);
    RUN(threads_that_do_not_start_are_a_clean_error);
    return harness_finish();
}
