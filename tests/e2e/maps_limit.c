/* SPDX-License-Identifier: MIT */
/* Calls that fail, as the kernel has no mapping left for what they would cut in two: nothing is lost, and nobody is given what
 * is another's. */
#include "tests/e2e/maps.h"

#define MANY 80000u /* the kernel's limit is 65,530, unless vm.max_map_count says otherwise */
#define ATTEMPTS 16u

static char *small[MANY];
static size_t count;

/* Mappings too small to be managed, no two neighbours alike, until the kernel refuses one more. */
static bool use_up_mappings(void)
{
    for (count = 0; count < MANY; count++) {
        small[count] = mmap(NULL, PAGE, count % 2 ? PROT_READ : RW, ANONYMOUS, -1, 0);
        if (small[count] == MAP_FAILED) {
            return true;
        }
    }
    return false;
}

static void give_back_mappings(size_t n)
{
    for (; n && count; n--) {
        CHECK_EQUAL(munmap(small[--count], PAGE), 0);
    }
}

static char *map_file_over(char *at, size_t bytes, uint64_t seed, int *fd)
{
    *fd = make_file(bytes / PAGE, seed);
    char *file = mmap(at, bytes, RW, MAP_SHARED | MAP_FIXED, *fd, 0);
    REQUIRE(file == at);
    return file;
}

/* New memory, as much as can be had now: none of it may lie in [at, at + bytes). */
static void check_nothing_new_lies_in(const char *at, size_t bytes)
{
    const size_t size = 64 << 10;
    char *new[64];
    size_t n = 0;
    while (n < 64 && (new[n] = mmap(NULL, size, RW, ANONYMOUS, -1, 0)) != MAP_FAILED) {
        CHECK(new[n] + size <= at || new[n] >= at + bytes);
        CHECK(is_zero(new[n], size));
        n++;
    }
    while (n--) {
        CHECK_EQUAL(munmap(new[n], size), 0);
    }
}

TEST(a_file_that_cannot_be_cut_stays_mapped)
{
    int fd;
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 1);
    char *file = map_file_over(at + MIB, MIB, 2, &fd);
    if (!use_up_mappings()) {
        give_back_mappings(MANY);
        SKIP("this kernel allows more mappings (vm.max_map_count)");
    }
    CHECK(munmap(file + MIB / 4, MIB / 4) == -1 && errno == ENOMEM);
    CHECK(mmap(at + MIB / 2, MIB, RW, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == ENOMEM);
    check_nothing_new_lies_in(at, 4 * MIB);
    CHECK_EQUAL(wrong(file, MIB, 2), 0);
    CHECK_EQUAL(wrong(at, MIB, 1), 0);
    CHECK_EQUAL(wrong(at + 2 * MIB, 2 * MIB, 1 + 2 * MIB / PAGE), 0);
    fill(file, MIB, 3);
    uint64_t page[PAGE / 8];
    CHECK_EQUAL(pread(fd, page, PAGE, MIB / 4), PAGE);
    CHECK(page_is(page, 3 + MIB / 4 / PAGE)); /* it is the file still */
    give_back_mappings(MANY);
    CHECK_EQUAL(munmap(file + MIB / 4, MIB / 4), 0);
    CHECK(!readable(file + MIB / 4));
    CHECK_EQUAL(wrong(file, MIB / 4, 3), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    close(fd);
}

/* How many pages can be read, and are not as they were filled. */
static size_t wrong_if_there(const char *at, size_t bytes, uint64_t seed)
{
    size_t bad = 0;
    for (size_t i = 0; i < bytes / PAGE; i++) {
        bad += readable(at + i * PAGE) && wrong(at + i * PAGE, PAGE, seed + i);
    }
    return bad;
}

/* At whatever step it fails, if it does: the kernel needs fewer mappings for it. */
TEST(of_several_mappings_each_is_there_or_gone)
{
    int one, two;
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 1);
    map_file_over(at, MIB, 1, &one);
    map_file_over(at + 2 * MIB, MIB, 1 + 2 * MIB / PAGE, &two);
    if (!use_up_mappings()) {
        give_back_mappings(MANY);
        SKIP("this kernel allows more mappings (vm.max_map_count)");
    }
    for (size_t i = 0; i < ATTEMPTS && munmap(at + MIB / 2, 2 * MIB); i++) {
        CHECK_EQUAL(errno, ENOMEM);
        CHECK_EQUAL(wrong(at, MIB / 2, 1), 0);
        CHECK_EQUAL(wrong_if_there(at + MIB / 2, 2 * MIB, 1 + MIB / 2 / PAGE), 0);
        CHECK_EQUAL(wrong(at + 5 * MIB / 2, 3 * MIB / 2, 1 + 5 * MIB / 2 / PAGE), 0);
        check_nothing_new_lies_in(at + 5 * MIB / 2, 3 * MIB / 2);
        give_back_mappings(1);
    }
    CHECK(!readable(at + MIB / 2));
    CHECK(!readable(at + 5 * MIB / 2 - 1));
    CHECK_EQUAL(wrong(at, MIB / 2, 1), 0);
    CHECK_EQUAL(wrong(at + 5 * MIB / 2, 3 * MIB / 2, 1 + 5 * MIB / 2 / PAGE), 0);
    give_back_mappings(MANY);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    close(one);
    close(two);
}

