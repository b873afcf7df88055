/* SPDX-License-Identifier: MIT */
/*
 * Load and exclusive load. A load holds the object while it reads it (a count in the entry's word), so it shares
 * nothing with loads of other pages, runs beside loads of the same page, and is not disturbed by whatever happens
 * to the entry meanwhile. Only a load whose copy is on the device waits for I/O.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "swap/record.h"
#include "zswap/dedup.h"
#include "zswap/same_filled.h"

/* Answer of a load that should be tried again, with its context given back meanwhile: too many wait for the device
 * (context.h), or for this entry. Never leaves this file. */
#define TRY_AGAIN 1

int decode_object(struct zswap *z, struct context *context, uint64_t word, void *page, const void *from)
{
    int error = 0;
    if (entry_bytes(word) == PAGE_BYTES) {
        memcpy(page, from, PAGE_BYTES);
    } else if (entry_format(word) == ENTRY_FORMAT_FILL8) {
        uint64_t value;
        memcpy(&value, from, sizeof value);
        same_filled_expand(page, value);
    } else {
        error = codec_decompress(context->codec, (enum codec_format)entry_format(word), page, from,
                                 entry_bytes(word));
    }
    if (error) {
        counter_add(z, COUNTER_DECOMPRESS_FAIL, 1);
    }
    return error;
}

static int load_from_pool(struct zswap *z, struct context *context, uint64_t word, void *page)
{
    uint64_t handle = entry_name(word);
    int error = decode_object(z, context, word, page, z->pool->ops->map(z->pool, handle));
    z->pool->ops->unmap(z->pool, handle);
    return error;
}

static int load_shared_object(struct zswap *z, struct context *context, uint64_t reference, bool no_wait,
                              void *page)
{
    uint64_t *word, held = dedup_try_hold(z, reference, &word);
    if (held == ENTRY_BUSY) {
        return no_wait ? -EAGAIN : TRY_AGAIN;
    }
    int error = load_from_pool(z, context, held, page);
    lifecycle_unhold(&z->lifecycle, word, held);
    return error;
}

static int read_device(struct zswap *z, void *to, uint64_t first, size_t slots, bool no_wait)
{
    if (no_wait && !z->device->reads_at_once) {
        return -EAGAIN;
    }
    struct swap_io io = {.operation = SWAP_READ,
                         .buffer = to,
                         .bytes = slots * SLOT_BYTES,
                         .position = first * SLOT_BYTES,
                         .no_wait = no_wait};
    int error = swap_device_wait(z->device, &io);
    if (no_wait && error == -EAGAIN) {
        return error;
    }
    counter_add(z, COUNTER_DEVICE_LOADS, 1);
    if (error) {
        counter_add(z, COUNTER_READ_FAIL, 1);
        return -EIO;
    }
    return 0;
}

static int load_from_device(struct zswap *z, struct context *context, struct swap_entry entry, uint64_t word,
                            bool no_wait, void *page)
{
    uint64_t first = entry_name(word);
    int error = read_device(z, context->buffer, first, device_slots(word, z->mode), no_wait);
    if (error) {
        return error;
    }
    if (z->mode == ZSWAP_WRITEBACK_PAGE) {
        if (record_page_sum(context->buffer, entry, first) != swap_map_sum(&z->map, first)) {
            counter_add(z, COUNTER_DECOMPRESS_FAIL, 1);
            return -EBADMSG;
        }
        memcpy(page, context->buffer, PAGE_BYTES);
        return 0;
    }
    const void *payload = record_open(context->buffer, entry_bytes(word), entry, first);
    if (!payload) {
        counter_add(z, COUNTER_DECOMPRESS_FAIL, 1);
        return -EBADMSG;
    }
    return decode_object(z, context, word, page, payload);
}

/* Reads the held object (or FILLED word) into `page`. */
static int read_entry(struct zswap *z, struct context *context, struct swap_entry entry, uint64_t held,
                      bool no_wait, void *page)
{
    if (entry_kind(held) == ENTRY_FILLED) {
        same_filled_expand(page, same_filled_decode(held));
        return 0;
    }
    if (unlikely(entry_is_reference(held))) {
        return load_shared_object(z, context, held, no_wait, page);
    }
    return entry_kind(held) == ENTRY_POOL ? load_from_pool(z, context, held, page)
                                          : load_from_device(z, context, entry, held, no_wait, page);
}

/* The entry's word for a load, NULL and *error if there is none. */
static uint64_t *find_word(struct zswap *z, struct swap_entry entry, int *error)
{
    struct area *area = area_of(z, entry);
    *error = area ? -ENOENT : -EINVAL;
    return area ? area_word(area, entry.offset) : NULL;
}

/* read_entry, but counted among those that wait, where it may. */
static int read_entry_in_turn(struct zswap *z, struct context *context, struct swap_entry entry,
                              uint64_t held, bool no_wait, void *page)
{
    bool may_wait = entry_kind(held) == ENTRY_DEVICE && !no_wait;
    if (may_wait && !context_begin_wait(&z->contexts)) {
        return TRY_AGAIN;
    }
    counter_add(z, COUNTER_LOADS, 1);
    int error = read_entry(z, context, entry, held, no_wait, page);
    if (may_wait) {
        context_end_wait(&z->contexts);
    }
    return error;
}

