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
    HISTORY_INVALIDATE,
    HISTORY_NOTHING, /* a verb that failed and says nothing */
};

#define HISTORY_MAX 64

/* One verb: it began at `begin` and ended at `end`, times on one clock; a verb that ended at t precedes one that began at
 * t or later. Versions are not 0. */
struct history_event {
    enum history_verb verb;
    uint64_t version;
    uint64_t begin, end;
};

/* True if the `n` events (at most HISTORY_MAX) are linearizable, beginning with an entry that holds `first` (0 = none). With
 * `lasts` (may be NULL; room for n + 2): all versions that the entry may hold at the end of some such order; *lasts_used of them. */
bool history_is_linearizable(const struct history_event *events, size_t n, uint64_t first, uint64_t *lasts,
                             size_t *lasts_used);

#endif
