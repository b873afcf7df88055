/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"
#include "tests/harness.h"

#define MIB ((size_t)1 << 20)

static struct account account;
static struct memory memory = {.account = &account};

/* Can the kernel read a byte there? A touch of ours would end the program. */
static bool readable(const void *at)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    bool good = write(ends[1], at, 1) == 1;
    CHECK(good || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return good;
}

TEST(a_reservation_is_zero_and_can_be_written)
{
    static const size_t sizes[] = {1, PAGE_BYTES, 3 * PAGE_BYTES + 1, 2 * MIB, 6 * MIB, 6 * MIB + 1};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        char *at = memory_reserve(&memory, sizes[i]);
        REQUIRE(at);
        CHECK_EQUAL((uintptr_t)at % (sizes[i] % HUGE_BYTES ? PAGE_BYTES : HUGE_BYTES), 0);
        at[0]++;
        at[sizes[i] - 1]++;
        CHECK_EQUAL(at[0], sizes[i] == 1 ? 2 : 1);
        memory_unreserve(&memory, at, sizes[i]);
    }
}

/* So many that the lowest has a large hole below, into which a stack would grow. */
TEST(nothing_is_below_a_reservation_and_nothing_comes_there)
{
    char *all[64], *lowest = (char *)UINTPTR_MAX;
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        all[i] = memory_reserve(&memory, MIB);
        REQUIRE(all[i]);
        lowest = all[i] < lowest ? all[i] : lowest;
    }
    lowest[0] = 1;
    CHECK(readable(lowest));
    CHECK(!readable(lowest - 1));
    CHECK(!readable(lowest - PAGE_BYTES - 1));
    CHECK(!readable(lowest - 2 * MIB));
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        memory_unreserve(&memory, all[i], MIB);
    }
}

TEST(what_is_unreserved_is_gone)
{
    unsigned char present[2];
    char *at = memory_reserve(&memory, PAGE_BYTES);
    REQUIRE(at);
    CHECK_EQUAL(sys_call3(SYS_mincore, (long)(at - PAGE_BYTES), 2 * PAGE_BYTES, (long)present), 0);
    memory_unreserve(&memory, at, PAGE_BYTES);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(sys_call3(SYS_mincore, (long)(at - i * PAGE_BYTES), PAGE_BYTES, (long)present), -ENOMEM);
    }
}

/* What counts against RLIMIT_DATA, in KiB. A limit itself would be in a sanitizer's way. */
static long data_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    REQUIRE(status);
    while (kib < 0 && fgets(line, sizeof line, status)) {
        sscanf(line, "VmData: %ld kB", &kib);
    }
    fclose(status);
    return kib;
}

TEST(a_reservation_is_no_data)
{
    long before = data_kib();
    char *at = memory_reserve(&memory, 1024 * MIB);
    long after = data_kib();
    REQUIRE(at && before > 0 && after > 0);
    CHECK(after - before < 512 << 10);
    at[512 * MIB] = 1;
    memory_unreserve(&memory, at, 1024 * MIB);
}

TEST(what_is_shared_is_reserved_as_well)
{
    struct memory shared = {.account = &account, .shared = true};
    char *at = memory_reserve(&shared, 3 * PAGE_BYTES);
    REQUIRE(at);
    at[3 * PAGE_BYTES - 1] = 1;
    memory_unreserve(&shared, at, 3 * PAGE_BYTES);
}

int main(void)
{
    RUN(a_reservation_is_zero_and_can_be_written);
    RUN(nothing_is_below_a_reservation_and_nothing_comes_there);
    RUN(what_is_unreserved_is_gone);
    RUN(a_reservation_is_no_data);
    RUN(what_is_shared_is_reserved_as_well);
    return harness_finish();
}
