/* SPDX-License-Identifier: MIT */
/* fork: both sides see all their bytes, whatever state each page was in, and then go their own ways. Who pays for what they
 * share: region_lent.c. */
#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/region_fork_fixture.h"
#include "zswap/internal.h"

static void open_mixed(struct fixture *f, struct fixture_options o)
{
    fixture_open(f, o);
    fixture_fill(f, 0, PAGES, 1);
    fixture_to(f, 0, PER_PLACE, PLACE_DEVICE);
    fixture_to(f, PER_PLACE, PER_PLACE, PLACE_POOL);
    fixture_to(f, 2 * PER_PLACE, PER_PLACE, PLACE_STAGED);
    CHECK_EQUAL(fixture_count(f, 3 * PER_PLACE, PER_PLACE, PLACE_RESIDENT), PER_PLACE);
}

static void keep_no_books(struct fixture *f)
{
    (void)f;
}

static pid_t fork_fixture(struct fixture *f)
{
    return fork_around(f, keep_no_books, keep_no_books);
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

/* ---- slots of the device, shared by count */

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

/* ---- while others touch */

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
    return harness_finish();
}
