/* SPDX-License-Identifier: MIT */
/*
 * Who meets whom. Versions are stored in growing order; a load may find any that was the entry at some time during the
 * load, or none where there was none. Some scenarios take holds before the threads run: the threads start where it matters,
 * and three of them can be searched in full.
 */
#ifndef UZSWAP_TESTS_VERIFY_RELACY_SCENARIOS_HPP
#define UZSWAP_TESTS_VERIFY_RELACY_SCENARIOS_HPP

#include "world.hpp"

struct scenario {
    const char *name;
    unsigned threads;
    /* Context switches away from a thread that could go on: at most so many, or FULL for the whole search. */
    unsigned thorough_bound, short_bound;
    unsigned left; /* the versions that may be there in the end */
    void (*before)(world &);
    void (*thread[3])(world &);
    void (*after)(world &); /* optional */
};

#define FULL 0u
/* One thread's part, or the preparation. */
#define DO(...) [](world &w) { (void)w, __VA_ARGS__; }

static void pool_entry(world &w)
{
    w.store(1);
}

static void device_entry(world &w)
{
    w.store(1);
    w.writeback();
}

static void marked_entry(world &w)
{
    w.store(1);
    w.load(V(1), true);
}

static void one_taken(world &w)
{
    if (w.taken != 1) {
        fail("not exactly one exclusive load got the entry");
    }
}

static void frozen_slot(world &w)
{
    w.words[0].store(ENTRY_FROZEN, rl::mo_relaxed, $);
}

/* As area.c does it. */
static void thaw(world &w)
{
    uint64_t frozen = ENTRY_FROZEN;
    w.words[0].compare_exchange(rl::bool_t<false>(), frozen, 0, rl::mo_acq_rel, rl::mo_acquire, $);
}

static void load_held(world &w)
{
    w.store(1);
    w.held[0] = lifecycle_hold(&w.names[0], false);
}

static void load_held_device(world &w)
{
    device_entry(w);
    w.held[0] = lifecycle_hold(&w.names[0], false);
}

static void two_loads_held(world &w)
{
    load_held(w);
    w.held[1] = lifecycle_hold(&w.names[0], true);
}

static void writeback_held(world &w)
{
    w.store(1);
    w.held[0] = lifecycle_begin_writeback(&w.names[0]);
}

static void writeback_and_load_held(world &w)
{
    writeback_held(w);
    w.held[1] = lifecycle_hold(&w.names[0], false);
}

static void two_loads_growing(world &w)
{
    uint64_t first = w.load(V(1) | V(2));
    w.load(first == 2 ? V(2) : V(1) | V(2));
}

