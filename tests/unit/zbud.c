/* SPDX-License-Identifier: MIT */
#include <sys/wait.h>

#include "base/sys.h"
#include "tests/unit/zbud_fixture.h"

TEST(an_empty_pool_holds_no_memory)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    CHECK_EQUAL(pages_held(&f), 0);
    CHECK_EQUAL(pool_zbud.trim(f.pool), 0);
    tear_down(&f);
}

TEST(two_buddies_share_a_page)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 1000, 1);
    CHECK_EQUAL(pages_held(&f), 1);
    uint64_t b = alloc(&f, 2000, 2);
    CHECK_EQUAL(pages_held(&f), 1);
    CHECK(share_page(a, b));
    tear_down(&f);
}

TEST(buddies_lie_at_the_two_ends)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    char *a = map(&f, alloc(&f, 100, 1));
    char *b = map(&f, alloc(&f, 100, 2));
    CHECK_EQUAL((uintptr_t)a % PAGE_BYTES, 0);
    CHECK_EQUAL(b - a, PAGE_BYTES - 128);
    tear_down(&f);
}

TEST(a_third_object_opens_another_page)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 64, 1);
    alloc(&f, 64, 2);
    uint64_t c = alloc(&f, 64, 3);
    CHECK(!share_page(a, c));
    CHECK_EQUAL(pages_held(&f), 2);
    tear_down(&f);
}

TEST(sizes_are_rounded_up_to_chunks)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 65, 1);                      /* 2 chunks */
    uint64_t b = alloc(&f, PAGE_BYTES - 2 * 64, 2);     /* the other 62 */
    uint64_t c = alloc(&f, 65, 3);                      /* 2 chunks */
    uint64_t d = alloc(&f, PAGE_BYTES - 2 * 64 + 1, 4); /* 63 chunks: does not fit */
    CHECK(share_page(a, b));
    CHECK(!share_page(c, d));
    tear_down(&f);
}

TEST(an_object_goes_to_the_fullest_page_that_it_fits)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t half = alloc(&f, 2048, 1);
    uint64_t most = alloc(&f, 3072, 2);
    uint64_t nearly_all = alloc(&f, 4000, 3);
    CHECK_EQUAL(pages_held(&f), 3);
    CHECK(share_page(alloc(&f, 1024, 4), most));
    CHECK(share_page(alloc(&f, 64, 5), nearly_all));
    CHECK(share_page(alloc(&f, 64, 6), half));
    CHECK_EQUAL(pages_held(&f), 3);
    tear_down(&f);
}

TEST(the_room_of_a_freed_buddy_is_used_again_at_either_end)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 1024, 1);
    uint64_t b = alloc(&f, 1024, 2);
    pool_zbud.free(f.pool, a);
    CHECK(pool_zbud.consistent(f.pool));
    a = alloc(&f, 3072, 3);
    CHECK(share_page(a, b));
    pool_zbud.free(f.pool, b);
    CHECK(pool_zbud.consistent(f.pool));
    b = alloc(&f, 1024, 4);
    CHECK(share_page(a, b));
    CHECK_EQUAL(pages_held(&f), 1);
    tear_down(&f);
}

TEST(a_raw_page_has_a_page_of_its_own)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t small = alloc(&f, 1, 1);
    uint64_t raw = alloc(&f, PAGE_BYTES, 2);
    CHECK_EQUAL(pages_held(&f), 2);
    CHECK(!share_page(small, raw));
    CHECK_EQUAL((uintptr_t)map(&f, raw) % PAGE_BYTES, 0);
    fill(map(&f, raw), PAGE_BYTES, 2);
    CHECK(share_page(small, alloc(&f, 1, 3)));
    CHECK(!share_page(raw, alloc(&f, 1, 4)));
    CHECK(holds(map(&f, raw), PAGE_BYTES, 2));
    CHECK_EQUAL(pages_held(&f), 3);
    tear_down(&f);
}

