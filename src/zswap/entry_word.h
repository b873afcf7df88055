/* SPDX-License-Identifier: MIT */
/*
 * An entry is one 64-bit word in the index: the index slot is the entry.
 *
 *    63                    25 24       13 12  11 10      4    3     2    1  0
 *   +------------------------+-----------+------+---------+-----+-----+------+
 *   | name                39 | bytes-1 12|format|holders 7| REF | WB  | kind |   POOL, DEVICE
 *   +------------------------+-----------+------+---------+-----+-----+------+
 *   | value                                          61         |repeat| kind|   FILLED
 *   +-----------------------------------------------------------+-----+------+
 *
 *   kind      EMPTY, POOL (name = the pool's handle), DEVICE (name = the first device slot), FILLED
 *   WB        POOL only: a writeback holds the entry; one at a time
 *   REF       POOL only: loaded since it was stored or last passed over by the shrinker
 *   holders   how many loads are reading the object
 *   format    what the bytes are (codec_format, or ENTRY_FORMAT_FILL8)
 *             A POOL word of ENTRY_FORMAT_FILL8 and ENTRY_REFERENCE_BYTES names no object of the pool, but a reference to one
 *             that several entries share (dedup.h)
 *   bytes     length of the object, 1 .. 4096; 4096 = the page as it is
 *   value     FILLED: the repeated word, sign-extended from 61 bits; with `repeat`, 32 bits given twice
 *
 * The *content* of an entry is its word without WB, REF and holders: which object it is. Two words with the
 * same content name the same object, since an object is not freed while anybody holds it.
 */
#ifndef UZSWAP_ZSWAP_ENTRY_WORD_H
#define UZSWAP_ZSWAP_ENTRY_WORD_H

#include "base/types.h"
#include "pool/pool.h"

enum entry_kind { ENTRY_EMPTY, ENTRY_POOL, ENTRY_DEVICE, ENTRY_FILLED };

#define ENTRY_KIND_MASK 3ull
#define ENTRY_WB (1ull << 2)
#define ENTRY_REF (1ull << 3)
#define ENTRY_HOLDERS_SHIFT 4
/* Loads of one entry at one time; more wait for one of them to end. Fewer bits only to test that. */
#ifndef ENTRY_HOLDERS_BITS
#define ENTRY_HOLDERS_BITS 7
#endif
#define ENTRY_HOLDERS_MAX ((1ull << ENTRY_HOLDERS_BITS) - 1)
#define ENTRY_HOLDERS_ONE (1ull << ENTRY_HOLDERS_SHIFT)
#define ENTRY_HOLDERS_MASK (ENTRY_HOLDERS_MAX << ENTRY_HOLDERS_SHIFT)
#define ENTRY_FORMAT_SHIFT 11
#define ENTRY_FORMAT_MASK 3ull
#define ENTRY_BYTES_SHIFT 13
#define ENTRY_BYTES_MASK 0xfffull
#define ENTRY_NAME_SHIFT 25
#define ENTRY_NAME_BITS 39

/* The object is one 8-byte word that fills the page, too wide for a FILLED entry. */
#define ENTRY_FORMAT_FILL8 3u

/* The length that makes such a word a reference. */
#define ENTRY_REFERENCE_BYTES 4u

/* An empty slot whose index page is being given back: stores wait, everybody else sees EMPTY. */
#define ENTRY_FROZEN (1ull << 2)

/* No word, but an answer: as many hold the entry as can. */
#define ENTRY_BUSY (1ull << 3)

_Static_assert(ENTRY_HOLDERS_SHIFT + ENTRY_HOLDERS_BITS <= ENTRY_FORMAT_SHIFT, "the count fits");
_Static_assert(ENTRY_NAME_SHIFT + ENTRY_NAME_BITS == 64, "the fields fill the word");
_Static_assert(POOL_HANDLE_BITS <= ENTRY_NAME_BITS, "a handle fits");

static inline enum entry_kind entry_kind(uint64_t word)
{
    return (enum entry_kind)(word & ENTRY_KIND_MASK);
}

static inline bool entry_is_object(uint64_t word)
{
    return entry_kind(word) == ENTRY_POOL || entry_kind(word) == ENTRY_DEVICE;
}

static inline uint64_t entry_make(enum entry_kind kind, uint64_t name, size_t bytes, unsigned format)
{
    return name << ENTRY_NAME_SHIFT | (uint64_t)(bytes - 1) << ENTRY_BYTES_SHIFT |
           (uint64_t)format << ENTRY_FORMAT_SHIFT | (uint64_t)kind;
}

static inline uint64_t entry_name(uint64_t word)
{
    return word >> ENTRY_NAME_SHIFT;
}

static inline size_t entry_bytes(uint64_t word)
{
    return (size_t)(word >> ENTRY_BYTES_SHIFT & ENTRY_BYTES_MASK) + 1;
}

static inline unsigned entry_format(uint64_t word)
{
    return (unsigned)(word >> ENTRY_FORMAT_SHIFT & ENTRY_FORMAT_MASK);
}

/* Does it name a reference? Looks at kind, format and length at once. */
static inline bool entry_is_reference(uint64_t word)
{
    uint64_t mask =
        ENTRY_KIND_MASK | ENTRY_FORMAT_MASK << ENTRY_FORMAT_SHIFT | ENTRY_BYTES_MASK << ENTRY_BYTES_SHIFT;
    return (word & mask) == entry_make(ENTRY_POOL, 0, ENTRY_REFERENCE_BYTES, ENTRY_FORMAT_FILL8);
}

static inline unsigned entry_holders(uint64_t word)
{
    return (unsigned)(word >> ENTRY_HOLDERS_SHIFT & ENTRY_HOLDERS_MAX);
}

static inline uint64_t entry_content(uint64_t word)
{
    return entry_is_object(word) ? word & ~(ENTRY_HOLDERS_MASK | ENTRY_WB | ENTRY_REF) : word;
}

#endif
