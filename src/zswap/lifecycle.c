/* SPDX-License-Identifier: MIT */
/*
 * The diagram and the rules are in lifecycle.h.
 *
 * Memory orders. A word is only ever changed by read-modify-write (a FROZEN one also by the kernel, which zeroes it; no
 * object is named by it, nor by any word of its page), so every change goes on the release sequences of all changes
 * before it: who acquires the word sees what came before each release of it, however many others changed it since.
 *
 *   taking hold (hold, begin_writeback)        acquire   the object was filled before its word was published
 *   letting go (unhold, abort_writeback)       release   this thread has read the object before anybody may free it
 *   swapping out (replace, remove, finish, move)
 *                                              acquire   the holders that let go have read the object before it is freed
 *                                              release   the successor was filled before it is published
 *   plain reads, failed swaps, FILLED words    relaxed   the value found is compared, or is all there is; memory is reached
 *                                                        only after a swap has confirmed it
 *
 * Nothing here needs seq-cst: no decision rests on the order of two words. A holder that finds the word changed takes
 * the orphans' lock next. The change that took its object away, which is the one it saw or one before that, was
 * made under that lock; had the holder's section come before the change's, it would have happened before a change
 * that it has seen. So the orphan is there (rule 3), with a relaxed read too.
 *
 * Each of these orders is the weakest that will do: weakened by one step, each lets relacy find a data race
 * (tests/verify/ relacy/). One exception: when a swap out fails, atomic_cas_acq_rel acquires, for users who need
 * it. Nothing here does.
 */
#include "zswap/lifecycle.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/sys.h"

struct orphan {
    uint64_t content;
    uint32_t holders; /* loads and writeback that have yet to let go */
    uint32_t next;    /* in its bucket or in the free chain, number + 1 */
};

int lifecycle_init(struct lifecycle *lc, struct memory *memory, uint32_t capacity,
                   void (*release)(void *owner, uint64_t content), void *owner)
{
    *lc = (struct lifecycle){.release = release, .owner = owner, .memory = memory, .capacity = capacity};
    mutex_init(&lc->lock, LOCK_RANK_ORPHAN);
    lc->nodes = memory_map(memory, capacity * sizeof lc->nodes[0], ACCOUNT_TABLES);
    if (!lc->nodes) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < capacity; i++) {
        lc->nodes[i].next = i + 1 < capacity ? i + 2 : 0;
    }
    lc->free = 1;
    return 0;
}

void lifecycle_destroy(struct lifecycle *lc)
{
    if (lc->memory) {
        memory_unmap(lc->memory, lc->nodes, lc->capacity * sizeof lc->nodes[0], ACCOUNT_TABLES);
        lc->memory = NULL;
    }
}

static uint32_t *bucket_of(struct lifecycle *lc, uint64_t content)
{
    return &lc->buckets[(content * 0x9e3779b97f4a7c15ull >> 32) % ORPHAN_BUCKETS];
}

static void orphan_add(struct lifecycle *lc, uint64_t content, uint32_t holders)
{
    mutex_assert_held(&lc->lock);
    uint32_t number = lc->free; /* never 0: each orphan has a holder, and `capacity` bounds the holders */
    struct orphan *node = &lc->nodes[number - 1];
    lc->free = node->next;
    uint32_t *bucket = bucket_of(lc, content);
    *node = (struct orphan){.content = content, .holders = holders, .next = *bucket};
    *bucket = number;
    lc->count++;
}

/* Drops one hold of the orphan `content`; true if it was the last, and the record is gone. */
static bool orphan_drop(struct lifecycle *lc, uint64_t content)
{
    mutex_assert_held(&lc->lock);
    uint32_t *link = bucket_of(lc, content);
    while (*link && lc->nodes[*link - 1].content != content) {
        link = &lc->nodes[*link - 1].next;
    }
    uint32_t number = *link; /* never 0: rule 3 */
    struct orphan *node = &lc->nodes[number - 1];
    if (--node->holders) {
        return false;
    }
    *link = node->next;
    node->next = lc->free;
    lc->free = number;
    lc->count--;
    return true;
}

/* A holder found that its entry is gone. */
static void leave_orphan(struct lifecycle *lc, uint64_t content)
{
    mutex_lock(&lc->lock);
    bool last = orphan_drop(lc, content);
    mutex_unlock(&lc->lock);
    if (last) {
        lc->release(lc->owner, content);
    }
}

/*
 * Swaps *seen for `next`. `holders_left`: how many will still hold the old object after the swap (the caller's own
 * hold not among them). True: done, and the old object is freed or an orphan. False: the word had changed,
 * and *seen is what it is now.
 */