TEST(an_object_too_large_for_a_buddy_shares_with_none)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t large = alloc(&f, PAGE_BYTES - 63, 1); /* 64 chunks */
    uint64_t one = alloc(&f, 1, 2);
    CHECK(!share_page(large, one));
    CHECK_EQUAL(pages_held(&f), 2);
    tear_down(&f);
}

TEST(sizes_that_are_none_are_refused)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    pool_check_sizes_refused(f.pool);
    CHECK_EQUAL(pages_held(&f), 0);
    tear_down(&f);
}

TEST(create_refuses_sizes_it_cannot_number)
{
    pool_check_create_refuses(&pool_zbud, 0);
    pool_check_create_refuses(&pool_zbud, SIZE_MAX);
}

TEST(handles_are_never_zero_and_fit_their_bits)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    for (int i = 0; i < 200; i++) {
        uint64_t handle = alloc(&f, (size_t)(1 + i * 20), 1);
        CHECK(handle != 0);
        CHECK_EQUAL(handle >> POOL_HANDLE_BITS, 0);
    }
    CHECK_EQUAL(zbud_handle(PAGE_SOURCE_PAGES_MAX, ZBUD_CHUNKS - 1, ZBUD_LAST) >> POOL_HANDLE_BITS, 0);
    tear_down(&f);
}

TEST(a_freed_page_stays_in_reserve_and_is_used_again)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 100, 1);
    pool_zbud.free(f.pool, a);
    CHECK_EQUAL(pages_held(&f), 1);
    CHECK(share_page(a, alloc(&f, 100, 2)));
    CHECK_EQUAL(pages_held(&f), 1);
    tear_down(&f);
}

TEST(peers_names_the_owner_of_the_other_buddy)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t owner = 0;
    uint64_t a = alloc(&f, 100, 0x1234567890abcdef);
    CHECK_EQUAL(pool_zbud.peers(f.pool, a, &owner, 1), 0);
    uint64_t b = alloc(&f, 100, 0xfedcba0987654321);
    CHECK_EQUAL(pool_zbud.peers(f.pool, a, &owner, 1), 1);
    CHECK_EQUAL(owner, 0xfedcba0987654321);
    CHECK_EQUAL(pool_zbud.peers(f.pool, b, &owner, 1), 1);
    CHECK_EQUAL(owner, 0x1234567890abcdef);
    CHECK_EQUAL(pool_zbud.peers(f.pool, a, NULL, 0), 0);
    pool_zbud.free(f.pool, b);
    CHECK_EQUAL(pool_zbud.peers(f.pool, a, &owner, 1), 0);
    CHECK_EQUAL(pool_zbud.peers(f.pool, alloc(&f, PAGE_BYTES, 3), &owner, 1), 0);
    tear_down(&f);
}

TEST(freeing_an_object_and_its_peer_empties_the_page)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t a = alloc(&f, 100, 1), b = alloc(&f, 100, 2);
    pool_zbud.free(f.pool, a);
    CHECK_EQUAL(pool_zbud.trim(f.pool), 0);
    pool_zbud.free(f.pool, b);
    CHECK_EQUAL(pool_zbud.trim(f.pool), PAGE_BYTES);
    CHECK_EQUAL(pages_held(&f), 0);
    tear_down(&f);
}

TEST(an_object_is_not_touched_by_what_happens_to_its_buddy)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t kept = alloc(&f, 2000, 1);
    fill(map(&f, kept), 2000, 1);
    for (uint64_t round = 2; round < 50; round++) {
        size_t bytes = 1 + round * 40; /* at most 1961: fits the 32 chunks left */
        uint64_t buddy = alloc(&f, bytes, round);
        CHECK(share_page(kept, buddy));
        fill(map(&f, buddy), bytes, round);
        CHECK(holds(map(&f, kept), 2000, 1));
        pool_zbud.unmap(f.pool, buddy);
        pool_zbud.free(f.pool, buddy);
        CHECK(holds(map(&f, kept), 2000, 1));
    }
    tear_down(&f);
}

