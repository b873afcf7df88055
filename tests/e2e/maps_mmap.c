/* SPDX-License-Identifier: MIT */
/* mmap, munmap, mprotect, and what lies over memory. */
#include "tests/e2e/maps.h"

#include <pthread.h>
#include <signal.h>
#include <sys/shm.h>

/* ---- mmap and munmap */

TEST(new_memory_is_zero_also_where_memory_was_before)
{
    for (int round = 0; round < 3; round++) {
        char *at = get(8 * MIB);
        CHECK(is_zero(at, 8 * MIB));
        fill(at, 8 * MIB, 1);
        CHECK_EQUAL(munmap(at, 8 * MIB), 0);
    }
}

TEST(memory_under_pressure_keeps_its_content)
{
    char *at = get(32 * MIB);
    fill(at, 32 * MIB, 100);
    press();
    CHECK_EQUAL(wrong(at, 32 * MIB, 100), 0);
    CHECK_EQUAL(munmap(at, 32 * MIB), 0);
}

TEST(munmap_of_a_part_leaves_the_rest)
{
    char *at = get(16 * MIB);
    fill(at, 16 * MIB, 5);
    CHECK_EQUAL(munmap(at + 4 * MIB, 4 * MIB), 0);
    CHECK(readable(at + 4 * MIB - 1));
    CHECK(!readable(at + 4 * MIB));
    CHECK(!readable(at + 8 * MIB - 1));
    CHECK(readable(at + 8 * MIB));
    press();
    CHECK_EQUAL(wrong(at, 4 * MIB, 5), 0);
    CHECK_EQUAL(wrong(at + 8 * MIB, 8 * MIB, 5 + 8 * MIB / PAGE), 0);
    CHECK_EQUAL(munmap(at, 16 * MIB), 0); /* over the hole */
    CHECK(!readable(at));
    CHECK_EQUAL(munmap(at, 16 * MIB), 0); /* nothing there: no error */
}

