/* SPDX-License-Identifier: MIT */
#include "tests/lifecycles/memory_substrate.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "base/sys.h"

#define LINE 64
#define LOCAL_MAX 64 /* free names that a thread keeps to itself */
#define BATCH 32     /* and how many it takes or gives back at a time */
#define BLOCKS_MAX 16

/* Free names: a list each thread, and one for all. Numbers first .. first + count - 1. */
struct names {
    struct mutex lock;
    uint32_t used; /* in `all`. Guard: lock */
    uint32_t *all;
    struct {
        _Alignas(LINE) uint32_t used; /* by its thread only, all three */
        int32_t given_out;
        uint32_t local[LOCAL_MAX];
    } threads[LIFECYCLE_THREADS_MAX];
};

struct memory_key { /* the swap cache's */
    _Alignas(LINE) struct mutex lock;
    bool locked;   /* Guard: lock */
    uint64_t page; /* its version, 0 = none; atomic, changed under the lock */
};

struct slot {
    uint64_t version; /* plain: whoever reads has come after the write */
    uint32_t writers; /* atomic; checked only */
};

struct memory_substrate {
    struct substrate base;
    struct memory_options options;
    void *blocks[BLOCKS_MAX];
    unsigned blocks_used;

    struct names object_names, slot_names;
    size_t stride; /* of an object */
    unsigned char *objects;
    uint8_t *alive; /* a byte an object, atomic; checked only */
    struct slot *slots;
    struct memory_key *keys;

    unsigned char page[LZ4_COMPRESSBOUND(PAGE_BYTES)]; /* a page, compressed; constant */
    size_t page_bytes;

    uint32_t held;    /* atomic: the device does not answer */
    uint32_t waiting; /* atomic */
    uint32_t misuses; /* atomic */
    struct {
        _Alignas(LINE) uint64_t state;
    } random[LIFECYCLE_THREADS_MAX];
};

static _Thread_local unsigned thread_number;
static _Thread_local unsigned char scratch[PAGE_BYTES];

void memory_substrate_enter(unsigned thread)
{
    thread_number = thread;
}

static struct memory_substrate *substrate_of(struct substrate *s)
{
    return (struct memory_substrate *)s;
}

static void misuse(struct memory_substrate *m)
{
    atomic_add_relaxed(&m->misuses, 1);
}

static uint64_t next_random(uint64_t *state)
{
    return *state = *state * 6364136223846793005ull + 1442695040888963407ull;
}

static bool happens(struct memory_substrate *m, uint16_t chance)
{
    if (!chance) {
        return false;
    }
    return next_random(&m->random[thread_number].state) >> 56 < chance;
}

static void *get_memory(struct substrate *s, size_t bytes)
{
    struct memory_substrate *m = substrate_of(s);
    size_t rounded = round_up(bytes, LINE);
    void *block = m->blocks_used < BLOCKS_MAX ? aligned_alloc(LINE, rounded) : NULL;
    if (block) {
        memset(block, 0, rounded);
        m->blocks[m->blocks_used++] = block;
    }
    return block;
}

/* ---- names */

static bool names_create(struct memory_substrate *m, struct names *n, uint32_t first, uint32_t count)
{
    mutex_init(&n->lock, LOCK_RANK_LEAF);
    n->all = get_memory(&m->base, count * sizeof n->all[0]);
    while (n->all && n->used < count) {
        n->all[n->used] = first + count - 1 - n->used;
        n->used++;
    }
    return n->all != NULL;
}

static bool names_take(struct names *n, uint64_t *name)
{
    uint32_t *used = &n->threads[thread_number].used, *local = n->threads[thread_number].local;
    if (!*used) {
        SCOPED_LOCK(&n->lock);
        while (n->used && *used < BATCH) {
            local[(*used)++] = n->all[--n->used];
        }
    }
    if (!*used) {
        return false;
    }
    *name = local[--*used];
    n->threads[thread_number].given_out++;
    return true;
}

static void names_give_back(struct names *n, uint64_t name)
{
    uint32_t *used = &n->threads[thread_number].used, *local = n->threads[thread_number].local;
    if (*used == LOCAL_MAX) {
        SCOPED_LOCK(&n->lock);
        while (*used > LOCAL_MAX - BATCH) {
            n->all[n->used++] = local[--*used];
        }
    }
    local[(*used)++] = (uint32_t)name;
    n->threads[thread_number].given_out--;
}

static unsigned names_given_out(const struct names *n)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < LIFECYCLE_THREADS_MAX; i++) {
        sum += n->threads[i].given_out;
    }
    return (unsigned)sum;
}

/* ---- objects */

static unsigned char *object_at(struct memory_substrate *m, uint64_t object)
{
    return m->objects + object * m->stride;
}