TEST(at_max_bytes_alloc_says_no_memory_until_something_is_freed)
{
    struct fixture f;
    set_up(&f, 3 * PAGE_BYTES);
    uint64_t handles[3], more = 0;
    for (int i = 0; i < 3; i++) {
        handles[i] = alloc(&f, PAGE_BYTES, 1);
    }
    CHECK_EQUAL(pool_zbud.alloc(f.pool, 1, 1, &more), -ENOMEM);
    CHECK_EQUAL(more, 0);
    CHECK_EQUAL(pages_held(&f), 3);
    CHECK(pool_zbud.consistent(f.pool));
    pool_zbud.free(f.pool, handles[1]);
    CHECK_EQUAL(pool_zbud.alloc(f.pool, 1, 1, &more), 0);
    tear_down(&f);
}

TEST(a_create_that_runs_out_of_memory_leaks_nothing)
{
    /* The structure, the range, two sparse arrays of three parts */
    CHECK(pool_fail_each_create(&pool_zbud) >= 8);
}

/* Every allocation that an alloc makes fails in turn, in a pool that begins as `used` raw pages, `freed` of them
 * freed and trimmed. */
static void fail_each_allocation(int used, int freed)
{
    struct fixture f;
    set_up(&f, 64 << 20);
    uint64_t handle = 0, handles[256];
    for (int i = 0; i < used; i++) {
        handles[i] = alloc(&f, PAGE_BYTES, 1);
    }
    for (int i = 0; i < freed; i++) {
        pool_zbud.free(f.pool, handles[i]);
    }
    pool_zbud.trim(f.pool);
    int failures = 0;
    for (;; failures++) {
        REQUIRE(failures < POOL_FAILURES_MAX);
        f.memory.fail_countdown = failures + 1;
        int error = pool_zbud.alloc(f.pool, 100, 1, &handle);
        if (!error) {
            break;
        }
        CHECK_EQUAL(error, -ENOMEM);
        CHECK_EQUAL(pages_held(&f), used - freed);
        CHECK(pool_zbud.consistent(f.pool));
    }
    CHECK(failures >= 1);
    f.memory.fail_countdown = 0;
    CHECK_EQUAL(pages_held(&f), used - freed + 1);
    tear_down(&f);
}

TEST(an_alloc_that_runs_out_of_memory_leaks_nothing)
{
    fail_each_allocation(0, 0);     /* everything is new */
    fail_each_allocation(127, 0);   /* a new page of records */
    fail_each_allocation(200, 100); /* a page that was used before */
}

TEST(an_alloc_beside_a_buddy_needs_no_memory)
{
    struct fixture f;
    set_up(&f, 1 << 20);
    alloc(&f, 100, 1);
    f.memory.fail_countdown = 1;
    alloc(&f, 100, 2);
    CHECK_EQUAL(f.memory.fail_countdown, 1);
    f.memory.fail_countdown = 0;
    tear_down(&f);
}

TEST(trim_gives_memory_back)
{
    enum { PAGES = 100 };
    struct fixture f;
    set_up(&f, 256 << 20);
    uint64_t handles[PAGES];
    char *first = NULL;
    for (int i = 0; i < PAGES; i++) {
        handles[i] = alloc(&f, PAGE_BYTES, 1);
        char *at = map(&f, handles[i]);
        memset(at, 1, PAGE_BYTES);
        first = i ? first : at;
    }
    for (int i = 0; i < PAGES; i++) {
        pool_zbud.free(f.pool, handles[i]);
    }
    CHECK_EQUAL(pages_held(&f), PAGES);
    CHECK_EQUAL(pool_zbud.trim(f.pool), PAGES * PAGE_BYTES);
    CHECK_EQUAL(pages_held(&f), 0);
    unsigned char resident[PAGES];
    REQUIRE(sys_call3(SYS_mincore, (long)first, PAGES * PAGE_BYTES, (long)resident) == 0);
    for (int i = 0; i < PAGES; i++) {
        CHECK_EQUAL(resident[i] & 1, 0);
    }
    CHECK_EQUAL(pool_zbud.trim(f.pool), 0);
    tear_down(&f);
}

