/* SPDX-License-Identifier: MIT */
/* A device that fails, lies, or does not answer: what that does to the page concerned, and what it must not do to others. */
#include <pthread.h>

#include "tests/support/region_fixture.h"
#include "zswap/internal.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u

static uint32_t lost_calls; /* atomic */
static void *lost_address;
static int lost_error;

static void note_lost(void *context, void *address, int error)
{
    (void)context;
    lost_address = address;
    lost_error = error;
    atomic_add_acq_rel(&lost_calls, 1);
}

static const struct fixture_options roomy = {
    .bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_FAULTY, .page_lost = note_lost};

/* Pages [0, 128) on the device, [128, 192) in the pool, [192, 256) resident. */
static void open_mixed(struct fixture *f, struct fixture_options o)
{
    atomic_set_relaxed(&lost_calls, 0);
    fixture_open(f, o);
    fixture_fill(f, 0, PAGES, 1);
    fixture_to(f, 0, 128, PLACE_DEVICE);
    fixture_to(f, 128, 64, PLACE_POOL);
    CHECK_EQUAL(fixture_count(f, 0, 128, PLACE_DEVICE), 128);
    CHECK_EQUAL(fixture_count(f, 128, 64, PLACE_POOL), 64);
}

/* ---- pages that cannot be read back */

static void check_lost(struct fixture *f, uint64_t page, int error)
{
    CHECK_EQUAL(fixture_touch(fixture_page(f, page)), SIGBUS);
    CHECK_EQUAL(fixture_touch(fixture_page(f, page)), SIGBUS); /* and it stays so */
    CHECK_EQUAL(fixture_stats(f).poisoned_pages, 1);
    CHECK_EQUAL(atomic_read_acquire(&lost_calls), 1);
    CHECK(lost_address == fixture_page(f, page));
    CHECK_EQUAL(lost_error, error);
    /* Nothing else is harmed. */
    CHECK_EQUAL(fixture_wrong(f, 0, page, 1), 0);
    CHECK_EQUAL(fixture_wrong(f, page + 1, PAGES - page - 1, 1), 0);
    fixture_to(f, 0, PAGES, PLACE_DEVICE);
    CHECK_EQUAL(fixture_wrong(f, page + 1, PAGES - page - 1, 1), 0);
    CHECK_EQUAL(fixture_touch(fixture_page(f, page)), SIGBUS);
    CHECK(region_consistent(f->region));
    /* New content heals. */
    CHECK_EQUAL(region_discard(f->region, fixture_page(f, page), PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(f, page, 1, 0), 0);
    fixture_fill(f, page, 1, 2);
    fixture_to(f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(f, page, 1, 2), 0);
    fixture_close(f);
}

TEST(an_unreadable_page_raises_sigbus_and_others_live)
{
    struct fixture f;
    open_mixed(&f, roomy);
    faulty_fail_nth(f.device, SWAP_READ, 1, -EIO);
    check_lost(&f, 33, -EIO);
}

/* Flips a bit of the page's copy on the device. */
static void damage(struct fixture *f, uint64_t page)
{
    unsigned char *bytes = ram_device_bytes(faulty_inner(f->device));
    region_fork_prepare(f->region);
    bytes[entry_name(atomic_read_acquire(area_word(f->zswap->areas[3], page))) * SLOT_BYTES + 100] ^= 4;
    region_fork_parent(f->region);
}

TEST(a_damaged_page_raises_sigbus_and_others_live)
{
    struct fixture f;
    open_mixed(&f, roomy);
    damage(&f, 33);
    check_lost(&f, 33, -EBADMSG);
}

TEST(a_damaged_plain_page_raises_sigbus_and_others_live)
{
    struct fixture f;
    struct fixture_options o = roomy;
    o.writeback = ZSWAP_WRITEBACK_PAGE;
    open_mixed(&f, o);
    damage(&f, 33);
    check_lost(&f, 33, -EBADMSG);
}

static void *run_touch(void *argument)
{
    return (void *)(intptr_t) * (volatile unsigned char *)argument;
}

static uint32_t bus_errors; /* atomic */
static __thread sigjmp_buf thread_jump;

static void on_thread_sigbus(int number)
{
    siglongjmp(thread_jump, number);
}

static void *run_lost_touch(void *argument)
{
    if (!sigsetjmp(thread_jump, 1)) {
        (void)*(volatile unsigned char *)argument;
    } else {
        atomic_add_relaxed(&bus_errors, 1);
    }
    return NULL;
}

TEST(two_threads_lose_a_page_once)
{
    struct fixture f;
    struct sigaction action = {.sa_handler = on_thread_sigbus, .sa_flags = SA_NODEFER}, old;
    for (int i = 0; i < 20; i++) {
        pthread_t threads[3];
        atomic_set_relaxed(&bus_errors, 0);
        open_mixed(&f, roomy);
        faulty_fail_all(f.device, SWAP_READ, -EIO);
        sigaction(SIGBUS, &action, &old);
        for (int n = 0; n < 3; n++) {
            REQUIRE(!pthread_create(&threads[n], NULL, run_lost_touch, fixture_page(&f, 5)));
        }
        for (int n = 0; n < 3; n++) {
            pthread_join(threads[n], NULL);
        }
        sigaction(SIGBUS, &old, NULL);
        CHECK_EQUAL(atomic_read_relaxed(&bus_errors), 3);
        CHECK_EQUAL(fixture_touch(fixture_page(&f, 5)), SIGBUS); /* and not SIGSEGV */
        CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 1);
        CHECK_EQUAL(atomic_read_acquire(&lost_calls), 1);
        /* Not before: a message that is read late would find the page well again. */
        faulty_fail_all(f.device, SWAP_READ, 0);
        fixture_close(&f);
    }
}

