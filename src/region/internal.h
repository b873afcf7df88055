/* SPDX-License-Identifier: MIT */
/*
 * A region's own structure, shared by the files of region/ and nobody else.
 *
 * Locks, outermost first:
 *   layout         shared: every transition of a page, for as long as it uses the region's addresses. Exclusive:
 *                  changes of whole ranges (range.c), fork. Held by runtime threads only: a thread of the program that held
 *                  it and touched a page that is out would wait for a handler that waits for it.
 *   reclaim        one thread at a time evicts, compresses and writes back.
 *   cluster lock   (hashed) putting pages into a cluster against moving pages out of it, and its `resident`. Held for one
 *                  ioctl; never while loading, storing or waiting for a device.
 *   swap-cache slot (not a mutex) owns a page's transition.
 */
#ifndef UZSWAP_REGION_INTERNAL_H
#define UZSWAP_REGION_INTERNAL_H

#include "base/atomic.h"
#include "base/lock.h"
#include "base/thread.h"
#include "region/cluster.h"
#include "region/region.h"
#include "region/staging.h"
#include "region/streams.h"
#include "region/userfault.h"

#define CLUSTER_LOCKS 64
#define HANDLERS_MAX 4
#define PAGEIN_THREADS_MAX 16
#define PAGEIN_QUEUE 256
#define READAHEAD_MAX STREAM_WINDOW_MAX

/* A fault whose page is on the device, on its way from the handler to a page-in thread. */
struct pagein_request {
    uint64_t page;
    struct swap_cache_token token;
    bool writes; /* the program is about to write it */
};

struct pagein_queue {
    struct mutex lock;
    struct pagein_request ring[PAGEIN_QUEUE]; /* Guard: lock */
    uint32_t head, count;                     /* Guard: lock */
    uint32_t wake;                            /* raised at each push; page-in threads sleep on it; atomic */
    uint32_t unfinished;                      /* pushed and not yet served; atomic */
    uint32_t
        stopped; /* 1 while a fork waits for what is unfinished: nothing is begun that needs the device; atomic */
};

/* slow_load.c: a load that waits for the device with no lock held. On the stack of who makes it. */
struct slow_load {
    uint64_t page;
    struct slow_load *next; /* Guard: slow_loads_lock */
    bool stale;             /* Guard: the layout lock: set with it held exclusively */
};

enum region_counter {
    REGION_FAULTS,
    REGION_REFAULTS,
    REGION_ZERO_FILLS,
    REGION_POOL_LOADS,
    REGION_DEVICE_LOADS,
    REGION_EVICTED,
    REGION_MOVE_REFUSED,
    REGION_COPIED_OUT,
    REGION_POISONED,
    REGION_COUNTERS,
};

/* One thread that serves faults, and what it needs. */
struct server {
    struct region *region;
    struct thread thread;
    uint32_t busy;         /* SIGBUS mode: claimed by a faulting thread; atomic */
    unsigned char *buffer; /* a page */
    struct streams streams;
    int lost; /* -errno of a page that it could not bring back */
};

struct region {
    /* immutable after creation */
    unsigned char *base;
    uint64_t pages; /* a multiple of CLUSTER_PAGES */
    size_t bytes;   /* as asked for */
    struct memory *memory;
    struct account *account;
    struct zswap *zswap;
    struct swap_cache *swap_cache;
    uint32_t type;
    const struct thread_ops *threads;
    struct region_options options;
    unsigned char *zero_pages; /* READAHEAD_MAX pages of zeros, to copy from */
    size_t pool_whole;         /* the pool's limit with the whole budget */

    /* atomic, relaxed: hints that a change of the limit makes good soon */
    size_t hard_limit;       /* a fault that would pass it reclaims first */
    size_t high_water;       /* above it the reclaim thread works ... */
    size_t low_water;        /* ... until it is down to this */
    size_t pool_limit_asked; /* what the pool may take while it can write back */
    size_t aside;            /* what the marks leave for the cache's first writeback */
    uint32_t staging_target; /* clusters to keep waiting */

    struct userfault userfault;
    struct rwlock layout;
    struct sparse clusters; /* struct cluster each */
    struct sparse
        locked; /* uint64_t a cluster, bit p: page p may not leave. Guard: layout lock, exclusive to change */
    uint64_t locked_bytes; /* all of those; atomic */
    struct sparse lent;    /* struct lent a cluster. Changed under its lock, or the layout lock exclusively */
    uint64_t settle_at;    /* the cluster that region_settle looks at next; its callers' */
    uint64_t end_keeping_at; /* the same of region_end_keeping */
    struct mutex cluster_locks[CLUSTER_LOCKS];
    struct cluster_queue resident;
    struct staging staging;
    struct pagein_queue pagein;

