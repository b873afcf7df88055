/* SPDX-License-Identifier: MIT */
/* No static state and no malloc: the explorer runs this too. */
#include "tests/support/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define STATES_MAX 1024

_Static_assert((1 << HISTORY_AT_ONCE) * (2 * HISTORY_AT_ONCE + 1) <= STATES_MAX, "room for all states");

/* What the verb leaves of an entry that holds `version`. False: it could not have given its answer. */
static bool apply(const struct history_event *event, uint64_t version, uint64_t *after)
{
    *after = version;
    switch (event->verb) {
    case HISTORY_STORE:
        *after = event->version;
        return true;
    case HISTORY_STORE_FAIL:
    case HISTORY_INVALIDATE:
        *after = 0;
        return true;
    case HISTORY_LOAD:
        return event->version == version;
    case HISTORY_EXCLUSIVE:
        *after = 0;
        return event->version == version;
    case HISTORY_REMOVE:
        *after = 0;
        return version != 0;
    case HISTORY_NOTHING:
        return true;
    }
    return false;
}

/* Changes nothing, whenever it is done. */
static bool only_looks(const struct history_event *event)
{
    return event->verb == HISTORY_LOAD || event->verb == HISTORY_NOTHING ||
           (event->verb == HISTORY_EXCLUSIVE && !event->version);
}

/* Does what only looks and can be done in this state: to have it done is never worse. */
static void settle(const struct history *h, struct history_state *state)
{
    for (uint32_t left = h->under_way & ~state->done; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctz(left);
        uint64_t after;
        if (only_looks(&h->events[slot]) && apply(&h->events[slot], state->version, &after)) {
            state->done |= 1u << slot;
        }
    }
}

/* False if there is no room. */
static bool add(struct history *h, struct history_state state)
{
    settle(h, &state);
    for (size_t i = 0; i < h->used; i++) {
        if (h->states[i].version == state.version && h->states[i].done == state.done) {
            return true;
        }
    }
    if (h->used == h->capacity) {
        return false;
    }
    h->states[h->used++] = state;
    if (h->used > h->most) {
        h->most = h->used;
    }
    return true;
}

/* Adds all states that follow from states[i] by one verb that is under way. */
static bool go_on(struct history *h, size_t i)
{
    for (uint32_t left = h->under_way & ~h->states[i].done; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctz(left);
        struct history_state next = {.done = h->states[i].done | 1u << slot};
        if (apply(&h->events[slot], h->states[i].version, &next.version) && !add(h, next)) {
            return false;
        }
    }
    return true;
}

void history_open(struct history *h, struct history_state *states, size_t capacity, uint64_t first)
{
    h->states = states;
    h->capacity = capacity;
    h->used = h->most = 1;
    h->under_way = 0;
    states[0] = (struct history_state){.version = first};
}

void history_begin(struct history *h, unsigned slot, enum history_verb verb, uint64_t version)
{
    h->events[slot] = (struct history_event){.verb = verb, .version = version};
    h->under_way |= 1u << slot;
    for (size_t i = 0; i < h->used; i++) {
        settle(h, &h->states[i]);
    }
}

int history_end(struct history *h, unsigned slot)
{
    uint32_t bit = 1u << slot;
    for (size_t i = 0; i < h->used; i++) {
        if (!(h->states[i].done & bit) && !go_on(h, i)) {
            return -E2BIG;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < h->used; i++) {
        if (h->states[i].done & bit) {
            h->states[kept++] =
                (struct history_state){.version = h->states[i].version, .done = h->states[i].done & ~bit};
        }
    }
    h->used = kept;
    h->under_way &= ~bit;
    return kept ? 0 : -EILSEQ;
}

/* ---- a whole history at once */

/* Of those not begun yet (`bit` not in `begun`), the first to begin; n if there is none. */
static size_t next_to_begin(const struct history_event *events, size_t n, uint64_t begun)
{
    size_t next = n;
    for (size_t i = 0; i < n; i++) {
        if (!(begun >> i & 1) && (next == n || events[i].begin < events[next].begin)) {
            next = i;
        }
    }
    return next;
}

/* Of those under way, the slot of the first to end; HISTORY_SLOTS if there is none. */
static unsigned next_to_end(const struct history_event *events, const struct history *h, const size_t *who)
{
    unsigned next = HISTORY_SLOTS;
    for (uint32_t left = h->under_way; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctz(left);
        if (next == HISTORY_SLOTS || events[who[slot]].end < events[who[next]].end) {
            next = slot;
        }
    }
    return next;
}

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "history: %s\n", what);
        abort();
    }
}

bool history_is_linearizable(const struct history_event *events, size_t n, uint64_t first, uint64_t *lasts,
                             size_t *lasts_used)
{
    struct history_state states[STATES_MAX];
    struct history h;
    size_t who[HISTORY_SLOTS];
    uint64_t begun = 0;
    require(n <= HISTORY_MAX, "too many verbs");
    history_open(&h, states, STATES_MAX, first);
    for (;;) {
        size_t begins = next_to_begin(events, n, begun);
        unsigned ends = next_to_end(events, &h, who);
        if (begins == n && ends == HISTORY_SLOTS) {
            break;
        }
        if (ends != HISTORY_SLOTS && (begins == n || events[who[ends]].end <= events[begins].begin)) {
            if (history_end(&h, ends)) {
                return false; /* never for want of room: see the assertion */
            }
            continue;
        }
        unsigned slot = (unsigned)__builtin_ctz(~h.under_way);
        require(slot < HISTORY_AT_ONCE, "too many verbs at one time");
        begun |= 1ull << begins;
        who[slot] = begins;
        history_begin(&h, slot, events[begins].verb, events[begins].version);
    }
    if (lasts) {
        /* No verb is under way: the states differ in their versions. */
        for (size_t i = 0; i < h.used; i++) {
            lasts[i] = states[i].version;
        }
        *lasts_used = h.used;
    }
    return true;
}
