/* SPDX-License-Identifier: MIT */
/* The swap map's check, and what else looks at every slot. */
#include <stdio.h>

#include "swap/swap_map_internal.h"

#define MISMATCH(ok, ...) ((ok) = false, (void)fprintf(stderr, "swap map: " __VA_ARGS__))
#define LONG(n) ((unsigned long long)(n))

/* The first slot in use in [from, to), `to` if there is none. */
static uint64_t next_used(struct swap_map *map, uint64_t from, uint64_t to)
{
    while (from < to && *count_at(map, from) == COUNT_FREE) {
        from++;
    }
    return from;
}

/* Nothing is in use in [from, to): looks at committed pages only. */
static bool check_unused(struct swap_map *map, uint64_t from, uint64_t to)
{
    bool ok = true;
    for (uint64_t i = from; (i = sparse_next_committed(&map->counts, i)) < to;
         i = round_up(i + 1, PAGE_BYTES)) {
        uint64_t end = min_size(to, round_up(i + 1, PAGE_BYTES));
        uint64_t used = next_used(map, i, end);
        if (used < end) {
            MISMATCH(ok, "slot %llu is in use, above high water\n", LONG(used));
        }
    }
    return ok;
}

/* Each count is that of its users' bits. */
static bool check_users(struct swap_map *map, uint64_t slot)
{
    bool ok = true;
    uint8_t count = *count_at(map, slot);
    bool begins = count != COUNT_FREE && count != COUNT_FURTHER;
    uint32_t users = seats_users(map, slot);
    if (min_size(users, COUNT_SATURATED) != (begins ? count : 0u)) {
        MISMATCH(ok, "slot %llu has count %u, and %u processes use it\n", LONG(slot), count, users);
    }
    return ok;
}

/* A seat that is nobody's has no bits. */
static bool check_seats(struct swap_map *map)
{
    bool ok = true;
    for (uint64_t word = 0; (word = sparse_next_committed(&map->holds, word)) < map->holds.slots_total;
         word++) {
        const uint64_t *bits = sparse_get(&map->holds, word);
        if (*bits && !map->family->owners[word / map->seat_words]) {
            MISMATCH(ok, "seat %llu is nobody's and uses slots around %llu\n", LONG(word / map->seat_words),
                     LONG(word % map->seat_words * 64));
        }
    }
    if (map->family->owners[map->seat] != map->owner) {
        MISMATCH(ok, "seat %u is not this process's any more\n", map->seat);
    }
    return ok;
}

static bool check_slots(struct swap_map *map)
{
    bool ok = true;
    uint64_t used = 0, object = 0; /* `object`: slots of the object so far, 0 = none */
    for (uint64_t i = 0; i < map->state->high_water; i++) {
        uint8_t count = *count_at(map, i);
        if (count == COUNT_FURTHER && !object) {
            MISMATCH(ok, "slot %llu continues an object that does not begin\n", LONG(i));
        }
        object = count == COUNT_FREE ? 0 : count == COUNT_FURTHER ? object + 1 : 1;
        if (object > SWAP_OBJECT_SLOTS_MAX) {
            MISMATCH(ok, "the object that ends at slot %llu is too long\n", LONG(i));
        }
        if (count != COUNT_FREE && !sparse_is_committed(&map->counts, i)) {
            MISMATCH(ok, "the count of slot %llu is not charged\n", LONG(i));
        }
        used += count != COUNT_FREE;
        ok &= !map->family || check_users(map, i);
    }
    if (used != map->state->slots_used) {
        MISMATCH(ok, "slots_used is %llu and %llu slots are in use\n", LONG(map->state->slots_used),
                 LONG(used));
    }
    return ok;
}

bool swap_map_consistent(struct swap_map *map)
{
    swap_map_enter(map);
    const struct swap_map_state *state = map->state;
    bool ok = check_slots(map);
    if (map->family) {
        ok &= check_seats(map);
    }
    if (state->high_water > map->slots_total || state->next >= map->slots_total) {
        MISMATCH(ok, "high water %llu or next %llu is beyond %llu slots\n", LONG(state->high_water),
                 LONG(state->next), LONG(map->slots_total));
    } else {
        ok &= check_unused(map, state->high_water, map->slots_total);
    }
    swap_map_leave(map);
    return ok;
}

uint64_t swap_map_used_here(struct swap_map *map)
{
    uint64_t slots = 0;
    swap_map_enter(map);
    for (uint64_t i = 0; i < map->state->high_water; i++) {
        if (map_is_object(map, i) && (!map->family || seats_uses(map, map->seat, i))) {
            slots += map_object_slots(map, i);
        }
    }
    swap_map_leave(map);
    return slots;
}
