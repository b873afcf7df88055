/* SPDX-License-Identifier: MIT */
/*
 * A region with all that lies below it, for tests, and ways to bring its pages into each state.
 *
 *     struct fixture f;
 *     fixture_open(&f, (struct fixture_options){.bytes = 8 << 20, .budget = 64 << 20, .device = FIXTURE_RAM});
 *     fixture_fill(&f, 0, 256, 1);            pages 0 .. 255 hold version 1 of their content
 *     fixture_to(&f, 0, 256, PLACE_POOL);     now they are in the pool
 *     CHECK_EQUAL(fixture_wrong(&f, 0, 256, 1), 0);
 *     fixture_close(&f);                      checks that all is consistent, and that nothing is left
 *
 * A page's content is a function of its number and its version, so that a page at a wrong place, or an old one, shows.
 */
#ifndef UZSWAP_TESTS_REGION_FIXTURE_H
#define UZSWAP_TESTS_REGION_FIXTURE_H

#include <setjmp.h>
#include <signal.h>
#include <time.h>

#include "base/sys.h"
#include "region/internal.h"
#include "tests/harness.h"
#include "tests/support/faulty_device.h"
#include "tests/support/members.h"
#include "tests/support/ram_device.h"
#include "tests/support/test_pool.h"

enum fixture_device {
    FIXTURE_NO_DEVICE,
    FIXTURE_RAM,        /* synchronous */
    FIXTURE_RAM_QUEUED, /* writes are done by a later reap */
    FIXTURE_FAULTY,     /* the same, behind a faulty device */
    FIXTURE_FILE,
};

struct fixture_options {
    size_t bytes, budget;
    size_t pool_bytes; /* 0 = half the budget */
    size_t slots;      /* of the swap cache; 0 = 65536 */
    enum fixture_device device;
    size_t device_bytes; /* 0 = 64 MiB */
    enum region_fault_mode mode;
    enum zswap_writeback writeback;
    unsigned pagein_threads;
    const struct thread_ops *threads; /* NULL = those of libpthread */
    void (*over_budget)(void *context, size_t over_bytes);
    void (*page_lost)(void *context, void *address, int error);
    void *context;
    bool incompressible;
    bool
        family; /* it may be forked: the test is a member (tests/support/members.h), as are all threads that touch it */
    struct lending *lending;
    const struct region_budget *shares;
    /* What region_create answered is for the test to look at; on failure fixture_close is still to be called. */
    bool may_fail;
};

struct fixture {
    struct account account;
    struct memory memory;
    struct swap_device *device;
    struct swap_cache *cache;
    struct zswap *zswap;
    struct region *region;
    unsigned char *base;
    uint64_t pages;
    bool incompressible;
    int error; /* of region_create */
};

enum place { PLACE_NEW, PLACE_RESIDENT, PLACE_STAGED, PLACE_POOL, PLACE_DEVICE };

/* ---- contents */

static inline uint64_t fixture_word(uint64_t *state, bool incompressible, unsigned i, uint64_t page,
                                    uint64_t version)
{
    return incompressible || i % 4 == 0 ? harness_random(state) : page * 3 + version;
}

static inline void fixture_make(const struct fixture *f, void *at, uint64_t page, uint64_t version)
{
    uint64_t state = page * 1000003 + version * 7919 + 1;
    for (unsigned i = 0; i < PAGE_BYTES / 8; i++) {
        ((uint64_t *)at)[i] = fixture_word(&state, f->incompressible, i, page, version);
    }
}

/* Is the content at `at` that of version `version` of page `page`? Version 0 is all zeros. */
static inline bool fixture_is(const struct fixture *f, const void *at, uint64_t page, uint64_t version)
{
    uint64_t state = page * 1000003 + version * 7919 + 1;
    for (unsigned i = 0; i < PAGE_BYTES / 8; i++) {
        uint64_t expected = version ? fixture_word(&state, f->incompressible, i, page, version) : 0;
        if (((const volatile uint64_t *)at)[i] != expected) {
            return false;
        }
    }
    return true;
}

static inline unsigned char *fixture_page(const struct fixture *f, uint64_t page)
{
    return f->base + page * PAGE_BYTES;
}

static inline void fixture_fill(const struct fixture *f, uint64_t first, uint64_t count, uint64_t version)
{
    for (uint64_t page = first; page < first + count; page++) {
        fixture_make(f, fixture_page(f, page), page, version);
    }
}

