/* SPDX-License-Identifier: MIT */
/* mremap. */
#include "tests/e2e/maps.h"

TEST(mremap_shrinks_in_place)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 90);
    CHECK(mremap(at, 8 * MIB, 3 * MIB, 0) == at);
    CHECK(!readable(at + 3 * MIB));
    CHECK_EQUAL(wrong(at, 3 * MIB, 90), 0);
    CHECK_EQUAL(munmap(at, 3 * MIB), 0);
}

TEST(mremap_shrinks_over_several_mappings)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 89);
    CHECK_EQUAL(mprotect(at + 2 * MIB, MIB, PROT_READ), 0);
    CHECK_EQUAL(munmap(at + 5 * MIB, MIB), 0);
    press();
    CHECK(mremap(at, 5 * MIB, 5 * MIB, 0) == at);
    CHECK(mremap(at, 8 * MIB, 4 * MIB, MREMAP_MAYMOVE) == at);
    CHECK_EQUAL(wrong(at, 4 * MIB, 89), 0);
    CHECK(!readable(at + 4 * MIB) && !readable(at + 7 * MIB));
    CHECK(mremap(at + 2 * MIB, 2 * MIB, 4 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK_EQUAL(errno, EFAULT);
    CHECK(mremap(at + MIB, 3 * MIB, MIB, 0) == at + MIB);
    CHECK_EQUAL(wrong(at, 2 * MIB, 89), 0);
    CHECK(!readable(at + 2 * MIB) && !readable(at + 3 * MIB));
    CHECK(mremap(at + 2 * MIB, 2 * MIB, MIB, 0) == MAP_FAILED); /* where it begins, there has to be one */
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
}

TEST(mremap_grows_and_moves_with_content)
{
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 91);
    press();
    for (size_t size = 4 * MIB; size < 64 * MIB; size *= 2) {
        char *wall = get(MIB); /* so that it cannot always grow in place */
        at = mremap(at, size, 2 * size, MREMAP_MAYMOVE);
        REQUIRE(at != MAP_FAILED);
        CHECK(is_zero(at + size, size));
        fill(at + size, size, 91 + size / PAGE);
        CHECK_EQUAL(wrong(at, 2 * size, 91), 0);
        CHECK_EQUAL(munmap(wall, MIB), 0);
    }
    CHECK_EQUAL(munmap(at, 64 * MIB), 0);
}

