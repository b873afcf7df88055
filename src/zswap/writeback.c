/* SPDX-License-Identifier: MIT */
/*
 * Writeback: the oldest entries leave the pool for the device, in large writes.
 *
 *   LRU --gather--> items of a write buffer, each holding its swap-cache slot and its entry's writeback hold
 *       --place---> device slots, as few runs as the swap map allows
 *       --fill----> records (or plain pages) in the buffer, sealed with their checksums
 *       --submit--> one write a run, asynchronous
 *       --done----> for each item: the entry becomes DEVICE if it is still the same, else the slots are freed
 *
 * No lock is held while the device works, and nobody waits for it: the entry stays in the pool, loadable, until the
 * swap at the end, and a store or an invalidate meanwhile simply makes that swap fail. Since a writeback always
 * takes fresh device slots, freed only after its write has ended, a replaced entry's write in flight can never land on
 * its successor's place.
 *
 * Who is taken: writeback_gather.c. When, and how much: shrinker.c.
 *
 * What each answer of the swap cache means: NEW, go on; EXIST, the page is in transition elsewhere (hot), so it gets
 * a second chance at the young end of the LRU; FAIL, no room for a slot, stop gathering. Should the entry be gone
 * when the slot is ours, begin_writeback says so, and the slot is released.
 *
 * A write that fails leaves its entries in the pool, at the old end of the LRU, in their order. After FAILURES_MAX
 * failed writes in a row the device is tried only now and then.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "swap/record.h"
#include "zswap/dedup.h"
#include "zswap/writeback.h"

#define FAILURES_MAX 8
#define FAILURES_RETRY 32
#define BUFFER_COST (sizeof(struct buffer) + BUFFER_BYTES)

uint32_t writeback_capacity(void)
{
    return BUFFERS * ITEMS_MAX;
}

int writeback_create(struct zswap *z)
{
    struct writeback *wb = memory_map(z->memory, sizeof *wb, ACCOUNT_TABLES);
    if (!wb) {
        return -ENOMEM;
    }
    mutex_init(&wb->lock, LOCK_RANK_WRITEBACK);
    z->writeback = wb;
    wb->buffers = memory_reserve(z->memory, BUFFERS * sizeof *wb->buffers);
    wb->data = memory_reserve(z->memory, BUFFERS * BUFFER_BYTES);
    if (!wb->buffers || !wb->data) {
        writeback_destroy(z);
        return -ENOMEM;
    }
    return 0;
}

/* A process pays for the buffers that it needs, while it writes back. */
static bool charge_buffer(struct zswap *z, uint32_t number)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    if (number < wb->charged) {
        return true;
    }
    if (!memory_commit(z->memory, BUFFER_COST, ACCOUNT_TABLES)) {
        return false;
    }
    atomic_set_relaxed(&wb->charged, number + 1);
    return true;
}

size_t zswap_set_aside(const struct zswap *z)
{
    /* Relaxed: a hint. */
    return z->writeback ? (BUFFERS - atomic_read_relaxed(&z->writeback->charged)) * BUFFER_COST : 0;
}

/* With nothing in flight: nobody but who holds the lock looks at a buffer. */
static void release_buffers(struct zswap *z)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    if (wb->charged && !zswap_writeback_in_flight(z)) {
        memory_drop(z->memory, wb->data, BUFFERS * BUFFER_BYTES);
        memory_drop(z->memory, wb->buffers, BUFFERS * sizeof *wb->buffers);
        memory_uncharge(z->memory, wb->charged * BUFFER_COST, ACCOUNT_TABLES);
        atomic_set_relaxed(&wb->charged, 0);
    }
}

void zswap_rest(struct zswap *z, bool for_certain)
{
    struct writeback *wb = z->writeback;
    if (!wb || !mutex_try_lock(&wb->lock)) {
        return;
    }
    uint32_t completed = writeback_completed(z);
    if (for_certain || completed == wb->completed_before) {
        release_buffers(z);
    }
    wb->completed_before = completed;
    mutex_unlock(&wb->lock);
}

