/* SPDX-License-Identifier: MIT */
/*
 * Deduplication, an option: entries whose pages are equal share one object.
 *
 *   entry --> object          the first copy of a page is an entry like any other; its hash is noted (fingerprints.h)
 *
 *   entry --> reference --.
 *                          >-- shared object (shared.h)      from the second copy on
 *   entry --> reference --'
 *
 * A store hashes the page and looks up who had a page of that hash. Equality is never taken on trust: the object is
 * held, decompressed and compared. That is cheaper than to compress the page and compare the objects, and it is
 * right whatever the codec was then. If the pages are equal, the store is done, and nothing was compressed:
 *
 *   the other is an entry     its bytes are copied to a shared object. The other entry becomes a reference by the swap that
 *                             compaction uses; if it has changed meanwhile, the shared object has one user only.
 *   the other is shared       its count is raised before it is looked at, and dropped if it is another page
 *
 * To the lifecycle a reference is an object like any other. What it costs: the hash and the lookup, for each page
 * that is not same-filled; 8 bytes of table a page (up to 2.7 times as many, fingerprints.h); 4 bytes a reference
 * and 16 a shared object. Whatever goes wrong (no memory, no number, too many readers) makes the store an ordinary
 * one.
 *
 * Writeback gives an entry of several its own copy on the device, and wins nothing in the pool until the last has
 * gone. So a reference begins with a second chance (REF), and what it weighs is its share of the object.
 *
 * A store looks at entries of other areas than its own. So that none is destroyed meanwhile, it says in its context
 * which one it visits, before it looks into the table of areas; who destroys an area takes it out of the table
 * before he looks for visitors.
 */
#ifndef UZSWAP_ZSWAP_DEDUP_H
#define UZSWAP_ZSWAP_DEDUP_H

#include "zswap/fingerprints.h"
#include "zswap/internal.h"
#include "zswap/shared.h"

struct dedup {
    struct fingerprints fingerprints;
    struct shared_tables tables;
};

/* 0 or -ENOMEM. */
int dedup_create(struct zswap *z);
void dedup_destroy(struct zswap *z);

/* What fingerprints are looked up by. */
uint64_t dedup_hash(const void *page);

/* Is there a page like this one, that `entry` can share? True and the entry's word. */
bool dedup_store(struct zswap *z, struct swap_entry entry, const void *page, uint64_t hash, uint64_t *word);

/* `entry` is about to have an object of its own, of a page with this hash. */
void dedup_note(struct zswap *z, struct swap_entry entry, uint64_t hash);

/* The object that a reference, held, refers to: held as well, or ENTRY_BUSY; and the word to let go of it by. */
uint64_t dedup_try_hold(struct zswap *z, uint64_t reference, uint64_t **word);

/* The same, but waits while it is busy. Who holds a shared object waits for nobody. */
uint64_t dedup_hold(struct zswap *z, uint64_t reference, uint64_t **word);

/* A word with the length and the format of the object that `word`, held, names or refers to. */
uint64_t dedup_object(const struct zswap *z, uint64_t word);

/* What leaves the pool when the entry `word`, held, does; on the average of those who share an object. */
size_t dedup_weight(const struct zswap *z, uint64_t word);

/* The reference is ended: nobody holds it any more. */
void dedup_release(struct zswap *z, uint64_t reference);

/* The word of the shared object that a pool's object has as its owner; NULL if the owner is an entry. */
uint64_t *dedup_word_of_owner(struct zswap *z, uint64_t owner);

/* Returns once no store visits the area, which was taken out of the table before. */
void dedup_forget_area(struct zswap *z, uint32_t type);

/* For zswap_get_stats: what needs the lock. */
void dedup_stats(struct zswap *z, struct zswap_stats *stats);

/* For zswap_consistent: begin, one call for each entry that is a reference, and what of it all is in the pool. */
struct dedup_survey {
    uint64_t references, bytes; /* of the entries, if none shared */
    uint64_t objects, object_bytes, incompressible;
    bool good;
};

void dedup_survey_begin(struct zswap *z, struct dedup_survey *s);
void dedup_survey_reference(struct zswap *z, uint64_t reference, struct dedup_survey *s);
bool dedup_survey_end(struct zswap *z, struct dedup_survey *s);

#endif
