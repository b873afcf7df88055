/* SPDX-License-Identifier: MIT */
/* SIGBUS mode: the faulting thread serves its own fault, from its own SIGBUS handler. */
#include <pthread.h>

#include "tests/support/region_fixture.h"
#include "zswap/internal.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u
#define THREADS 3u

static struct fixture f;
static uint32_t lost; /* pages that could not be brought back; atomic */
static sigjmp_buf jump;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (region_serve_fault(f.region, info->si_addr)) {
        atomic_add_relaxed(&lost, 1);
        siglongjmp(jump, 1);
    }
}

static void open_sigbus(struct fixture_options o)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGBUS, &action, NULL);
    o.mode = REGION_FAULT_SIGBUS;
    lost = 0;
    fixture_open(&f, o);
}

static const struct fixture_options roomy = {.bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};

TEST(pages_come_back_from_every_state)
{
    open_sigbus(roomy);
    CHECK_EQUAL(fixture_wrong(&f, 0, 16, 0), 0);
    for (enum place place = PLACE_STAGED; place <= PLACE_DEVICE; place++) {
        fixture_fill(&f, 0, PAGES, place);
        fixture_to(&f, 0, PAGES, place);
        CHECK_EQUAL(fixture_count(&f, 0, PAGES, place), PAGES);
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, place), 0);
    }
    CHECK_EQUAL(lost, 0);
    fixture_close(&f);
}

TEST(what_is_not_the_regions_is_not_served)
{
    int local;
    open_sigbus(roomy);
    CHECK_EQUAL(region_serve_fault(f.region, &local), -EINVAL);
    CHECK_EQUAL(region_serve_fault(f.region, f.base + 4 * MIB), -EINVAL);
    fixture_close(&f);
    fixture_open(&f, roomy);
    CHECK_EQUAL(region_serve_fault(f.region, f.base), -EINVAL); /* handler threads do */
    fixture_close(&f);
}

TEST(pages_behind_our_back_and_executable_ones_are_no_trouble)
{
    open_sigbus(roomy);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK(!sys_madvise(f.base, 20 * PAGE_BYTES, MADV_DONTNEED));
    fixture_to(&f, 64, PAGES - 64, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 0, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 20, PAGES - 20, 1), 0);
    fixture_close(&f);
}

/* A hole in the staging area would be a fault in whoever compresses, and nobody would serve it. */
TEST(pages_dropped_behind_our_back_can_be_compressed)
{
    open_sigbus(roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK(!sys_madvise(f.base, 20 * PAGE_BYTES, MADV_DONTNEED));
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(lost, 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 20, PAGES - 20, 1), 0);
    fixture_close(&f);
}

/* Nobody is there to lift a protection that was left behind. */
TEST(pages_that_cannot_be_copied_out_can_be_written_again)
{
    open_sigbus(roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK_EQUAL(region_protect(f.region, f.base, 8 * PAGE_BYTES, PROT_NONE), 0);
    sys_close(f.region->memory_fd);
    f.region->memory_fd = -1;
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(region_protect(f.region, f.base, 8 * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_count(&f, 0, 8, PLACE_RESIDENT), 8);
    fixture_fill(&f, 0, 8, 2);
    CHECK_EQUAL(fixture_wrong(&f, 0, 8, 2), 0);
    CHECK_EQUAL(fixture_wrong(&f, 8, PAGES - 8, 1), 0);
    fixture_close(&f);
}

TEST(a_lost_page_is_reported_to_the_handler)
{
    open_sigbus(roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_DEVICE);
    region_fork_prepare(f.region);
    uint64_t word = atomic_read_acquire(area_word(f.zswap->areas[3], 7));
    ram_device_bytes(f.device)[entry_name(word) * SLOT_BYTES + 100] ^= 4;
    region_fork_parent(f.region);
    for (int i = 0; i < 3; i++) {
        if (!sigsetjmp(jump, 1)) {
            (void)*(volatile unsigned char *)fixture_page(&f, 7);
            CHECK(!"a lost page was read");
        }
    }
    CHECK_EQUAL(lost, 3);
    CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 8, PAGES - 8, 1), 0);
    CHECK_EQUAL(region_discard(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    fixture_close(&f);
}

/* Each thread has pages of its own, in clusters that it shares with the others. */
static void *run_toucher(void *argument)
{
    uint64_t id = (uintptr_t)argument, random = id + 1;
    uint8_t *versions = calloc(f.pages, 1);
    for (int i = 0; i < 3000; i++) {
        uint64_t page = harness_random(&random) % (f.pages / THREADS) * THREADS + id;
        CHECK(fixture_is(&f, fixture_page(&f, page), page, versions[page]));
        if (harness_random(&random) % 2) {
            versions[page] = (uint8_t)(versions[page] % 200 + 1);
            fixture_make(&f, fixture_page(&f, page), page, versions[page]);
        }
    }
    free(versions);
    return NULL;
}

TEST(several_threads_serve_themselves_within_the_budget)
{
    pthread_t threads[THREADS];
    open_sigbus(
        (struct fixture_options){.bytes = 24 * MIB, .budget = 12 * MIB, .device = FIXTURE_RAM_QUEUED});
    for (uint64_t i = 0; i < THREADS; i++) {
        REQUIRE(!pthread_create(&threads[i], NULL, run_toucher, (void *)(uintptr_t)i));
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(atomic_read_relaxed(&f.account.peak) <= f.account.limit);
    CHECK(fixture_stats(&f).evicted_pages > 0);
    CHECK_EQUAL(lost, 0);
    fixture_close(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(pages_come_back_from_every_state);
    RUN(what_is_not_the_regions_is_not_served);
    RUN(pages_behind_our_back_and_executable_ones_are_no_trouble);
    RUN(pages_dropped_behind_our_back_can_be_compressed);
    RUN(pages_that_cannot_be_copied_out_can_be_written_again);
    RUN(a_lost_page_is_reported_to_the_handler);
    RUN(several_threads_serve_themselves_within_the_budget);
    return harness_finish();
}
