/* SPDX-License-Identifier: MIT */
#include "bench/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "zswap/same_filled.h"

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
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

void *map_memory(size_t bytes, bool touch)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (touch ? MAP_POPULATE : MAP_NORESERVE);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED) {
        die("no memory: %zu bytes more are needed", bytes);
    }
    return at;
}

struct codec codec_named(const char *name)
{
    struct codec codec;
    if (codec_parse(name, &codec)) {
        die("no compressor is called %s; there are %s", name, codec_list());
    }
    return codec;
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

void fill_shuffled(uint32_t *numbers, size_t first, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        size_t other = random_number(seed) % (i + 1);
        numbers[i] = numbers[other];
        numbers[other] = (uint32_t)(first + i);
    }
}

struct page_image open_page_image(const char *path)
{
    struct page_image image;
    int error = page_image_open(&image, path);
    if (error == -EINVAL) {
        die("%s: not a file of whole pages, of %zu bytes each, and at least one", path, PAGE_BYTES);
    }
    if (error) {
        die("%s: %s", path, strerror(-error));
    }
    return image;
}

unsigned char *read_page_images(char **paths, size_t files, size_t count)
{
    unsigned char *to = map_memory(count * PAGE_BYTES, false);
    size_t taken = 0;
    for (size_t f = 0; f < files; f++) {
        struct page_image image = open_page_image(paths[f]);
        for (size_t i = 0; i < image.pages && taken < count; i++) {
            const void *page = page_image_page(&image, i);
            uint64_t value;
            if (!same_filled(page, &value)) {
                memcpy(to + taken++ * PAGE_BYTES, page, PAGE_BYTES);
            }
        }
        page_image_close(&image);
    }
    if (!taken) {
        die("%s%s: no page that needs compression", paths[0], files > 1 ? " and the others" : "");
    }
    for (size_t i = taken; i < count; i++) {
        memcpy(to + i * PAGE_BYTES, to + (i - taken) * PAGE_BYTES, PAGE_BYTES);
    }
    return to;
}