void writeback_destroy(struct zswap *z)
{
    struct writeback *wb = z->writeback;
    account_uncharge(z->memory->account, ACCOUNT_TABLES, wb->charged * BUFFER_COST);
    memory_unreserve(z->memory, wb->data, BUFFERS * BUFFER_BYTES);
    memory_unreserve(z->memory, wb->buffers, BUFFERS * sizeof *wb->buffers);
    memory_unmap(z->memory, wb, sizeof *wb, ACCOUNT_TABLES);
    z->writeback = NULL;
}

bool zswap_writeback_in_flight(struct zswap *z)
{
    return z->writeback && atomic_read_acquire(&z->writeback->in_flight);
}

size_t writeback_bytes_in_flight(const struct zswap *z)
{
    return z->writeback ? atomic_read_relaxed(&z->writeback->bytes_in_flight) : 0;
}

uint32_t writeback_completed(const struct zswap *z)
{
    return z->writeback ? atomic_read_relaxed(&z->writeback->completed) : 0;
}

/* Not every object would fit any more. */
static bool device_is_full(struct zswap *z)
{
    do {
        if (swap_map_used(&z->map) + SWAP_OBJECT_SLOTS_MAX <= z->map.slots_total) {
            return false;
        }
    } while (swap_map_bury_dead(&z->map));
    return true;
}

bool zswap_can_write_back(struct zswap *z)
{
    return z->writeback && atomic_read_relaxed(&z->writeback->failures) < FAILURES_MAX && !device_is_full(z);
}

/* ---- the end of an item: committed or given back */

/* To where it came from, the old end; but not what cannot be read, which would stand before all others for ever. */
static void give_back(struct zswap *z, struct item *item)
{
    bool still_there = lifecycle_abort_writeback(&z->lifecycle, item->word, item->held);
    swap_cache_release(z->swap_cache, item->token);
    if (still_there && item->dropped) {
        area_lru_add(item->area, item->entry.offset);
    } else if (still_there) {
        area_lru_restore(item->area, item->entry.offset);
    }
    atomic_sub_acq_rel(&item->area->writing, 1); /* release: the area is not touched after it */
}

static void commit(struct zswap *z, struct item *item)
{
    bool plain = z->mode == ZSWAP_WRITEBACK_PAGE;
    uint64_t on_device = entry_make(ENTRY_DEVICE, item->first, plain ? PAGE_BYTES : entry_bytes(item->object),
                                    plain ? 0 : entry_format(item->object));
    if (lifecycle_finish_writeback(&z->lifecycle, item->word, item->held, on_device)) {
        count_change(z, item->held, on_device);
        counter_add(z, COUNTER_WRITTEN_BACK, 1);
        counter_add(z, COUNTER_WRITTEN_BACK_BYTES, (int64_t)(item->slots * SLOT_BYTES));
        /* A store that came and went meanwhile may have linked the offset again. */
        area_lru_drop(item->area, item->entry.offset);
    } else {
        swap_map_put(&z->map, item->first);
    }
    swap_cache_release(z->swap_cache, item->token);
    atomic_sub_acq_rel(&item->area->writing, 1); /* as in give_back */
}

static void complete_buffer(struct buffer *b)
{
    struct zswap *z = b->z;
    struct writeback *wb = z->writeback;
    size_t payload = b->payload;
    /* The youngest first, so that the oldest is given back last. */
    for (uint32_t i = b->items_used; i-- > 0;) {
        struct item *item = &b->items[i];
        if (item->dropped || b->runs[item->run].result) {
            swap_map_put(&z->map, item->first);
            give_back(z, item);
        } else {
            commit(z, item);
        }
    }
    /* Release: the next builder sees an unused buffer. */
    atomic_set_release(&b->busy, 0);
    /* Relaxed: hints of the shrinker, which looks at the pool itself. */
    atomic_add_relaxed(&wb->completed, 1);
    atomic_sub_relaxed(&wb->bytes_in_flight, payload);
    atomic_sub_acq_rel(&wb->in_flight, 1);
}

