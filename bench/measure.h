/* SPDX-License-Identifier: MIT */
/* What the programs of bench/ share: clocks, pinned threads, memory, page images. Each ends the program with a message if it fails. */
#ifndef UZSWAP_BENCH_MEASURE_H
#define UZSWAP_BENCH_MEASURE_H

#include <string.h>

#include "bench/program.h"
#include "codec/codec.h"
#include "tests/support/page_image.h"

uint64_t now_ns(void);

/* How long the calling thread has run: others may use the machine. */
uint64_t thread_ns(void);

/* How long the calling thread has waited, ready to run, for a CPU that others had; always 0 where the kernel does not say. */
uint64_t waited_ns(void);

/* To the nth of the CPUs that the program may use. */
void pin_to_cpu(unsigned n);

/* Zeroed memory; if it is not touched now, pages come as they are used. */
void *map_memory(size_t bytes, bool touch);

/* Ends the program if there is an error, negative, of `verb` for page `page`. */
static inline void must(int error, const char *verb, uint64_t page)
{
    if (unlikely(error < 0)) {
        die("%s of page %llu: %s", verb, (unsigned long long)page, strerror(-error));
    }
}

struct codec codec_named(const char *name);

/* Of whole pages, and not empty. */
struct page_image open_page_image(const char *path);

/* Sorts them. */
double median_of(double *values, unsigned count);

/* The next of a sequence, of 48 bits. The state is not 0. */
static inline uint64_t random_number(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull >> 16;
}

/* `count` numbers from `first` on, in random order. */
void fill_shuffled(uint32_t *numbers, size_t first, size_t count, uint64_t *seed);

/* The pages of some files of raw pages, but none that repeats one word: of such a page a cache compresses nothing. From the
 * beginning again until there are `count`. */
unsigned char *read_page_images(char **paths, size_t files, size_t count);

#endif
