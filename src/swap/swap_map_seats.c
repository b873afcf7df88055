/* SPDX-License-Identifier: MIT */
/*
 * A family of processes that share a device, one seat each:
 *
 *   owners   | A    | -    | B    | C (dead)
 *   seat     | 0    | 1    | 2    | 3
 *   holds    |1..1..|......|1..1.1|..11..       one bit a slot: an object that begins here is used
 *   counts   |2F.21F1F...                       one byte a slot; the sum of the bits, and the objects' lengths
 *
 * The bits are the truth and the counts are derived, but for where objects end. Any process may be killed at any
 * instruction: swap_map_burial.c says what becomes of its seat.
 *
 * A fork gives the child a seat, and then the parent's bits, while the parent stands still.
 *
 * Each seat's bits are in pages of their own, which go back to the kernel with the seat. Who commits a page is
 * charged for it; a dead process's account has died with it.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "swap/swap_map_internal.h"

#define WORD_SLOTS 64
#define ADDRESS_SPACE_SHARE 16 /* of what the process is limited to, for all seats */

uint64_t seat_owner(const struct swap_map *map, uint32_t seat)
{
    /* Acquire: a look without the lock is followed by one at the owner's life words. */
    return atomic_read_acquire(&map->family->owners[seat]);
}

void seat_set_owner(struct swap_map *map, uint32_t seat, uint64_t owner)
{
    atomic_set_release(&map->family->owners[seat], owner);
}

/* ---- Bits */

/* NULL: no bits there. */
static uint64_t *bits_at(const struct swap_map *map, uint32_t seat, uint64_t first)
{
    return sparse_get(&map->holds, seat * map->seat_words + first / WORD_SLOTS);
}

bool seats_commit(struct swap_map *map, uint64_t first, uint64_t slots)
{
    const uint64_t page = PAGE_BYTES * 8;
    for (uint64_t i = first; i < first + slots; i = round_up(i + 1, page)) {
        if (!sparse_get_for_write(&map->holds, map->seat * map->seat_words + i / WORD_SLOTS)) {
            return false;
        }
    }
    return true;
}

void seats_begin_object(struct swap_map *map, uint64_t first)
{
    swap_map_assert_entered(map);
    /* Acquire-release keeps the high water before it and the further slots behind it: whoever dies in between leaves
     * none above the high water, and none that would seem to belong to the object before this one. */
    atomic_swap_acq_rel(count_at(map, first), 1);
    *bits_at(map, map->seat, first) |= 1ull << first % WORD_SLOTS;
}

bool seats_clear(struct swap_map *map, uint64_t first)
{
    swap_map_assert_entered(map);
    uint64_t *bits = bits_at(map, map->seat, first), bit = 1ull << first % WORD_SLOTS;
    if (!bits || !(*bits & bit)) {
        return false;
    }
    *bits &= ~bit;
    return true;
}

bool seats_uses(const struct swap_map *map, uint32_t seat, uint64_t first)
{
    const uint64_t *bits = bits_at(map, seat, first);
    return bits && *bits >> first % WORD_SLOTS & 1;
}

uint32_t seats_users(const struct swap_map *map, uint64_t first)
{
    uint32_t users = 0;
    for (uint32_t seat = 0; seat < map->seats; seat++) {
        users += seat_owner(map, seat) != SEAT_FREE && seats_uses(map, seat, first);
    }
    return users;
}

/* ---- Taking a seat */

/* The lowest free seat, now `owner`'s; map->seats if there is none. */
static uint32_t take_seat(struct swap_map *map, uint64_t owner)
{
    uint32_t seat = 0;
    while (seat < map->seats && seat_owner(map, seat) != SEAT_FREE) {
        seat++;
    }
    if (seat < map->seats) {
        seat_set_owner(map, seat, owner);
    }
    return seat;
}

/* What the bits may take of the address space, which the program's memory needs more where it is limited. */
static uint64_t address_space_for_seats(void)
{
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return limited ? limit.rlim_cur / ADDRESS_SPACE_SHARE : UINT64_MAX;
}

static int init_holds(struct swap_map *map)
{
    const uint64_t room = address_space_for_seats();
    map->seat_words = round_up(map->slots_total, (uint64_t)PAGE_BYTES * 8) / WORD_SLOTS;
    int error = -ENOMEM;
    for (uint32_t seats = SWAP_SEATS_MAX; error == -ENOMEM && seats; seats /= 2) {
        if (seats > 1 && seats * map->seat_words * sizeof(uint64_t) > room) {
            continue;
        }
        map->seats = seats;
        error =
            sparse_init(&map->holds, &map->memory, seats * map->seat_words, sizeof(uint64_t), ACCOUNT_TABLES);
    }
    return error;
}

int seats_init(struct swap_map *map, struct memory *memory)
{
    map->memory = (struct memory){.account = memory->account, .shared = true};
    map->family = memory_map(&map->memory, sizeof *map->family, ACCOUNT_TABLES);
    int error = map->family ? init_holds(map) : -ENOMEM;
    if (error) {
        return error;
    }
    map->state = &map->family->state;
    map->owner = member_name(map->self);
    map->seat = take_seat(map, map->owner);
    return 0;
}

void seats_destroy(struct swap_map *map)
{
    sparse_destroy(&map->holds);
    if (map->family) {
        memory_unmap(&map->memory, map->family, sizeof *map->family, ACCOUNT_TABLES);
        memory_uncharge_all(
            &map->memory); /* others may have committed what was given back here, and the reverse */
        map->family = NULL;
    }
}

/* ---- fork */

static void add_user(struct swap_map *map, uint64_t first)
{
    uint8_t *count = count_at(map, first);
    *count += *count < COUNT_SATURATED;
}

static int copy_bits(struct swap_map *map, uint32_t parent)
{
    const uint64_t from = parent * map->seat_words, to = from + map->seat_words;
    for (uint64_t i = from; (i = sparse_next_committed(&map->holds, i)) < to; i++) {
        uint64_t bits = *(uint64_t *)sparse_get(&map->holds, i);
        if (!bits) {
            continue;
        }
        uint64_t *mine = sparse_get_for_write(&map->holds, map->seat * map->seat_words + (i - from));
        if (!mine) {
            return -ENOMEM;
        }
        for (*mine = bits; bits; bits &= bits - 1) {
            add_user(map, (i - from) * WORD_SLOTS + (uint64_t)__builtin_ctzll(bits));
        }
    }
    return 0;
}

static int join_family_held(struct swap_map *map)
{
    const uint32_t parent = map->seat;
    if (seat_owner(map, parent) != map->owner) {
        return -ESRCH; /* buried, or being buried, and perhaps another's by now */
    }
    uint64_t owner = member_name(map->self);
    uint32_t seat = take_seat(map, owner);
    if (seat == map->seats) {
        return -EAGAIN;
    }
    map->seat = seat;
    map->owner = owner;
    int error = copy_bits(map, parent);
    if (error) {
        seats_empty(map, seat);
    }
    return error;
}

static int join_family(struct swap_map *map)
{
    swap_map_enter(map);
    int error = join_family_held(map);
    swap_map_leave(map);
    return error;
}

int swap_map_fork_child(struct swap_map *map, struct account *account)
{
    if (!map->family) {
        return -EINVAL;
    }
    mutex_init(&map->lock, LOCK_RANK_SWAP_MAP); /* it may have been copied held */
    map->memory.account = account;
    memory_uncharge_all(&map->memory);
    int error = join_family(map);
    return error == -EAGAIN && swap_map_bury_dead(map) ? join_family(map) : error;
}