TEST(a_lost_page_in_a_system_call_is_an_error)
{
    struct fixture f;
    int fds[2];
    REQUIRE(!pipe(fds));
    open_mixed(&f, roomy);
    faulty_fail_nth(f.device, SWAP_READ, 1, -EIO);
    CHECK_EQUAL(write(fds[1], fixture_page(&f, 33), 100), -1);
    CHECK_EQUAL(fixture_wrong(&f, 34, PAGES - 34, 1), 0);
    close(fds[0]);
    close(fds[1]);
    fixture_close(&f);
}

TEST(a_lost_page_is_lost_at_its_new_place_too)
{
    struct fixture f;
    open_mixed(&f, roomy);
    faulty_fail_nth(f.device, SWAP_READ, 4, -EIO);
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 512), 128 * PAGE_BYTES), 0);
    uint64_t raised = 0;
    for (uint64_t page = 0; page < 128; page++) {
        if (page == 3) {
            raised += fixture_touch(fixture_page(&f, 512 + page)) == SIGBUS;
        } else {
            CHECK(fixture_is(&f, fixture_page(&f, 512 + page), page, 1));
        }
    }
    CHECK_EQUAL(raised, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, 128, 0), 0);
    fixture_close(&f);
}

static void open_with_lost_page_at_512(struct fixture *f)
{
    open_mixed(f, roomy);
    faulty_fail_nth(f->device, SWAP_READ, 1, -EIO);
    CHECK_EQUAL(fixture_touch(f->base), SIGBUS); /* known before the move */
    faulty_fail_nth(f->device, SWAP_READ, 1, -EIO);
    CHECK_EQUAL(region_move(f->region, f->base, fixture_page(f, 512), PAGE_BYTES), 0);
    CHECK(region_consistent(f->region));
}

