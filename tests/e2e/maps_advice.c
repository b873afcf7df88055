/* SPDX-License-Identifier: MIT */
/* madvise, posix_madvise, mincore, msync. */
#include "tests/e2e/maps.h"

TEST(dontneed_drops_content)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 50);
    press();
    CHECK_EQUAL(madvise(at + 2 * MIB, 2 * MIB, MADV_DONTNEED), 0);
    CHECK_EQUAL(wrong(at, 2 * MIB, 50), 0);
    CHECK(is_zero(at + 2 * MIB, 2 * MIB));
    CHECK_EQUAL(wrong(at + 4 * MIB, 4 * MIB, 50 + 4 * MIB / PAGE), 0);
    CHECK_EQUAL(posix_madvise(at, MIB, POSIX_MADV_DONTNEED), 0); /* this one does not */
    CHECK_EQUAL(wrong(at, 2 * MIB, 50), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

TEST(free_leaves_old_content_or_zeros)
{
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 60);
    CHECK_EQUAL(madvise(at, 4 * MIB, MADV_FREE), 0);
    for (size_t i = 0; i < 4 * MIB / PAGE; i++) {
        CHECK(is_zero(at + i * PAGE, PAGE) || !wrong(at + i * PAGE, PAGE, 60 + i));
    }
    fill(at, 4 * MIB, 61);
    press();
    CHECK_EQUAL(wrong(at, 4 * MIB, 61), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(advice_keeps_content)
{
    static const int advice[] = {MADV_NORMAL, MADV_RANDOM,  MADV_SEQUENTIAL, MADV_WILLNEED,
                                 MADV_COLD,   MADV_PAGEOUT, MADV_NOHUGEPAGE, MADV_DONTDUMP,
                                 MADV_DODUMP, MADV_WILLNEED};
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 70);
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++) {
        CHECK_EQUAL(madvise(at, 4 * MIB, advice[i]), 0);
        CHECK_EQUAL(wrong(at, 4 * MIB, 70), 0);
    }
    CHECK_EQUAL(madvise(at, MIB, MADV_POPULATE_READ), 0);
    CHECK_EQUAL(madvise(at, MIB, MADV_POPULATE_WRITE), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 70), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(wrong_arguments_of_madvise)
{
    char *at = get(MIB);
    fill(at, MIB, 80);
    CHECK_EQUAL(madvise(at + 1, PAGE, MADV_DONTNEED), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(madvise(at, PAGE, 12345), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(madvise(at, PAGE, MADV_REMOVE), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(madvise(at, 0, MADV_DONTNEED), 0);
    CHECK_EQUAL(munmap(at + MIB / 2, PAGE), 0);
    CHECK_EQUAL(madvise(at, MIB, MADV_DONTNEED), -1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(is_zero(at, MIB / 2)); /* but it was done around the hole */
    CHECK(is_zero(at + MIB / 2 + PAGE, MIB / 2 - PAGE));
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(a_child_sees_zeros_where_its_parent_said_wipeonfork)
{
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 300);
    CHECK_EQUAL(madvise(at + MIB, MIB, MADV_WIPEONFORK), 0);
    CHECK_EQUAL(madvise(at + 2 * MIB, MIB, MADV_WIPEONFORK), 0);
    CHECK_EQUAL(madvise(at + 2 * MIB, MIB, MADV_KEEPONFORK), 0);
    press();
    fill(at + MIB, PAGE, 300 + MIB / PAGE); /* one of them is there */
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        size_t bad = wrong(at, MIB, 300) + !is_zero(at + MIB, MIB) +
                     wrong(at + 2 * MIB, 2 * MIB, 300 + 2 * MIB / PAGE);
        fill(at + MIB, MIB, 301);
        pid_t grandchild = fork(); /* the advice is inherited */
        if (!grandchild) {
            _exit(is_zero(at + MIB, MIB) ? 0 : 1);
        }
        bad += wait_for(grandchild) != 0;
        _exit(bad || wrong(at + MIB, MIB, 301) ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 300), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    char *again = get(4 * MIB); /* the advice went with the mapping */
    fill(again, 4 * MIB, 302);
    child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        _exit(wrong(again, 4 * MIB, 302) ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(munmap(again, 4 * MIB), 0);
}

TEST(a_child_has_nothing_where_its_parent_said_dontfork)
{
    char *at = get(3 * MIB);
    fill(at, 3 * MIB, 310);
    CHECK_EQUAL(madvise(at + MIB, MIB, MADV_DONTFORK), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        bool good = readable(at) && !readable(at + MIB) && !readable(at + 2 * MIB - 1);
        _exit(good && !wrong(at + 2 * MIB, MIB, 310 + 2 * MIB / PAGE) ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 3 * MIB, 310), 0);
    CHECK_EQUAL(madvise(at + MIB, MIB, MADV_DOFORK), 0);
    child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        _exit(wrong(at, 3 * MIB, 310) ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(munmap(at, 3 * MIB), 0);
}

TEST(advice_that_some_kernels_do_not_have)
{
    static const int advice[] = {MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, 25 /* COLLAPSE */};
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 320);
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++) {
        int result = madvise(at, 4 * MIB, advice[i]);
        CHECK(result == 0 || errno == EINVAL);
    }
    press();
    CHECK_EQUAL(wrong(at, 4 * MIB, 320), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(populate_knows_holes_and_protections)
{
    char *at = get(MIB);
    CHECK_EQUAL(mprotect(at, PAGE, PROT_READ), 0);
    CHECK(madvise(at, PAGE, MADV_POPULATE_WRITE) == -1);
    CHECK_EQUAL(madvise(at, PAGE, MADV_POPULATE_READ), 0);
    CHECK_EQUAL(munmap(at + 8 * PAGE, PAGE), 0);
    CHECK(madvise(at, MIB, MADV_POPULATE_READ) == -1 && errno == ENOMEM);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

/* ---- mincore and msync */

TEST(mincore_says_what_is_there)
{
    unsigned char there[512];
    char *at = get(2 * MIB);
    CHECK_EQUAL(mincore(at, 2 * MIB, there), 0);
    CHECK_EQUAL(there[0] & 1, 0);
    fill(at, 2 * MIB, 330);
    CHECK_EQUAL(mincore(at, 2 * MIB, there), 0);
    CHECK_EQUAL(there[511] & 1, 1);
    CHECK(mincore(at + 1, PAGE, there) == -1 && errno == EINVAL);
    CHECK_EQUAL(munmap(at + MIB, PAGE), 0);
    CHECK(mincore(at, 2 * MIB, there) == -1 && errno == ENOMEM);
    CHECK_EQUAL(mincore(at, MIB, there), 0);
    CHECK(mincore(at + MIB + PAGE, PAGE, (unsigned char *)16) == -1 && errno == EFAULT);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
}

TEST(msync_has_nothing_to_do_and_knows_holes)
{
    char *at = get(MIB);
    CHECK_EQUAL(msync(at, MIB, MS_SYNC), 0);
    CHECK_EQUAL(msync(at, MIB, MS_ASYNC | MS_INVALIDATE), 0);
    CHECK(msync(at, MIB, MS_SYNC | MS_ASYNC) == -1 && errno == EINVAL);
    CHECK(msync(at + 1, MIB, MS_SYNC) == -1 && errno == EINVAL);
    CHECK_EQUAL(munmap(at + MIB / 2, PAGE), 0);
    CHECK(msync(at, MIB, MS_SYNC) == -1 && errno == ENOMEM);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

int main(void)
{
    begin();
    RUN(dontneed_drops_content);
    RUN(free_leaves_old_content_or_zeros);
    RUN(advice_keeps_content);
    RUN(wrong_arguments_of_madvise);
    RUN(a_child_sees_zeros_where_its_parent_said_wipeonfork);
    RUN(a_child_has_nothing_where_its_parent_said_dontfork);
    RUN(advice_that_some_kernels_do_not_have);
    RUN(populate_knows_holes_and_protections);
    RUN(mincore_says_what_is_there);
    RUN(msync_has_nothing_to_do_and_knows_holes);
    return harness_finish();
}