    struct mutex slow_loads_lock;
    struct slow_load *slow_loads; /* Guard: slow_loads_lock */

    struct mutex reclaim_lock;
    unsigned char *copy_buffer;  /* a page. Guard: reclaim_lock */
    int memory_fd;               /* /proc/self/mem, for pages that nobody may read; -1 = none; immutable */
    uint32_t reclaim_wake;       /* raised to wake the reclaim thread; atomic */
    uint32_t reclaim_sleeps;     /* 1 while it sleeps; atomic */
    uint32_t over_budget;        /* 1 while nothing can be reclaimed; atomic hint */
    uint32_t over_budget_faults; /* faults meanwhile; atomic */
    size_t pool_limit;           /* what zswap was last told. Guard: reclaim_lock */
    uint32_t warned;             /* over_budget was called; atomic */
    uint64_t over_bytes;         /* most by which the limit was passed; atomic */
    uint32_t stop;               /* threads leave; atomic */
    int stop_fd;                 /* eventfd that wakes handlers to look at `stop` */

    struct server handlers[HANDLERS_MAX];
    struct server pageins[PAGEIN_THREADS_MAX];
    struct thread reclaimer;
    unsigned handlers_used, pageins_used;
    uint32_t
        pageins_run; /* page-in threads that serve the queue; one may have been turned away at its start; atomic */

    uint64_t counters[REGION_COUNTERS]; /* atomic */
};

static inline void region_count(struct region *r, enum region_counter counter, uint64_t n)
{
    atomic_add_relaxed(&r->counters[counter], n);
}

static inline struct swap_entry page_entry(const struct region *r, uint64_t page)
{
    return (struct swap_entry){.type = r->type, .offset = page};
}

static inline unsigned char *page_address(const struct region *r, uint64_t page)
{
    return r->base + (page << PAGE_SHIFT);
}

static inline struct mutex *cluster_lock(struct region *r, uint64_t number)
{
    return &r->cluster_locks[number % CLUSTER_LOCKS];
}

/* The cluster if any page of it was ever touched, else NULL. */
static inline struct cluster *region_cluster(struct region *r, uint64_t number)
{
    return sparse_get(&r->clusters, number);
}

static inline bool page_is_out(struct region *r, uint64_t page)
{
    struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
    return cluster && atomic_read_acquire(&cluster->out) >> page % CLUSTER_PAGES & 1;
}

/* ---- fill.c: putting pages into the program */

/* Copies `count` pages of one cluster in from `from`, charges and marks them resident, and wakes who waits. Pages that
 * are there already are left alone. 0, or -errno of the first page that could not be put in. */
int fill_pages(struct region *r, uint64_t page, unsigned count, const void *from);

/* The same for one page, write-protected. -EEXIST if it is there already. */
int fill_protected(struct region *r, uint64_t page, const void *from);

/* The same with zeros, for those of the pages that have no content anywhere. */
int fill_zeros(struct region *r, uint64_t page, unsigned count);

/* The page cannot be brought back: its next touches raise SIGBUS, and nothing else is harmed. */
void fill_poison(struct region *r, uint64_t page, int error);

/* Serves a fault with the page waiting at staging page `name`, whose slot the caller holds; releases it. */
void fill_from_staging(struct region *r, uint64_t page, struct swap_cache_token token, uint64_t name);

/* ---- fault.c */

/* Serves a touch of the page, perhaps by a write. `can_queue`: a load from the device may be left to the page-in threads. */
void fault_serve(struct server *server, uint64_t page, bool can_queue, bool writes);

int fault_start(struct region *r);
void fault_stop(struct region *r);
int server_init(struct server *server, struct region *r);
void server_destroy(struct server *server);

/* ---- slow_load.c */

/* As zswap_load, for a page whose slot the caller holds. Gives the layout lock, held shared, up meanwhile. -ESTALE
 * if the page was changed in that time: the load is void. */
int slow_load(struct region *r, uint64_t page, void *buffer);

/* The pages change; the caller holds the layout lock exclusively. */
void slow_loads_forget(struct region *r, uint64_t first, uint64_t count);

/* ---- locked.c */

/* Which pages of the cluster may not leave. Caller holds the layout lock. */
uint64_t region_locked_pages_of(struct region *r, uint64_t number);

/* ---- lent.c */

/* Bit p: page p may be another process's, too, and is write-protected; of them, those that this process had from the one
 * that forked it. Atomic, for hints. */
struct lent {
    uint64_t pages;
    uint64_t borrowed;
    uint64_t copies; /* kept.c */
    uint64_t unused; /* a sparse array wants a power of two */
};

/* Those of the cluster's pages that a fork has left to another process, too. */
uint64_t lent_pages_of(struct region *r, uint64_t number);