TEST(what_is_freed_beyond_the_reserve_goes_back_by_itself)
{
    enum { PAGES = 2000 };
    static uint64_t handles[PAGES];
    struct fixture f;
    set_up(&f, 256 << 20);
    for (int i = 0; i < PAGES; i++) {
        handles[i] = alloc(&f, 3000, 1);
    }
    CHECK_EQUAL(pages_held(&f), PAGES);
    for (int i = 0; i < PAGES; i++) { /* odd ones first: no neighbours */
        pool_zbud.free(f.pool, handles[i < PAGES / 2 ? 2 * i + 1 : 2 * (i - PAGES / 2)]);
    }
    CHECK(pages_held(&f) <= PAGE_SOURCE_RESERVE_MAX);
    tear_down(&f);
}

TEST(destroy_frees_objects_that_are_still_there)
{
    struct fixture f;
    set_up(&f, 16 << 20);
    for (int i = 0; i < 500; i++) {
        alloc(&f, (size_t)(1 + i * 8), 1);
    }
    tear_down(&f);
}

TEST(debug_builds_stop_on_a_dead_handle)
{
#ifndef LOCK_CHECKS
    SKIP("a debug check, and this is not a debug build");
#else
    struct fixture f;
    set_up(&f, 1 << 20);
    uint64_t handle = alloc(&f, 100, 1);
    pool_zbud.free(f.pool, handle);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE(freopen("/dev/null", "w", stderr));
        pool_zbud.map(f.pool, handle);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    tear_down(&f);
#endif
}

/* True if the checker objects to the byte or word at `at` being `wrong`; puts it back. */
static bool is_caught(struct fixture *f, void *at, uint64_t wrong, size_t bytes)
{
    uint64_t right = 0;
    memcpy(&right, at, bytes);
    memcpy(at, &wrong, bytes);
    bool caught = !pool_zbud.consistent(f->pool);
    memcpy(at, &right, bytes);
    return caught && pool_zbud.consistent(f->pool);
}

TEST(the_checker_catches_planted_faults)
{
    struct fixture f;
    set_up(&f, 16 << 20);
    uint64_t lone = alloc(&f, 3000, 1), lone2 = alloc(&f, 3000, 2);
    uint64_t full = alloc(&f, PAGE_BYTES, 3);
    uint64_t freed = alloc(&f, PAGE_BYTES, 4), released = alloc(&f, PAGE_BYTES, 5);
    pool_zbud.free(f.pool, released);
    pool_zbud.trim(f.pool);
    pool_zbud.free(f.pool, freed);
    REQUIRE(pool_zbud.consistent(f.pool));

    struct zbud *z = zbud_of(f.pool);
    struct zbud_page *record = zbud_record(z, zbud_handle_page(lone2)); /* heads its list */
    unsigned n = zbud_list_of(record);
    fflush(stdout);
    int console = dup(2);
    REQUIRE(freopen("/dev/null", "w", stderr)); /* the mismatches are wanted here */
#define CAUGHT(field, wrong) CHECK(is_caught(&f, &(field), (wrong), sizeof(field)))
    CAUGHT(record->chunks[ZBUD_FIRST], 0);                               /* a taken page without buddies */
    CAUGHT(record->chunks[ZBUD_FIRST], record->chunks[ZBUD_FIRST] + 1u); /* on the wrong list */
    CAUGHT(record->chunks[ZBUD_LAST], 60);                               /* buddies overlap */
    CAUGHT(record->owners[ZBUD_LAST], 9);                                /* an owner without a buddy */
    CAUGHT(record->next, 0);                                             /* a page lost from its list */
    CAUGHT(record->next, zbud_handle_page(lone2));                       /* a list in a circle */
    CAUGHT(record->next, 1u << 30);                                      /* a link to nowhere */
    CAUGHT(record->prev, zbud_handle_page(lone));                        /* a head with a page before it */
    CAUGHT(zbud_record(z, zbud_handle_page(full))->next, zbud_handle_page(lone)); /* linked and unlisted */
    CAUGHT(zbud_record(z, zbud_handle_page(freed))->chunks[0], 3); /* a buddy in an empty page */
    CAUGHT(z->lists[n], 0);
    CAUGHT(z->lists_filled, 0);
    CAUGHT(z->lists_filled, z->lists_filled | 2);
    CAUGHT(z->source.held, z->source.held + 1);
    CAUGHT(z->source.high_water, z->source.high_water + 1);
    CAUGHT(z->source.releasing, 1);
    CAUGHT(z->source.reserve_count, 0);
    CAUGHT(z->source.reserve[0], zbud_handle_page(released)); /* in reserve and free */
    CAUGHT(z->source.free.count, 2);
    CAUGHT(*(uint64_t *)z->source.free.words.slots, 2); /* a summary that points elsewhere */
#undef CAUGHT
    fflush(stderr);
    dup2(console, 2);
    close(console);
    tear_down(&f);
}

