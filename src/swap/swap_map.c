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
#include "swap/swap_map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT_FREE 0
#define COUNT_SATURATED 254
#define COUNT_FURTHER 255

/* Slots that are looked through for a run long enough before a shorter one is taken. */
#define WINDOW_SLOTS 16384

/* So much is used before holes are looked for: 4 MiB. */
#define FRESH_SLOTS_MIN 8192

struct run {
    uint64_t first;
    uint64_t slots;
};

int swap_map_init(struct swap_map *map, struct memory *memory, uint64_t bytes)
{
    uint64_t slots = bytes / SLOT_BYTES;
    if (!slots) {
        return -EINVAL;
    }
    *map = (struct swap_map){.slots_total = slots};
    mutex_init(&map->lock, LOCK_RANK_SWAP_MAP);
    int error = sparse_init(&map->counts, memory, slots, 1, ACCOUNT_TABLES);
    if (error) {
        return error;
    }
    error = sparse_init(&map->sums, memory, slots / 8 + 1, sizeof(uint64_t), ACCOUNT_TABLES);
    if (error) {
        sparse_destroy(&map->counts);
    }
    return error;
}

void swap_map_destroy(struct swap_map *map)
{
    sparse_destroy(&map->sums);
    sparse_destroy(&map->counts);
}

/* --- Counts --- */

/* The count of `slot`, which is below high_water or inside a run that was committed. */
static uint8_t *count_at(struct swap_map *map, uint64_t slot)
{
    return (uint8_t *)map->counts.slots + slot;
}

/* Commits the counts of a run on fresh ground. */
static bool commit_counts(struct swap_map *map, uint64_t first, uint64_t slots)
{
    for (uint64_t i = first; i < first + slots; i = round_up(i + 1, PAGE_BYTES)) {
        if (!sparse_get_for_write(&map->counts, i)) {
            return false;
        }
    }
    return true;
}

static uint64_t object_slots(struct swap_map *map, uint64_t first)
{
    uint64_t n = 1;
    while (first + n < map->high_water && *count_at(map, first + n) == COUNT_FURTHER) {
        n++;
    }
    return n;
}

static void mark_object(struct swap_map *map, uint64_t first, unsigned slots)
{
    mutex_assert_held(&map->lock);
    *count_at(map, first) = 1;
    memset(count_at(map, first + 1), COUNT_FURTHER, slots - 1);
    map->slots_used += slots;
}

static void free_object(struct swap_map *map, uint64_t first)
{
    mutex_assert_held(&map->lock);
    uint64_t slots = object_slots(map, first);
    memset(count_at(map, first), COUNT_FREE, slots);
    map->slots_used -= slots;
    map->no_run = 0;
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
    uint64_t fresh = map->slots_total - map->high_water;
    return fresh < least ? (struct run){0}
                         : (struct run){.first = map->high_water, .slots = fresh < wanted ? fresh : wanted};
}

/* Is enough of the old ground free to use it again? */
static bool wants_holes(const struct swap_map *map)
{
    return map->high_water > FRESH_SLOTS_MIN && map->slots_used < map->high_water / 2;
}

static uint64_t search_end(const struct swap_map *map, uint64_t least)
{
    return map->slots_total - map->high_water < least ? map->slots_total : map->high_water;
}

/* A run for objects of `wanted` slots together, the first of which takes `least`. A run of 0 slots: none. */
static struct run find_run(struct swap_map *map, uint64_t least, uint64_t wanted)
{
    mutex_assert_held(&map->lock);
    if (!wants_holes(map)) {
        struct run fresh = fresh_run(map, least, wanted);
        if (fresh.slots) {
            return fresh;
        }
    }
    if (map->no_run && least >= map->no_run) {
        return fresh_run(map, least, wanted);
    }
    /* The few slots of fresh ground that are too short for `least` may lengthen the hole before them. */
    uint64_t end = search_end(map, least);
    struct run run = search_range(map, map->next < end ? map->next : 0, end, least, wanted);
    if (!run.slots) {
        end = map->next + least < end ? map->next + least : end;
        run = search_range(map, 0, end, least, wanted);
    }
    if (!run.slots) {
        map->no_run = least;
        run = fresh_run(map, least, wanted);
    }
    return run;
}