/* Of them, those that another process really has. */
uint64_t lent_pages_shared(struct region *r, uint64_t number, uint64_t mask);

/* The pages may be written, or leave the program: what is lent of them is paid for from now on. Caller holds the
 * cluster's lock. */
void lent_end(struct region *r, uint64_t number, uint64_t mask);

/* The pages have been dropped. Caller holds the layout lock exclusively. */
void lent_forget(struct region *r, uint64_t number, uint64_t mask);

/* Which pages to give free for a write to `page`, after making room for what that may copy. Caller holds the layout lock
 * shared. */
uint64_t lent_prepare_write(struct region *r, uint64_t page);

/* The same for a staging cluster that is given back. */
void lent_end_staged(struct region *r, uint32_t number);

/* In a forked child: its own pages are to be protected, too. */
void lent_fork_child(struct region *r);

/* Write-protects pages of the cluster, or gives them free; false if that cannot be. */
bool region_protect_pages(struct region *r, uint64_t number, uint64_t mask, bool protect);

/* ---- kept.c */

/* The cluster's pages that are resident and whose stored copy stays; a hint without the cluster's lock. */
uint64_t kept_pages_of(struct region *r, uint64_t number);

/* The pages may change: their copies go. Caller holds the cluster's lock, or the layout lock exclusively, and gives those that
 * come back free. */
uint64_t kept_end(struct region *r, uint64_t number, uint64_t mask);

/* The copies of the pages go without us. Caller holds the cluster's lock, or their slots while they are out, or the layout
 * lock exclusively. */
void kept_forget(struct region *r, uint64_t number, uint64_t mask);

/* Is the page, whose slot the caller holds, stored already, with the content that it has? */
bool kept_is_stored(struct region *r, uint64_t page);

/* Puts the page, whose slot the caller holds, in: so that its stored copy stays, if it may, and nobody is about to write; else the
 * copy goes, if there is one (`stored`). 0, or -errno: then nothing has changed. */
int kept_fill(struct region *r, uint64_t page, const void *from, bool stored, bool writes);

/* Ends all that stands between the page and a MOVE but a pin: its stored copy, its protection, and, by a copy, that another
 * process has it, too. Caller holds the cluster's lock, or the layout lock exclusively. */
void region_unshare(struct region *r, uint64_t page);

/* Pages of the cluster that are no longer protected are no longer kept. Caller holds the cluster's lock, or the layout lock
 * exclusively. */
void kept_check(struct region *r, uint64_t number);

/* At a fork, with the layout lock held exclusively: what the cluster has stored is another process's, too. */
void kept_lend(struct region *r, uint64_t number);

int lent_init(struct region *r);

/* ---- evict.c: taking pages out of the program */

/* Moves the resident pages `mask` of the cluster into a staging cluster, as far as they can be taken. How many went. */
unsigned evict_cluster(struct region *r, uint64_t number, uint64_t mask);

/* ---- copy_out.c */

/* Copies those of the pages `mask` that it can into the staging cluster, and drops them. Which. Caller holds the
 * cluster's lock and the reclaim lock. */
uint64_t copy_out(struct region *r, uint64_t number, uint32_t staging, uint64_t mask);

/* ---- marks.c */

/* A mark of the region's. */
static inline size_t region_mark(const size_t *mark)
{
    return atomic_read_relaxed(mark);
}

/* Sets the marks from the account's limit, and the pool's part of `reach`. */
void marks_set(struct region *r, size_t reach);

/* Once the cache writes back, nothing is set aside for that any more. */
void marks_refresh(struct region *r);

/* Raises the limit so that `bytes` more would fit, if the budget is shared. True if they fit below `mark` now. */
bool marks_rise(struct region *r, size_t bytes, const size_t *mark);

/* The same, and waits for others to give back. */
bool marks_rise_or_wait(struct region *r, size_t bytes);

/* How far the budget is passed. */
size_t marks_over(struct region *r, size_t bytes);

/* ---- reclaim.c */

/* Wakes the reclaim thread. */
void reclaim_wake(struct region *r);

/* Makes room for `bytes` more if it can; else the region is over budget. Caller holds the layout lock shared. */
void reclaim_make_room(struct region *r, size_t bytes);

/* One step of eviction or compression; the caller holds the layout lock shared and the reclaim lock. */
bool reclaim_one(struct region *r);

/* The swap cache has no slot left: compresses some of the pages that wait. Caller holds the layout lock shared. */
void reclaim_free_slots(struct region *r);

/* Wakes the reclaim thread if the high-water mark is passed. */
void reclaim_poke(struct region *r);

int reclaim_start(struct region *r);
void reclaim_stop(struct region *r);

/* ---- region.c */
int region_start_threads(struct region *r);
void region_stop_threads(struct region *r);

#endif
