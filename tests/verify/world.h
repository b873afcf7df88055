/* SPDX-License-Identifier: MIT */
/*
 * The world that the explorer puts a lifecycle into: a substrate (tests/lifecycles/lifecycles.h) in which every use is
 * checked, and a record of what each verb saw.
 *
 * Objects and device slots hold their version twice, written and read with a scheduling point between: a reader that
 * meets a half-written, freed or reused one is seen. Names are given out lowest first, so a freed one comes back at
 * once. Whatever may fail is asked of explore_choose, if the scenario says that it may: allocation, the swap cache's
 * answer, the device's. Outside of explore_run nothing fails.
 */
#ifndef UZSWAP_TESTS_VERIFY_WORLD_H
#define UZSWAP_TESTS_VERIFY_WORLD_H

#include "tests/lifecycles/lifecycles.h"
#include "tests/support/history.h"
#include "tests/verify/explore.h"

#define WORLD_KEYS_MAX 2
#define WORLD_NAMES 10 /* objects, and slots; number 0 is not used */
#define WORLD_EVENTS_MAX 24

/* A scheduling point of the world's own, before what others see. */
#define WORLD_POINT(kind, text)                                                                              \
    do {                                                                                                     \
        static const struct explore_place place = {__FILE__, __func__, (text), __LINE__};                    \
        if (explore_is_running()) {                                                                          \
            explore_point((kind), NULL, 0, &place);                                                          \
        }                                                                                                    \
    } while (0)

/* What may go wrong; any set of them. */
enum world_fault {
    WORLD_NO_MEMORY = 1,    /* alloc, slot_alloc */
    WORLD_SWAP_CACHE = 2,   /* EXIST and FAIL without cause */
    WORLD_DEVICE_ERROR = 4, /* -EIO of a read or a write */
    WORLD_DEVICE_HANGS = 8, /* a write is never answered */
    WORLD_USUAL_FAULTS = WORLD_NO_MEMORY | WORLD_SWAP_CACHE | WORLD_DEVICE_ERROR,
};

struct world_cell {
    uint8_t alive, writing;
    uint64_t half[2];
};

struct world_slot { /* of the swap cache */
    uint8_t locked, has_page;
    uint64_t page;
};

struct world_event {
    uint8_t key;
    struct history_event event;
};

struct world {
    struct substrate base;
    unsigned keys, faults;
    bool home_slots;
    bool alike; /* stores are of equal pages */
    struct world_cell objects[WORLD_NAMES], slots[WORLD_NAMES];
    struct world_slot swap_cache[WORLD_KEYS_MAX];

    /* The record. The clock moves only when a verb begins after another has ended: just as far as their order means
     * something, so that states which differ in nothing else are equal. */
    uint32_t clock;
    uint8_t ended_since, hangs;
    uint8_t events_used;
    struct world_event events[WORLD_EVENTS_MAX];
};

/* In explore_alloc's memory. */
struct world *world_create(unsigned keys, bool home_slots, unsigned faults);

/* Does what may fail fail now? */
bool world_fails(const struct world *w, enum world_fault fault, const char *what);

/* A verb begins: the number of its event, for world_end. */
unsigned world_begin(struct world *w, unsigned key);
void world_end(struct world *w, unsigned event, enum history_verb verb, uint64_t version);

/* A verb that ended before all others began. */
void world_past(struct world *w, unsigned key, enum history_verb verb, uint64_t version);

/* explore_fail if some entry's record is not linearizable, saying how. */
void world_check_record(const struct world *w);

/* explore_fail if the pool or the device holds other than `objects` objects and `slots` fresh slots, or a slot of the swap cache is locked. */
void world_check_leaks(const struct world *w, unsigned objects, unsigned slots);

#endif