static int pool_alloc(struct substrate *s, uint64_t *object)
{
    struct memory_substrate *m = substrate_of(s);
    if (happens(m, m->options.alloc_fails) || !names_take(&m->object_names, object)) {
        return -ENOMEM;
    }
    if (m->options.checked) {
        atomic_set_release(&m->alive[*object], 1);
    }
    return 0;
}

static void pool_free(struct substrate *s, uint64_t object)
{
    struct memory_substrate *m = substrate_of(s);
    if (m->options.checked && !atomic_swap_acq_rel(&m->alive[object], 0)) {
        misuse(m);
        return;
    }
    names_give_back(&m->object_names, object);
}

static void pool_write(struct substrate *s, uint64_t object, uint64_t version)
{
    struct memory_substrate *m = substrate_of(s);
    unsigned char *to = object_at(m, object);
    if (m->options.compressed) {
        memcpy(to, &version, sizeof version);
        memcpy(to + sizeof version, m->page, m->page_bytes);
        return;
    }
    for (size_t at = 0; at < m->stride; at += sizeof version) {
        memcpy(to + at, &version, sizeof version);
    }
}

static void check_object(struct memory_substrate *m, uint64_t object, uint64_t version)
{
    bool good = atomic_read_acquire(&m->alive[object]);
    for (size_t at = 0; !m->options.compressed && at < m->options.object_bytes; at += sizeof version) {
        good &= !memcmp(scratch + at, &version, min_size(sizeof version, m->options.object_bytes - at));
    }
    if (!good) {
        misuse(m);
    }
}

static uint64_t pool_read(struct substrate *s, uint64_t object)
{
    struct memory_substrate *m = substrate_of(s);
    const unsigned char *from = object_at(m, object);
    uint64_t version;
    if (m->options.compressed) {
        int got = LZ4_decompress_safe((const char *)from + sizeof version, (char *)scratch,
                                      (int)m->page_bytes, PAGE_BYTES);
        if (got != (int)PAGE_BYTES) {
            misuse(m);
        }
    } else {
        memcpy(scratch, from, m->options.object_bytes);
        __asm__ volatile("" : : "r"(scratch) : "memory"); /* the copy is what is measured */
    }
    memcpy(&version, from, sizeof version);
    if (m->options.checked) {
        check_object(m, object, version);
    }
    return version;
}

/* ---- the swap cache */

static enum swap_cache_answer acquire(struct substrate *s, unsigned key, bool in_use)
{
    struct memory_substrate *m = substrate_of(s);
    struct memory_key *k = &m->keys[key];
    if (!in_use || happens(m, m->options.acquire_fails)) {
        return SWAP_CACHE_FAIL;
    }
    SCOPED_LOCK(&k->lock);
    if (k->locked || happens(m, m->options.acquire_exists)) {
        return SWAP_CACHE_EXIST;
    }
    k->locked = true;
    return SWAP_CACHE_NEW;
}

static void set_page(struct memory_substrate *m, struct memory_key *k, uint64_t version)
{
    mutex_assert_held(&k->lock);
    if (!k->locked) {
        misuse(m);
    }
    atomic_set_release(&k->page, version);
}

static void release(struct substrate *s, unsigned key)
{
    struct memory_key *k = &substrate_of(s)->keys[key];
    SCOPED_LOCK(&k->lock);
    set_page(substrate_of(s), k, 0);
    k->locked = false;
}

static void put_page(struct substrate *s, unsigned key, uint64_t version)
{
    struct memory_key *k = &substrate_of(s)->keys[key];
    SCOPED_LOCK(&k->lock);
    set_page(substrate_of(s), k, version);
}

static void take_out(struct substrate *s, unsigned key)
{
    struct memory_key *k = &substrate_of(s)->keys[key];
    if (atomic_read_acquire(&k->page)) { /* the lock that it comes and goes under is the caller's */
        SCOPED_LOCK(&k->lock);
        atomic_set_release(&k->page, 0);
    }
}

static bool peek(struct substrate *s, unsigned key, uint64_t *version)
{
    *version = atomic_read_acquire(&substrate_of(s)->keys[key].page);
    return *version != 0;
}

/* ---- the device */

static int slot_alloc(struct substrate *s, uint64_t *slot)
{
    struct memory_substrate *m = substrate_of(s);
    return happens(m, m->options.slot_alloc_fails) || !names_take(&m->slot_names, slot) ? -ENOSPC : 0;
}

