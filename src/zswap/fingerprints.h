/* SPDX-License-Identifier: MIT */
/*
 * Where a page of the same content may be: a table from hashes of pages to owners (entries, or shared objects),
 * that forgets.
 *
 *   hash   |      ...      |  tag 26           | 6 |        bucket   the hash's lowest 6 bits, and as many more as the table's size wants
 *   slot   |  tag 26 | owner 38               |            slot     0 = empty; 8 to a bucket, which is a cache line
 *
 * Only a hint, and so only relaxed atomics: a slot may be out of date, or another content's whose tag is the same, and
 * whoever follows it compares the pages. Nothing is ever taken out: what is no longer true is found out by who
 * follows it, and goes when its place is wanted. A full bucket loses one of its slots to the next page.
 *
 * The table begins with one page of memory and doubles as pages are stored, to 1.3 to 2.7 slots a page, up to a
 * bound. Then what a bucket holds belongs half there and half in a new one, as the tag tells: it is found in
 * either, and taken over by the next to note something there. So there is no moment at which all of it is moved.
 * Without memory nothing is noted.
 *
 * The larger the table, the fewer bits of the tag are not in the bucket's number already: with a million slots two
 * pages look alike in one of 2,000 lookups that should find nothing, with a hundred million in one of 16.
 */
#ifndef UZSWAP_ZSWAP_FINGERPRINTS_H
#define UZSWAP_ZSWAP_FINGERPRINTS_H

#include "base/sparse.h"

#define FINGERPRINT_OWNER_BITS 38

struct fingerprints {
    struct sparse slots;  /* uint64_t each; atomic, relaxed */
    uint32_t bucket_bits; /* buckets in use: 2 ^ this; atomic, relaxed, only grows */
    uint32_t bucket_bits_max;
};

/* A table that grows to as many slots as `pages` pages want. 0, -EINVAL or -ENOMEM. */
int fingerprints_init(struct fingerprints *f, struct memory *memory, uint64_t pages);
void fingerprints_destroy(struct fingerprints *f);

/* True, and who may have a page with this hash. */
bool fingerprints_find(const struct fingerprints *f, uint64_t hash, uint64_t *owner);

/* `owner` has a page with this hash; forgets who had it before. */
void fingerprints_note(struct fingerprints *f, uint64_t hash, uint64_t owner);

/* Doubles the table if it is small for this many pages. */
void fingerprints_grow(struct fingerprints *f, uint64_t pages);

#endif
