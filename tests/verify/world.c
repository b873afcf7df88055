/* SPDX-License-Identifier: MIT */
#include "tests/verify/world.h"

#include <errno.h>
#include <string.h>

#define POISON 0xdeadull

static struct world *world_of(struct substrate *s)
{
    return (struct world *)s;
}

bool world_fails(const struct world *w, enum world_fault fault, const char *what)
{
    return explore_is_running() && (w->faults & fault) && explore_choose(2, what);
}

/* ---- objects and device slots */

static int take_name(struct world_cell *cells, unsigned first, int error, uint64_t *name)
{
    for (unsigned i = first; i < WORLD_NAMES; i++) {
        if (!cells[i].alive) {
            cells[i] = (struct world_cell){.alive = 1, .half = {POISON, POISON}};
            *name = i;
            return 0;
        }
    }
    return error;
}

static void give_name_back(struct world_cell *cells, uint64_t name, const char *what)
{
    if (name >= WORLD_NAMES || !cells[name].alive) {
        explore_fail("double free: %s %llu", what, (unsigned long long)name);
        return;
    }
    cells[name] = (struct world_cell){.half = {POISON, POISON}};
}

static struct world_cell *in_use(struct world_cell *cells, uint64_t name, const char *what)
{
    if (name >= WORLD_NAMES || !cells[name].alive) {
        explore_fail("use after free: %s %llu", what, (unsigned long long)name);
    }
    return &cells[name % WORLD_NAMES];
}

static void write_cell(struct world_cell *cells, uint64_t name, uint64_t version, const char *what)
{
    in_use(cells, name, what)->half[0] = version;
    WORLD_POINT(EXPLORE_WRITE, "second half");
    in_use(cells, name, what)->half[1] = version;
}

static uint64_t read_cell(struct world_cell *cells, uint64_t name, const char *what)
{
    uint64_t first = in_use(cells, name, what)->half[0];
    WORLD_POINT(EXPLORE_READ, "second half");
    uint64_t second = in_use(cells, name, what)->half[1];
    if (first != second) {
        explore_fail("torn: %s %llu holds half of %llu and half of %llu", what, (unsigned long long)name,
                     (unsigned long long)first, (unsigned long long)second);
    }
    return first;
}

static void *world_memory(struct substrate *s, size_t bytes)
{
    (void)s;
    return explore_alloc(bytes);
}

static int pool_alloc(struct substrate *s, uint64_t *object)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "alloc");
    return world_fails(w, WORLD_NO_MEMORY, "alloc fails") ? -ENOMEM
                                                          : take_name(w->objects, 1, -ENOMEM, object);
}

static void pool_write(struct substrate *s, uint64_t object, uint64_t version)
{
    write_cell(world_of(s)->objects, object, version, "object");
}

static uint64_t pool_read(struct substrate *s, uint64_t object)
{
    return read_cell(world_of(s)->objects, object, "object");
}

static void pool_free(struct substrate *s, uint64_t object)
{
    WORLD_POINT(EXPLORE_UPDATE, "free");
    give_name_back(world_of(s)->objects, object, "object");
}

/* Slots 1 .. keys are homes, alive for ever, where the lifecycle has such. */
static uint64_t first_fresh_slot(const struct world *w)
{
    return w->home_slots ? w->keys : 1;
}

static int slot_alloc(struct substrate *s, uint64_t *slot)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "slot_alloc");
    return world_fails(w, WORLD_NO_MEMORY, "slot_alloc fails")
               ? -ENOSPC
               : take_name(w->slots, (unsigned)first_fresh_slot(w), -ENOSPC, slot);
}

static void slot_free(struct substrate *s, uint64_t slot)
{
    WORLD_POINT(EXPLORE_UPDATE, "slot_free");
    give_name_back(world_of(s)->slots, slot, "device slot");
}

/* ---- the device */

static int device_write(struct substrate *s, uint64_t slot, uint64_t version)
{
    static const struct explore_place place = {__FILE__, __func__, "write begins", __LINE__};
    struct world *w = world_of(s);
    if (explore_is_running()) {
        explore_point(EXPLORE_WRITE, NULL, 0, &place);
        if (w->faults & WORLD_DEVICE_HANGS) {
            w->hangs++;
            explore_hang("device_write");
        }
    }
    struct world_cell *cell = in_use(w->slots, slot, "device slot");
    if (cell->writing) {
        explore_fail("two writes to device slot %llu at once", (unsigned long long)slot);
    }
    cell->writing = 1;
    bool bad = world_fails(w, WORLD_DEVICE_ERROR, "write fails");
    write_cell(w->slots, slot, bad ? POISON : version, "device slot");
    WORLD_POINT(EXPLORE_WRITE, "write ends");
    in_use(w->slots, slot, "device slot")->writing = 0;
    return bad ? -EIO : 0;
}

static int device_read(struct substrate *s, uint64_t slot, uint64_t *version)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_READ, "read begins");
    if (world_fails(w, WORLD_DEVICE_ERROR, "read fails")) {
        return -EIO;
    }
    *version = read_cell(w->slots, slot, "device slot");
    return 0;
}

/* ---- the swap cache */

static enum swap_cache_answer acquire(struct substrate *s, unsigned key, bool entry_in_use)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "swap cache: acquire");
    if (!entry_in_use) {
        explore_note("swap cache: no such entry");
        return SWAP_CACHE_FAIL;
    }
    if (w->swap_cache[key].locked) {
        return SWAP_CACHE_EXIST;
    }
    if (explore_is_running() && (w->faults & WORLD_SWAP_CACHE)) {
        unsigned answer = explore_choose(3, "NEW, EXIST or FAIL");
        if (answer) {
            return answer == 1 ? SWAP_CACHE_EXIST : SWAP_CACHE_FAIL;
        }
    }
    w->swap_cache[key] = (struct world_slot){.locked = 1};
    return SWAP_CACHE_NEW;
}

