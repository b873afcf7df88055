/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a seat as its owner dies (base/member.h), at any instruction:
 *
 *  - Outside the lock the owner leaves bits and counts that agree. Who finds it dead buries it: takes its bits away,
 *    and with each a user of an object. That is looked for when the map is full, where a fork finds no seat, and
 *    now and then.
 *  - Inside the lock it leaves anything. The next holder is told (-EOWNERDEAD) and recovers: clears the seats of the dead,
 *    the last holder's among them, and derives all counts from the bits of the others, which are whole: each changes
 *    its own only while it holds the lock, and it has not died in there. A run of slots without any user is free.
 *    So an object's length need only be right while somebody lives who uses it: slots are marked from the first on,
 *    and never behind a foreign object's end.
 *
 * Both go on in pieces, for each of which the lock is taken anew: a seat may have much, and who does the work may be slow,
 * or stopped. Then anybody goes on with it: with a burial, by looking what is left of the seat; with a recovery, which
 * must end before the map is used, by the place in `family->recovery` that it has come to. Who dies amid a piece leaves
 * anything, and a recovery begins anew.
 *
 * A seat that has begun to be emptied is marked: its owner's children cannot take it over any more, as a part is gone.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "swap/swap_map_internal.h"

#define BEING_EMPTIED (1ull << 31) /* in an owner's name, whose low half is a member's number + 1 */
#define RECOVERY_SLOTS 32768       /* counts a piece; a page of bits says as much */

static bool owner_is_dead(const struct swap_map *map, uint64_t owner)
{
    uint32_t index = (uint32_t)(owner & ~BEING_EMPTIED) - 1;
    return owner != SEAT_FREE && !member_is_alive(map->self->table, index, (uint32_t)(owner >> 32));
}

/* Gives a page of bits back. */
static void clear_page(struct swap_map *map, uint64_t word)
{
    /* By hand first: a page that was given back half-way would come again with its bits. */
    memset(sparse_get(&map->holds, word), 0, PAGE_BYTES);
    /* It was charged to the dead, whose account is no more: sparse takes it from ours. */
    account_charge(map->memory.account, map->holds.kind, PAGE_BYTES);
    atomic_add_relaxed(&map->memory.charged[map->holds.kind], (int64_t)PAGE_BYTES);
    sparse_release_page(&map->holds, word);
}

/* Takes away what a page of bits says is used, and with each bit a user of an object. */
static void drop_users(struct swap_map *map, uint64_t page, uint64_t first)
{
    for (uint64_t word = page; word < page + sparse_slots_per_page(&map->holds); word++, first += 64) {
        uint64_t *bits = sparse_get(&map->holds, word);
        while (*bits) {
            uint64_t object = first + (uint64_t)__builtin_ctzll(*bits);
            *bits &= *bits - 1;
            if (map_is_object(map, object)) {
                map_drop_user(map, object);
            }
        }
    }
}

/* Empties one page of the seat's bits, with `drop` as drop_users. False: none was left, and the seat is free. */
static bool empty_page(struct swap_map *map, uint32_t seat, bool drop)
{
    swap_map_assert_entered(map);
    const uint64_t from = seat * map->seat_words, to = from + map->seat_words;
    uint64_t page = sparse_next_committed(&map->holds, from);
    if (page >= to) {
        seat_set_owner(map, seat, SEAT_FREE);
        return false;
    }
    seat_set_owner(map, seat, seat_owner(map, seat) | BEING_EMPTIED);
    if (drop) {
        drop_users(map, page, (page - from) * 64);
    }
    clear_page(map, page);
    return true;
}

void seats_empty(struct swap_map *map, uint32_t seat)
{
    while (empty_page(map, seat, true)) {
    }
}

/* ---- Burial */

bool seats_bury_piece(struct swap_map *map, uint32_t seat)
{
    swap_map_enter(map);
    bool more = owner_is_dead(map, seat_owner(map, seat)) && empty_page(map, seat, true);
    swap_map_leave(map);
    return more;
}

static void bury(struct swap_map *map, uint32_t seat)
{
    struct shared_lock *lock = &map->family->lock;
    uint32_t turn = shared_lock_turn(lock);
    while (seats_bury_piece(map, seat)) {
        shared_lock_let_others(lock, turn);
        turn = shared_lock_turn(lock);
    }
}

unsigned swap_map_bury_dead(struct swap_map *map)
{
    unsigned count = 0;
    for (uint32_t seat = 0; map->family && seat < map->seats; seat++) {
        if (owner_is_dead(map, seat_owner(map, seat))) {
            bury(map, seat);
            count++;
        }
    }
    return count;
}

/* ---- Recovery */

/* The object, or what is left of one, at `first`: by its users. How many slots it has. */
static uint64_t recover_object(struct swap_map *map, uint64_t first)
{
    uint64_t slots = map_object_slots(map, first);
    uint32_t users = *count_at(map, first) == COUNT_FURTHER ? 0 : seats_users(map, first);
    if (users) {
        *count_at(map, first) = (uint8_t)min_size(users, COUNT_SATURATED);
        map->state->slots_used += slots;
    } else {
        memset(count_at(map, first), COUNT_FREE, slots);
    }
    return slots;
}

/* Clears one page of the dead's bits. False: they have none any more. */
static bool clear_piece(struct swap_map *map)
{
    struct swap_recovery *recovery = &map->family->recovery;
    for (; recovery->seat < map->seats; recovery->seat++) {
        uint32_t seat = (uint32_t)recovery->seat;
        if (owner_is_dead(map, seat_owner(map, seat)) && empty_page(map, seat, false)) {
            return true;
        }
    }
    return false;
}

/* False: all is in order. */
static bool recover_piece(struct swap_map *map)
{
    struct swap_recovery *recovery = &map->family->recovery;
    struct swap_map_state *state = map->state;
    if (clear_piece(map)) {
        return true;
    }
    uint64_t end = min_size(state->high_water, recovery->slot + RECOVERY_SLOTS);
    while (recovery->slot < end) {
        bool is_free = *count_at(map, recovery->slot) == COUNT_FREE;
        recovery->slot += is_free ? 1 : recover_object(map, recovery->slot);
    }
    recovery->under_way = recovery->slot < state->high_water;
    return recovery->under_way;
}

bool seats_try_enter(struct swap_map *map)
{
    struct swap_family *family = map->family;
    if (shared_lock_take(&family->lock) == -EOWNERDEAD) {
        family->recovery = (struct swap_recovery){.under_way = true};
        map->state->slots_used = 0;
        map->state->no_run = 0;
    }
    if (family->recovery.under_way && recover_piece(map)) {
        shared_lock_give(&family->lock);
        return false;
    }
    return true;
}
