/* SPDX-License-Identifier: MIT */
/* fork: both sides see all their bytes, whatever state each page was in, and then go their own ways. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "base/inherited.h"
#include "tests/support/region_fixture.h"
#include "zswap/internal.h"

#define MIB ((size_t)1 << 20)
#define PER_PLACE 48u
#define PAGES (4 * PER_PLACE)

#if defined(SYS_THREAD_SANITIZER)
/* A child that starts threads is what this is about. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

static const struct fixture_options roomy = {
    .bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_FILE, .family = true};

static void open_mixed(struct fixture *f, struct fixture_options o)
{
    fixture_open(f, o);
    fixture_fill(f, 0, PAGES, 1);
    fixture_to(f, 0, PER_PLACE, PLACE_DEVICE);
    fixture_to(f, PER_PLACE, PER_PLACE, PLACE_POOL);
    fixture_to(f, 2 * PER_PLACE, PER_PLACE, PLACE_STAGED);
    CHECK_EQUAL(fixture_count(f, 3 * PER_PLACE, PER_PLACE, PLACE_RESIDENT), PER_PLACE);
}

/* Forks as preload/ does: the child is the region's before it does anything else, and the parent stands still until
 * then. `lend` is called before, and `borrow` in the child. */
static pid_t fork_around(struct fixture *f, void (*lend)(struct fixture *f),
                         void (*borrow)(struct fixture *f))
{
    int done[2];
    char byte;
    REQUIRE(!pipe(done));
    fflush(stdout);
    region_fork_prepare(f->region);
    lend(f);
    pid_t child = fork();
    REQUIRE(child >= 0);
    close(done[child ? 1 : 0]);
    if (child) {
        CHECK(read(done[0], &byte, 1) == 1);
        close(done[0]);
        return child;
    }
    borrow(f);
    members_join(members_self.table);
    int error = zswap_fork_child(f->zswap);
    if (!error) {
        error = region_fork_child(f->region, -1);
    }
    if (error) {
        printf("# the child's region: error %d\n", error);
        fflush(stdout);
        _exit(3);
    }
    REQUIRE(write(done[1], "x", 1) == 1);
    close(done[1]);
    return 0;
}

static void keep_no_books(struct fixture *f)
{
    (void)f;
}

static pid_t fork_fixture(struct fixture *f)
{
    return fork_around(f, keep_no_books, keep_no_books);
}

static void child_exit(struct fixture *f)
{
    CHECK(region_consistent(f->region));
    fflush(stdout);
    _exit(harness_failures ? 1 : 0);
}