static void check_locked(const struct world *w, unsigned key, const char *what)
{
    if (!w->swap_cache[key].locked) {
        explore_fail("swap cache: %s without the slot", what);
    }
}

static void release(struct substrate *s, unsigned key)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "swap cache: release");
    check_locked(w, key, "release");
    w->swap_cache[key] = (struct world_slot){0};
}

static void put_page(struct substrate *s, unsigned key, uint64_t version)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "swap cache: put page");
    check_locked(w, key, "put_page");
    w->swap_cache[key].has_page = 1;
    w->swap_cache[key].page = version;
}

static void take_out(struct substrate *s, unsigned key)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_UPDATE, "swap cache: take out");
    w->swap_cache[key].has_page = 0;
    w->swap_cache[key].page = 0;
}

static bool peek(struct substrate *s, unsigned key, uint64_t *version)
{
    struct world *w = world_of(s);
    WORLD_POINT(EXPLORE_READ, "swap cache: look");
    *version = w->swap_cache[key].page;
    return w->swap_cache[key].has_page;
}

static const struct substrate_ops world_ops = {
    .memory = world_memory,
    .alloc = pool_alloc,
    .write = pool_write,
    .read = pool_read,
    .free = pool_free,
    .acquire = acquire,
    .release = release,
    .put_page = put_page,
    .take_out = take_out,
    .peek = peek,
    .slot_alloc = slot_alloc,
    .slot_free = slot_free,
    .device_write = device_write,
    .device_read = device_read,
};

struct world *world_create(unsigned keys, bool home_slots, unsigned faults)
{
    struct world *w = explore_alloc(sizeof *w);
    w->base.ops = &world_ops;
    w->keys = keys;
    w->home_slots = home_slots;
    w->faults = faults;
    for (unsigned i = 0; home_slots && i < keys; i++) {
        w->slots[i] = (struct world_cell){.alive = 1, .half = {POISON, POISON}};
    }
    return w;
}

/* ---- the record */

unsigned world_begin(struct world *w, unsigned key)
{
    if (w->ended_since) {
        w->clock++;
        w->ended_since = 0;
    }
    struct world_event *e = &w->events[w->events_used];
    *e = (struct world_event){.key = (uint8_t)key,
                              .event = {.verb = HISTORY_NOTHING, .begin = w->clock, .end = UINT32_MAX}};
    return w->events_used++;
}

void world_end(struct world *w, unsigned event, enum history_verb verb, uint64_t version)
{
    struct history_event *e = &w->events[event].event;
    e->verb = verb;
    e->version = version;
    e->end = w->clock + 1;
    w->ended_since = 1;
}

void world_past(struct world *w, unsigned key, enum history_verb verb, uint64_t version)
{
    world_end(w, world_begin(w, key), verb, version);
}

static bool changes(const struct history_event *e)
{
    return e->verb == HISTORY_STORE || e->verb == HISTORY_STORE_FAIL || e->verb == HISTORY_INVALIDATE ||
           (e->verb == HISTORY_EXCLUSIVE && e->version);
}

/* Was the version that `load` returned replaced or removed, by a verb that ended before the load began? */
static bool is_stale(const struct history_event *events, size_t n, const struct history_event *load)
{
    const struct history_event *store = NULL;
    for (size_t i = 0; i < n; i++) {
        if (events[i].verb == HISTORY_STORE && events[i].version == load->version) {
            store = &events[i];
        }
    }
    for (size_t i = 0; store && i < n; i++) {
        const struct history_event *e = &events[i];
        if (e != store && e != load && changes(e) && e->begin >= store->end && e->end <= load->begin) {
            return true;
        }
    }
    return false;
}

static void say_what_is_wrong(const struct history_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool loads = events[i].verb == HISTORY_LOAD || events[i].verb == HISTORY_EXCLUSIVE;
        if (loads && events[i].version && is_stale(events, n, &events[i])) {
            explore_fail("stale data: a load returned %llu, which was replaced or removed before",
                         (unsigned long long)events[i].version);
            return;
        }
    }
    explore_fail("not linearizable");
}

void world_check_record(const struct world *w)
{
    for (unsigned key = 0; key < w->keys; key++) {
        struct history_event events[WORLD_EVENTS_MAX];
        size_t n = 0;
        for (unsigned i = 0; i < w->events_used; i++) {
            /* A verb that hangs is a writeback: it has none of the others' answers. */
            if (w->events[i].key == key && w->events[i].event.verb != HISTORY_NOTHING) {
                events[n++] = w->events[i].event;
            }
        }
        if (!history_is_linearizable(events, n, 0, NULL, NULL)) {
            say_what_is_wrong(events, n);
            return;
        }
    }
}

static unsigned count_alive(const struct world_cell *cells, unsigned first)
{
    unsigned count = 0;
    for (unsigned i = first; i < WORLD_NAMES; i++) {
        count += cells[i].alive;
    }
    return count;
}

void world_check_leaks(const struct world *w, unsigned objects, unsigned slots)
{
    unsigned objects_alive = count_alive(w->objects, 1);
    unsigned slots_alive = count_alive(w->slots, (unsigned)first_fresh_slot(w));
    if (objects_alive != objects) {
        explore_fail("leak: %u objects in the pool, %u known", objects_alive, objects);
    } else if (slots_alive != slots) {
        explore_fail("leak: %u device slots in use, %u known", slots_alive, slots);
    }
    for (unsigned key = 0; key < w->keys; key++) {
        if (w->swap_cache[key].locked) {
            explore_fail("leak: the swap cache's slot of entry %u stays locked", key);
        }
    }
}
