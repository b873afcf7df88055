/* SPDX-License-Identifier: MIT */
/* What the programs of bench/ share: clocks, pinned threads, page images. Each stops the program with a message if it fails. */
#ifndef UZSWAP_BENCH_MEASURE_H
#define UZSWAP_BENCH_MEASURE_H

#include "base/types.h"

_Noreturn void die(const char *what);

uint64_t now_ns(void);

/* How long the calling thread has waited, ready to run, for a CPU that others had; always 0 where the kernel does not say. */
uint64_t waited_ns(void);

/* To the nth of the CPUs that the program may use. */
void pin_to_cpu(unsigned n);

unsigned number_of(const char *text, unsigned most);

/* Sorts them. */
double median_of(double *values, unsigned count);

/* `count` numbers from `first` on, in random order. */
void fill_shuffled(uint32_t *numbers, size_t first, size_t count, uint64_t *seed);

/* The pages of some files of raw pages, but none that repeats one word: of such a page a cache compresses nothing. From the
 * beginning again until there are `count`. */
unsigned char *read_page_images(char **paths, size_t files, size_t count);

#endif