static void wait_for_child(pid_t child)
{
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Writes, evicts, reads back, discards. */
static void live_on(struct fixture *f, uint64_t version)
{
    for (uint64_t page = 0; page < PAGES; page += 2) {
        fixture_fill(f, page, 1, version);
    }
    fixture_to(f, 0, PAGES, PLACE_RESIDENT);
    for (enum place place = PLACE_STAGED; place <= PLACE_DEVICE; place++) {
        fixture_to(f, 0, PAGES, place);
        CHECK_EQUAL(fixture_count(f, 0, PAGES, place), PAGES);
        CHECK(region_consistent(f->region));
        for (uint64_t page = 0; page < PAGES; page++) {
            CHECK(fixture_is(f, fixture_page(f, page), page, page % 2 ? 1 : version));
        }
    }
    CHECK_EQUAL(region_discard(f->region, f->base, 16 * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(f, 0, 16, 0), 0);
}

TEST(parent_and_child_see_all_their_bytes)
{
    struct fixture f;
    open_mixed(&f, roomy);
    pid_t child = fork_fixture(&f);
    if (!child) {
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    wait_for_child(child);
    fixture_close(&f);
}

static void diverge(struct fixture_options o)
{
    struct fixture f;
    open_mixed(&f, o);
    pid_t child = fork_fixture(&f);
    if (!child) {
        live_on(&f, 5);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    live_on(&f, 9);
    wait_for_child(child);
    CHECK_EQUAL(fixture_wrong(&f, 16, 1, 9), 0);
    CHECK_EQUAL(fixture_wrong(&f, 17, 1, 1), 0);
    fixture_close(&f);
}

TEST(parent_and_child_go_their_own_ways)
{
    diverge(roomy);
}

TEST(parent_and_child_go_their_own_ways_on_a_queueing_device)
{
    struct fixture_options o = roomy;
    o.device = FIXTURE_RAM_QUEUED;
    diverge(o);
}

TEST(shared_pages_can_still_be_evicted)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    int hold[2];
    REQUIRE(!pipe(hold));
    pid_t child = fork_fixture(&f);
    if (!child) {
        char byte;
        close(hold[1]);
        while (read(hold[0], &byte, 1) > 0) { /* until the parent has evicted */
        }
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_POOL), PAGES);
    CHECK_EQUAL(fixture_stats(&f).move_refused, 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    close(hold[0]);
    close(hold[1]);
    wait_for_child(child);
    fixture_close(&f);
}

TEST(a_fork_waits_for_writebacks)
{
    struct fixture f;
    struct fixture_options o = roomy;
    o.device = FIXTURE_RAM_QUEUED;
    fixture_open(&f, o);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK(zswap_writeback(f.zswap, MIB) > 0);
    pid_t child = fork_fixture(&f);
    CHECK_EQUAL(ram_device_in_flight(f.device), 0);
    if (!child) {
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    wait_for_child(child);
    fixture_close(&f);
}

/* ---- Slots of the device, shared by count */

static uint64_t device_bytes(struct fixture *f)
{
    return fixture_zswap_stats(f).device_bytes;
}

TEST(a_fork_takes_no_room_on_the_device)
{
    struct fixture f;
    open_mixed(&f, roomy);
    uint64_t before = device_bytes(&f);
    pid_t child = fork_fixture(&f);
    if (!child) {
        CHECK_EQUAL(device_bytes(&f), before);
        CHECK(zswap_consistent(f.zswap));
        CHECK_EQUAL(region_discard(f.region, f.base, PAGES * PAGE_BYTES), 0);
        CHECK_EQUAL(device_bytes(&f), before); /* the parent uses it all */
        child_exit(&f);
    }
    region_fork_parent(f.region);
    wait_for_child(child);
    CHECK_EQUAL(device_bytes(&f), before);
    CHECK_EQUAL(fixture_count(&f, 0, PER_PLACE, PLACE_DEVICE), PER_PLACE);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

static bool only_this_process_is_alive(void)
{
    uint32_t living = 0;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        living += member_place_is_alive(members_self.table, i);
    }
    return living == 1;
}

TEST(what_the_dead_used_on_the_device_is_freed)
{
    struct fixture f;
    int hold[2];
    char byte;
    open_mixed(&f, roomy);
    uint64_t before = device_bytes(&f);
    REQUIRE(!pipe(hold));
    pid_t child = fork_fixture(&f);
    if (!child) {
        fixture_fill(&f, 0, PAGES, 2);
        fixture_to(&f, 0, PAGES, PLACE_DEVICE);
        REQUIRE(write(hold[1], "x", 1) == 1);
        pause();
        _exit(2);
    }
    region_fork_parent(f.region);
    REQUIRE(read(hold[0], &byte, 1) == 1);
    CHECK(device_bytes(&f) > before);
    kill(child, SIGKILL);
    WAIT_FOR(only_this_process_is_alive());
    zswap_bury_dead(f.zswap); /* of a zombie */
    CHECK_EQUAL(device_bytes(&f), before);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    close(hold[0]);
    close(hold[1]);
    fixture_close(&f);
}

TEST(plain_pages_on_the_device_are_read_by_both)
{
    struct fixture_options o = roomy;
    o.writeback = ZSWAP_WRITEBACK_PAGE;
    diverge(o);
}

/* Children are killed wherever they are; the parent and its siblings see nothing of it. */
TEST(children_are_killed_at_any_moment)
{
    enum { CHILDREN = 3, KILLS = HARNESS_SANITIZED ? 10 : 40 };
    struct fixture f;
    pid_t children[CHILDREN] = {0};
    uint64_t random = 6;
    open_mixed(&f, roomy);
    uint64_t before = device_bytes(&f);
    for (int i = 0; i < KILLS + CHILDREN; i++) {
        pid_t *child = &children[i % CHILDREN];
        if (*child) {
            fixture_sleep_ms((int)(harness_random(&random) % 12));
            shared_kill(*child);
            shared_reap(*child);
            *child = 0;
        }
        if (i >= KILLS) {
            continue;
        }
        *child = fork_fixture(&f);
        if (!*child) {
            for (uint64_t version = 2;; version++) {
                fixture_fill(&f, 0, PAGES, version);
                fixture_to(&f, 0, PAGES, PLACE_DEVICE);
                if (fixture_wrong(&f, 0, PAGES, version)) {
                    printf("# a child's bytes are wrong\n");
                    fflush(stdout);
                    kill(getppid(), SIGABRT);
                }
            }
        }
        region_fork_parent(f.region);
        fixture_to(&f, 0, PER_PLACE, PLACE_DEVICE);
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
        fixture_to(&f, 0, PER_PLACE, PLACE_DEVICE);
    }
    zswap_bury_dead(f.zswap);
    CHECK(zswap_consistent(f.zswap));
    CHECK(device_bytes(&f) <= before);
    CHECK_EQUAL(swap_map_used(&f.zswap->map), swap_map_used_here(&f.zswap->map));
    fixture_close(&f);
}

TEST(a_child_forks_again)
{
    struct fixture f;
    open_mixed(&f, roomy);
    pid_t child = fork_fixture(&f);
    if (!child) {
        fixture_fill(&f, 0, 10, 2);
        fixture_to(&f, 0, 10, PLACE_POOL);
        pid_t grandchild = fork_fixture(&f);
        if (!grandchild) {
            CHECK_EQUAL(fixture_wrong(&f, 0, 10, 2), 0);
            CHECK_EQUAL(fixture_wrong(&f, 10, PAGES - 10, 1), 0);
            child_exit(&f);
        }
        region_fork_parent(f.region);
        wait_for_child(grandchild);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    wait_for_child(child);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(foreign_mappings_do_not_hinder_the_child)
{
    struct fixture f;
    open_mixed(&f, roomy);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    unsigned char *foreign = fixture_page(&f, 300);
    REQUIRE(mmap(foreign, 4 * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == foreign);
    CHECK_EQUAL(region_disown(f.region, foreign, 4 * PAGE_BYTES), 0);
    /* Shared memory stays shared, untouched pages of it too. */
    volatile unsigned char *shared = fixture_page(&f, 320);
    REQUIRE(mmap((void *)shared, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == shared);
    CHECK_EQUAL(region_disown(f.region, (void *)shared, 4 * PAGE_BYTES), 0);
    close(fd);
    pid_t child = fork_fixture(&f);
    if (!child) {
        CHECK_EQUAL(foreign[1], 'E');
        shared[PAGE_BYTES] = 42;
        live_on(&f, 5);
        child_exit(&f);
    }
    region_fork_parent(f.region);
    wait_for_child(child);
    CHECK_EQUAL(shared[PAGE_BYTES], 42);
    CHECK_EQUAL(foreign[1], 'E');
    CHECK_EQUAL(region_adopt(f.region, foreign, 4 * PAGE_BYTES), 0);
    CHECK_EQUAL(region_adopt(f.region, (void *)shared, 4 * PAGE_BYTES), 0);
    fixture_close(&f);
}

/* ---- fork while others touch */

static uint32_t stop; /* atomic */

static void *run_toucher(void *argument)
{
    struct fixture *f = argument;
    uint64_t random = 11;
    while (!atomic_read_acquire(&stop)) {
        uint64_t page = harness_random(&random) % PAGES;
        CHECK(fixture_is(f, fixture_page(f, page), page, 1));
    }
    return NULL;
}

static void *run_evictor(void *argument)
{
    struct fixture *f = argument;
    uint64_t random = 12;
    unsigned number = members_enter();
    while (!atomic_read_acquire(&stop)) {
        region_pageout(f->region, fixture_page(f, harness_random(&random) % (PAGES - 20)), 20 * PAGE_BYTES);
        if (harness_random(&random) % 8 == 0) {
            fixture_drain_staging(f);
            rwlock_read_lock(&f->region->layout); /* not amid the fork */
            zswap_writeback(f->zswap, MIB);
            rwlock_read_unlock(&f->region->layout);
        }
    }
    members_leave(number);
    return NULL;
}

TEST(forks_amid_touches_and_evictions)
{
    struct fixture f;
    pthread_t toucher, evictor;
    if (HARNESS_SANITIZED) {
        SKIP("a sanitizer's allocator stays locked in a child forked amid other threads' calls");
    }
    open_mixed(&f, roomy);
    stop = 0;
    REQUIRE(!pthread_create(&toucher, NULL, run_toucher, &f));
    REQUIRE(!pthread_create(&evictor, NULL, run_evictor, &f));
    for (int i = 0; i < 12; i++) {
        pid_t child = fork_fixture(&f);
        if (!child) {
            CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
            child_exit(&f);
        }
        region_fork_parent(f.region);
        wait_for_child(child);
    }
    atomic_set_release(&stop, 1);
    pthread_join(toucher, NULL);
    pthread_join(evictor, NULL);
    fixture_close(&f);
}

/* ---- lent pages */

static struct lending lending;

static uint64_t shared_by_pagemap(void *context, const void *at, unsigned n)
{
    uint64_t entries[64], shared = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    (void)context;
    REQUIRE(pread(fd, entries, n * 8, (off_t)((uintptr_t)at / PAGE_BYTES * 8)) == (ssize_t)(n * 8));
    close(fd);
    for (unsigned i = 0; i < n; i++) {
        shared |= (uint64_t)(entries[i] >> 63 == 0 || !(entries[i] >> 56 & 1)) << i;
    }
    return shared;
}

static bool no_more(void *context, size_t limit)
{
    (void)context;
    (void)limit;
    return false;
}

static size_t not_over(void *context)
{
    (void)context;
    return 0;
}

static const struct region_budget lending_budget = {
    .more = no_more, .wait = no_more, .over = not_over, .shared = shared_by_pagemap};

static bool all_live(const struct session *session, uint32_t place)
{
    (void)session;
    (void)place;
    return true;
}

static int64_t pages_of_credit(void)
{
    return atomic_read_relaxed(&lending.account->credit) / (int64_t)PAGE_BYTES;
}

static int64_t pages_of_debt(void)
{
    return atomic_read_relaxed(&lending.account->debt) / (int64_t)PAGE_BYTES;
}

static struct session *session;
static size_t lent;

static void lend_all(struct fixture *f)
{
    lent = region_lend(f->region, NULL, 0);
}

/* The child's account as preload/tree.c makes it. */
static void borrow_all(struct fixture *f)
{
    struct account *account = &session->processes[1].account;
    account_copy(account, &f->account);
    account_give_credit(account, lent);
    f->memory.account = f->region->account = account;
    lending = (struct lending){.lives = all_live};
    lending_join(&lending, session, 1, 1, 0);
}

static void begin_to_lend(struct fixture *f)
{
    struct fixture_options o = roomy;
    REQUIRE(session_create_private(&session) == 0);
    session->places = 2;
    lending = (struct lending){.lives = all_live, .account = &f->account};
    o.lending = &lending;
    o.shares = &lending_budget;
    fixture_open(f, o);
    fixture_fill(f, 0, PAGES, 1);
    fixture_to(f, 128, 64, PLACE_POOL);
    lending.session = session;
    atomic_set_relaxed(&lending.lends, 1);
}

static pid_t fork_lending(struct fixture *f)
{
    pid_t child = fork_around(f, lend_all, borrow_all);
    if (child) {
        region_fork_parent(f->region);
    }
    return child;
}

static void end_lending(struct fixture *f)
{
    account_end_debt(&f->account, SIZE_MAX / 2);
    atomic_set_relaxed(&lending.lends, 0);
    fixture_close(f);
    session_close(session);
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
        region_settle(f.region);
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
    RUN(parent_and_child_see_all_their_bytes);
    RUN(parent_and_child_go_their_own_ways);
    RUN(parent_and_child_go_their_own_ways_on_a_queueing_device);
    RUN(shared_pages_can_still_be_evicted);
    RUN(a_fork_waits_for_writebacks);
    RUN(a_fork_takes_no_room_on_the_device);
    RUN(what_the_dead_used_on_the_device_is_freed);
    RUN(plain_pages_on_the_device_are_read_by_both);
    RUN(children_are_killed_at_any_moment);
    RUN(a_child_forks_again);
    RUN(foreign_mappings_do_not_hinder_the_child);
    RUN(forks_amid_touches_and_evictions);
    RUN(copies_of_lent_pages_are_paid_for);
    RUN(lent_pages_beside_foreign_ones_can_be_evicted);
    RUN(what_the_kernel_writes_for_who_forks_is_there_and_free);
    RUN(who_forks_with_nothing_out_takes_no_memory);
    return harness_finish();
}