/*
 * Objects that were stored one after the other lie in as many places as they have sizes. Where loads follow each other, as those of
 * readahead do, the next one's object is asked for before this one is decoded. Whatever the word's object is by the time it
 * is loaded: asking for an address harms nothing.
 */
static void prepare_next(struct zswap *z, struct context *context, struct swap_entry entry)
{
    if (!z->pool->ops->prepare_read) {
        return;
    }
    bool expected = entry.type == context->expected.type && entry.offset == context->expected.offset;
    context->expected = (struct swap_entry){entry.type, entry.offset + 1};
    if (expected) {
        int error;
        uint64_t *word = find_word(z, context->expected, &error);
        /* Relaxed: a hint. */
        prepare_read(z, word ? atomic_read_relaxed(word) : 0);
    }
}

/* Loads with a claimed context. */
static int load_shared(struct zswap *z, struct context *context, struct swap_entry entry, uint64_t *word,
                       bool no_wait, void *page)
{
    uint64_t held = lifecycle_try_hold(word, true);
    if (!held || held == ENTRY_BUSY) {
        return !held ? -ENOENT : no_wait ? -EAGAIN : TRY_AGAIN;
    }
    prepare_read(z, held);
    prepare_next(z, context, entry);
    int error = read_entry_in_turn(z, context, entry, held, no_wait, page);
    if (entry_is_object(held)) {
        lifecycle_unhold(&z->lifecycle, word, held);
    }
    return error;
}

/* Lets go of what was read and removes it. False if it is not the entry any more: replaced, removed, or moved to the
 * device by a writeback. */
static bool remove_entry(struct zswap *z, struct swap_entry entry, uint64_t *word, uint64_t held)
{
    bool removed = entry_is_object(held) ? lifecycle_remove_held(&z->lifecycle, word, held)
                                         : lifecycle_remove_filled(word, held);
    if (removed) {
        count_change(z, held, 0);
        if (entry_kind(held) == ENTRY_POOL) {
            area_lru_drop(z->areas[entry.type], entry.offset);
        }
    }
    return removed;
}

/* Reads again until what was read is also what was removed: so of two exclusive loads exactly one gets the page. */
static int load_and_remove(struct zswap *z, struct context *context, struct swap_entry entry, uint64_t *word,
                           void *page)
{
    for (;;) {
        uint64_t held = lifecycle_try_hold(word, false);
        if (!held || held == ENTRY_BUSY) {
            return held ? TRY_AGAIN : -ENOENT;
        }
        prepare_read(z, held);
        prepare_free(z, held, false);
        int error = read_entry_in_turn(z, context, entry, held, false, page);
        if (error) {
            lifecycle_unhold(&z->lifecycle, word, held); /* an object: FILLED words do not fail */
            return error;
        }
        if (remove_entry(z, entry, word, held)) {
            return 0;
        }
    }
}

enum load_kind { LOAD_SHARED, LOAD_AT_ONCE, LOAD_EXCLUSIVE };

/*
 * The context is claimed before the hold is taken and given back after it has ended: so there are never more holds
 * than contexts, however many threads load, and the table of orphans cannot run over (lifecycle.h).
 */
static int load(struct zswap *z, struct swap_entry entry, enum load_kind kind, void *page)
{
    int error;
    uint64_t *word = find_word(z, entry, &error);
    __builtin_prefetch(word, 1);
    while (word) {
        struct context *context = context_claim(&z->contexts);
        error = kind == LOAD_EXCLUSIVE ? load_and_remove(z, context, entry, word, page)
                                       : load_shared(z, context, entry, word, kind == LOAD_AT_ONCE, page);
        context_unclaim(context);
        if (likely(error != TRY_AGAIN)) {
            break;
        }
        sys_yield();
    }
    return error;
}

int zswap_load(struct zswap *z, struct swap_entry entry, void *page)
{
    return load(z, entry, LOAD_SHARED, page);
}

int zswap_load_at_once(struct zswap *z, struct swap_entry entry, void *page)
{
    return load(z, entry, LOAD_AT_ONCE, page);
}

int zswap_load_exclusive(struct zswap *z, struct swap_entry entry, void *page)
{
    return load(z, entry, LOAD_EXCLUSIVE, page);
}

enum zswap_place zswap_find(struct zswap *z, struct swap_entry entry)
{
    int error;
    uint64_t *word = find_word(z, entry, &error);
    /* Relaxed: a snapshot, nothing is reached through it. */
    switch (word ? entry_kind(atomic_read_relaxed(word)) : ENTRY_EMPTY) {
    case ENTRY_POOL:
    case ENTRY_FILLED:
        return ZSWAP_IN_POOL;
    case ENTRY_DEVICE:
        return ZSWAP_ON_DEVICE;
    case ENTRY_EMPTY:
        break;
    }
    return ZSWAP_NOWHERE;
}