/* The first half of each MiB has content. */
static void fill_first_half(char *at, uint64_t seed)
{
    fill(at, MIB / 2, seed);
}

static void check_whole(char *at, uint64_t seed)
{
    CHECK_EQUAL(wrong(at, MIB / 2, seed), 0);
    CHECK(is_zero(at + MIB / 2, MIB / 2));
    fill(at, MIB, seed + 1);
    press();
    CHECK_EQUAL(wrong(at, MIB, seed + 1), 0);
}

TEST(a_range_that_cannot_be_moved_out_is_as_it_was)
{
    char *at = get((ATTEMPTS + 1) * MIB),
         *far = mmap(NULL, MIB, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t failed = 0;
    for (size_t i = 0; i <= ATTEMPTS; i++) {
        fill_first_half(at + i * MIB, 10 + i);
    }
    press();
    if (!use_up_mappings()) {
        give_back_mappings(MANY);
        SKIP("this kernel allows more mappings (vm.max_map_count)");
    }
    for (; failed < ATTEMPTS; failed++) { /* with some more mappings to be had at each */
        char *part = at + failed * MIB + MIB / 4;
        if (mremap(part, MIB / 2, MIB / 2, MREMAP_MAYMOVE | MREMAP_FIXED, far) == far) {
            break;
        }
        CHECK_EQUAL(errno, ENOMEM);
        CHECK_EQUAL(wrong(part, MIB / 4, 10 + failed + MIB / 4 / PAGE), 0);
        CHECK(is_zero(part + MIB / 4, MIB / 4));
        give_back_mappings(failed + 1);
    }
    REQUIRE(failed > 0 && failed < ATTEMPTS);
    CHECK_EQUAL(wrong(far, MIB / 4, 10 + failed + MIB / 4 / PAGE), 0);
    CHECK(is_zero(far + MIB / 4, MIB / 4));
    give_back_mappings(MANY);
    for (size_t i = 0; i <= ATTEMPTS; i++) {
        if (i != failed) {
            check_whole(at + i * MIB, 10 + i);
        }
    }
    CHECK_EQUAL(munmap(at, (ATTEMPTS + 1) * MIB), 0);
    CHECK_EQUAL(munmap(far, MIB), 0);
}

int main(void)
{
    begin();
    RUN(a_file_that_cannot_be_cut_stays_mapped);
    RUN(of_several_mappings_each_is_there_or_gone);
    RUN(a_range_that_cannot_be_moved_out_is_as_it_was);
    return harness_finish();
}