TEST(munmap_of_single_pages_everywhere)
{
    char *at = get(MIB);
    fill(at, MIB, 9);
    for (size_t i = 0; i < MIB / PAGE; i += 2) {
        CHECK_EQUAL(munmap(at + i * PAGE, PAGE), 0);
    }
    for (size_t i = 0; i < MIB / PAGE; i++) {
        CHECK_EQUAL(readable(at + i * PAGE), i % 2);
    }
    for (size_t i = 1; i < MIB / PAGE; i += 2) {
        CHECK_EQUAL(wrong(at + i * PAGE, PAGE, 9 + i), 0);
    }
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(wrong_arguments_of_mmap_and_munmap)
{
    char *at = get(MIB);
    CHECK(mmap(NULL, 0, RW, ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(mmap(NULL, SIZE_MAX / 2, RW, ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(mmap(NULL, SIZE_MAX, RW, ANONYMOUS, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(mmap(at + 1, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(mmap(at, MIB, RW, MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EBADF);
    CHECK(readable(at));
    CHECK_EQUAL(munmap(at + 1, PAGE), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(munmap(at, 0), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK(munmap(at, SIZE_MAX / 2) == -1 && errno == EINVAL);
    CHECK(munmap(at, SIZE_MAX - 2 * PAGE) == -1 && errno == EINVAL);
    CHECK(readable(at));
    CHECK_EQUAL(munmap(at, MIB - 1), 0); /* lengths are rounded up */
    CHECK(!readable(at + MIB - 1));
}

TEST(map_fixed_replaces_content)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 3);
    CHECK(mmap(at + 2 * MIB, 2 * MIB, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at + 2 * MIB);
    CHECK(is_zero(at + 2 * MIB, 2 * MIB));
    CHECK_EQUAL(wrong(at, 2 * MIB, 3), 0);
    CHECK_EQUAL(wrong(at + 4 * MIB, 4 * MIB, 3 + 4 * MIB / PAGE), 0);
    CHECK(mmap(at, PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == at);
    CHECK(!readable(at));
    CHECK(mmap(at, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EEXIST);
    CHECK_EQUAL(munmap(at, 2 * PAGE), 0);
    CHECK(mmap(at, 2 * PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
    CHECK(is_zero(at, 2 * PAGE));
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

#define RESERVED ((size_t)64 << 30)

TEST(reserve_then_commit_piece_by_piece)
{
    char *at = mmap(NULL, RESERVED, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    for (size_t i = 0; i < 16; i++) {
        char *piece = at + i * (RESERVED / 16);
        CHECK(!readable(piece));
        CHECK_EQUAL(mprotect(piece, MIB, RW), 0);
        fill(piece, MIB, i * 1000);
    }
    press();
    for (size_t i = 0; i < 16; i++) {
        CHECK_EQUAL(wrong(at + i * (RESERVED / 16), MIB, i * 1000), 0);
        CHECK(!readable(at + i * (RESERVED / 16) + MIB));
    }
    CHECK_EQUAL(munmap(at, RESERVED), 0);
}

TEST(reservations_larger_than_any_memory)
{
    char *at = mmap(NULL, (size_t)20 << 40, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    CHECK_EQUAL(mprotect(at + ((size_t)5 << 40), MIB, RW), 0);
    fill(at + ((size_t)5 << 40), MIB, 98);
    CHECK_EQUAL(wrong(at + ((size_t)5 << 40), MIB, 98), 0);
    CHECK_EQUAL(munmap(at, (size_t)20 << 40), 0);
}

TEST(populate_brings_memory_in)
{
    unsigned char there[256];
    char *at = mmap(NULL, MIB, RW, ANONYMOUS | MAP_POPULATE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    CHECK_EQUAL(mincore(at, MIB, there), 0);
    size_t count = 0;
    for (size_t i = 0; i < MIB / PAGE; i++) {
        count += there[i] & 1;
    }
    CHECK_EQUAL(count, MIB / PAGE);
    CHECK(is_zero(at, MIB));
    CHECK_EQUAL(munmap(at, MIB), 0);
    char *large = mmap(NULL, 2 * PRESSURE_BYTES, RW, ANONYMOUS | MAP_POPULATE | MAP_NORESERVE, -1, 0);
    REQUIRE(large != MAP_FAILED);
    CHECK_EQUAL(munmap(large, 2 * PRESSURE_BYTES), 0);
}

/* ---- mprotect */

TEST(protection_holds_also_for_pages_that_were_out)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 40);
    CHECK_EQUAL(mprotect(at + 2 * MIB, 2 * MIB, PROT_READ), 0);
    CHECK_EQUAL(mprotect(at + 4 * MIB, 2 * MIB, PROT_NONE), 0);
    press();
    CHECK(writable(at));
    CHECK(readable(at + 2 * MIB));
    CHECK(!writable(at + 2 * MIB));
    CHECK(!readable(at + 4 * MIB));
    CHECK(writable(at + 6 * MIB));
    CHECK_EQUAL(wrong(at, 4 * MIB, 40), 0);
    CHECK_EQUAL(mprotect(at, 8 * MIB, RW), 0);
    CHECK_EQUAL(wrong(at, 8 * MIB, 40), 0);
    fill(at, 8 * MIB, 41);
    press();
    CHECK_EQUAL(wrong(at, 8 * MIB, 41), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

/* Nobody can touch such pages, so they cannot stay where they are just because nobody may read them. */
TEST(inaccessible_content_goes_out_and_comes_back)
{
    unsigned char there[48 * 256];
    char *at = get(48 * MIB);
    for (size_t i = 0; i < 48; i++) {
        fill(at + i * MIB, MIB, 400 + i * MIB / PAGE);
        CHECK_EQUAL(mprotect(at + i * MIB, MIB, PROT_NONE), 0);
    }
    press();
    CHECK_EQUAL(mincore(at, 48 * MIB, there), 0);
    size_t count = 0;
    for (size_t i = 0; i < sizeof there; i++) {
        count += there[i] & 1;
    }
    printf("# %zu of %zu inaccessible pages are resident\n", count, sizeof there);
    CHECK(!readable(at + MIB));
    CHECK_EQUAL(mprotect(at, 48 * MIB, PROT_READ), 0);
    CHECK_EQUAL(wrong(at, 48 * MIB, 400), 0);
    press();
    CHECK_EQUAL(wrong(at, 48 * MIB, 400), 0);
    CHECK_EQUAL(munmap(at, 48 * MIB), 0);
}

TEST(wrong_arguments_of_mprotect)
{
    char *at = get(MIB);
    CHECK_EQUAL(mprotect(at + 1, PAGE, PROT_READ), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(mprotect(at, 0, PROT_READ), 0);
    for (int pkey = -2; pkey > -5; pkey--) {
        CHECK_EQUAL(pkey_mprotect(at, PAGE, PROT_READ, pkey), -1);
        CHECK_EQUAL(errno, EINVAL);
    }
    CHECK(writable(at));
    CHECK_EQUAL(mprotect(at, PAGE, 0x40000000), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(munmap(at + MIB / 2, PAGE), 0);
    CHECK_EQUAL(mprotect(at, MIB, PROT_READ), -1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(!writable(at)); /* up to the hole it was done */
    CHECK(writable(at + MIB - 1));
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(code_runs_from_new_memory)
{
#if defined(__x86_64__)
    static const unsigned char code[] = {0x8d, 0x47, 0x01, 0xc3}; /* lea eax, [rdi + 1]; ret */
    unsigned char *at = get(MIB);
    memcpy(at, code, sizeof code);
    CHECK_EQUAL(mprotect(at, MIB, PROT_READ | PROT_EXEC), 0);
    int (*function)(int);
    memcpy(&function, &at, sizeof at);
    CHECK_EQUAL(function(41), 42);
    press();
    CHECK_EQUAL(function(1), 2);
    CHECK_EQUAL(munmap(at, MIB), 0);
#else
    SKIP("knows the machine code of x86-64 only");
#endif
}

/* ---- files and shared memory among it */

TEST(a_file_mapped_over_memory)
{
    char *at = get(4 * MIB);
    int fd = make_file(256, 7);
    fill(at, 4 * MIB, 110);
    press();
    CHECK(mmap(at + MIB, MIB, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == at + MIB);
    CHECK_EQUAL(wrong(at, MIB, 110), 0);
    CHECK_EQUAL(wrong(at + MIB, MIB, 7), 0);
    CHECK_EQUAL(wrong(at + 2 * MIB, 2 * MIB, 110 + 2 * MIB / PAGE), 0);
    press();
    CHECK_EQUAL(wrong(at + MIB, MIB, 7), 0);
    CHECK(!writable(at + MIB));
    /* A part of it is memory again, then all of it goes. */
    CHECK(mmap(at + MIB, 2 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at + MIB);
    CHECK(is_zero(at + MIB, 2 * PAGE));
    CHECK_EQUAL(wrong(at + MIB + 2 * PAGE, MIB - 2 * PAGE, 9), 0);
    fill(at + MIB, 2 * PAGE, 111);
    press();
    CHECK_EQUAL(wrong(at + MIB, 2 * PAGE, 111), 0);
    CHECK_EQUAL(mprotect(at, 4 * MIB, PROT_READ), 0);
    CHECK_EQUAL(madvise(at, 4 * MIB, MADV_NORMAL), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    CHECK(!readable(at + MIB));
    close(fd);
    char *again = get(4 * MIB);
    CHECK(is_zero(again, 4 * MIB));
    CHECK_EQUAL(munmap(again, 4 * MIB), 0);
}

TEST(shared_memory_over_memory_is_shared)
{
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 120);
    CHECK(mmap(at, MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        fill(at, MIB, 121);
        _exit(wrong(at + MIB, 3 * MIB, 120 + MIB / PAGE) ? 1 : 0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(wrong(at, MIB, 121), 0);
    CHECK_EQUAL(wrong(at + MIB, 3 * MIB, 120 + MIB / PAGE), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(memory_over_half_a_file_and_half_memory)
{
    char *at = get(4 * MIB);
    int fd = make_file(256, 50);
    fill(at, 4 * MIB, 410);
    CHECK(mmap(at + MIB, MIB, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == at + MIB);
    CHECK(mmap(at + MIB + MIB / 2, MIB, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at + MIB + MIB / 2);
    CHECK_EQUAL(wrong(at + MIB, MIB / 2, 50), 0);
    CHECK(is_zero(at + MIB + MIB / 2, MIB));
    fill(at + MIB + MIB / 2, MIB, 411);
    press();
    CHECK_EQUAL(wrong(at, MIB, 410), 0);
    CHECK_EQUAL(wrong(at + MIB, MIB / 2, 50), 0);
    CHECK_EQUAL(wrong(at + MIB + MIB / 2, MIB, 411), 0);
    CHECK_EQUAL(mprotect(at, 4 * MIB, PROT_NONE), 0);
    CHECK_EQUAL(mprotect(at, 4 * MIB, RW), 0);
    CHECK_EQUAL(wrong(at + MIB + MIB / 2, MIB, 411), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    close(fd);
}

TEST(shared_memory_segments_stay_outside)
{
    int id = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
    REQUIRE(id >= 0);
    char *at = get(MIB), *shared = shmat(id, NULL, 0);
    REQUIRE(shared != (void *)-1);
    fill(at, MIB, 420);
    fill(shared, MIB, 421);
    CHECK(shmat(id, at, 0) == (void *)-1);
    CHECK_EQUAL(errno, EINVAL);
    press();
    CHECK_EQUAL(wrong(at, MIB, 420), 0);
    CHECK_EQUAL(wrong(shared, MIB, 421), 0);
    CHECK_EQUAL(shmdt(shared), 0);
    CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
    CHECK(remap_file_pages(at, PAGE, 0, 1, 0) == -1 && errno == EINVAL);
    CHECK_EQUAL(wrong(at, MIB, 420), 0);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

TEST(a_file_mapped_over_a_reservation_fails_cleanly)
{
    char *at = get(MIB);
    fill(at, MIB, 130);
    CHECK(mmap(at, MIB, PROT_READ, MAP_PRIVATE | MAP_FIXED, 9999, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EBADF);
    CHECK_EQUAL(wrong(at, MIB, 130), 0);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

/* ---- system calls that touch the memory */

TEST(the_kernel_reads_and_writes_pages_that_are_out)
{
    char *at = get(4 * MIB);
    int fd = memfd_create("file", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    fill(at, 4 * MIB, 140);
    press();
    CHECK_EQUAL(write(fd, at, 4 * MIB), 4 * MIB);
    fill(at, 4 * MIB, 141);
    press();
    CHECK_EQUAL(pread(fd, at, 4 * MIB, 0), 4 * MIB);
    press();
    CHECK_EQUAL(wrong(at, 4 * MIB, 140), 0);
    close(fd);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

/* ---- many threads */

static void *map_and_unmap(void *argument)
{
    uint64_t state = (uintptr_t)argument * 7919 + 1;
    for (int i = 0; i < 100; i++) {
        size_t bytes = (16 + harness_random(&state) % 100) * PAGE;
        uint64_t seed = harness_random(&state) % 100000;
        char *at = get(bytes);
        CHECK(is_zero(at, bytes));
        fill(at, bytes, seed);
        if (i % 3 == 0) {
            at = mremap(at, bytes, 2 * bytes, MREMAP_MAYMOVE);
            REQUIRE(at != MAP_FAILED);
            CHECK_EQUAL(munmap(at + bytes, bytes), 0);
        } else if (i % 3 == 1) {
            CHECK_EQUAL(madvise(at + bytes / 2 / PAGE * PAGE, PAGE, MADV_PAGEOUT), 0);
        }
        CHECK_EQUAL(wrong(at, bytes, seed), 0);
        CHECK_EQUAL(munmap(at, bytes), 0);
    }
    return NULL;
}

TEST(many_threads_map_and_unmap)
{
    pthread_t threads[40];
    for (size_t i = 0; i < 40; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, map_and_unmap, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < 40; i++) {
        pthread_join(threads[i], NULL);
    }
}

static volatile sig_atomic_t alarms;

static void map_in_handler(int number)
{
    (void)number;
    char *at = mmap(NULL, MIB, RW, ANONYMOUS, -1, 0);
    if (at != MAP_FAILED) {
        at[5] = 1;
        munmap(at, MIB);
        alarms++;
    }
}

TEST(signal_handlers_may_map_memory)
{
    struct sigaction action = {.sa_handler = map_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    ualarm(2000, 2000);
    for (int i = 0; i < 2000 || alarms < 20; i++) {
        char *at = get(MIB);
        at[i % MIB] = 1;
        CHECK_EQUAL(munmap(at, MIB), 0);
    }
    ualarm(0, 0);
    signal(SIGALRM, SIG_DFL);
}

int main(void)
{
    begin();
    RUN(new_memory_is_zero_also_where_memory_was_before);
    RUN(memory_under_pressure_keeps_its_content);
    RUN(munmap_of_a_part_leaves_the_rest);
    RUN(munmap_of_single_pages_everywhere);
    RUN(wrong_arguments_of_mmap_and_munmap);
    RUN(map_fixed_replaces_content);
    RUN(reserve_then_commit_piece_by_piece);
    RUN(reservations_larger_than_any_memory);
    RUN(populate_brings_memory_in);
    RUN(protection_holds_also_for_pages_that_were_out);
    RUN(inaccessible_content_goes_out_and_comes_back);
    RUN(wrong_arguments_of_mprotect);
    RUN(code_runs_from_new_memory);
    RUN(a_file_mapped_over_memory);
    RUN(shared_memory_over_memory_is_shared);
    RUN(memory_over_half_a_file_and_half_memory);
    RUN(shared_memory_segments_stay_outside);
    RUN(a_file_mapped_over_a_reservation_fails_cleanly);
    RUN(the_kernel_reads_and_writes_pages_that_are_out);
    RUN(many_threads_map_and_unmap);
    RUN(signal_handlers_may_map_memory);
    return harness_finish();
}
