/* SPDX-License-Identifier: MIT */
/*
 * An ordinary program that uses its memory in every way there is, and looks whether each call does what its manual page
 * says. It knows nothing of uzswap: it must pass as it is, and with libuzswap-preload under it and a budget
 * that is a fraction of the memory it touches (PRESSURE_BYTES).
 */
#include "tests/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define PRESSURE_BYTES (64 * MIB)

extern char **environ;

/* Page i of a pattern: different on each page, not all one byte, and half of it hard to compress. */
static void fill_page(uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        page[i] = i % 2 ? harness_random(&state) : seed;
    }
}

static bool page_is(const uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        if (page[i] != (i % 2 ? harness_random(&state) : seed)) {
            return false;
        }
    }
    return true;
}

static void fill(void *at, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes / PAGE; i++) {
        fill_page((uint64_t *)((char *)at + i * PAGE), seed + i);
    }
}

/* How many pages are not as they were filled. */
static size_t wrong(const void *at, size_t bytes, uint64_t seed)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes / PAGE; i++) {
        count += !page_is((const uint64_t *)((const char *)at + i * PAGE), seed + i);
    }
    return count;
}

static bool is_zero(const void *at, size_t bytes)
{
    const uint64_t *word = at;
    for (size_t i = 0; i < bytes / 8; i++) {
        if (word[i]) {
            return false;
        }
    }
    return true;
}