static void slot_free(struct substrate *s, uint64_t slot)
{
    names_give_back(&substrate_of(s)->slot_names, slot);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void wait_for_device(struct memory_substrate *m, unsigned ns)
{
    if (atomic_read_acquire(&m->held)) {
        atomic_add_relaxed(&m->waiting, 1);
        while (atomic_read_acquire(&m->held)) {
            sys_yield();
        }
        atomic_sub_relaxed(&m->waiting, 1);
    }
    if (ns) {
        uint64_t end = now_ns() + ns;
        while (now_ns() < end) {
            cpu_relax();
        }
    }
}

static int device_write(struct substrate *s, uint64_t slot, uint64_t version)
{
    struct memory_substrate *m = substrate_of(s);
    if (m->options.checked && atomic_add_acq_rel(&m->slots[slot].writers, 1) != 1) {
        misuse(m);
    }
    bool bad = happens(m, m->options.write_fails);
    m->slots[slot].version = bad ? 0 : version;
    wait_for_device(m, m->options.write_ns);
    if (m->options.checked) {
        atomic_sub_acq_rel(&m->slots[slot].writers, 1);
    }
    return bad ? -EIO : 0;
}

static int device_read(struct substrate *s, uint64_t slot, uint64_t *version)
{
    struct memory_substrate *m = substrate_of(s);
    wait_for_device(m, m->options.read_ns);
    if (m->options.checked && atomic_read_acquire(&m->slots[slot].writers)) {
        misuse(m);
    }
    *version = m->slots[slot].version;
    return happens(m, m->options.read_fails) ? -EIO : 0;
}

void memory_substrate_hold_device(struct substrate *s)
{
    atomic_set_release(&substrate_of(s)->held, 1);
}

void memory_substrate_let_go_device(struct substrate *s)
{
    atomic_set_release(&substrate_of(s)->held, 0);
}

unsigned memory_substrate_waiting(struct substrate *s)
{
    return atomic_read_acquire(&substrate_of(s)->waiting);
}

/* ---- life */

static const struct substrate_ops memory_ops = {
    .memory = get_memory,
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

/* A page of words from a small stock: LZ4 brings it to about a half, and takes some 1 us to expand it. */
static void make_page(struct memory_substrate *m)
{
    unsigned char page[PAGE_BYTES + 16], stock[32][16];
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof stock; i++) {
        stock[i / 16][i % 16] = (unsigned char)(next_random(&state) >> 56);
    }
    for (size_t at = 0; at < PAGE_BYTES;) {
        uint64_t random = next_random(&state) >> 32;
        memcpy(page + at, stock[random % 32], 16);
        at += 6 + random / 32 % 8; /* a word's length */
    }
    m->page_bytes =
        (size_t)LZ4_compress_default((const char *)page, (char *)m->page, PAGE_BYTES, (int)sizeof m->page);
}

/* Names enough for every key, and for what the threads have in hand and in their lists. */
static bool make_parts(struct memory_substrate *m)
{
    uint32_t keys = m->options.keys;
    uint32_t names = keys + LIFECYCLE_THREADS_MAX * (LOCAL_MAX + 2);
    make_page(m);
    size_t bytes = m->options.compressed ? sizeof(uint64_t) + m->page_bytes : m->options.object_bytes;
    m->stride = round_up(bytes, LINE);
    m->objects = get_memory(&m->base, (names + 1) * m->stride);
    m->alive = get_memory(&m->base, names + 1);
    m->slots = get_memory(&m->base, (keys + names) * sizeof m->slots[0]);
    m->keys = get_memory(&m->base, keys * sizeof m->keys[0]);
    if (!m->objects || !m->alive || !m->slots || !m->keys) {
        return false;
    }
    for (uint32_t i = 0; i < keys; i++) {
        mutex_init(&m->keys[i].lock, LOCK_RANK_SWAP_CACHE);
    }
    for (unsigned i = 0; i < LIFECYCLE_THREADS_MAX; i++) {
        m->random[i].state = i;
    }
    return names_create(m, &m->object_names, 1, names) && names_create(m, &m->slot_names, keys, names);
}

struct substrate *memory_substrate_create(const struct memory_options *options)
{
    struct memory_substrate *m = aligned_alloc(LINE, round_up(sizeof *m, LINE));
    if (!m) {
        return NULL;
    }
    memset(m, 0, sizeof *m);
    m->base.ops = &memory_ops;
    m->options = *options;
    if (!make_parts(m)) {
        memory_substrate_destroy(&m->base);
        return NULL;
    }
    return &m->base;
}

void memory_substrate_destroy(struct substrate *s)
{
    struct memory_substrate *m = substrate_of(s);
    for (unsigned i = 0; i < m->blocks_used; i++) {
        free(m->blocks[i]);
    }
    free(m);
}

struct memory_options *memory_substrate_options(struct substrate *s)
{
    return &substrate_of(s)->options;
}

void memory_substrate_count(struct substrate *s, unsigned *objects, unsigned *slots)
{
    *objects = names_given_out(&substrate_of(s)->object_names);
    *slots = names_given_out(&substrate_of(s)->slot_names);
}

unsigned memory_substrate_misuses(struct substrate *s)
{
    return atomic_read_acquire(&substrate_of(s)->misuses);
}