TEST(a_lost_page_that_was_moved_is_gone_when_its_range_is_discarded)
{
    struct fixture f;
    open_with_lost_page_at_512(&f);
    CHECK_EQUAL(fixture_touch(f.base), 0); /* nothing is left there */
    CHECK_EQUAL(fixture_touch(fixture_page(&f, 512)), SIGBUS);
    CHECK_EQUAL(region_discard(f.region, fixture_page(&f, 512), PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_touch(fixture_page(&f, 512)), 0);
    CHECK_EQUAL(fixture_wrong(&f, 512, 1, 0), 0);
    fixture_close(&f);
}

TEST(a_lost_page_may_be_moved_again_and_is_never_zero)
{
    struct fixture f;
    open_with_lost_page_at_512(&f);
    for (uint64_t page = 512; page < 520; page++) {
        CHECK_EQUAL(region_move(f.region, fixture_page(&f, page), fixture_page(&f, page + 1), PAGE_BYTES), 0);
        CHECK_EQUAL(fixture_touch(fixture_page(&f, page)), 0);
        CHECK_EQUAL(fixture_touch(fixture_page(&f, page + 1)), SIGBUS);
    }
    fixture_close(&f);
}

TEST(without_poison_a_lost_page_raises_a_signal_as_well)
{
    struct fixture f;
    open_mixed(&f, roomy);
    f.region->userfault.has_poison = false;
    faulty_fail_nth(f.device, SWAP_READ, 1, -EIO);
    CHECK_EQUAL(fixture_touch(fixture_page(&f, 33)), SIGSEGV);
    CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, 33, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 34, PAGES - 34, 1), 0);
    fixture_close(&f);
}

/* ---- pages that cannot be written back */

static uint32_t warnings; /* atomic */

static void note_warning(void *context, size_t over_bytes)
{
    (void)context;
    (void)over_bytes;
    atomic_add_relaxed(&warnings, 1);
}

TEST(a_device_that_refuses_writes_loses_nothing)
{
    struct fixture f;
    warnings = 0;
    fixture_open(&f, (struct fixture_options){.bytes = 16 * MIB,
                                              .budget = 8 * MIB,
                                              .device = FIXTURE_FAULTY,
                                              .incompressible = true,
                                              .over_budget = note_warning});
    faulty_fail_all(f.device, SWAP_WRITE, -EIO);
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    CHECK_EQUAL(atomic_read_relaxed(&warnings), 1);
    CHECK(fixture_stats(&f).over_budget_bytes > 0);
    CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 0);
    /* It works again: so does the budget, after a while. */
    faulty_fail_all(f.device, SWAP_WRITE, 0);
    for (int i = 0; i < 300; i++) {
        zswap_writeback(f.zswap, 1); /* one in so many calls tries again */
    }
    WAIT_FOR((int64_t)account_total(&f.account) <= f.account.limit);
    CHECK_EQUAL(zswap_max_pool_bytes(f.zswap), 4 * MIB); /* as it was before the pool had to grow */
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    fixture_close(&f);
}

TEST(now_and_then_a_failed_write_loses_nothing)
{
    struct fixture f;
    fixture_open(&f,
                 (struct fixture_options){
                     .bytes = 16 * MIB, .budget = 8 * MIB, .device = FIXTURE_FAULTY, .incompressible = true});
    for (uint64_t page = 0; page < f.pages; page++) {
        if (page % 64 == 0) {
            faulty_fail_nth(f.device, SWAP_WRITE, 1, -EIO);
        } else if (page % 64 == 32) {
            faulty_tear_nth_write(f.device, 1, -EIO);
        }
        fixture_fill(&f, page, 1, 1);
    }
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 0);
    fixture_close(&f);
}

TEST(a_full_device_loses_nothing)
{
    struct fixture f;
    warnings = 0;
    fixture_open(&f, (struct fixture_options){.bytes = 16 * MIB,
                                              .budget = 8 * MIB,
                                              .device = FIXTURE_FAULTY,
                                              .device_bytes = 4 * MIB,
                                              .incompressible = true,
                                              .over_budget = note_warning});
    fixture_fill(&f, 0, f.pages, 1);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    CHECK_EQUAL(atomic_read_relaxed(&warnings), 1);
    fixture_close(&f);
}

