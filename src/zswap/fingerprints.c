/* SPDX-License-Identifier: MIT */
#include "zswap/fingerprints.h"

#include "base/atomic.h"

#define BUCKET_SLOTS 8u
#define BUCKET_BITS_MIN 6u /* one page */

_Static_assert(BUCKET_SLOTS == 1u << (64 - 61), "fingerprints_note picks one");

static uint64_t slots_of(uint32_t bucket_bits)
{
    return (uint64_t)BUCKET_SLOTS << bucket_bits;
}

/* More than three pages for four slots, and a bucket of eight would often be too small. */
static bool is_small(uint32_t bucket_bits, uint64_t pages)
{
    return pages > slots_of(bucket_bits) / 4 * 3;
}

int fingerprints_init(struct fingerprints *f, struct memory *memory, uint64_t pages)
{
    *f = (struct fingerprints){.bucket_bits = BUCKET_BITS_MIN, .bucket_bits_max = BUCKET_BITS_MIN};
    while (is_small(f->bucket_bits_max, pages)) {
        f->bucket_bits_max++;
    }
    return sparse_init(&f->slots, memory, slots_of(f->bucket_bits_max), sizeof(uint64_t), ACCOUNT_TABLES);
}

void fingerprints_destroy(struct fingerprints *f)
{
    sparse_destroy(&f->slots);
}

static uint64_t tag_of(uint64_t hash)
{
    return hash >> BUCKET_BITS_MIN & ((1ull << (64 - FINGERPRINT_OWNER_BITS)) - 1);
}

static uint64_t slot_tag(uint64_t slot)
{
    return slot >> FINGERPRINT_OWNER_BITS;
}

/* The first slot of the hash's bucket. */
static uint64_t bucket_of(uint64_t hash, uint32_t bucket_bits)
{
    return (hash & ((1ull << bucket_bits) - 1)) * BUCKET_SLOTS;
}

/* The slot with the hash's tag, NULL if there is none. */
static uint64_t *find_in(const struct fingerprints *f, uint64_t first, uint64_t hash, uint64_t *found)
{
    uint64_t *slots = sparse_get(&f->slots, first);
    for (unsigned i = 0; slots && i < BUCKET_SLOTS; i++) {
        *found = atomic_read_relaxed(&slots[i]);
        if (*found && slot_tag(*found) == tag_of(hash)) {
            return &slots[i];
        }
    }
    return NULL;
}

bool fingerprints_find(const struct fingerprints *f, uint64_t hash, uint64_t *owner)
{
    uint32_t bits = atomic_read_relaxed(&f->bucket_bits);
    uint64_t found, first = bucket_of(hash, bits), before = bucket_of(hash, bits - 1);
    /* Where it was before the table doubled. */
    if (!find_in(f, first, hash, &found) &&
        (bits == BUCKET_BITS_MIN || before == first || !find_in(f, before, hash, &found))) {
        return false;
    }
    *owner = found & ((1ull << FINGERPRINT_OWNER_BITS) - 1);
    return true;
}

/* An empty slot of the bucket, NULL if there is none. */
static uint64_t *find_empty(uint64_t *slots)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (!atomic_read_relaxed(&slots[i])) {
            return &slots[i];
        }
    }
    return NULL;
}

/* The table has doubled: what the bucket in its lower half has of the one in its upper half goes there, as far as
 * there is room. */
static void split(struct fingerprints *f, uint64_t hash, uint32_t bits)
{
    uint64_t upper = 1ull << (bits - 1);
    uint64_t *from = sparse_get(&f->slots, bucket_of(hash & ~upper, bits));
    uint64_t *to = sparse_get_for_write(&f->slots, bucket_of(hash | upper, bits)), *empty;
    for (unsigned i = 0; from && to && i < BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_read_relaxed(&from[i]);
        if (slot_tag(slot) & tag_of(upper) && (empty = find_empty(to)) != NULL) {
            atomic_set_relaxed(empty, slot);
            atomic_set_relaxed(&from[i], 0);
        }
    }
}

void fingerprints_note(struct fingerprints *f, uint64_t hash, uint64_t owner)
{
    uint32_t bits = atomic_read_relaxed(&f->bucket_bits);
    uint64_t found, first = bucket_of(hash, bits);
    uint64_t *slots = sparse_get_for_write(&f->slots, first);
    if (!slots) {
        return;
    }
    if (bits > BUCKET_BITS_MIN) {
        split(f, hash, bits);
    }
    uint64_t *slot = find_in(f, first, hash, &found);
    if (!slot) {
        slot = find_empty(slots);
    }
    if (!slot) {
        slot = &slots[hash >> 61]; /* any of them: bits that nothing else looks at */
    }
    atomic_set_relaxed(slot, tag_of(hash) << FINGERPRINT_OWNER_BITS | owner);
}

void fingerprints_grow(struct fingerprints *f, uint64_t pages)
{
    uint32_t bits = atomic_read_relaxed(&f->bucket_bits);
    if (bits < f->bucket_bits_max && is_small(bits, pages)) {
        atomic_cas_relaxed(&f->bucket_bits, &bits, bits + 1);
    }
}
