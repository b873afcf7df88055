/* SPDX-License-Identifier: MIT */
/*
 * What is put into pools to measure them: the pages of an image, compressed as the cache does it (same-filled pages left
 * out, pages that do not shrink kept whole), one after the other in memory of their own that is filled before
 * anything is measured.
 */
#ifndef UZSWAP_BENCH_OBJECTS_H
#define UZSWAP_BENCH_OBJECTS_H

#include "codec/codec.h"
#include "tests/support/page_image.h"

struct object {
    uint64_t at; /* in the objects' bytes */
    uint32_t bytes;
};

struct objects {
    unsigned char *bytes;
    struct object *list;
    size_t count, room; /* of the list */
    size_t payload;     /* bytes in all */
    size_t pages, same_filled, raw;
};

/* None yet, and room for so many. */
void objects_create(struct objects *o, size_t room);

/* Adds the pages of an image; false if the compressor fails. */
bool objects_add_image(struct objects *o, const struct page_image *image, const struct codec *codec);

/* Adds `n` objects of 64 to 3500 bytes of noise: a triangular distribution, most often 936, mean 1500. */
void objects_add_synthetic(struct objects *o, size_t n, uint64_t *seed);

static inline const void *object_bytes(const struct objects *o, size_t number)
{
    return o->bytes + o->list[number].at;
}

#endif