/* clang-format off */
static const scenario scenarios[] = {
    /* Two threads. */
    {"store into an empty slot, load", 2, FULL, FULL, V(1), [](world &) {},
     {DO(w.store(1)), DO(w.load(V(0) | V(1)))}},
    {"store, load", 2, FULL, FULL, V(2), pool_entry, {DO(w.store(2)), DO(w.load(V(1) | V(2)))}},
    {"held: end load, load", 2, FULL, FULL, V(1), load_held, {DO(w.end_load(0)), DO(w.load(V(1)))}},
    {"store, two loads", 2, FULL, FULL, V(2), pool_entry, {DO(w.store(2)), two_loads_growing}},
    {"store twice, load", 2, FULL, FULL, V(3), pool_entry,
     {DO(w.store(2), w.store(3)), DO(w.load(V(1) | V(2) | V(3)))}},
    {"store, store", 2, FULL, FULL, V(2) | V(3), pool_entry, {DO(w.store(2)), DO(w.store(3))}},
    {"load, invalidate", 2, FULL, FULL, V(0), pool_entry,
     {DO(w.load(V(0) | V(1), true)), DO(w.invalidate())}},
    {"invalidate and store again, load", 2, FULL, FULL, V(2), pool_entry,
     {DO(w.invalidate(), w.store(2)), DO(w.load(V(0) | V(1) | V(2)))}},
    {"two keys, one name", 2, FULL, FULL, V(0), pool_entry,
     {DO(w.load(V(0) | V(1))), DO(w.invalidate(), w.store(2, 1), w.load(V(2), false, 1))}},
    {"writeback, store", 2, FULL, FULL, V(2), pool_entry, {DO(w.writeback()), DO(w.store(2))}},
    {"writeback, two loads", 2, FULL, 6, V(1), pool_entry,
     {DO(w.writeback()), DO(w.load(V(1)), w.load(V(1)))}},
    {"writeback, invalidate", 2, FULL, FULL, V(0), pool_entry, {DO(w.writeback()), DO(w.invalidate())}},
    {"two writebacks", 2, FULL, FULL, V(1), pool_entry, {DO(w.writeback()), DO(w.writeback())}},
    {"marked entry: two writebacks, load", 2, FULL, FULL, V(1), marked_entry,
     {DO(w.writeback(), w.writeback()), DO(w.load(V(1), true))}},
    {"failing writeback, invalidate", 2, FULL, FULL, V(0), pool_entry,
     {DO(w.writeback_fails()), DO(w.invalidate())}},
    {"failing writeback, store", 2, FULL, FULL, V(2), pool_entry, {DO(w.writeback_fails()), DO(w.store(2))}},
    {"exclusive load, exclusive load", 2, FULL, FULL, V(0), pool_entry,
     {DO(w.load_exclusive(V(0) | V(1))), DO(w.load_exclusive(V(0) | V(1)))}, one_taken},
    {"exclusive load, store", 2, FULL, FULL, V(0) | V(2), pool_entry,
     {DO(w.load_exclusive(V(1) | V(2))), DO(w.store(2))}},
    {"exclusive load, load", 2, FULL, FULL, V(0), pool_entry,
     {DO(w.load_exclusive(V(1))), DO(w.load(V(0) | V(1)))}, one_taken},
    {"exclusive load, writeback", 2, FULL, FULL, V(0) | V(1), pool_entry,
     {DO(w.load_exclusive(V(1))), DO(w.writeback())}},
    {"move, load", 2, FULL, FULL, V(1), pool_entry, {DO(w.move()), DO(w.load(V(1), true))}},
    {"move, two loads", 2, FULL, 6, V(1), pool_entry, {DO(w.move()), DO(w.load(V(1)), w.load(V(1)))}},
    {"move, store", 2, FULL, FULL, V(2), pool_entry, {DO(w.move()), DO(w.store(2))}},
    {"move, invalidate", 2, FULL, FULL, V(0), pool_entry, {DO(w.move()), DO(w.invalidate())}},
    {"move, writeback", 2, FULL, FULL, V(1), pool_entry, {DO(w.move()), DO(w.writeback())}},
    {"device entry: load, store", 2, FULL, FULL, V(2), device_entry,
     {DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"filled word: store, two loads", 2, FULL, FULL, V(2), pool_entry,
     {DO(w.store_filled(2)), two_loads_growing}},
    {"filled word: exclusive load, store", 2, FULL, FULL, V(0) | V(2), DO(w.store_filled(1)),
     {DO(w.load_exclusive(V(1) | V(2))), DO(w.store(2))}},
    {"filled word: two exclusive loads", 2, FULL, FULL, V(0), DO(w.store_filled(1)),
     {DO(w.load_exclusive(V(0) | V(1))), DO(w.load_exclusive(V(0) | V(1)))}, one_taken},
    {"frozen slot: store, thaw", 2, FULL, FULL, V(1), frozen_slot, {DO(w.store(1)), thaw}},

    /* Three threads, with holds from before: the orphans' paths. */
    {"held: end load, store, load", 3, FULL, 4, V(2), load_held,
     {DO(w.end_load(0)), DO(w.store(2)), DO(w.load(V(1) | V(2)))}},
    {"held twice: end load, end load, store", 3, FULL, 4, V(2), two_loads_held,
     {DO(w.end_load(0)), DO(w.end_load(1)), DO(w.store(2))}},
    {"held twice: end load, end load, invalidate", 3, FULL, 4, V(0), two_loads_held,
     {DO(w.end_load(0)), DO(w.end_load(1)), DO(w.invalidate())}},
    {"held: end load, writeback, invalidate", 3, 6, 4, V(0), load_held,
     {DO(w.end_load(0)), DO(w.writeback()), DO(w.invalidate())}},
    {"held: end load, exclusive load, store", 3, 6, 4, V(0) | V(2), load_held,
     {DO(w.end_load(0)), DO(w.load_exclusive(V(1) | V(2))), DO(w.store(2))}},
    {"device entry, held: end load, store, invalidate", 3, FULL, 4, V(0) | V(2), load_held_device,
     {DO(w.end_load(0)), DO(w.store(2)), DO(w.invalidate())}},
    {"writeback and load held: finish, end load, store", 3, FULL, 4, V(2), writeback_and_load_held,
     {DO(w.end_writeback(w.held[0])), DO(w.end_load(1)), DO(w.store(2))}},
    {"writeback held: finish, load, store", 3, 6, 4, V(2), writeback_held,
     {DO(w.end_writeback(w.held[0])), DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"held: end load, move, load", 3, 6, 4, V(1), load_held,
     {DO(w.end_load(0)), DO(w.move()), DO(w.load(V(1)))}},

    /* Three threads, whole verbs. */
    {"load, load, store", 3, 5, 3, V(2), pool_entry,
     {DO(w.load(V(1) | V(2))), DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"load, store, invalidate", 3, 6, 3, V(0) | V(2), pool_entry,
     {DO(w.load(V(0) | V(1) | V(2))), DO(w.store(2)), DO(w.invalidate())}},
    {"writeback, load, store", 3, 5, 3, V(2), pool_entry,
     {DO(w.writeback()), DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"writeback, load, invalidate", 3, 5, 3, V(0), pool_entry,
     {DO(w.writeback()), DO(w.load(V(0) | V(1))), DO(w.invalidate())}},
    {"writeback, exclusive load, store", 3, 5, 3, V(0) | V(2), pool_entry,
     {DO(w.writeback()), DO(w.load_exclusive(V(1) | V(2))), DO(w.store(2))}},
    {"failing writeback, load, store", 3, 5, 3, V(2), pool_entry,
     {DO(w.writeback_fails()), DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"move, writeback, load", 3, 5, 3, V(1), pool_entry, {DO(w.move()), DO(w.writeback()), DO(w.load(V(1)))}},
    {"move, load, store", 3, 5, 3, V(2), pool_entry, {DO(w.move()), DO(w.load(V(1) | V(2))), DO(w.store(2))}},
    {"store, store, load", 3, 6, 3, V(2) | V(3), pool_entry,
     {DO(w.store(2)), DO(w.store(3)), DO(w.load(V(1) | V(2) | V(3)))}},
};
/* clang-format on */

#endif
