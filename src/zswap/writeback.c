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
 * What each answer of the swap cache means: NEW, go on; EXIST, the page is in transition elsewhere (hot), so it gets
 * a second chance at the young end of the LRU; FAIL, no room for a slot, stop gathering. Should the entry be gone
 * when the slot is ours, begin_writeback says so, and the slot is released.
 *
 * A write that fails leaves its entries in the pool. After FAILURES_MAX failed writes in a row the device is tried only
 * now and then.
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "swap/record.h"
#include "zswap/dedup.h"

/* Less only for the explorer, which copies all of it at each step. */
#ifndef BUFFERS
#define BUFFERS 4
#define BUFFER_SLOTS 256 /* 128 KiB */
#define ITEMS_MAX 128
#endif
#define BUFFER_BYTES (BUFFER_SLOTS * SLOT_BYTES)
#define PEERS_MAX 8
#define FAILURES_MAX 8
#define FAILURES_RETRY 32

struct item {
    struct swap_entry entry;
    struct area *area; /* zswap_area_destroy takes it out of the table before the item has ended */
    uint64_t *word;
    uint64_t held;
    uint64_t object; /* a word with length and format of what is written */
    uint32_t weight; /* bytes that leave the pool with it */
    struct swap_cache_token token;
    uint64_t first; /* device slot */
    uint64_t sum;   /* plain pages */
    uint16_t at;    /* slot in the buffer */
    uint8_t slots;
    uint8_t run;
    bool dropped; /* could not be read: nothing of it is on the device */
};

/* Guard of all fields: the builder from claim to submit, then the thread that completes the last run. */
struct buffer {
    struct zswap *z;
    unsigned char *data;
    uint32_t busy;    /* atomic; claimed under the writeback lock, released at completion */
    uint32_t pending; /* runs not done, and one for the builder; atomic */
    uint32_t items_used, runs_used, slots_used;
    struct item items[ITEMS_MAX];
    struct swap_io runs[ITEMS_MAX];
};

struct writeback {
    struct mutex lock;            /* one builder at a time */
    struct buffer *buffers;       /* BUFFERS */
    uint32_t next_type;           /* whose LRU is next. Guard: lock */
    uint32_t calls_while_failing; /* Guard: lock */
    uint32_t in_flight;           /* buffers; atomic */
    uint32_t failures;            /* failed writes in a row; atomic hint */
};

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
    wb->buffers = memory_map(z->memory, BUFFERS * sizeof *wb->buffers, ACCOUNT_TABLES);
    unsigned char *data = memory_map(z->memory, BUFFERS * BUFFER_BYTES, ACCOUNT_TABLES);
    if (!wb->buffers || !data) {
        memory_unmap(z->memory, data, BUFFERS * BUFFER_BYTES, ACCOUNT_TABLES);
        memory_unmap(z->memory, wb->buffers, BUFFERS * sizeof *wb->buffers, ACCOUNT_TABLES);
        memory_unmap(z->memory, wb, sizeof *wb, ACCOUNT_TABLES);
        z->writeback = NULL;
        return -ENOMEM;
    }
    for (size_t i = 0; i < BUFFERS; i++) {
        wb->buffers[i].z = z;
        wb->buffers[i].data = data + i * BUFFER_BYTES;
    }
    return 0;
}

void writeback_destroy(struct zswap *z)
{
    struct writeback *wb = z->writeback;
    memory_unmap(z->memory, wb->buffers[0].data, BUFFERS * BUFFER_BYTES, ACCOUNT_TABLES);
    memory_unmap(z->memory, wb->buffers, BUFFERS * sizeof *wb->buffers, ACCOUNT_TABLES);
    memory_unmap(z->memory, wb, sizeof *wb, ACCOUNT_TABLES);
    z->writeback = NULL;
}

bool zswap_writeback_in_flight(struct zswap *z)
{
    return z->writeback && atomic_read_acquire(&z->writeback->in_flight);
}

/* Not every object would fit any more. */
static bool device_is_full(struct zswap *z)
{
    return swap_map_used(&z->map) + SWAP_OBJECT_SLOTS_MAX > z->map.slots_total;
}

bool zswap_can_write_back(struct zswap *z)
{
    return z->writeback && atomic_read_relaxed(&z->writeback->failures) < FAILURES_MAX && !device_is_full(z);
}

/* ---- gather: victims, each with its slot and its hold */

static bool add_item(struct buffer *b, struct swap_entry entry, struct area *area, uint64_t *word,
                     uint64_t held, struct swap_cache_token token)
{
    uint64_t object = dedup_object(b->z, held);
    size_t slots = device_slots(object, b->z->mode);
    b->items[b->items_used++] = (struct item){.entry = entry,
                                              .area = area,
                                              .word = word,
                                              .held = held,
                                              .object = object,
                                              .weight = (uint32_t)dedup_weight(b->z, held),
                                              .token = token,
                                              .at = (uint16_t)b->slots_used,
                                              .slots = (uint8_t)slots};
    b->slots_used += (uint32_t)slots;
    /* Relaxed: the lock is held, and who takes the area out of the table has it before he looks. */
    atomic_add_relaxed(&area->writing, 1);
    return true;
}