static void put_pending(struct buffer *b)
{
    /* Acq-rel: whoever takes it to 0 sees the results that the others wrote before. */
    if (atomic_sub_acq_rel(&b->pending, 1) == 0) {
        complete_buffer(b);
    }
}

static void run_done(struct swap_io *io)
{
    struct buffer *b = io->owner;
    struct writeback *wb = b->z->writeback;
    if (io->result) {
        counter_add(b->z, COUNTER_WRITE_FAIL, 1);
        atomic_add_relaxed(&wb->failures, 1);
    } else {
        atomic_set_relaxed(&wb->failures, 0);
    }
    put_pending(b);
}

/* ---- place, fill, submit */

static int place(struct zswap *z, struct buffer *b)
{
    uint8_t slots[ITEMS_MAX];
    uint64_t first[ITEMS_MAX];
    int error;
    while (b->items_used) {
        for (uint32_t i = 0; i < b->items_used; i++) {
            slots[i] = b->items[i].slots;
        }
        error = swap_map_alloc(&z->map, slots, b->items_used, first);
        if (!error) {
            for (uint32_t i = 0; i < b->items_used; i++) {
                b->items[i].first = first[i];
            }
            return 0;
        }
        counter_add(z, COUNTER_DEVICE_FULL, 1);
        uint32_t keep = b->items_used / 2;
        while (b->items_used > keep) {
            struct item *item = &b->items[--b->items_used];
            b->payload -= item->weight;
            give_back(z, item);
        }
    }
    return -ENOSPC;
}

static int expand(struct zswap *z, uint64_t held, const void *from, void *page)
{
    struct context *context = context_claim(&z->contexts);
    int error = decode_object(z, context, held, page, from);
    context_unclaim(context);
    return error;
}

static void fill_item(struct zswap *z, struct buffer *b, struct item *item)
{
    unsigned char *to = b->data + item->at * SLOT_BYTES;
    uint64_t *shared = NULL;
    uint64_t held = entry_is_reference(item->held) ? dedup_hold(z, item->held, &shared) : item->held;
    uint64_t handle = entry_name(held);
    const void *from = z->pool->ops->map(z->pool, handle);
    if (z->mode == ZSWAP_WRITEBACK_PAGE) {
        item->dropped =
            expand(z, held, from, to) != 0 ||
            swap_map_set_sum(&z->map, item->first, record_page_sum(to, item->entry, item->first)) != 0;
    } else {
        memcpy(to + RECORD_HEADER_BYTES, from, entry_bytes(held));
        record_seal(to, entry_bytes(held), item->entry, item->first);
    }
    z->pool->ops->unmap(z->pool, handle);
    if (shared) {
        lifecycle_unhold(&z->lifecycle, shared, held);
    }
}

/* Items that follow each other both in the buffer and on the device share a write. */
static void make_runs(struct buffer *b)
{
    struct swap_io *run = NULL;
    for (uint32_t i = 0; i < b->items_used; i++) {
        struct item *item = &b->items[i];
        if (!run || run->position + run->bytes != item->first * SLOT_BYTES) {
            run = &b->runs[b->runs_used++];
            *run = (struct swap_io){.operation = SWAP_WRITE,
                                    .buffer = b->data + item->at * SLOT_BYTES,
                                    .position = item->first * SLOT_BYTES,
                                    .done = run_done,
                                    .owner = b};
        }
        run->bytes += item->slots * SLOT_BYTES;
        item->run = (uint8_t)(b->runs_used - 1);
    }
}