/* ---- a device that does not answer */

struct filler {
    struct fixture *f;
    uint64_t first, count;
    uint64_t filled; /* atomic */
};

static void *run_filler(void *argument)
{
    struct filler *filler = argument;
    for (uint64_t i = 0; i < filler->count; i++) {
        fixture_fill(filler->f, filler->first + i, 1, 1);
        atomic_add_relaxed(&filler->filled, 1);
    }
    return NULL;
}

TEST(writes_that_hang_hang_only_who_needs_room)
{
    struct fixture f;
    pthread_t thread;
    fixture_open(&f,
                 (struct fixture_options){
                     .bytes = 16 * MIB, .budget = 8 * MIB, .device = FIXTURE_FAULTY, .incompressible = true});
    fixture_fill(&f, 0, 64, 1);
    faulty_hold(f.device, SWAP_WRITE, true);
    struct filler filler = {.f = &f, .first = 64, .count = f.pages - 64};
    REQUIRE(!pthread_create(&thread, NULL, run_filler, &filler));
    WAIT_FOR(faulty_held(f.device) > 0);
    /* It goes as far as the budget allows. */
    uint64_t before;
    do {
        before = atomic_read_relaxed(&filler.filled);
        fixture_sleep_ms(100);
    } while (before != atomic_read_relaxed(&filler.filled));
    CHECK((before + 64) * PAGE_BYTES > 3 * MIB);
    faulty_let_go(f.device);
    pthread_join(thread, NULL);
    CHECK_EQUAL(fixture_wrong(&f, 0, f.pages, 1), 0);
    fixture_close(&f);
}

static struct fixture *hung;

/* Leaves threads waiting for pages 0 .. n - 1, whose reads the device holds. */
static void start_hung_touches(struct fixture *f, pthread_t *threads, unsigned n)
{
    hung = f;
    faulty_hold(f->device, SWAP_READ, true);
    for (unsigned i = 0; i < n; i++) {
        REQUIRE(!pthread_create(&threads[i], NULL, run_touch, fixture_page(f, i * 2)));
    }
    WAIT_FOR(faulty_held(f->device) == n);
}

static void end_hung_touches(struct fixture *f, pthread_t *threads, unsigned n)
{
    faulty_let_go(f->device);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(fixture_wrong(f, 0, PAGES, 1), 0);
    fixture_close(f);
}

TEST(no_fault_waits_for_another_pages_read)
{
    struct fixture f;
    pthread_t threads[4];
    open_mixed(&f, roomy);
    fixture_to(&f, 224, 32, PLACE_STAGED);
    start_hung_touches(&f, threads, 4);
    CHECK(*(volatile unsigned char *)fixture_page(&f, 512) == 0);     /* a first touch */
    CHECK(fixture_is(&f, fixture_page(&f, 130), 130, 1));             /* in the pool */
    CHECK(fixture_is(&f, fixture_page(&f, 230), 230, 1));             /* staged */
    CHECK(fixture_is(&f, fixture_page(&f, 200), 200, 1));             /* resident */
    region_pageout(f.region, fixture_page(&f, 192), 32 * PAGE_BYTES); /* and reclaim goes on, too */
    fixture_drain_pool(&f);
    CHECK_EQUAL(faulty_held(f.device), 4);
    end_hung_touches(&f, threads, 4);
}

/* More than page-in threads: the rest is queued, and nothing else waits. */
TEST(many_hung_reads_hang_nobody_else)
{
    struct fixture f;
    pthread_t threads[12];
    struct fixture_options o = roomy;
    o.pagein_threads = 2;
    open_mixed(&f, o);
    faulty_hold(f.device, SWAP_READ, true);
    for (unsigned i = 0; i < 12; i++) {
        REQUIRE(!pthread_create(&threads[i], NULL, run_touch, fixture_page(&f, i * 2)));
    }
    WAIT_FOR(faulty_held(f.device) == 2);
    CHECK(fixture_is(&f, fixture_page(&f, 130), 130, 1));
    CHECK(*(volatile unsigned char *)fixture_page(&f, 512) == 0);
    end_hung_touches(&f, threads, 12);
}

