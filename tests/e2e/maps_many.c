/* SPDX-License-Identifier: MIT */
/* Very many mappings: as many as the kernel allows a process, and one more. */
#include "tests/e2e/maps.h"

#include <time.h>

#define COUNT 60000u /* the kernel's limit is 65,530, unless vm.max_map_count says otherwise */
#define BYTES ((size_t)64 << 10)

static char *maps[COUNT];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void shuffle(char **at, size_t count)
{
    uint64_t state = 1;
    for (size_t i = count; i > 1; i--) {
        size_t other = harness_random(&state) % i;
        char *held = at[i - 1];
        at[i - 1] = at[other];
        at[other] = held;
    }
}

/* A page of one in 16 holds its number. */
static void mark(char *at, size_t i)
{
    if (i % 16 == 0) {
        *(volatile size_t *)at = i + 1;
    }
}

TEST(sixty_thousand_mappings_of_alternating_protection)
{
    double start = now_us();
    for (size_t i = 0; i < COUNT; i++) {
        maps[i] = mmap(NULL, BYTES, i % 2 ? PROT_READ : RW, ANONYMOUS, -1, 0);
        REQUIRE(maps[i] != MAP_FAILED);
    }
    double mapped = now_us();
    for (size_t i = 0; i < COUNT; i++) {
        mark(maps[i], i);
    }
    press();
    size_t bad = 0;
    for (size_t i = 0; i < COUNT; i++) {
        bad += *(volatile size_t *)maps[i] != (i % 16 ? 0 : i + 1);
    }
    CHECK_EQUAL(bad, 0);
    shuffle(maps, COUNT);
    double before = now_us();
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQUAL(munmap(maps[i], BYTES), 0);
    }
    printf("# %u mappings: mmap %.1f us, munmap in random order %.1f us each\n", COUNT,
           (mapped - start) / COUNT, (now_us() - before) / COUNT);
    CHECK(!readable(maps[0]));
}

TEST(empty_mappings_come_and_go)
{
    double start = now_us();
    for (size_t i = 0; i < COUNT / 4; i++) {
        char *at = get(BYTES);
        CHECK_EQUAL(munmap(at, BYTES), 0);
    }
    printf("# mmap and munmap of one mapping at a time: %.1f us\n", (now_us() - start) / (COUNT / 4));
}

/* Protects every second page until the kernel has no mapping left. How many could be. */
static size_t split_until_refused(char *at, size_t pages)
{
    size_t i = 0;
    while (i < pages && mprotect(at + i * PAGE, PAGE, PROT_READ) == 0) {
        i += 2;
    }
    return i;
}

TEST(without_a_mapping_left_calls_fail_and_nothing_is_lost)
{
    size_t pages = 100000;
    char *at = get(pages * PAGE);
    for (size_t i = 0; i < pages; i++) {
        *(size_t *)(at + i * PAGE) = i;
    }
    size_t split = split_until_refused(at, pages);
    if (split >= pages) {
        CHECK_EQUAL(munmap(at, pages * PAGE), 0);
        SKIP("this kernel allows more mappings (vm.max_map_count)");
    }
    CHECK_EQUAL(errno, ENOMEM);
    char *middle = at + (split + 100) * PAGE;
    for (int i = 0; i < 4; i++) { /* a few may still be had: the limit is not met exactly */
        munmap(middle + i * 4 * (int)PAGE, PAGE);
    }
    CHECK(munmap(middle + 40 * PAGE, PAGE) == -1 && errno == ENOMEM);
    CHECK(writable(middle + 40 * PAGE));
    CHECK(mprotect(middle + 50 * PAGE, PAGE, PROT_NONE) == -1 && errno == ENOMEM);
    CHECK(writable(middle + 50 * PAGE));
    size_t bad = 0;
    for (size_t i = 0; i < pages; i++) {
        bool gone = i >= split + 100 && i < split + 116 && !readable(at + i * PAGE);
        bad += !gone && *(volatile size_t *)(at + i * PAGE) != i;
    }
    CHECK_EQUAL(bad, 0);
    CHECK_EQUAL(munmap(at, pages * PAGE), 0);
    char *again = get(MIB);
    CHECK(is_zero(again, MIB));
    CHECK_EQUAL(munmap(again, MIB), 0);
}

int main(void)
{
    begin();
    RUN(sixty_thousand_mappings_of_alternating_protection);
    RUN(empty_mappings_come_and_go);
    RUN(without_a_mapping_left_calls_fail_and_nothing_is_lost);
    return harness_finish();
}