static size_t submit(struct zswap *z, struct buffer *b)
{
    size_t payload = b->payload;
    for (uint32_t i = 0; i < b->items_used; i++) {
        fill_item(z, b, &b->items[i]);
    }
    make_runs(b);
    uint32_t runs = b->runs_used;
    atomic_set_release(&b->pending, runs + 1);
    atomic_add_acq_rel(&z->writeback->in_flight, 1);
    atomic_add_relaxed(&z->writeback->bytes_in_flight, payload);
    counter_add(z, COUNTER_WRITEBACK_BATCHES, 1);
    for (uint32_t i = 0; i < runs; i++) {
        z->device->ops->submit(z->device, &b->runs[i]);
    }
    put_pending(b);
    return payload;
}

static struct buffer *claim_buffer(struct zswap *z)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    for (uint32_t i = 0; i < BUFFERS && charge_buffer(z, i); i++) {
        struct buffer *b = &wb->buffers[i];
        if (!atomic_read_acquire(&b->busy)) {
            atomic_set_relaxed(&b->busy, 1);
            b->z = z;
            b->data = wb->data + i * BUFFER_BYTES;
            b->items_used = b->runs_used = b->slots_used = 0;
            b->payload = 0;
            return b;
        }
    }
    return NULL;
}

/* Builds and submits one buffer. The payload on its way, 0 if there was nothing to write or no place for it. */
static size_t write_one(struct zswap *z, struct buffer *b)
{
    writeback_gather(z, b);
    if (!b->items_used || place(z, b)) {
        atomic_set_release(&b->busy, 0);
        return 0;
    }
    return submit(z, b);
}

static size_t write_many(struct zswap *z, size_t bytes)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    if (atomic_read_relaxed(&wb->failures) >= FAILURES_MAX && wb->calls_while_failing++ % FAILURES_RETRY) {
        return 0;
    }
    if (device_is_full(z)) { /* look at no entry, so that they keep their order */
        counter_add(z, COUNTER_DEVICE_FULL, 1);
        return 0;
    }
    /* No more than there is: what fails at once comes back to the LRU, and would be tried for ever. */
    bytes = min_size(bytes, counter_sum(z, COUNTER_PAYLOAD));
    size_t started = 0;
    while (started < bytes) {
        struct buffer *b = claim_buffer(z);
        size_t payload = b ? write_one(z, b) : 0;
        if (!payload) {
            break;
        }
        started += payload;
    }
    return started;
}

size_t writeback_start(struct zswap *z, size_t bytes, bool take_turn)
{
    struct writeback *wb = z->writeback;
    if (!wb) {
        return 0;
    }
    if (take_turn) {
        mutex_lock(&wb->lock);
    } else if (!mutex_try_lock(&wb->lock)) {
        return 1;
    }
    size_t started = write_many(z, bytes);
    mutex_unlock(&wb->lock);
    return started;
}

size_t zswap_writeback(struct zswap *z, size_t bytes)
{
    return writeback_start(z, bytes, true);
}

void writeback_forget_area(struct zswap *z, uint32_t type)
{
    struct area *area = z->areas[type];
    if (z->writeback) {
        mutex_lock(&z->writeback->lock); /* nobody is gathering: who comes next does not find the area */
    }
    atomic_set_seq_cst(&z->areas[type], NULL); /* dedup_forget_area says why */
    if (z->writeback) {
        mutex_unlock(&z->writeback->lock);
    }
    /* Its own writes only: others may go on all the time. Acquire: see give_back. */
    while (atomic_read_acquire(&area->writing)) {
        if (!z->device->ops->reap(z->device, true)) {
            sys_yield(); /* another thread is completing the last one */
        }
    }
}

void zswap_writeback_reap(struct zswap *z, bool wait)
{
    if (!z->writeback) {
        return;
    }
    z->device->ops->reap(z->device, false);
    while (wait && zswap_writeback_in_flight(z)) {
        if (!z->device->ops->reap(z->device, true)) {
            sys_yield(); /* another thread is completing the last one */
        }
    }
}
