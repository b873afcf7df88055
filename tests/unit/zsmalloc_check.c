/* SPDX-License-Identifier: MIT */
/* That faults of zsmalloc, and of who uses it, are seen: the checker finds what is planted, and debug builds stop. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/zsmalloc_fixture.h"

#define SIZE 1500
#define ROOM (64 << 20)

static struct fixture f; /* large */

TEST(debug_builds_stop_on_a_dead_handle)
{
#ifndef LOCK_CHECKS
    SKIP("a debug check, and this is not a debug build");
#else
    set_up(&f, ROOM);
    put_range(&f, 0, 3, SIZE);
    uint64_t handle = f.objects[1].handle;
    drop(&f, 1);
    fflush(stdout);
    for (int in_a_slot = 0; in_a_slot < 2; in_a_slot++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            REQUIRE(freopen("/dev/null", "w", stderr));
            pool_zsmalloc.map(f.pool, in_a_slot ? f.objects[0].handle + 1 : handle);
            _exit(0);
        }
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    tear_down(&f);
#endif
}

/* True if the checker objects to the bytes at `at` being `wrong`; puts them back. */
static bool is_caught(void *at, uint64_t wrong, size_t bytes)
{
    uint64_t right = 0;
    memcpy(&right, at, bytes);
    memcpy(at, &wrong, bytes);
    bool caught = !pool_zsmalloc.consistent(f.pool);
    memcpy(at, &right, bytes);
    return caught && pool_zsmalloc.consistent(f.pool);
}

TEST(the_checker_catches_planted_faults)
{
    set_up(&f, ROOM);
    unsigned slots = shape_of(&f, SIZE)->slots;
    put_range(&f, 0, 4 * slots, SIZE);
    drop_range(&f, slots, slots);
    drop_range(&f, 0, 5);                /* a list of free slots */
    drop_range(&f, 2 * slots, 5);        /* another chain of that group */
    put_range(&f, 1000, 12, PAGE_BYTES); /* a full chain, of the class before */
    struct zs_chain *record = zs_chain(f.z, chain_of(&f, 2 * slots + 5));
    struct zs_chain *full = zs_chain(f.z, chain_of(&f, 1000));
    struct zs_class *class = &f.z->classes[record->class];
    struct zs_source *source = &f.z->source;
    uint32_t other = record->next, number = chain_of(&f, 2 * slots + 5);
    uint8_t *owners = zs_owners(f.z, shape_of(&f, SIZE), number);
    unsigned group = zs_group_of(shape_of(&f, SIZE), record->used);
    put_range(&f, 1100, 60, 3000);
    drop_range(&f, 1100, 60);
    pool_zsmalloc.trim(f.pool);
    put(&f, 1100, 2000);
    drop(&f, 1100); /* in reserve */
    REQUIRE(pool_zsmalloc.consistent(f.pool));
    REQUIRE(other != number && source->ranges[ZS_PACKED].free.count && source->reserve_count);

    uint32_t free = source->ranges[ZS_PACKED].first + page_set_lowest(&source->ranges[ZS_PACKED].free) - 1;

    fflush(stdout);
    int console = dup(2);
    REQUIRE(freopen("/dev/null", "w", stderr)); /* the mismatches are wanted here */
#define CAUGHT(field, wrong) CHECK(is_caught(&(field), (wrong), sizeof(field)))
    CAUGHT(record->used, record->used + 1u);
    CAUGHT(record->used, 0);
    CAUGHT(record->reached, slots + 1u);
    CAUGHT(record->reached, record->reached - 1u);
    CAUGHT(record->free, 0);
    CAUGHT(record->free, 6);          /* a live slot */
    CAUGHT(record->free, slots + 2u); /* no slot */
    CAUGHT(record->class, 0);         /* another class */
    CAUGHT(record->class, 255);       /* no class */
    CAUGHT(record->pages, record->pages - 1u);
    CAUGHT(record->pages, ZS_CHAIN_PAGES + 1);
    CAUGHT(record->next, 0);
    CAUGHT(record->next, number); /* a ring of its own */
    CAUGHT(record->next, 1u << 26);
    CAUGHT(record->prev, chain_of(&f, 1000));
    CAUGHT(full->next, number);                /* full, and linked */
    CAUGHT(owners[4], 0x80);                   /* a free slot called live */
    CAUGHT(owners[6 * ZS_OWNER_BYTES + 4], 0); /* a live one called free */
    CAUGHT(owners[0], 1);                      /* a list in a circle */
    CAUGHT(class->groups[group], 0);
    CAUGHT(class->groups[0], number);
    CAUGHT(class->groups_filled, 0);
    CAUGHT(class->groups_filled, class->groups_filled | 1);
    CAUGHT(class->pages, class->pages + 1);
    CAUGHT(class->used, class->used - 1);
    CAUGHT(class->isolated, number);
    CAUGHT(source->held, source->held + 1);
    CAUGHT(source->ranges[ZS_PACKED].high_water, source->ranges[ZS_PACKED].high_water - 1);
    CAUGHT(source->releasing, 1);
    CAUGHT(source->reserve_count, 0);
    CAUGHT(source->reserve[0], number); /* in reserve, and taken */
    CAUGHT(source->ranges[ZS_PACKED].free.count, source->ranges[ZS_PACKED].free.count + 1);
    CAUGHT(zs_chain(f.z, source->reserve[0])->used, 1);
    CAUGHT(zs_chain(f.z, free)->pages, 1);
#undef CAUGHT
    fflush(stderr);
    dup2(console, 2);
    close(console);
    tear_down(&f);
}

int main(void)
{
    RUN(debug_builds_stop_on_a_dead_handle);
    RUN(the_checker_catches_planted_faults);
    return harness_finish();
}