static bool swap_out(struct lifecycle *lc, uint64_t *word, uint64_t *seen, uint64_t next,
                     uint32_t holders_left)
{
    uint64_t content = entry_content(*seen);
    if (!holders_left) {
        if (!atomic_cas_acq_rel(word, seen, next)) {
            return false;
        }
        if (entry_is_object(content)) {
            lc->release(lc->owner, content);
        }
        return true;
    }
    mutex_lock(&lc->lock);
    bool swapped = atomic_cas_acq_rel(word, seen, next);
    if (swapped) {
        orphan_add(lc, content, holders_left);
    }
    mutex_unlock(&lc->lock);
    return swapped;
}

/* How many hold the object in `word`, an object or not. */
static uint32_t holders_of(uint64_t word)
{
    return entry_is_object(word) ? entry_holders(word) + !!(word & ENTRY_WB) : 0;
}

uint64_t lifecycle_try_hold(uint64_t *word, bool mark)
{
    uint64_t seen = atomic_read_relaxed(word);
    for (;;) {
        if (!entry_is_object(seen)) {
            return entry_kind(seen) == ENTRY_FILLED ? seen : 0;
        }
        if (unlikely(entry_holders(seen) == ENTRY_HOLDERS_MAX)) {
            return ENTRY_BUSY;
        }
        uint64_t next = seen + ENTRY_HOLDERS_ONE;
        if (mark && entry_kind(seen) == ENTRY_POOL) {
            next |= ENTRY_REF;
        }
        if (atomic_cas_acquire(word, &seen, next)) { /* taking hold */
            return next;
        }
    }
}

uint64_t lifecycle_hold(uint64_t *word, bool mark)
{
    uint64_t held;
    while (unlikely((held = lifecycle_try_hold(word, mark)) == ENTRY_BUSY)) {
        sys_yield();
    }
    return held;
}

void lifecycle_unhold(struct lifecycle *lc, uint64_t *word, uint64_t held)
{
    uint64_t content = entry_content(held);
    uint64_t seen = atomic_read_relaxed(word);
    while (entry_content(seen) == content) {
        if (atomic_cas_release(word, &seen, seen - ENTRY_HOLDERS_ONE)) { /* letting go */
            return;
        }
    }
    leave_orphan(lc, content);
}

uint64_t lifecycle_replace(struct lifecycle *lc, uint64_t *word, uint64_t next)
{
    uint64_t seen = atomic_read_relaxed(word);
    for (;;) {
        if (unlikely(seen == ENTRY_FROZEN)) {
            if (!next) {
                return 0;
            }
            sys_yield(); /* who froze it may have been stopped */
            seen = atomic_read_relaxed(word);
            continue;
        }
        if (!seen && !next) {
            return 0;
        }
        uint64_t old = seen;
        if (swap_out(lc, word, &seen, next, holders_of(seen))) {
            return old;
        }
    }
}

/* Swaps the held object for `next`, if it is still the entry; the hold is over either way. */
static bool swap_held(struct lifecycle *lc, uint64_t *word, uint64_t held, uint64_t next)
{
    uint64_t content = entry_content(held);
    uint64_t seen = atomic_read_relaxed(word);
    while (entry_content(seen) == content) {
        if (swap_out(lc, word, &seen, next, holders_of(seen) - 1)) {
            return true;
        }
    }
    leave_orphan(lc, content);
    return false;
}

bool lifecycle_remove_held(struct lifecycle *lc, uint64_t *word, uint64_t held)
{
    return swap_held(lc, word, held, 0);
}

bool lifecycle_remove_filled(uint64_t *word, uint64_t seen)
{
    return atomic_cas_relaxed(word, &seen, 0);
}

uint64_t lifecycle_begin_writeback(uint64_t *word)
{
    uint64_t seen = atomic_read_relaxed(word);
    while (entry_kind(seen) == ENTRY_POOL && !(seen & ENTRY_WB)) {
        bool second_chance = seen & ENTRY_REF;
        uint64_t next = second_chance ? seen & ~ENTRY_REF : seen | ENTRY_WB;
        if (atomic_cas_acquire(word, &seen, next)) { /* taking hold */
            return second_chance ? 0 : next;
        }
    }
    return 0;
}

bool lifecycle_finish_writeback(struct lifecycle *lc, uint64_t *word, uint64_t held, uint64_t on_device)
{
    return swap_held(lc, word, held, on_device);
}

bool lifecycle_abort_writeback(struct lifecycle *lc, uint64_t *word, uint64_t held)
{
    uint64_t content = entry_content(held);
    uint64_t seen = atomic_read_relaxed(word);
    while (entry_content(seen) == content) {
        if (atomic_cas_release(word, &seen, seen & ~ENTRY_WB)) { /* letting go */
            return true;
        }
    }
    leave_orphan(lc, content);
    return false;
}

bool lifecycle_move(struct lifecycle *lc, uint64_t *word, uint64_t held, uint64_t moved)
{
    return swap_held(lc, word, held, moved);
}

uint32_t lifecycle_orphans(struct lifecycle *lc)
{
    SCOPED_LOCK(&lc->lock);
    return lc->count;
}
