/* SPDX-License-Identifier: MIT */
/*
 * The life of an entry under concurrent store, load, exclusive load, invalidate and writeback: one
 * atomic word (entry_word.h) and one small table.
 *
 *                          store                      begin_writeback
 *           +--------+ ------------> +--------------+ ---------------> +------------------+
 *           | EMPTY  |               | POOL, n hold |                  | POOL, WB, n hold |
 *           +--------+ <------------ +--------------+ <--------------- +------------------+
 *               ^       invalidate,     ^  |            abort_writeback       |
 *               |       exclusive load  |  | hold, unhold: n + 1, n - 1       | finish_writeback
 *               |                       |  v (also while WB is set)           v
 *               |      invalidate,      store                        +----------------+
 *               +---------------------------------------------------| DEVICE, n hold |
 *                      exclusive load                                +----------------+
 *
 * Rules
 *  1. A word changes only by compare-and-swap on the whole word. Whoever swaps an object out of the word
 *     (store, invalidate, exclusive load, finish_writeback) is responsible for freeing it.
 *  2. If nobody holds it, he frees it at once. If n loads and perhaps a writeback hold it, he makes it an
 *     *orphan*: a record (content, count) in the table, and each holder, when it finds that the word no
 *     longer has its content, drops its count there; the one that drops the last frees the object.
 *  3. The swap of a held word and the birth of its orphan are one step for holders: both happen under the
 *     orphans' lock, and a holder that finds another content in the word looks for the orphan under the same
 *     lock. So it always finds it.
 *  4. An object is not freed while it is held, so its name is not given out again, so equal content means
 *     the same object: there is no ABA.
 *  5. A writeback is a holder like any other, except that there is one at most. It publishes only by a swap
 *     of a word that still has its content: what was stored or invalidated meanwhile wins. It never has to look
 *     again at anything else, and nobody waits for it.
 *
 * Both races of 2013 are gone by rule: reclaim against invalidate cannot leak (2: the writeback finds its
 * orphan and frees it), reclaim against store cannot publish old data (5).
 *
 * The table is bounded by the number of holders: every load holds one object at a time under one context (two, if
 * the first is a reference to the second), every write buffer a fixed number, a compaction one. So an orphan's
 * birth never fails.
 */
#ifndef UZSWAP_ZSWAP_LIFECYCLE_H
#define UZSWAP_ZSWAP_LIFECYCLE_H

#include "base/lock.h"
#include "base/memory.h"
#include "zswap/entry_word.h"

struct orphan;

/* Chains of orphans; one only for tests of the chain. */
#ifndef ORPHAN_BUCKETS
#define ORPHAN_BUCKETS 64
#endif

struct lifecycle {
    /* Frees the object that `content` names. Called with no lock of this module held, from any verb. */
    void (*release)(void *owner, uint64_t content);
    void *owner;
    struct memory *memory;

    struct mutex lock;                /* guards all below, and the birth of orphans */
    struct orphan *nodes;             /* `capacity` of them */
    uint32_t buckets[ORPHAN_BUCKETS]; /* chains of node numbers + 1 */
    uint32_t free;                    /* chain of free nodes, number + 1 */
    uint32_t capacity;
    uint32_t count;
};

/* `capacity`: the most holds that can exist at one time. 0 or -ENOMEM. */
int lifecycle_init(struct lifecycle *lc, struct memory *memory, uint32_t capacity,
                   void (*release)(void *owner, uint64_t content), void *owner);
void lifecycle_destroy(struct lifecycle *lc);

/*
 * Takes hold of the object in `word` for a load. Returns the word as it was seen: an object (then it is held,
 * until lifecycle_unhold or lifecycle_remove_held with this value), FILLED, or EMPTY. `mark` sets REF. ENTRY_BUSY
 * if ENTRY_HOLDERS_MAX loads of this one page are under way; never waits.
 */
uint64_t lifecycle_try_hold(uint64_t *word, bool mark);

/* The same, but waits until one of them has ended: not for a caller who has what others need. */
uint64_t lifecycle_hold(uint64_t *word, bool mark);

/* Lets go of a held object; frees it if it was removed meanwhile and this was the last hold. */
void lifecycle_unhold(struct lifecycle *lc, uint64_t *word, uint64_t held);

/* Puts `next` (an object nobody holds yet, FILLED, or EMPTY) in the place of whatever is there, which is freed
 * by the last to hold it. Returns the word that was replaced. Waits only while the slot is FROZEN. */
uint64_t lifecycle_replace(struct lifecycle *lc, uint64_t *word, uint64_t next);

/* Exclusive load: lets go of the held object and removes it, if it is still the entry. True if it was. */
bool lifecycle_remove_held(struct lifecycle *lc, uint64_t *word, uint64_t held);

/* The same for a FILLED word, which nobody holds. */
bool lifecycle_remove_filled(uint64_t *word, uint64_t seen);

/* Takes the writeback hold if the word is POOL, not being written back, and not REF. Returns the word held,
 * or 0. With REF set: clears it and returns 0 (the second chance). */
uint64_t lifecycle_begin_writeback(uint64_t *word);

/* The object is on the device as `on_device` (a DEVICE word). True: it is now the entry, and the pool's object is
 * freed by the last to hold it. False: the entry was replaced or removed meanwhile; the hold is over, and the
 * caller frees the device slots. */
bool lifecycle_finish_writeback(struct lifecycle *lc, uint64_t *word, uint64_t held, uint64_t on_device);

/* The writeback failed: the entry stays as it is. True if it is still there. */
bool lifecycle_abort_writeback(struct lifecycle *lc, uint64_t *word, uint64_t held);

/*
 * The pool has copied the held object (hold, without `mark`) to another place, which `moved` names, a POOL word of the
 * same page. True: that is now the entry, and the old object is freed by the last to hold it; a
 * writeback of it under way will find that it has nothing to publish. False: the entry was replaced or removed
 * meanwhile; the hold is over, and the caller frees the copy. The mark REF is what `moved` says:
 * that of a load meanwhile is lost, a hint. The mover's hold counts for `capacity` like any other. If a writeback
 * was under way, the entry has left the LRU for it: the mover links it again.
 */
bool lifecycle_move(struct lifecycle *lc, uint64_t *word, uint64_t held, uint64_t moved);

/* Orphans now. */
uint32_t lifecycle_orphans(struct lifecycle *lc);

#endif