TEST(pools_are_found_by_name)
{
    CHECK(pool_by_name("zbud") == &pool_zbud);
    CHECK(pool_by_name("zbu") == NULL);
    CHECK(pool_by_name("zbud2") == NULL);
    CHECK(pool_by_name("") == NULL);
}

TEST(every_name_in_the_list_is_a_pool_of_that_name)
{
    char names[128];
    REQUIRE(strlen(pool_list()) < sizeof names);
    strcpy(names, pool_list());
    int found = 0;
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "), found++) {
        const struct pool_ops *ops = pool_by_name(name);
        CHECK(ops && strcmp(ops->name, name) == 0);
    }
    CHECK(found >= 1);
}

int main(void)
{
    RUN(an_empty_pool_holds_no_memory);
    RUN(two_buddies_share_a_page);
    RUN(buddies_lie_at_the_two_ends);
    RUN(a_third_object_opens_another_page);
    RUN(sizes_are_rounded_up_to_chunks);
    RUN(an_object_goes_to_the_fullest_page_that_it_fits);
    RUN(the_room_of_a_freed_buddy_is_used_again_at_either_end);
    RUN(a_raw_page_has_a_page_of_its_own);
    RUN(an_object_too_large_for_a_buddy_shares_with_none);
    RUN(sizes_that_are_none_are_refused);
    RUN(create_refuses_sizes_it_cannot_number);
    RUN(handles_are_never_zero_and_fit_their_bits);
    RUN(a_freed_page_stays_in_reserve_and_is_used_again);
    RUN(peers_names_the_owner_of_the_other_buddy);
    RUN(freeing_an_object_and_its_peer_empties_the_page);
    RUN(an_object_is_not_touched_by_what_happens_to_its_buddy);
    RUN(at_max_bytes_alloc_says_no_memory_until_something_is_freed);
    RUN(a_create_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_that_runs_out_of_memory_leaks_nothing);
    RUN(an_alloc_beside_a_buddy_needs_no_memory);
    RUN(trim_gives_memory_back);
    RUN(what_is_freed_beyond_the_reserve_goes_back_by_itself);
    RUN(destroy_frees_objects_that_are_still_there);
    RUN(debug_builds_stop_on_a_dead_handle);
    RUN(the_checker_catches_planted_faults);
    RUN(pools_are_found_by_name);
    RUN(every_name_in_the_list_is_a_pool_of_that_name);
    return harness_finish();
}
