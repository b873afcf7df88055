/* SPDX-License-Identifier: MIT */
/*
 * The swap cache: the pages that are in flight between program, pool and device. Whoever holds a
 * page's slot owns its transition; a slot may carry the page itself.
 *
 *   LOCKED(owner)     a transition under way
 *   WAITING           no transition; the page waits for a second chance (the inactive list)
 *
 *             acquire                    publish               begin_store
 *   (no slot) -------> LOCKED(EVICT) --------------> WAITING --------------> LOCKED(STORE) --> (no slot)
 *       |                   |                           |  ^                      |   finish_store
 *       |                   | publish, but a fault      |  | putback,             | finish_store, but a
 *       | take              | came meanwhile            |  | cancel_store         | fault came meanwhile
 *       |                   v                           v  |                      v
 *       +-----------> LOCKED(FAULT) <---------------- LOCKED(FAULT) <-------------+
 *       |                   |  release         take
 *       | acquire           v
 *       +-----> LOCKED(WRITEBACK) --> (no slot)     a take makes it LOCKED(FAULT); the writeback's
 *                                  release          release then does nothing
 *
 * `acquire` is what eviction and writeback do: NEW (yours, locked), EXIST (another has it: the page is hot,
 * give up) or FAIL (no room for a slot).
 *
 * `take` is what a fault does, and it never waits:
 *   no slot                  NEW     the fault owns the transition; there is no page here
 *   WAITING                  PAGE    the fault owns the transition and the page
 *   LOCKED(WRITEBACK)        NEW     the fault owns the transition
 *   LOCKED(EVICT or STORE)   BUSY    the owner is told by publish, finish_store or cancel_store, and then
 *                                    serves the fault in its stead, with the page it has
 *   LOCKED(FAULT)            BUSY    another already serves a fault of this page
 *   no room for a slot       FAIL
 *
 * A fixed number of slots in hash chains, split over shards with a mutex each (LOCK_RANK_SWAP_CACHE); all
 * fields of a slot are guarded by its shard's mutex. `page` is a 64-bit name that the user chose (region/
 * uses the number of a staging page). A token names one hold of one slot: a token whose hold is over
 * never matches a slot that was reused.
 *
 * Thread-safe; no call sleeps for longer than a shard's mutex is held.
 */
#ifndef UZSWAP_SWAP_SWAP_CACHE_H
#define UZSWAP_SWAP_SWAP_CACHE_H

#include "base/lock.h"
#include "base/memory.h"
#include "base/types.h"

enum swap_cache_owner {
    SWAP_CACHE_EVICT,
    SWAP_CACHE_STORE,
    SWAP_CACHE_FAULT,
    SWAP_CACHE_WRITEBACK,
};

enum swap_cache_answer {
    SWAP_CACHE_NEW,   /* the slot is yours, locked, without a page */
    SWAP_CACHE_PAGE,  /* the slot is yours, locked, with a page */
    SWAP_CACHE_EXIST, /* another has it */
    SWAP_CACHE_BUSY,  /* another has it and will serve this fault */
    SWAP_CACHE_FAIL,  /* no room */
};

/* One hold of one slot. */
struct swap_cache_token {
    uint32_t slot;
    uint32_t generation;
};

struct swap_cache;

/* A cache of at most `slots` slots (rounded up as it likes). 0, -ENOMEM or -EINVAL. Memory is charged to
 * ACCOUNT_TABLES. */
int swap_cache_create(struct swap_cache **cache, struct memory *memory, size_t slots);
void swap_cache_destroy(struct swap_cache *cache);

/* NEW, EXIST or FAIL. `owner` is EVICT or WRITEBACK. */
enum swap_cache_answer swap_cache_acquire(struct swap_cache *cache, struct swap_entry entry,
                                          enum swap_cache_owner owner, struct swap_cache_token *token);

/* What a fault does, see above. *token is set with NEW and PAGE, *page with PAGE. */
enum swap_cache_answer swap_cache_take(struct swap_cache *cache, struct swap_entry entry,
                                       struct swap_cache_token *token, uint64_t *page);

/* EVICT: the page has left the program and waits as `page`. True: it waits, the hold is over. False: a
 * fault came meanwhile; the caller now holds the slot as FAULT, with this page, serves the fault and
 * releases. */
bool swap_cache_publish(struct swap_cache *cache, struct swap_cache_token token, uint64_t page);

/* Locks the slot of `entry` for STORE if it is WAITING with a page named `page`; else false. */
bool swap_cache_begin_store(struct swap_cache *cache, struct swap_entry entry, uint64_t page,
                            struct swap_cache_token *token);

/* EVICT, STORE: has a fault come meanwhile? A hint that saves a compression. */
bool swap_cache_is_wanted(struct swap_cache *cache, struct swap_cache_token token);

/* STORE: the page is stored elsewhere. True: the slot is gone and the page is the caller's to free. False:
 * a fault came meanwhile; the caller now holds the slot as FAULT, undoes its store, serves the
 * fault and releases. */
bool swap_cache_finish_store(struct swap_cache *cache, struct swap_cache_token token);

/* STORE: the page could not be stored. True: it waits again, as the page it was. False: as finish_store. */
bool swap_cache_cancel_store(struct swap_cache *cache, struct swap_cache_token token);

/* FAULT with a page: the fault cannot be served now; the page waits again. Faults that were answered BUSY
 * meanwhile are not remembered: the caller wakes the page's address afterwards, so that they come again. (A
 * hold without a page has nothing that could wait: the slot goes, as by release.) */
void swap_cache_putback(struct swap_cache *cache, struct swap_cache_token token);

/* Ends a transition (EVICT, FAULT, WRITEBACK) and removes the slot; a page it carried is the caller's. True:
 * done. False: EVICT only, a fault came meanwhile and has been left to this owner: the caller now
 * holds the slot as FAULT, serves and releases. WRITEBACK whose slot a fault took over: true, nothing
 * done. */
bool swap_cache_release(struct swap_cache *cache, struct swap_cache_token token);

/* Removes the slot of `entry` if it is WAITING. True and *page if so; the page is the caller's. */
bool swap_cache_drop(struct swap_cache *cache, struct swap_entry entry, uint64_t *page);

/* Is there a slot for `entry`, locked or waiting? A snapshot. */
bool swap_cache_has(struct swap_cache *cache, struct swap_entry entry);

/* Slots in use (locked or waiting). A snapshot. */
size_t swap_cache_count(struct swap_cache *cache);

/* Checks chains, free list and counts, with everything else standing still; prints each mismatch. */
bool swap_cache_consistent(struct swap_cache *cache);

#endif