static bool has_room(const struct buffer *b)
{
    return b->items_used < ITEMS_MAX && b->slots_used + SWAP_OBJECT_SLOTS_MAX <= BUFFER_SLOTS;
}

/* Tries to take the entry, which is no longer in the LRU, for writeback. False if gathering should stop. */
static bool take_victim(struct zswap *z, struct buffer *b, struct area *area, struct swap_entry entry)
{
    uint64_t *word = area_word(area, entry.offset);
    struct swap_cache_token token;
    if (!word) {
        return true;
    }
    enum swap_cache_answer answer = swap_cache_acquire(z->swap_cache, entry, SWAP_CACHE_WRITEBACK, &token);
    uint64_t held = answer == SWAP_CACHE_NEW ? lifecycle_begin_writeback(word) : 0;
    if (held) {
        return add_item(b, entry, area, word, held, token);
    }
    if (answer == SWAP_CACHE_NEW) {
        swap_cache_release(z->swap_cache, token);
    }
    area_lru_add(area, entry.offset);
    return answer != SWAP_CACHE_FAIL;
}

/* What shares the victim's memory goes along, or nothing would be won. */
static bool take_peers(struct zswap *z, struct buffer *b, uint64_t held)
{
    if (entry_is_reference(held)) {
        return true;
    }
    uint64_t owners[PEERS_MAX];
    size_t n = z->pool->ops->peers(z->pool, entry_name(held), owners, PEERS_MAX);
    for (size_t i = 0; i < n && has_room(b); i++) {
        struct swap_entry peer = entry_unpack(owners[i]);
        struct area *area = area_of(z, peer);
        if (area && area_lru_take(area, peer.offset) && !take_victim(z, b, area, peer)) {
            return false;
        }
    }
    return true;
}

/* The next area's oldest entry, the areas taking turns; NULL if there is none. */
static struct area *take_oldest(struct zswap *z, struct swap_entry *entry)
{
    struct writeback *wb = z->writeback;
    mutex_assert_held(&wb->lock);
    for (uint32_t i = 0; i < ZSWAP_TYPES_MAX; i++) {
        uint32_t type = (wb->next_type + i) % ZSWAP_TYPES_MAX;
        struct area *area = atomic_read_acquire(&z->areas[type]);
        if (area && area_lru_take_oldest(area, &entry->offset)) {
            entry->type = type;
            wb->next_type = type + 1;
            return area;
        }
    }
    return NULL;
}

static uint64_t lru_total(struct zswap *z)
{
    uint64_t total = 0;
    for (uint32_t type = 0; type < ZSWAP_TYPES_MAX; type++) {
        struct area *area = atomic_read_acquire(&z->areas[type]);
        total += area ? area_lru_count(area) : 0;
    }
    return total;
}

static void gather(struct zswap *z, struct buffer *b)
{
    struct swap_entry entry;
    struct area *area;
    /* Each entry is met at most twice: once to lose its second chance, once to be taken. */
    uint64_t tries = 2 * lru_total(z);
    while (has_room(b) && tries-- && (area = take_oldest(z, &entry)) != NULL) {
        uint32_t before = b->items_used;
        if (!take_victim(z, b, area, entry)) {
            return;
        }
        if (b->items_used > before && !take_peers(z, b, b->items[before].held)) {
            return;
        }
    }
}

/* ---- the end of an item: committed or given back */

static void give_back(struct zswap *z, struct item *item)
{
    bool still_there = lifecycle_abort_writeback(&z->lifecycle, item->word, item->held);
    swap_cache_release(z->swap_cache, item->token);
    if (still_there) {
        area_lru_add(item->area, item->entry.offset);
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
    for (uint32_t i = 0; i < b->items_used; i++) {
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
    atomic_sub_acq_rel(&z->writeback->in_flight, 1);
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
            give_back(z, &b->items[--b->items_used]);
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
    size_t payload = 0;
    for (uint32_t i = 0; i < b->items_used; i++) {
        fill_item(z, b, &b->items[i]);
        payload += b->items[i].weight;
    }
    make_runs(b);
    uint32_t runs = b->runs_used;
    atomic_set_release(&b->pending, runs + 1);
    atomic_add_acq_rel(&z->writeback->in_flight, 1);
    for (uint32_t i = 0; i < runs; i++) {
        z->device->ops->submit(z->device, &b->runs[i]);
    }
    put_pending(b);
    return payload;
}

static struct buffer *claim_buffer(struct writeback *wb)
{
    mutex_assert_held(&wb->lock);
    for (size_t i = 0; i < BUFFERS; i++) {
        struct buffer *b = &wb->buffers[i];
        if (!atomic_read_acquire(&b->busy)) {
            atomic_set_relaxed(&b->busy, 1);
            b->items_used = b->runs_used = b->slots_used = 0;
            return b;
        }
    }
    return NULL;
}

/* Builds and submits one buffer. The payload on its way, 0 if there was nothing to write or no place for it. */
static size_t write_one(struct zswap *z, struct buffer *b)
{
    gather(z, b);
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
        struct buffer *b = claim_buffer(wb);
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