static void end_at_once(void *argument)
{
    (void)argument;
}

/* As in a process whose filter turns new threads away: they start, and never serve. */
static int start_but_no_pagein(struct thread *t, void (*run)(void *), void *argument, const char *name)
{
    bool is_pagein = strcmp(name, "uzswap-pagein") == 0;
    return thread_ops_pthread.start(t, is_pagein ? end_at_once : run, argument, name);
}

static void join_any(struct thread *t)
{
    thread_ops_pthread.join(t);
}

TEST(without_pagein_threads_the_handler_reads)
{
    static const struct thread_ops ops = {.start = start_but_no_pagein, .join = join_any};
    struct fixture f;
    struct fixture_options o = roomy;
    o.threads = &ops;
    open_mixed(&f, o);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

static void *run_discard(void *argument)
{
    region_discard(hung->region, argument, 4 * PAGE_BYTES);
    return NULL;
}

/* malloc of a program gives pages back all the time: that must not wait for a disk, nor may faults wait behind it. */
static uint32_t queued_pageins(struct fixture *f)
{
    SCOPED_LOCK(&f->region->pagein.lock);
    return f->region->pagein.count;
}

static void *run_stop(void *argument)
{
    region_stop_threads(argument);
    return NULL;
}

TEST(requests_that_no_thread_comes_to_leave_no_slot)
{
    struct fixture f;
    struct fixture_options o = roomy;
    pthread_t touches[3], stop;
    o.pagein_threads = 1;
    open_mixed(&f, o);
    faulty_hold(f.device, SWAP_READ, true);
    for (unsigned i = 0; i < 3; i++) {
        REQUIRE(!pthread_create(&touches[i], NULL, run_touch, fixture_page(&f, i * 2)));
    }
    WAIT_FOR(faulty_held(f.device) == 1 && queued_pageins(&f) == 2);
    REQUIRE(!pthread_create(&stop, NULL, run_stop, f.region));
    WAIT_FOR(atomic_read_acquire(&f.region->stop));
    faulty_let_go(f.device);
    pthread_join(stop, NULL);
    CHECK_EQUAL(swap_cache_count(f.cache), 0);
    CHECK_EQUAL(atomic_read_acquire(&f.region->pagein.unfinished), 0);
    REQUIRE(!region_start_threads(f.region)); /* who waits is served after all */
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(touches[i], NULL);
    }
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(a_discard_does_not_wait_for_reads)
{
    struct fixture f;
    pthread_t threads[2], discarder;
    open_mixed(&f, roomy);
    start_hung_touches(&f, threads, 2);
    REQUIRE(!pthread_create(&discarder, NULL, run_discard, fixture_page(&f, 250)));
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 3;
    bool waits = pthread_timedjoin_np(discarder, NULL, &limit) != 0;
    CHECK(!waits);
    if (waits) {
        faulty_let_go(f.device);
        pthread_join(discarder, NULL);
    }
    CHECK_EQUAL(fixture_wrong(&f, 250, 4, 0), 0);
    fixture_fill(&f, 250, 4, 1);
    end_hung_touches(&f, threads, 2);
}

/* The page itself is discarded, and the read that comes late must not bring the old content back. */
TEST(a_page_discarded_while_it_is_read_reads_zero)
{
    struct fixture f;
    pthread_t threads[3];
    open_mixed(&f, roomy);
    start_hung_touches(&f, threads, 3);
    CHECK_EQUAL(region_discard(f.region, f.base, 4 * PAGE_BYTES), 0);
    faulty_let_go(f.device);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(fixture_wrong(&f, 0, 4, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 4, PAGES - 4, 1), 0);
    CHECK_EQUAL(fixture_stats(&f).poisoned_pages, 0);
    fixture_close(&f);
}

/* The page's place gets other content, resident or not, while the read of the old one is under way. */
static void move_under_a_read(uint64_t other)
{
    struct fixture f;
    pthread_t thread;
    open_mixed(&f, roomy);
    start_hung_touches(&f, &thread, 1);
    CHECK_EQUAL(region_discard(f.region, f.base, PAGE_BYTES), 0);
    CHECK_EQUAL(region_move(f.region, fixture_page(&f, other), f.base, PAGE_BYTES), 0);
    faulty_let_go(f.device);
    pthread_join(thread, NULL);
    CHECK(fixture_is(&f, f.base, other, 1));
    CHECK(fixture_is(&f, fixture_page(&f, other), other, 0));
    fixture_close(&f);
}

TEST(a_late_read_does_not_overwrite_what_was_moved_there)
{
    move_under_a_read(130); /* from the pool */
    move_under_a_read(200); /* a resident one */
}

/* A fork has to wait, for a read under way is inside the device; but then both sides have the page. No other begins meanwhile, or it
 * might wait for ever. */
static void *run_fork_prepare(void *argument)
{
    struct fixture *f = argument;
    region_fork_prepare(f->region);
    region_fork_parent(f->region);
    return NULL;
}

TEST(a_fork_waits_for_reads)
{
    struct fixture f;
    pthread_t threads[3], forker;
    open_mixed(&f, roomy);
    start_hung_touches(&f, threads, 2);
    REQUIRE(!pthread_create(&forker, NULL, run_fork_prepare, &f));
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 1;
    CHECK(pthread_timedjoin_np(forker, NULL, &limit) == ETIMEDOUT);
    CHECK(fixture_is(&f, fixture_page(&f, 130), 130, 1)); /* and hinders nobody meanwhile */
    uint64_t faults = fixture_stats(&f).faults;
    uint32_t unfinished = atomic_read_acquire(&f.region->pagein.unfinished);
    REQUIRE(!pthread_create(&threads[2], NULL, run_touch, fixture_page(&f, 100)));
    WAIT_FOR(fixture_stats(&f).faults > faults + 3);
    CHECK_EQUAL(atomic_read_acquire(&f.region->pagein.unfinished), unfinished);
    faulty_let_go(f.device);
    pthread_join(forker, NULL);
    end_hung_touches(&f, threads, 3);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(an_unreadable_page_raises_sigbus_and_others_live);
    RUN(a_damaged_page_raises_sigbus_and_others_live);
    RUN(a_damaged_plain_page_raises_sigbus_and_others_live);
    RUN(two_threads_lose_a_page_once);
    RUN(a_lost_page_in_a_system_call_is_an_error);
    RUN(a_lost_page_is_lost_at_its_new_place_too);
    RUN(a_lost_page_that_was_moved_is_gone_when_its_range_is_discarded);
    RUN(a_lost_page_may_be_moved_again_and_is_never_zero);
    RUN(without_poison_a_lost_page_raises_a_signal_as_well);
    RUN(a_device_that_refuses_writes_loses_nothing);
    RUN(now_and_then_a_failed_write_loses_nothing);
    RUN(a_full_device_loses_nothing);
    RUN(writes_that_hang_hang_only_who_needs_room);
    RUN(no_fault_waits_for_another_pages_read);
    RUN(many_hung_reads_hang_nobody_else);
    RUN(requests_that_no_thread_comes_to_leave_no_slot);
    RUN(without_pagein_threads_the_handler_reads);
    RUN(a_discard_does_not_wait_for_reads);
    RUN(a_page_discarded_while_it_is_read_reads_zero);
    RUN(a_late_read_does_not_overwrite_what_was_moved_there);
    RUN(a_fork_waits_for_reads);
    return harness_finish();
}
