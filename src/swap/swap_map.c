/* SPDX-License-Identifier: MIT */
/*
 * The swap map, see swap_map.h.
 *
 *   counts   |3|255|255|1|0|0|0|1|255|0|...|0|0|0 ...
 *             object    ^ one   ^ hole ^     ^ high_water: fresh ground from here
 *
 * How free slots are found. Fresh ground comes first, one run, found at once, until half of the old ground is free:
 * so a device takes at most about twice what lies on it, and most clusters stay one write. Then the holes
 * are searched from `next` round the map, eight counts a step. A search looks through one window for a run
 * that takes all the objects that are still to be placed, so that a cluster stays one write; if there is
 * none, the window's longest run takes what it can hold, and the search goes on behind it. One search
 * reads each count at most once. A full map fails at once by `slots_used`; one that is only too fragmented
 * for an object of k slots remembers k in `no_run` until slots are freed, so that it is not searched in
 * vain each time.
 */
#include "swap/swap_map_internal.h"

#include <errno.h>
#include <string.h>

/* Slots that are looked through for a run long enough before a shorter one is taken. */
#define WINDOW_SLOTS 16384

/* So much is used before holes are looked for: 4 MiB. */
#define FRESH_SLOTS_MIN 8192

struct run {
    uint64_t first;
    uint64_t slots;
};

int swap_map_init(struct swap_map *map, struct memory *memory, uint64_t bytes, const struct membership *self)
{
    uint64_t slots = bytes / SLOT_BYTES;
    if (!slots) {
        return -EINVAL;
    }
    *map = (struct swap_map){.slots_total = slots, .self = self};
    mutex_init(&map->lock, LOCK_RANK_SWAP_MAP);
    map->state = &map->own_state;
    int error = self ? seats_init(map, memory) : 0;
    struct memory *from = self ? &map->memory : memory;
    if (!error) {
        error = sparse_init(&map->counts, from, slots, 1, ACCOUNT_TABLES);
    }
    if (!error) {
        error = sparse_init(&map->sums, from, slots / 8 + 1, sizeof(uint64_t), ACCOUNT_TABLES);
    }
    if (error) {
        swap_map_destroy(map);
    }
    return error;
}

void swap_map_destroy(struct swap_map *map)
{
    sparse_destroy(&map->sums);
    sparse_destroy(&map->counts);
    seats_destroy(map);
}

void swap_map_enter(struct swap_map *map)
{
    mutex_lock(&map->lock);
    while (map->family && !seats_try_enter(map)) {
    }
}

void swap_map_leave(struct swap_map *map)
{
    if (map->family) {
        shared_lock_give(&map->family->lock);
    }
    mutex_unlock(&map->lock);
}

void swap_map_assert_entered(const struct swap_map *map)
{
    mutex_assert_held(&map->lock);
}

/* --- Counts --- */

/* Commits what has to be written for a run. */
static bool commit_run(struct swap_map *map, uint64_t first, uint64_t slots)
{
    if (map->family && !seats_commit(map, first, slots)) {
        return false;
    }
    for (uint64_t i = first; i < first + slots; i = round_up(i + 1, PAGE_BYTES)) {
        if (!sparse_get_for_write(&map->counts, i)) {
            return false;
        }
    }
    return true;
}

uint64_t map_object_slots(struct swap_map *map, uint64_t first)
{
    uint64_t n = 1;
    while (first + n < map->state->high_water && *count_at(map, first + n) == COUNT_FURTHER) {
        n++;
    }
    return n;
}

static void mark_object(struct swap_map *map, uint64_t first, unsigned slots)
{
    swap_map_assert_entered(map);
    if (map->family) {
        seats_begin_object(map, first);
    } else {
        *count_at(map, first) = 1;
    }
    memset(count_at(map, first + 1), COUNT_FURTHER, slots - 1);
    map->state->slots_used += slots;
}

static void free_object(struct swap_map *map, uint64_t first)
{
    swap_map_assert_entered(map);
    uint64_t slots = map_object_slots(map, first);
    memset(count_at(map, first), COUNT_FREE, slots);
    map->state->slots_used -= slots;
    map->state->no_run = 0;
}