/* How many of the pages do not have the content of `version`. */
static inline uint64_t fixture_wrong(const struct fixture *f, uint64_t first, uint64_t count,
                                     uint64_t version)
{
    uint64_t wrong = 0;
    for (uint64_t page = first; page < first + count; page++) {
        wrong += !fixture_is(f, fixture_page(f, page), page, version);
    }
    return wrong;
}

/* ---- places */

/* Waits until faults under way are served to the end: a program goes on as soon as its page is there, a moment before the
 * books say so. */
static inline void fixture_settle(const struct fixture *f)
{
    rwlock_write_lock(&f->region->layout);
    rwlock_write_unlock(&f->region->layout);
}

static inline enum place fixture_place(const struct fixture *f, uint64_t page)
{
    struct cluster *cluster = region_cluster(f->region, page / CLUSTER_PAGES);
    uint64_t bit = 1ull << page % CLUSTER_PAGES;
    if (cluster && atomic_read_acquire(&cluster->resident) & bit) {
        return PLACE_RESIDENT;
    }
    if (!cluster || !(atomic_read_acquire(&cluster->out) & bit)) {
        return PLACE_NEW;
    }
    enum zswap_place place = zswap_find(f->zswap, page_entry(f->region, page));
    return place == ZSWAP_ON_DEVICE ? PLACE_DEVICE : place == ZSWAP_IN_POOL ? PLACE_POOL : PLACE_STAGED;
}

static inline uint64_t fixture_count(const struct fixture *f, uint64_t first, uint64_t count,
                                     enum place place)
{
    uint64_t n = 0;
    fixture_settle(f);
    for (uint64_t page = first; page < first + count; page++) {
        n += fixture_place(f, page) == place;
    }
    return n;
}

/* Compresses all that waits in the staging area. */
static inline void fixture_drain_staging(struct fixture *f)
{
    struct region *r = f->region;
    rwlock_read_lock(&r->layout);
    mutex_lock(&r->reclaim_lock);
    uint32_t target = r->staging_target;
    r->staging_target = 0;
    for (int i = 0; i < 10000 && staging_waiting(&r->staging) && reclaim_one(r); i++) {
    }
    r->staging_target = target;
    mutex_unlock(&r->reclaim_lock);
    rwlock_read_unlock(&r->layout);
}

/* Writes back all that lies in the pool. */
static inline void fixture_drain_pool(struct fixture *f)
{
    for (int i = 0; i < 16; i++) { /* twice for second chances; a few write buffers at a time */
        zswap_writeback(f->zswap, (size_t)1 << 40);
        zswap_writeback_reap(f->zswap, true);
    }
}

/* Brings pages that have content to `place`, or further down. The budget should have room, so that nothing else moves. */
static inline void fixture_to(struct fixture *f, uint64_t first, uint64_t count, enum place place)
{
    if (place == PLACE_RESIDENT) {
        for (uint64_t page = first; page < first + count; page++) {
            (void)*(volatile unsigned char *)fixture_page(f, page);
        }
        fixture_settle(f);
        return;
    }
    fixture_settle(f);
    region_pageout(f->region, fixture_page(f, first), count * PAGE_BYTES);
    if (place >= PLACE_POOL) {
        fixture_drain_staging(f);
    }
    if (place >= PLACE_DEVICE) {
        fixture_drain_pool(f);
    }
}

static inline struct region_stats fixture_stats(const struct fixture *f)
{
    struct region_stats stats;
    fixture_settle(f);
    region_get_stats(f->region, &stats);
    return stats;
}

static inline struct zswap_stats fixture_zswap_stats(const struct fixture *f)
{
    struct zswap_stats stats;
    zswap_get_stats(f->zswap, &stats);
    return stats;
}

/* ---- open and close */

static inline struct swap_device *fixture_make_device(struct fixture *f, const struct fixture_options *o)
{
    uint64_t bytes = o->device_bytes ? o->device_bytes : (uint64_t)64 << 20;
    struct swap_device *device = NULL;
    struct swap_open_error why;
    switch (o->device) {
    case FIXTURE_NO_DEVICE:
        break;
    case FIXTURE_RAM:
        return ram_device_create(bytes, RAM_DEVICE_SYNC);
    case FIXTURE_RAM_QUEUED:
        return ram_device_create(bytes, RAM_DEVICE_ASYNC);
    case FIXTURE_FAULTY:
        return faulty_device_create(ram_device_create(bytes, RAM_DEVICE_ASYNC));
    case FIXTURE_FILE:
        REQUIRE(!swap_device_open(&device, "file:", bytes, &f->memory, &why));
        break;
    }
    return device;
}

