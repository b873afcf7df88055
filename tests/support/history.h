/* SPDX-License-Identifier: MIT */
/*
 * Is a history of one entry linearizable? That is: can its verbs be put in one order, in which each keeps its place
 * relative to all that ended before it began, so that a cache used by one thread alone would have given the same answers?
 *
 * The sequential cache holds one version or none. A store puts its version (if it fails: none); a load gives the
 * version, or "not here" if there is none; an exclusive load gives and removes it; an invalidation removes. A load that
 * failed (device error) says nothing; an exclusive load that failed says nothing and leaves all as it is.
 *
 * Wing and Gong, "Testing and verifying concurrent objects" (1993), with Lowe's memory of (done, version) pairs, which
 * keeps it from trying the same twice. Every entry is checked by itself: linearizability is local (Herlihy and Wing 1990).
 *
 * The history is read along its clock. What is known at any time is a set of *states*: which of the verbs under way are done
 * already, and what the entry holds then. A verb is done no sooner than the end of some verb asks for it, which loses no
 * order; and a load is done as soon as it can be. So the set depends on how many verbs are under way at one time, not on
 * the length of the history, and a history can be checked as it grows.
 */
#ifndef UZSWAP_TESTS_SUPPORT_HISTORY_H
#define UZSWAP_TESTS_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_verb {
    HISTORY_STORE,      /* version: what was stored */
    HISTORY_STORE_FAIL, /* removes; version unused */
    HISTORY_LOAD,       /* version: what came back, 0 = not here */
    HISTORY_EXCLUSIVE,  /* the same, and removes */
    HISTORY_INVALIDATE, /* removes, if there was one or not */
    HISTORY_REMOVE, /* an invalidation that said that there was one. (That there was none: a load that says so) */
    HISTORY_NOTHING, /* a verb that failed and says nothing */
};

#define HISTORY_MAX 64
#define HISTORY_AT_ONCE 6

/* One verb: it began at `begin` and ended at `end`, times on one clock; a verb that ended at t precedes one that began at
 * t or later. Versions are not 0. */
struct history_event {
    enum history_verb verb;
    uint64_t version;
    uint64_t begin, end;
};

/* True if the `n` events (at most HISTORY_MAX, at most HISTORY_AT_ONCE of them at one time) are linearizable, beginning with
 * an entry that holds `first` (0 = none). With `lasts` (may be NULL; room for n + 2): all versions that the entry may hold at
 * the end of some such order; *lasts_used of them. Needs 17 KiB of stack. */
bool history_is_linearizable(const struct history_event *events, size_t n, uint64_t first, uint64_t *lasts,
                             size_t *lasts_used);

/* ---- the same for a history of any length, told in the order of its clock */

#define HISTORY_SLOTS 16

struct history_state {
    uint64_t version;
    uint32_t done; /* a bit for each slot */
};

struct history {
    struct history_state *states; /* the caller's, `capacity` of them; 0 used: not linearizable */
    size_t capacity, used;
    size_t most;                                /* states there have been at one time */
    struct history_event events[HISTORY_SLOTS]; /* verb and version of those under way */
    uint32_t under_way;                         /* a bit for each slot */
};

/* p verbs at one time need at most 2^p (2 p + 1) states. */
void history_open(struct history *h, struct history_state *states, size_t capacity, uint64_t first);

/* The verb, of which the answer is known already, begins in a `slot` (below HISTORY_SLOTS) that is not under way. */
void history_begin(struct history *h, unsigned slot, enum history_verb verb, uint64_t version);

/* It ends. 0; -EILSEQ: so far, the history is not linearizable; -E2BIG: more states than room. */
int history_end(struct history *h, unsigned slot);

#endif
