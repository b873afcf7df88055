/* SPDX-License-Identifier: MIT */
/*
 * Kernels without UFFDIO_MOVE (before 6.8), where pages leave by write-protect, copy and drop; and writers that hammer pages
 * on their way out, with and without it.
 */
#include <pthread.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u

static const struct fixture_options roomy = {.bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};

static void open_without_move(struct fixture *f, struct fixture_options o)
{
    fixture_open(f, o);
    rwlock_write_lock(&f->region->layout);
    f->region->userfault.has_move = false;
    rwlock_write_unlock(&f->region->layout);
}

static void round_trip(enum place place)
{
    struct fixture f;
    open_without_move(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, place);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, place), PAGES);
    CHECK_EQUAL(fixture_stats(&f).copied_out, PAGES);
    CHECK_EQUAL(fixture_stats(&f).evicted_pages, PAGES);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_fill(&f, 0, PAGES, 2); /* nothing is left protected */
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 2), 0);
    fixture_close(&f);
}

TEST(without_move_content_survives_the_staging_area)
{
    round_trip(PLACE_STAGED);
}

TEST(without_move_content_survives_the_pool)
{
    round_trip(PLACE_POOL);
}

TEST(without_move_content_survives_the_device)
{
    round_trip(PLACE_DEVICE);
}

TEST(without_move_the_budget_holds)
{
    struct fixture f;
    open_without_move(
        &f, (struct fixture_options){.bytes = 20 * MIB, .budget = 10 * MIB, .device = FIXTURE_RAM_QUEUED});
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    CHECK(atomic_read_relaxed(&f.account.peak) <= f.account.limit);
    CHECK_EQUAL(fixture_stats(&f).over_budget_bytes, 0);
    fixture_close(&f);
}

TEST(without_move_ranges_move_by_copy)
{
    struct fixture f;
    open_without_move(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES / 2, PLACE_POOL);
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 512), PAGES * PAGE_BYTES), 0);
    CHECK(region_consistent(f.region));
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK(fixture_is(&f, fixture_page(&f, 512 + page), page, 1));
    }
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    fixture_close(&f);
}

TEST(without_write_protection_or_move_nothing_leaves)
{
    struct fixture f;
    open_without_move(&f, roomy);
    f.region->userfault.has_protect = false;
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

/* ---- writers against the evictor */

#define WRITERS 2u
#define ROUNDS 20u
#define REPEATS 100u
#define HAMMERED 32u /* pages of each writer; both share clusters */

struct writer {
    struct fixture *f;
    unsigned id;
    uint32_t *stop;
    uint64_t rounds; /* atomic */
    uint64_t lost;
};

static void *run_writer(void *argument)
{
    struct writer *w = argument;
    uint64_t values[HAMMERED] = {0};
    while (!atomic_read_acquire(w->stop)) {
        for (unsigned i = 0; i < HAMMERED; i++) {
            volatile uint64_t *words = (uint64_t *)fixture_page(w->f, (uint64_t)i * WRITERS + w->id);
            /* For a while, so that it is still written to when the evictor comes. */
            for (unsigned repeat = 0; repeat < REPEATS; repeat++, values[i]++) {
                for (unsigned at = 0; at < 512; at += 73) {
                    w->lost += words[at] != values[i];
                    words[at] = values[i] + 1;
                }
            }
        }
        atomic_add_relaxed(&w->rounds, 1);
    }
    return NULL;
}

static bool all_had(struct writer *writers, uint64_t rounds)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        if (atomic_read_relaxed(&writers[i].rounds) < rounds) {
            return false;
        }
    }
    return true;
}

static uint64_t evicted(struct fixture *f)
{
    struct region_stats stats;
    region_get_stats(f->region, &stats);
    return stats.evicted_pages;
}

static void hammer(struct fixture *f)
{
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    uint32_t stop = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.f = f, .id = i, .stop = &stop};
        REQUIRE(!pthread_create(&threads[i], NULL, run_writer, &writers[i]));
    }
    for (int i = 0; i < 5000000 && !(all_had(writers, ROUNDS) && evicted(f) > 1000); i++) {
        sys_yield();
        region_pageout(f->region, f->base, WRITERS * HAMMERED * PAGE_BYTES);
        if (i % 3 == 0) {
            fixture_drain_staging(f);
        }
    }
    atomic_set_release(&stop, 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQUAL(writers[i].lost, 0);
        CHECK(writers[i].rounds >= ROUNDS);
    }
    CHECK(evicted(f) > 1000);
    fixture_close(f);
}

TEST(no_write_is_lost_to_the_evictor)
{
    struct fixture f;
    fixture_open(&f, roomy);
    hammer(&f);
}

TEST(without_move_no_write_is_lost_to_the_evictor)
{
    struct fixture f;
    open_without_move(&f, roomy);
    hammer(&f);
}

TEST(no_write_is_lost_in_executable_pages)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    hammer(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(without_move_content_survives_the_staging_area);
    RUN(without_move_content_survives_the_pool);
    RUN(without_move_content_survives_the_device);
    RUN(without_move_the_budget_holds);
    RUN(without_move_ranges_move_by_copy);
    RUN(without_write_protection_or_move_nothing_leaves);
    RUN(no_write_is_lost_to_the_evictor);
    RUN(without_move_no_write_is_lost_to_the_evictor);
    RUN(no_write_is_lost_in_executable_pages);
    return harness_finish();
}