/* --- Allocation --- */

/* Lays as many of the `n` objects into `run` as fit. How many; 0 only if there is no memory. */
static size_t fill_run(struct swap_map *map, struct run run, const uint8_t *slots, size_t n, uint64_t *first)
{
    if (!commit_counts(map, run.first, run.slots)) {
        return 0;
    }
    uint64_t at = run.first, end = run.first + run.slots;
    size_t placed = 0;
    for (; placed < n && end - at >= slots[placed]; placed++) {
        mark_object(map, at, slots[placed]);
        first[placed] = at;
        at += slots[placed];
    }
    if (at > map->high_water) {
        map->high_water = at;
    }
    map->next = at < map->slots_total ? at : 0;
    return placed;
}

static void undo(struct swap_map *map, const uint64_t *first, size_t n)
{
    while (n) {
        free_object(map, first[--n]);
    }
}

int swap_map_alloc(struct swap_map *map, const uint8_t *slots, size_t n, uint64_t *first)
{
    uint64_t remaining = 0;
    for (size_t i = 0; i < n; i++) {
        if (slots[i] < 1 || slots[i] > SWAP_OBJECT_SLOTS_MAX) {
            return -EINVAL;
        }
        remaining += slots[i];
    }
    SCOPED_LOCK(&map->lock);
    if (remaining > map->slots_total - map->slots_used) {
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

/* Is `first` the first slot of an object? Anything else is the caller's mistake, and changes nothing. */
static bool is_object(struct swap_map *map, uint64_t first)
{
    mutex_assert_held(&map->lock);
    return first < map->high_water && *count_at(map, first) != COUNT_FREE &&
           *count_at(map, first) != COUNT_FURTHER;
}

void swap_map_get(struct swap_map *map, uint64_t first)
{
    SCOPED_LOCK(&map->lock);
    if (is_object(map, first) && *count_at(map, first) != COUNT_SATURATED) {
        ++*count_at(map, first);
    }
}

void swap_map_put(struct swap_map *map, uint64_t first)
{
    SCOPED_LOCK(&map->lock);
    if (!is_object(map, first) || *count_at(map, first) == COUNT_SATURATED) {
        return;
    }
    if (*count_at(map, first) == 1) {
        free_object(map, first);
    } else {
        --*count_at(map, first);
    }
}

uint64_t swap_map_used(struct swap_map *map)
{
    SCOPED_LOCK(&map->lock);
    return map->slots_used;
}

bool swap_map_next_used(struct swap_map *map, uint64_t *first, uint64_t *slots)
{
    SCOPED_LOCK(&map->lock);
    uint64_t from = next_used(map, *first, map->high_water);
    if (from >= map->high_water) {
        return false;
    }
    *slots = next_free(map, from, map->high_water) - from;
    *first = from;
    return true;
}

uint64_t swap_map_high_water(struct swap_map *map)
{
    SCOPED_LOCK(&map->lock);
    return map->high_water;
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

/* --- Checks --- */

#define MISMATCH(ok, ...) ((ok) = false, (void)fprintf(stderr, "swap map: " __VA_ARGS__))
#define LONG(n) ((unsigned long long)(n))

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

bool swap_map_consistent(struct swap_map *map)
{
    SCOPED_LOCK(&map->lock);
    bool ok = true;
    uint64_t used = 0, object = 0; /* `object`: slots of the object so far, 0 = none */
    for (uint64_t i = 0; i < map->high_water; i++) {
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
    }
    if (used != map->slots_used) {
        MISMATCH(ok, "slots_used is %llu and %llu slots are in use\n", LONG(map->slots_used), LONG(used));
    }
    if (map->high_water > map->slots_total || map->next >= map->slots_total) {
        MISMATCH(ok, "high water %llu or next %llu is beyond %llu slots\n", LONG(map->high_water),
                 LONG(map->next), LONG(map->slots_total));
        return false;
    }
    return check_unused(map, map->high_water, map->slots_total) && ok;
}
