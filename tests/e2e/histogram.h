/* SPDX-License-Identifier: MIT */
/*
 * Times in nanoseconds, counted in buckets that are 1/32 of their value wide: percentiles to 3 % in 16 KiB, without
 * keeping or sorting the samples. One thread writes a histogram; merge them afterwards.
 */
#ifndef UZSWAP_TESTS_HISTOGRAM_H
#define UZSWAP_TESTS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS_SHIFT 5
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEPS_SHIFT)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEPS_SHIFT + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t count, sum, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Values below HISTOGRAM_STEPS have a bucket each; above, the bucket is the power of two and the next five bits. */
static inline unsigned histogram_bucket(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS) {
        return (unsigned)ns;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    unsigned step = (unsigned)(ns >> (power - HISTOGRAM_STEPS_SHIFT)) & (HISTOGRAM_STEPS - 1);
    return (power - HISTOGRAM_STEPS_SHIFT + 1) * HISTOGRAM_STEPS + step;
}

/* The middle of a bucket. */
static inline uint64_t histogram_value(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS) {
        return bucket;
    }
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t low = (uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    h->max = ns > h->max ? ns : h->max;
    h->buckets[histogram_bucket(ns)]++;
}

static inline void histogram_merge(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    to->max = from->max > to->max ? from->max : to->max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

static inline uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t rank = (uint64_t)((double)h->count * percent / 100), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank) {
            return histogram_value(i);
        }
    }
    return h->max;
}

static inline uint64_t histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum / h->count : 0;
}

#endif
