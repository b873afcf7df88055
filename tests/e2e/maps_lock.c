/* SPDX-License-Identifier: MIT */
/* mlock and its family: what the program sees. That locked pages stay is looked for where the kernel tells (mincore). */
#include "tests/e2e/maps.h"

#include <sys/resource.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static size_t resident(void *at, size_t bytes)
{
    unsigned char vector[4096];
    size_t count = 0;
    REQUIRE(bytes / PAGE <= sizeof vector);
    REQUIRE(mincore(at, bytes, vector) == 0);
    for (size_t i = 0; i < bytes / PAGE; i++) {
        count += vector[i] & 1;
    }
    return count;
}

TEST(locked_memory_is_there_and_stays)
{
    char *at = get(4 * MIB);
    fill(at, 2 * MIB, 1);
    press();
    CHECK_EQUAL(mlock(at + 100, 4 * MIB - 200), 0);
    CHECK_EQUAL(resident(at, 4 * MIB), 4 * MIB / PAGE);
    press();
    CHECK_EQUAL(resident(at, 4 * MIB), 4 * MIB / PAGE);
    CHECK_EQUAL(wrong(at, 2 * MIB, 1), 0);
    CHECK(is_zero(at + 2 * MIB, 2 * MIB));
    CHECK_EQUAL(munlock(at, 4 * MIB), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(lock_on_fault_brings_nothing_in)
{
    char *at = get(MIB);
    CHECK_EQUAL(mlock2(at, MIB, MLOCK_ONFAULT), 0);
    CHECK_EQUAL(resident(at, MIB), 0);
    fill_page((uint64_t *)(at + 8 * PAGE), 5);
    press();
    CHECK_EQUAL(resident(at + 8 * PAGE, PAGE), 1);
    CHECK(page_is((uint64_t *)(at + 8 * PAGE), 5));
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(munmap_and_munlock_make_room_for_more)
{
    for (int i = 0; i < 12; i++) { /* 96 MiB in all */
        char *at = get(8 * MIB);
        CHECK_EQUAL(mlock(at, 8 * MIB), 0);
        if (i % 2) {
            CHECK_EQUAL(munlock(at, 8 * MIB), 0);
            CHECK_EQUAL(munlock(at, 8 * MIB), 0); /* once more: no error */
        }
        CHECK_EQUAL(munmap(at, 8 * MIB), 0);
    }
}

TEST(what_drops_content_is_refused_under_a_lock)
{
    char *at = get(MIB);
    fill(at, MIB, 3);
    CHECK_EQUAL(mlock(at, MIB), 0);
    CHECK(madvise(at, MIB, MADV_DONTNEED) == -1 && errno == EINVAL);
    CHECK(madvise(at, MIB, MADV_PAGEOUT) == -1 && errno == EINVAL);
    CHECK(msync(at, MIB, MS_ASYNC | MS_INVALIDATE) == -1 && errno == EBUSY);
    CHECK_EQUAL(wrong(at, MIB, 3), 0);
    CHECK_EQUAL(munlock(at, MIB), 0);
    CHECK_EQUAL(madvise(at, MIB, MADV_DONTNEED), 0);
    CHECK(is_zero(at, MIB));
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(wrong_arguments_of_mlock)
{
    char *at = get(MIB);
    CHECK_EQUAL(mlock(at, 0), 0);
    CHECK(mlock2(at, MIB, 8) == -1 && errno == EINVAL);
    CHECK(mlock(at, SIZE_MAX - 2 * PAGE) == -1 && errno == EINVAL);
    CHECK_EQUAL(munmap(at + MIB / 2, PAGE), 0);
    CHECK(mlock(at, MIB) == -1 && errno == ENOMEM);
    CHECK(munlock(at, MIB) == -1 && errno == ENOMEM);
    CHECK_EQUAL(mprotect(at, PAGE, PROT_NONE), 0);
    CHECK(mlock(at, PAGE) == -1 && errno == ENOMEM);
    CHECK_EQUAL(munmap(at, MIB), 0);
    CHECK(mlockall(0) == -1 && errno == EINVAL);
    CHECK(mlockall(64) == -1 && errno == EINVAL);
}

TEST(a_locked_range_stays_locked_where_it_moves)
{
    char *at = get(MIB), *wall = get(MIB);
    fill(at, MIB, 7);
    CHECK_EQUAL(mlock(at, MIB), 0);
    at = mremap(at, MIB, 2 * MIB, MREMAP_MAYMOVE);
    REQUIRE(at != MAP_FAILED);
    fill(at + MIB, MIB, 7 + MIB / PAGE);
    press();
    CHECK_EQUAL(resident(at, 2 * MIB), 2 * MIB / PAGE);
    CHECK_EQUAL(wrong(at, 2 * MIB, 7), 0);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
    CHECK_EQUAL(munmap(wall, MIB), 0);
}

TEST(a_child_inherits_memory_and_no_locks)
{
    char *at = get(2 * MIB);
    fill(at, 2 * MIB, 9);
    CHECK_EQUAL(mlock(at, 2 * MIB), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        bool dropped = madvise(at, MIB, MADV_DONTNEED) == 0; /* refused if it were locked */
        press();
        _exit(dropped && is_zero(at, MIB) && !wrong(at + MIB, MIB, 9 + MIB / PAGE) ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK(madvise(at, MIB, MADV_DONTNEED) == -1 && errno == EINVAL);
    CHECK_EQUAL(wrong(at, 2 * MIB, 9), 0);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
}

TEST(all_that_comes_is_locked_under_mcl_future)
{
    CHECK_EQUAL(mlockall(MCL_FUTURE), 0);
    char *at = get(MIB);
    CHECK_EQUAL(resident(at, MIB), MIB / PAGE);
    CHECK(madvise(at, MIB, MADV_DONTNEED) == -1 && errno == EINVAL);
    CHECK_EQUAL(munlockall(), 0);
    CHECK_EQUAL(madvise(at, MIB, MADV_DONTNEED), 0);
    char *later = get(MIB);
    CHECK_EQUAL(madvise(later, MIB, MADV_DONTNEED), 0);
    CHECK_EQUAL(munmap(at, MIB), 0);
    CHECK_EQUAL(munmap(later, MIB), 0);
}

TEST(all_that_is_there_is_locked_under_mcl_current)
{
    char *at = get(2 * MIB);
    fill(at, MIB, 11);
    CHECK_EQUAL(madvise(at, MIB, MADV_PAGEOUT), 0);
    CHECK_EQUAL(mlockall(MCL_CURRENT), 0);
    CHECK_EQUAL(resident(at, 2 * MIB), 2 * MIB / PAGE);
    press();
    CHECK_EQUAL(resident(at, 2 * MIB), 2 * MIB / PAGE);
    CHECK_EQUAL(wrong(at, MIB, 11), 0);
    CHECK_EQUAL(munlockall(), 0);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
}

/* In a child, as privileges do not come back. */
TEST(the_limit_on_locked_memory_holds)
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        struct rlimit limit = {.rlim_cur = MIB, .rlim_max = MIB};
        bool good = setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && (getuid() || setuid(65534) == 0);
        char *at = mmap(NULL, 2 * MIB, RW, ANONYMOUS, -1, 0);
        good &= at != MAP_FAILED;
        good &= mlock(at, 2 * MIB) == -1 && errno == ENOMEM;
        good &= mlock(at, MIB) == 0 && mlock(at, MIB) == 0; /* counts once */
        good &= mlock(at + MIB, PAGE) == -1 && errno == ENOMEM;
        good &= munlock(at, MIB) == 0 && mlock(at + MIB, MIB) == 0;
        limit.rlim_cur = 0;
        good &= setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && mlock(at, PAGE) == -1 && errno == EPERM;
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

/* Natively there is no such limit. */
TEST(more_than_the_budget_can_do_without_is_refused)
{
    if (!getenv("UZSWAP_MEMORY")) {
        SKIP("there is no budget");
    }
    char *at = get(PRESSURE_BYTES);
    CHECK(mlock(at, PRESSURE_BYTES) == -1 && errno == ENOMEM);
    CHECK(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM);
    CHECK_EQUAL(mlock(at, 16 * MIB), 0); /* half of it */
    fill(at, PRESSURE_BYTES, 13);
    CHECK_EQUAL(resident(at, 16 * MIB), 16 * MIB / PAGE);
    CHECK_EQUAL(wrong(at, PRESSURE_BYTES, 13), 0);
    CHECK_EQUAL(munmap(at, PRESSURE_BYTES), 0);
}

int main(void)
{
    begin();
    RUN(locked_memory_is_there_and_stays);
    RUN(lock_on_fault_brings_nothing_in);
    RUN(munmap_and_munlock_make_room_for_more);
    RUN(what_drops_content_is_refused_under_a_lock);
    RUN(wrong_arguments_of_mlock);
    RUN(a_locked_range_stays_locked_where_it_moves);
    RUN(a_child_inherits_memory_and_no_locks);
    RUN(all_that_comes_is_locked_under_mcl_future);
    RUN(all_that_is_there_is_locked_under_mcl_current);
    RUN(the_limit_on_locked_memory_holds);
    RUN(more_than_the_budget_can_do_without_is_refused);
    return harness_finish();
}
