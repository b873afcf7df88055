/* SPDX-License-Identifier: MIT */
/* What bench/mappings.py runs, with and without uzswap: the mean of each call that changes mappings, in ns, as JSON: the
 * time that passes, and the CPU time of all threads of the process. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
#define PAGES 16 /* the least that is managed */
#define BYTES ((size_t)PAGES * PAGE)
#define RW (PROT_READ | PROT_WRITE)

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(int failed, const char *what)
{
    if (failed) {
        perror(what);
        exit(1);
    }
}

static char *map(void)
{
    char *at = mmap(NULL, BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at == MAP_FAILED, "mmap");
    return at;
}

static void touch(char *at, unsigned pages)
{
    for (unsigned i = 0; i < pages; i++) {
        at[i * PAGE] = 1;
    }
}

static char *area; /* of the calls that do not make one */

static void map_unmap(void)
{
    must(munmap(map(), BYTES), "munmap");
}

static void map_touch_unmap(void)
{
    char *at = map();
    touch(at, PAGES);
    must(munmap(at, BYTES), "munmap");
}

static void protect(void)
{
    must(mprotect(area, BYTES, PROT_READ), "mprotect");
    must(mprotect(area, BYTES, RW), "mprotect");
}

static void protect_part(void)
{
    must(mprotect(area + BYTES / 2, BYTES / 4, PROT_NONE), "mprotect");
    must(mprotect(area + BYTES / 2, BYTES / 4, RW), "mprotect");
}

static void discard(void)
{
    touch(area, 1);
    must(madvise(area, BYTES, MADV_DONTNEED), "madvise");
}

static void discard_nothing(void)
{
    must(madvise(area + BYTES / 2, BYTES / 2, MADV_DONTNEED), "madvise");
}

static const struct {
    const char *name;
    void (*run)(void);
} operations[] = {
    {"mmap, munmap", map_unmap},
    {"mmap, 16 touches, munmap", map_touch_unmap},
    {"mprotect of all, there and back", protect},
    {"mprotect of a part, there and back", protect_part},
    {"one touch, MADV_DONTNEED", discard},
    {"MADV_DONTNEED of nothing", discard_nothing},
};
#define OPERATIONS (sizeof operations / sizeof operations[0])

int main(int argc, char *argv[])
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
    area = map();
    touch(area, PAGES / 2);
    printf("{");
    for (size_t i = 0; i < OPERATIONS; i++) {
        uint64_t start = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned n = 0; n < rounds; n++) {
            operations[i].run();
        }
        double passed = (double)(now_ns(CLOCK_MONOTONIC) - start) / rounds;
        double used = (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / rounds;
        printf("%s\"%s\": [%.1f, %.1f]", i ? ", " : "", operations[i].name, passed, used);
    }
    printf("}\n");
    return 0;
}
