/* SPDX-License-Identifier: MIT */
/*
 * What the programs that use their memory in every way there is have in common. They know nothing of uzswap: each
 * must pass as it is, and with libuzswap-preload under it and a budget that is a fraction of the memory it touches
 * (PRESSURE_BYTES). preload_maps.sh runs them both ways.
 */
#ifndef UZSWAP_TESTS_E2E_MAPS_H
#define UZSWAP_TESTS_E2E_MAPS_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define PRESSURE_BYTES (64 * MIB)

/* Page i of a pattern: different on each page, not all one byte, and half of it hard to compress. */
static inline void fill_page(uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        page[i] = i % 2 ? harness_random(&state) : seed;
    }
}

static inline bool page_is(const uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        if (page[i] != (i % 2 ? harness_random(&state) : seed)) {
            return false;
        }
    }
    return true;
}

static inline void fill(void *at, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes / PAGE; i++) {
        fill_page((uint64_t *)((char *)at + i * PAGE), seed + i);
    }
}

/* How many pages are not as they were filled. */
static inline size_t wrong(const void *at, size_t bytes, uint64_t seed)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes / PAGE; i++) {
        count += !page_is((const uint64_t *)((const char *)at + i * PAGE), seed + i);
    }
    return count;
}

static inline bool is_zero(const void *at, size_t bytes)
{
    const uint64_t *word = at;
    for (size_t i = 0; i < bytes / 8; i++) {
        if (word[i]) {
            return false;
        }
    }
    return true;
}

static inline void *get(size_t bytes)
{
    void *at = mmap(NULL, bytes, RW, ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

/* Touches so much memory that, under a budget, what was touched before has to go. */
static inline void press(void)
{
    char *at = get(PRESSURE_BYTES);
    fill(at, PRESSURE_BYTES, 77);
    CHECK_EQUAL(munmap(at, PRESSURE_BYTES), 0);
}

/* Can the kernel read (write) a byte there? It answers EFAULT where a touch of ours would end the program. */
static int probe[2];

static inline bool readable(const void *at)
{
    char byte;
    return write(probe[1], at, 1) == 1 && read(probe[0], &byte, 1) == 1;
}

/* Writes the byte that is there already. */
static inline bool writable(void *at)
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
static inline int make_file(size_t pages, uint64_t seed)
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

static inline int wait_for(pid_t child)
{
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

/* Before the first test. */
static inline void begin(void)
{
    REQUIRE(pipe(probe) == 0);
}

#endif