TEST(mremap_without_maymove_stays_or_fails)
{
    char *at = get(3 * MIB);
    CHECK(mmap(at + 2 * MIB, MIB, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0) == at + 2 * MIB);
    fill(at, 2 * MIB, 92);
    CHECK(mremap(at, 2 * MIB, 3 * MIB, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_EQUAL(munmap(at + 2 * MIB, MIB), 0);
    char *grown = mremap(at, 2 * MIB, 3 * MIB, 0);
    CHECK(grown == at || grown == MAP_FAILED);
    CHECK_EQUAL(wrong(at, 2 * MIB, 92), 0);
    CHECK_EQUAL(munmap(at, 3 * MIB), 0);
}

TEST(mremap_to_a_fixed_place)
{
    char *at = get(4 * MIB), *to = get(8 * MIB);
    fill(at, 4 * MIB, 93);
    fill(to, 8 * MIB, 94);
    press();
    CHECK(mremap(at, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to + MIB) == to + MIB);
    CHECK(!readable(at));
    CHECK_EQUAL(wrong(to, MIB, 94), 0);
    CHECK_EQUAL(wrong(to + MIB, 4 * MIB, 93), 0);
    CHECK_EQUAL(wrong(to + 5 * MIB, 3 * MIB, 94 + 5 * MIB / PAGE), 0);
    CHECK_EQUAL(munmap(to, 8 * MIB), 0);
}

TEST(mremap_keeps_the_protection)
{
    char *at = get(2 * MIB), *to = get(4 * MIB);
    fill(at, 2 * MIB, 95);
    CHECK_EQUAL(mprotect(at, 2 * MIB, PROT_READ), 0);
    CHECK(mremap(at, 2 * MIB, 3 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    CHECK(readable(to));
    CHECK(!writable(to));
    CHECK(!writable(to + 3 * MIB - 1));
    CHECK(writable(to + 3 * MIB));
    CHECK_EQUAL(wrong(to, 2 * MIB, 95), 0);
    CHECK_EQUAL(munmap(to, 4 * MIB), 0);
}

TEST(dontunmap_leaves_an_empty_mapping)
{
    char *at = get(2 * MIB);
    fill(at, 2 * MIB, 97);
    press();
    char *to = mremap(at, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    REQUIRE(to != MAP_FAILED);
    CHECK(to != at);
    CHECK_EQUAL(wrong(to, 2 * MIB, 97), 0);
    CHECK(is_zero(at, 2 * MIB));
    fill(at, 2 * MIB, 98);
    CHECK(mremap(at, 2 * MIB, MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(wrong(at, 2 * MIB, 98), 0);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
    CHECK_EQUAL(munmap(to, 2 * MIB), 0);
}

TEST(mremap_to_places_of_all_kinds)
{
    char *at = get(2 * MIB), *elsewhere = mmap(NULL, 8 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(elsewhere != MAP_FAILED);
    fill(at, 2 * MIB, 99);
    press();
    CHECK(mremap(at, 2 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere);
    CHECK(!readable(at));
    CHECK_EQUAL(wrong(elsewhere, 2 * MIB, 99), 0);
    CHECK(is_zero(elsewhere + 2 * MIB, 2 * MIB));
    fill(elsewhere + 2 * MIB, 2 * MIB, 99 + 2 * MIB / PAGE);
    char *back = get(4 * MIB); /* and back among memory */
    CHECK(mremap(elsewhere, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, back) == back);
    CHECK_EQUAL(wrong(back, 4 * MIB, 99), 0);
    char *grown = mremap(back, 4 * MIB, 6 * MIB, MREMAP_MAYMOVE);
    REQUIRE(grown != MAP_FAILED);
    CHECK_EQUAL(wrong(grown, 4 * MIB, 99), 0);
    CHECK(is_zero(grown + 4 * MIB, 2 * MIB));
    CHECK_EQUAL(munmap(grown, 6 * MIB), 0);
    CHECK_EQUAL(munmap(elsewhere + 4 * MIB, 4 * MIB), 0);
    char *again = get(8 * MIB);
    CHECK(is_zero(again, 8 * MIB));
    CHECK_EQUAL(munmap(again, 8 * MIB), 0);
}

TEST(a_file_that_cannot_grow_stays_where_it_is)
{
    char *at = get(4 * MIB);
    int fd = make_file(MIB / PAGE, 100);
    CHECK(mmap(at + MIB, MIB, RW, MAP_SHARED | MAP_FIXED, fd, 0) == at + MIB);
    CHECK(mremap(at + MIB, MIB, ((size_t)1 << 47) - 16 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(readable(at + MIB));
    CHECK_EQUAL(wrong(at + MIB, MIB, 100), 0);
    fill(at + MIB, MIB, 101);
    uint64_t page[PAGE / 8];
    CHECK_EQUAL(pread(fd, page, PAGE, MIB - PAGE), PAGE);
    CHECK(page_is(page, 101 + MIB / PAGE - 1));
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    close(fd);
}

TEST(wrong_arguments_of_mremap)
{
    char *at = get(2 * MIB);
    fill(at, 2 * MIB, 96);
    CHECK(mremap(at + 1, MIB, MIB, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(mremap(at, MIB, 0, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(mremap(at, MIB, MIB, MREMAP_FIXED, at + MIB) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(mremap(at, 2 * MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, at + MIB) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(wrong(at, 2 * MIB, 96), 0);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
    CHECK(mremap(at, MIB, 2 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK_EQUAL(errno, EFAULT);
}

int main(void)
{
    begin();
    RUN(mremap_shrinks_in_place);
    RUN(mremap_shrinks_over_several_mappings);
    RUN(mremap_grows_and_moves_with_content);
    RUN(mremap_without_maymove_stays_or_fails);
    RUN(mremap_to_a_fixed_place);
    RUN(mremap_keeps_the_protection);
    RUN(dontunmap_leaves_an_empty_mapping);
    RUN(mremap_to_places_of_all_kinds);
    RUN(a_file_that_cannot_grow_stays_where_it_is);
    RUN(wrong_arguments_of_mremap);
    return harness_finish();
}
