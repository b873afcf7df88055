/* SPDX-License-Identifier: MIT */
/* brk and sbrk used by the program itself. */
#include "tests/e2e/maps.h"

#include <sys/resource.h>
#include <sys/syscall.h>

TEST(the_break_can_be_asked_first)
{
    char *now = sbrk(0);
    CHECK(now != (void *)-1);
    CHECK(sbrk(0) == now);
}

TEST(the_heap_grows_keeps_content_and_shrinks)
{
    size_t bytes = 48 * MIB;
    char *start = sbrk(0);
    char *at = sbrk((intptr_t)bytes + 100);
    CHECK(at == start);
    CHECK(sbrk(0) == start + bytes + 100);
    at = (char *)(((uintptr_t)at + PAGE - 1) / PAGE * PAGE);
    CHECK(is_zero(at, bytes - PAGE));
    fill(at, bytes - PAGE, 20);
    CHECK_EQUAL(wrong(at, bytes - PAGE, 20), 0);
    CHECK(sbrk(-(intptr_t)(bytes / 2)) == start + bytes + 100);
    CHECK_EQUAL(wrong(at, bytes / 2 - PAGE, 20), 0);
    CHECK(!readable(at + bytes - 2 * PAGE));
    CHECK(sbrk((intptr_t)(bytes / 2)) == start + bytes / 2 + 100);
    CHECK(is_zero(at + bytes / 2 + PAGE, bytes / 2 - 3 * PAGE)); /* the old content is gone */
    CHECK_EQUAL(brk(start), 0);
    CHECK(sbrk(0) == start);
}

TEST(a_child_has_the_heap)
{
    char *at = sbrk((intptr_t)(8 * MIB + PAGE));
    char *page = (char *)(((uintptr_t)at + PAGE - 1) / PAGE * PAGE);
    fill(page, 8 * MIB, 30);
    press();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        bool good = wrong(page, 8 * MIB, 30) == 0 && sbrk((intptr_t)MIB) == at + 8 * MIB + PAGE;
        fill(page, 8 * MIB, 31);
        _exit(good && !wrong(page, 8 * MIB, 31) ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK(sbrk(0) == at + 8 * MIB + PAGE);
    CHECK_EQUAL(wrong(page, 8 * MIB, 30), 0);
    CHECK_EQUAL(brk(at), 0);
}

TEST(a_break_that_cannot_be)
{
    char *now = sbrk(0);
    CHECK(sbrk(INTPTR_MAX) == (void *)-1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(brk((void *)(UINTPTR_MAX - PAGE)) == -1 && errno == ENOMEM);
    CHECK_EQUAL(brk((void *)PAGE), 0); /* below the heap: libc says 0, and nothing happens */
    CHECK(sbrk(0) == now);
}

TEST(something_in_the_way_stops_the_heap)
{
    char *now = sbrk(0), *page = (char *)(((uintptr_t)now + PAGE - 1) / PAGE * PAGE);
    REQUIRE(mmap(page + MIB, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == page + MIB);
    fill(page + MIB, PAGE, 40);
    CHECK(sbrk((intptr_t)(2 * MIB)) == (void *)-1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(sbrk((intptr_t)(MIB / 2)) == now);
    CHECK_EQUAL(wrong(page + MIB, PAGE, 40), 0);
    CHECK_EQUAL(munmap(page + MIB, PAGE), 0);
    CHECK_EQUAL(brk(now), 0);
}

TEST(the_limit_on_data_holds)
{
    struct rlimit old, limit;
    char *now = sbrk(0);
    REQUIRE(getrlimit(RLIMIT_DATA, &old) == 0);
    limit = old;
    limit.rlim_cur = 4 * MIB;
    REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK(sbrk((intptr_t)(8 * MIB)) == (void *)-1);
    CHECK_EQUAL(errno, ENOMEM);
    REQUIRE(setrlimit(RLIMIT_DATA, &old) == 0);
    CHECK(sbrk((intptr_t)(8 * MIB)) == now);
    CHECK_EQUAL(brk(now), 0);
}

TEST(by_number_the_kernels_answer_comes)
{
    char *now = sbrk(0);
    CHECK(syscall(SYS_brk, 0) == (long)now);
    CHECK(syscall(SYS_brk, now + MIB) == (long)(now + MIB));
    CHECK(syscall(SYS_brk, 1) == (long)(now + MIB)); /* refused: where it is */
    CHECK(syscall(SYS_brk, now) == (long)now);
}

int main(void)
{
    begin();
    RUN(the_break_can_be_asked_first);
    RUN(the_heap_grows_keeps_content_and_shrinks);
    RUN(a_child_has_the_heap);
    RUN(a_break_that_cannot_be);
    RUN(something_in_the_way_stops_the_heap);
    RUN(the_limit_on_data_holds);
    RUN(by_number_the_kernels_answer_comes);
    return harness_finish();
}