static inline struct region_options fixture_region_options(struct fixture *f, const struct fixture_options *o)
{
    return (struct region_options){.bytes = o->bytes,
                                   .zswap = f->zswap,
                                   .swap_cache = f->cache,
                                   .type = 3,
                                   .memory = &f->memory,
                                   .threads = o->threads  ? o->threads
                                              : o->family ? &thread_ops_members
                                                          : &thread_ops_pthread,
                                   .fault_mode = o->mode,
                                   .pagein_threads = o->pagein_threads,
                                   .over_budget = o->over_budget,
                                   .page_lost = o->page_lost,
                                   .budget = o->shares,
                                   .context = o->context};
}

static inline void fixture_open(struct fixture *f, struct fixture_options o)
{
    *f = (struct fixture){.incompressible = o.incompressible};
    account_set_limit(&f->account, o.budget);
    f->memory.account = &f->account;
    f->memory.lending = o.lending;
    f->device = fixture_make_device(f, &o);
    REQUIRE(!swap_cache_create(&f->cache, &f->memory, o.slots ? o.slots : 65536));
    struct zswap_options z = {.memory = &f->memory,
                              .pool = test_pool(),
                              .max_pool_bytes = o.pool_bytes ? o.pool_bytes : o.budget / 2,
                              .accept_threshold_percent = 90,
                              .writeback = o.writeback,
                              .device = f->device,
                              .swap_cache = f->cache,
                              .member = o.family ? &members_self : NULL};
    REQUIRE(!codec_parse("lz4", &z.codec));
    REQUIRE(!zswap_create(&f->zswap, &z));
    struct region_options r = fixture_region_options(f, &o);
    f->error = region_create(&f->region, &r);
    if (f->error) {
        if (!o.may_fail) {
            CHECK_EQUAL(f->error, 0);
            REQUIRE(!f->error);
        }
        return;
    }
    f->base = region_base(f->region);
    f->pages = region_bytes(f->region) / PAGE_BYTES;
}

static inline void fixture_close(struct fixture *f)
{
    if (f->region) {
        CHECK(region_consistent(f->region));
        region_fork_prepare(f->region); /* all stands still */
        CHECK(swap_cache_consistent(f->cache));
        region_fork_parent(f->region);
        region_destroy(f->region);
    }
    CHECK_EQUAL(swap_cache_count(f->cache), 0);
    zswap_destroy(f->zswap);
    swap_cache_destroy(f->cache);
    if (f->device) {
        f->device->ops->close(f->device);
    }
    CHECK_EQUAL(f->account.total, 0);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        CHECK_EQUAL(f->account.bytes[kind], 0);
    }
}

/* Is there a userfaultfd for us at all? Else says that the program is skipped. */
static inline bool fixture_is_permitted(void)
{
    struct userfault u;
    if (userfault_open(&u, false, -1)) {
        printf("1..0 # SKIP needs root, or another way to userfaultfd\n");
        return false;
    }
    userfault_close(&u);
    return true;
}

/* ---- touches that may fail */

static sigjmp_buf fixture_jump __attribute__((unused));

__attribute__((unused)) static void fixture_on_signal(int number)
{
    siglongjmp(fixture_jump, number);
}

/* Reads a byte. 0, or the signal that this raised. */
__attribute__((unused)) static int fixture_touch(const void *at)
{
    struct sigaction action = {.sa_handler = fixture_on_signal, .sa_flags = SA_NODEFER}, old[2];
    sigaction(SIGBUS, &action, &old[0]);
    sigaction(SIGSEGV, &action, &old[1]);
    int raised = sigsetjmp(fixture_jump, 1);
    if (!raised) {
        (void)*(const volatile unsigned char *)at;
    }
    sigaction(SIGBUS, &old[0], NULL);
    sigaction(SIGSEGV, &old[1], NULL);
    return raised;
}

static inline void fixture_sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* Waits until `condition` holds, ten seconds at most (a hundred under a sanitizer's pace would be no help either). */
#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        for (int waited_ = 0; !(condition) && waited_ < 10000; waited_++) {                                  \
            fixture_sleep_ms(1);                                                                             \
        }                                                                                                    \
        if (!(condition)) {                                                                                  \
            harness_fail(__FILE__, __LINE__, "waited in vain for: %s", #condition);                          \
        }                                                                                                    \
    } while (0)

#endif