static void *get(size_t bytes)
{
    void *at = mmap(NULL, bytes, RW, ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

/* Touches so much memory that, under a budget, what was touched before has to go. */
static void press(void)
{
    char *at = get(PRESSURE_BYTES);
    fill(at, PRESSURE_BYTES, 77);
    CHECK_EQUAL(munmap(at, PRESSURE_BYTES), 0);
}

/* Can the kernel read (write) a byte there? It answers EFAULT where a touch of ours would end the program. */
static int probe[2];

static bool readable(const void *at)
{
    char byte;
    return write(probe[1], at, 1) == 1 && read(probe[0], &byte, 1) == 1;
}

/* Writes the byte that is there already. */
static bool writable(void *at)
{
    char byte = 0;
    if (readable(at)) {
        byte = *(volatile char *)at;
    }
    CHECK_EQUAL(write(probe[1], &byte, 1), 1);
    if (read(probe[0], at, 1) == 1) {
        return true;
    }
    CHECK_EQUAL(read(probe[0], &byte, 1), 1);
    return false;
}

/* A file of `pages` pages filled from `seed`, without a name. */
static int make_file(size_t pages, uint64_t seed)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    for (size_t i = 0; i < pages; i++) {
        uint64_t page[PAGE / 8];
        fill_page(page, seed + i);
        REQUIRE(write(fd, page, PAGE) == (ssize_t)PAGE);
    }
    return fd;
}

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

TEST(reserve_then_commit_piece_by_piece)
{
    char *at = mmap(NULL, 256 * MIB, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    for (size_t i = 0; i < 16; i++) {
        char *piece = at + i * 16 * MIB;
        CHECK(!readable(piece));
        CHECK_EQUAL(mprotect(piece, MIB, RW), 0);
        fill(piece, MIB, i * 1000);
    }
    press();
    for (size_t i = 0; i < 16; i++) {
        CHECK_EQUAL(wrong(at + i * 16 * MIB, MIB, i * 1000), 0);
        CHECK(!readable(at + i * 16 * MIB + MIB));
    }
    CHECK_EQUAL(munmap(at, 256 * MIB), 0);
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

TEST(wrong_arguments_of_mprotect)
{
    char *at = get(MIB);
    CHECK_EQUAL(mprotect(at + 1, PAGE, PROT_READ), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(mprotect(at, 0, PROT_READ), 0);
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

/* ---- madvise */

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

/* ---- mremap */

TEST(mremap_shrinks_in_place)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 90);
    CHECK(mremap(at, 8 * MIB, 3 * MIB, 0) == at);
    CHECK(!readable(at + 3 * MIB));
    CHECK_EQUAL(wrong(at, 3 * MIB, 90), 0);
    CHECK_EQUAL(munmap(at, 3 * MIB), 0);
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

TEST(reservations_larger_than_any_memory)
{
    char *at = mmap(NULL, (size_t)20 << 40, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    CHECK_EQUAL(mprotect(at + ((size_t)5 << 40), MIB, RW), 0);
    fill(at + ((size_t)5 << 40), MIB, 98);
    CHECK_EQUAL(wrong(at + ((size_t)5 << 40), MIB, 98), 0);
    CHECK_EQUAL(munmap(at, (size_t)20 << 40), 0);
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

/* ---- fork and its relatives */

#define FORK_BYTES (40 * MIB)

static int wait_for(pid_t child)
{
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

TEST(parent_and_child_keep_their_own_memory)
{
    char *at = get(FORK_BYTES);
    fill(at, FORK_BYTES, 200);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        size_t bad = wrong(at, FORK_BYTES, 200);
        fill(at, FORK_BYTES / 2, 300);
        bad += wrong(at, FORK_BYTES / 2, 300);
        bad += wrong(at + FORK_BYTES / 2, FORK_BYTES / 2, 200 + FORK_BYTES / 2 / PAGE);
        _exit(bad ? 1 : 0);
    }
    fill(at + FORK_BYTES / 2, FORK_BYTES / 2, 400);
    CHECK_EQUAL(wrong(at, FORK_BYTES / 2, 200), 0);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, FORK_BYTES / 2, 200), 0);
    CHECK_EQUAL(wrong(at + FORK_BYTES / 2, FORK_BYTES / 2, 400), 0);
    CHECK_EQUAL(munmap(at, FORK_BYTES), 0);
}

TEST(grandchildren_see_the_memory_of_their_time)
{
    char *at = get(16 * MIB);
    fill(at, 16 * MIB, 210);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        size_t bad = wrong(at, 16 * MIB, 210);
        fill(at, 8 * MIB, 211);
        pid_t grandchild = fork();
        if (!grandchild) {
            press();
            bad += wrong(at, 8 * MIB, 211) + wrong(at + 8 * MIB, 8 * MIB, 210 + 8 * MIB / PAGE);
            _exit(bad ? 1 : 0);
        }
        fill(at, 8 * MIB, 212);
        bad += wait_for(grandchild) != 0;
        bad += wrong(at, 8 * MIB, 212);
        _exit(bad ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 16 * MIB, 210), 0);
    CHECK_EQUAL(munmap(at, 16 * MIB), 0);
}

/* Each makes the next, down to the last; what a fork leaves behind must not add up. */
static int generation(char *at, uint64_t number)
{
    if (wrong(at, MIB, number)) {
        return 1;
    }
    if (number == 40) {
        return 0;
    }
    pid_t child = fork();
    if (child < 0) {
        return 1;
    }
    if (!child) {
        fill(at, MIB, number + 1);
        _exit(generation(at, number + 1));
    }
    int status = -1;
    return waitpid(child, &status, 0) != child || status != 0 || wrong(at, MIB, number);
}

TEST(forty_generations)
{
    char *at = get(MIB);
    fill(at, MIB, 0);
    CHECK_EQUAL(generation(at, 0), 0);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

static void *keep_writing(void *argument)
{
    uint32_t *stop = argument;
    char *at = get(24 * MIB);
    for (uint64_t round = 0; !atomic_read_acquire(stop); round++) {
        fill(at, 24 * MIB, round);
        CHECK_EQUAL(wrong(at, 24 * MIB, round), 0);
    }
    CHECK_EQUAL(munmap(at, 24 * MIB), 0);
    return NULL;
}

TEST(fork_while_other_threads_work)
{
    pthread_t threads[2];
    uint32_t stop = 0;
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 220);
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, keep_writing, &stop) == 0);
    }
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (!child) {
            char *more = get(4 * MIB);
            fill(more, 4 * MIB, 221);
            _exit(wrong(at, 8 * MIB, 220) || wrong(more, 4 * MIB, 221) ? 1 : 0);
        }
        CHECK_EQUAL(wait_for(child), 0);
    }
    atomic_set_release(&stop, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(wrong(at, 8 * MIB, 220), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

static void *fork_often(void *argument)
{
    char *at = argument;
    for (int i = 0; i < 6; i++) {
        pid_t child = fork();
        if (!child) {
            _exit(wrong(at, MIB, 230) ? 1 : 0);
        }
        CHECK(child > 0);
        CHECK_EQUAL(wait_for(child), 0);
    }
    return NULL;
}

TEST(several_threads_fork_at_once)
{
    pthread_t threads[4];
    char *at = get(MIB);
    fill(at, MIB, 230);
    for (int i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, fork_often, at) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(munmap(at, MIB), 0);
}

static int prepared, in_parent_handler, in_child_handler;
static char *handler_memory;

static void prepare_handler(void)
{
    prepared += handler_memory && !wrong(handler_memory, MIB, 240);
}

static void parent_handler(void)
{
    in_parent_handler += handler_memory && !wrong(handler_memory, MIB, 240);
}

static void child_handler(void)
{
    in_child_handler += handler_memory && !wrong(handler_memory, MIB, 240);
}

TEST(atfork_handlers_see_all_memory)
{
    handler_memory = get(MIB);
    fill(handler_memory, MIB, 240);
    REQUIRE(pthread_atfork(prepare_handler, parent_handler, child_handler) == 0);
    press();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        _exit(in_child_handler == 1 ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(prepared, 1);
    CHECK_EQUAL(in_parent_handler, 1);
    CHECK_EQUAL(munmap(handler_memory, MIB), 0);
    handler_memory = NULL;
}

TEST(fork_leaves_signals_as_they_were)
{
    sigset_t before, after;
    struct sigaction old = {0};
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    sigaction(SIGSYS, NULL, &old);
    bool same = sigismember(&after, SIGUSR1) == 1 && !sigismember(&after, SIGUSR2) &&
                !sigismember(&after, SIGSYS) && old.sa_handler == SIG_DFL;
    if (!child) {
        _exit(same ? 0 : 1);
    }
    CHECK(same);
    CHECK_EQUAL(wait_for(child), 0);
    sigemptyset(&before);
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

TEST(child_has_the_parents_descriptors_and_no_others)
{
    int pipe_ends[2];
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        int next = dup(0);
        _exit(write(pipe_ends[1], &next, sizeof next) == sizeof next ? 0 : 1);
    }
    int next = dup(0), in_child = -1;
    close(pipe_ends[1]);
    CHECK_EQUAL(read(pipe_ends[0], &in_child, sizeof in_child), sizeof in_child);
    CHECK_EQUAL(in_child, next);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(read(pipe_ends[0], &in_child, 1), 0); /* nobody else holds the other end */
    close(pipe_ends[0]);
    close(next);
}

TEST(closing_all_descriptors_does_no_harm)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 250);
    press();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        press();
        syscall(SYS_close_range, 3, ~0u, 0);
        _exit(wrong(at, 8 * MIB, 250) ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

TEST(vfork_and_exec)
{
    static char *const words[] = {"true", NULL};
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 260);
    pid_t child = vfork();
    REQUIRE(child >= 0);
    if (!child) {
        execv("/bin/true", words);
        _exit(127);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 260), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(posix_spawn_system_and_popen)
{
    static char *words[] = {"true", NULL};
    pid_t child;
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 270);
    press();
    REQUIRE(posix_spawn(&child, "/bin/true", NULL, NULL, words, environ) == 0);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(WEXITSTATUS(system("exit 7")), 7);
    FILE *output = popen("echo 12345", "r");
    REQUIRE(output);
    char line[16] = "";
    CHECK(fgets(line, sizeof line, output) == line);
    CHECK_EQUAL(atoi(line), 12345);
    CHECK_EQUAL(pclose(output), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 270), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(stdio_and_malloc_work_in_the_child)
{
    FILE *file = tmpfile();
    REQUIRE(file);
    char *text = malloc(MIB);
    memset(text, 'x', MIB);
    CHECK_EQUAL(fwrite(text, 1, 1000, file), 1000);
    press();
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        char *more = malloc(3 * MIB);
        memset(more, 'y', 3 * MIB);
        bool good =
            fprintf(file, "%s", "child") == 5 && !fflush(file) && text[MIB - 1] == 'x' && more[5] == 'y';
        free(more);
        free(text);
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(text[12345], 'x');
    free(text);
    fclose(file);
}

TEST(daemon_lives_on_with_its_memory)
{
    int pipe_ends[2];
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 280);
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        char good = 'n';
        if (daemon(1, 1) == 0) {
            press();
            good = wrong(at, 4 * MIB, 280) ? 'n' : 'y';
        }
        _exit(write(pipe_ends[1], &good, 1) == 1 ? 0 : 1);
    }
    close(pipe_ends[1]);
    char good = 0;
    CHECK_EQUAL(read(pipe_ends[0], &good, 1), 1);
    CHECK_EQUAL(good, 'y');
    CHECK_EQUAL(wait_for(child), 0);
    close(pipe_ends[0]);
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
    REQUIRE(pipe(probe) == 0);
    RUN(forty_generations);
    RUN(new_memory_is_zero_also_where_memory_was_before);
    RUN(memory_under_pressure_keeps_its_content);
    RUN(munmap_of_a_part_leaves_the_rest);
    RUN(munmap_of_single_pages_everywhere);
    RUN(wrong_arguments_of_mmap_and_munmap);
    RUN(map_fixed_replaces_content);
    RUN(reserve_then_commit_piece_by_piece);
    RUN(reservations_larger_than_any_memory);
    RUN(protection_holds_also_for_pages_that_were_out);
    RUN(wrong_arguments_of_mprotect);
    RUN(code_runs_from_new_memory);
    RUN(dontneed_drops_content);
    RUN(free_leaves_old_content_or_zeros);
    RUN(advice_keeps_content);
    RUN(wrong_arguments_of_madvise);
    RUN(mremap_shrinks_in_place);
    RUN(mremap_grows_and_moves_with_content);
    RUN(mremap_without_maymove_stays_or_fails);
    RUN(mremap_to_a_fixed_place);
    RUN(mremap_keeps_the_protection);
    RUN(wrong_arguments_of_mremap);
    RUN(a_file_mapped_over_memory);
    RUN(shared_memory_over_memory_is_shared);
    RUN(a_file_mapped_over_a_reservation_fails_cleanly);
    RUN(the_kernel_reads_and_writes_pages_that_are_out);
    RUN(parent_and_child_keep_their_own_memory);
    RUN(grandchildren_see_the_memory_of_their_time);
    RUN(fork_while_other_threads_work);
    RUN(several_threads_fork_at_once);
    RUN(atfork_handlers_see_all_memory);
    RUN(fork_leaves_signals_as_they_were);
    RUN(child_has_the_parents_descriptors_and_no_others);
    RUN(closing_all_descriptors_does_no_harm);
    RUN(vfork_and_exec);
    RUN(posix_spawn_system_and_popen);
    RUN(stdio_and_malloc_work_in_the_child);
    RUN(daemon_lives_on_with_its_memory);
    RUN(many_threads_map_and_unmap);
    RUN(signal_handlers_may_map_memory);
    return harness_finish();
}