void map_drop_user(struct swap_map *map, uint64_t first)
{
    uint8_t *count = count_at(map, first);
    uint32_t users = *count == COUNT_SATURATED ? seats_users(map, first) : *count - 1u;
    if (!users) {
        free_object(map, first);
    } else {
        *count = (uint8_t)min_size(users, COUNT_SATURATED);
    }
}

/* --- Searching --- */

static uint64_t load_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static bool has_zero_byte(uint64_t word)
{
    return (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
}

/* The first free slot in [from, to), `to` if there is none. */
static uint64_t next_free(struct swap_map *map, uint64_t from, uint64_t to)
{
    while (from + 8 <= to && !has_zero_byte(load_word(count_at(map, from)))) {
        from += 8;
    }
    while (from < to && *count_at(map, from) != COUNT_FREE) {
        from++;
    }
    return from;
}

/* The first slot in use in [from, to), `to` if there is none. */
static uint64_t next_used(struct swap_map *map, uint64_t from, uint64_t to)
{
    while (from + 8 <= to && !load_word(count_at(map, from))) {
        from += 8;
    }
    while (from < to && *count_at(map, from) == COUNT_FREE) {
        from++;
    }
    return from;
}

/* The first run of `wanted` free slots in [from, to), else the longest there is, no longer than `wanted`. */
static struct run best_run(struct swap_map *map, uint64_t from, uint64_t to, uint64_t wanted)
{
    struct run best = {0};
    while ((from = next_free(map, from, to)) < to && best.slots < wanted) {
        uint64_t end = next_used(map, from, to - from < wanted ? to : from + wanted);
        if (end - from > best.slots) {
            best = (struct run){.first = from, .slots = end - from};
        }
        from = end;
    }
    return best;
}

/* A run of at least `least` and at most `wanted` free slots in [from, to), window by window. A window
 * reaches a little into the next one, so that no run of `least` slots is cut by the border. */
static struct run search_range(struct swap_map *map, uint64_t from, uint64_t to, uint64_t least,
                               uint64_t wanted)
{
    for (; from < to; from += WINDOW_SLOTS) {
        uint64_t end = to - from < WINDOW_SLOTS + least ? to : from + WINDOW_SLOTS + least;
        struct run run = best_run(map, from, end, wanted);
        if (run.slots >= least) {
            return run;
        }
    }
    return (struct run){0};
}

static struct run fresh_run(const struct swap_map *map, uint64_t least, uint64_t wanted)
{
    uint64_t fresh = map->slots_total - map->state->high_water;
    return fresh < least
               ? (struct run){0}
               : (struct run){.first = map->state->high_water, .slots = fresh < wanted ? fresh : wanted};
}

/* Is enough of the old ground free to use it again? */
static bool wants_holes(const struct swap_map *map)
{
    return map->state->high_water > FRESH_SLOTS_MIN && map->state->slots_used < map->state->high_water / 2;
}

static uint64_t search_end(const struct swap_map *map, uint64_t least)
{
    return map->slots_total - map->state->high_water < least ? map->slots_total : map->state->high_water;
}

/* A run for objects of `wanted` slots together, the first of which takes `least`. A run of 0 slots: none. */
static struct run find_run(struct swap_map *map, uint64_t least, uint64_t wanted)
{
    swap_map_assert_entered(map);
    if (!wants_holes(map)) {
        struct run fresh = fresh_run(map, least, wanted);
        if (fresh.slots) {
            return fresh;
        }
    }
    if (map->state->no_run && least >= map->state->no_run) {
        return fresh_run(map, least, wanted);
    }
    /* The few slots of fresh ground that are too short for `least` may lengthen the hole before them. */
    uint64_t end = search_end(map, least);
    struct run run = search_range(map, map->state->next < end ? map->state->next : 0, end, least, wanted);
    if (!run.slots) {
        end = map->state->next + least < end ? map->state->next + least : end;
        run = search_range(map, 0, end, least, wanted);
    }
    if (!run.slots) {
        map->state->no_run = least;
        run = fresh_run(map, least, wanted);
    }
    return run;
}

/* --- Allocation --- */

/* Lays as many of the `n` objects into `run` as fit. How many; 0 only if there is no memory. */
static size_t fill_run(struct swap_map *map, struct run run, const uint8_t *slots, size_t n, uint64_t *first)
{
    struct swap_map_state *state = map->state;
    if (!commit_run(map, run.first, run.slots)) {
        return 0;
    }
    uint64_t at = run.first, end = run.first + run.slots;
    size_t placed = 0;
    for (; placed < n && end - at >= slots[placed]; placed++) {
        first[placed] = at;
        at += slots[placed];
    }
    /* Before anything is marked, so that whoever dies in between leaves no mark above it. */
    state->high_water = max_size(state->high_water, at);
    for (size_t i = 0; i < placed; i++) {
        mark_object(map, first[i], slots[i]);
    }
    state->next = at < map->slots_total ? at : 0;
    return placed;
}

/* This process's use of an object ends. */
static void put(struct swap_map *map, uint64_t first)
{
    if (!map->family || seats_clear(map, first)) {
        map_drop_user(map, first);
    }
}

static void undo(struct swap_map *map, const uint64_t *first, size_t n)
{
    while (n) {
        put(map, first[--n]);
    }
}

/* Places objects of `remaining` slots together. */
static int place(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t remaining, uint64_t *first)
{
    if (remaining > map->slots_total - map->state->slots_used) {
        return -ENOSPC;
    }
    for (size_t i = 0; i < n;) {
        struct run run = find_run(map, slots[i], remaining);
        size_t placed = run.slots ? fill_run(map, run, slots + i, n - i, first + i) : 0;
        if (!placed) {
            undo(map, first, i);
            return run.slots ? -ENOMEM : -ENOSPC;
        }
        for (; placed; placed--) {
            remaining -= slots[i++];
        }
    }
    return 0;
}

static int alloc(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t wanted, uint64_t *first)
{
    swap_map_enter(map);
    int error = place(map, slots, n, wanted, first);
    swap_map_leave(map);
    return error;
}

int swap_map_alloc(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t *first)
{
    uint64_t wanted = 0;
    for (size_t i = 0; i < n; i++) {
        if (slots[i] < 1 || slots[i] > SWAP_OBJECT_SLOTS_MAX) {
            return -EINVAL;
        }
        wanted += slots[i];
    }
    int error = alloc(map, slots, n, wanted, first);
    return error == -ENOSPC && swap_map_bury_dead(map) ? alloc(map, slots, n, wanted, first) : error;
}

/* Anything else is the caller's mistake, and changes nothing. */
bool map_is_object(struct swap_map *map, uint64_t first)
{
    swap_map_assert_entered(map);
    return first < map->state->high_water && *count_at(map, first) != COUNT_FREE &&
           *count_at(map, first) != COUNT_FURTHER;
}

void swap_map_put(struct swap_map *map, uint64_t first)
{
    swap_map_enter(map);
    if (map_is_object(map, first)) {
        put(map, first);
    }
    swap_map_leave(map);
}

uint64_t swap_map_used(struct swap_map *map)
{
    swap_map_enter(map);
    uint64_t used = map->state->slots_used;
    swap_map_leave(map);
    return used;
}

uint64_t swap_map_high_water(struct swap_map *map)
{
    swap_map_enter(map);
    uint64_t slots = map->state->high_water;
    swap_map_leave(map);
    return slots;
}

int swap_map_set_sum(struct swap_map *map, uint64_t first, uint64_t sum)
{
    uint64_t *at = sparse_get_for_write(&map->sums, first / 8);
    if (!at) {
        return -ENOMEM;
    }
    *at = sum;
    return 0;
}

uint64_t swap_map_sum(struct swap_map *map, uint64_t first)
{
    const uint64_t *at = sparse_get(&map->sums, first / 8);
    return at ? *at : 0;
}
