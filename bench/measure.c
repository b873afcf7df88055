/* SPDX-License-Identifier: MIT */
#include "bench/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "zswap/same_filled.h"

_Noreturn void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t waited_ns(void)
{
    char text[100];
    int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) {
        close(file);
    }
    if (bytes <= 0) {
        return 0;
    }
    text[bytes] = 0;
    char *second;
    strtoull(text, &second, 10); /* the first is how long it has run */
    return strtoull(second, NULL, 10);
}

void pin_to_cpu(unsigned n)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed)) {
        return;
    }
    for (unsigned cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && seen++ == n) {
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

unsigned number_of(const char *text, unsigned most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || !n || n > most) {
        die("a number is expected, and not so large");
    }
    return (unsigned)n;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median_of(double *values, unsigned count)
{
    qsort(values, count, sizeof values[0], compare_doubles);
    return values[count / 2];
}

static uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

void fill_shuffled(uint32_t *numbers, size_t first, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        size_t other = random_number(seed) % (i + 1);
        numbers[i] = numbers[other];
        numbers[other] = (uint32_t)(first + i);
    }
}

static const unsigned char *map_file(const char *path, size_t *pages)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status)) {
        die("cannot open the page images");
    }
    *pages = (size_t)status.st_size / PAGE_BYTES;
    const void *at = *pages ? mmap(NULL, *pages * PAGE_BYTES, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    if (at == MAP_FAILED) {
        die("cannot map the page images");
    }
    close(file);
    return at;
}

unsigned char *read_page_images(char **paths, size_t files, size_t count)
{
    unsigned char *to =
        mmap(NULL, count * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (to == MAP_FAILED) {
        die("no memory");
    }
    size_t taken = 0;
    for (size_t f = 0; f < files && taken < count; f++) {
        size_t pages;
        const unsigned char *from = map_file(paths[f], &pages);
        for (size_t i = 0; i < pages && taken < count; i++) {
            uint64_t value;
            if (!same_filled(from + i * PAGE_BYTES, &value)) {
                memcpy(to + taken++ * PAGE_BYTES, from + i * PAGE_BYTES, PAGE_BYTES);
            }
        }
        munmap((void *)from, pages * PAGE_BYTES);
    }
    if (!taken) {
        die("no page there that needs compression");
    }
    for (size_t i = taken; i < count; i++) {
        memcpy(to + i * PAGE_BYTES, to + (i - taken) * PAGE_BYTES, PAGE_BYTES);
    }
    return to;
}
