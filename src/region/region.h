/* SPDX-License-Identifier: MIT */
/*
 * A region: a managed range of the process's memory. Pages that are not touched leave it for the swap cache,
 * the pool and the device; a touch of a page that is out is a fault, served by handler threads.
 *
 * docs/architecture.md draws a page's life. Internal interface, for preload/ and for the public API.
 */
#ifndef UZSWAP_REGION_REGION_H
#define UZSWAP_REGION_REGION_H

#include "base/memory.h"
#include "base/thread.h"
#include "base/types.h"
#include "zswap/zswap.h"

enum region_fault_mode {
    REGION_FAULT_HANDLER, /* handler threads; also serves faults the kernel takes inside a system call */
    REGION_FAULT_SIGBUS,  /* the caller's SIGBUS handler calls region_serve_fault in the faulting thread */
};

/* Where other processes share the budget, and the account's limit changes. */
struct region_budget {
    /* Raises the limit towards `limit`, and calls region_set_limit. True if it rose. From fault handlers. */
    bool (*more)(void *context, size_t limit);
    /* The same, and waits a little for others to give back. True if all of it could be had. */
    bool (*wait)(void *context, size_t limit);
    /* How far all together are above the budget. */
    size_t (*over)(void *context);
};

struct region_options {
    size_t bytes;        /* length of the region; rounded up to pages */
    struct zswap *zswap; /* the cache; outlives the region */
    struct swap_cache *swap_cache;
    uint32_t type;         /* the swap area to use for it; created by the region */
    struct memory *memory; /* for tables; its account holds the budget (limit must be set) */
    const struct thread_ops *threads;
    enum region_fault_mode fault_mode;
    bool start_inaccessible;            /* PROT_NONE, for libuzswap-preload's arena */
    unsigned pagein_threads;            /* threads for loads from the device, 0 = default */
    const struct region_budget *budget; /* NULL: the account's limit is the region's alone, and stays */
    /* Called once, from a runtime thread, when the budget cannot be held; may be NULL. */
    void (*over_budget)(void *context, size_t over_bytes);
    /* Called from a runtime thread when a page could not be brought back; may be NULL. */
    void (*page_lost)(void *context, void *address, int error);
    void *context;
};

struct region_stats {
    uint64_t faults;            /* faults served */
    uint64_t refaults;          /* of them, from the swap cache */
    uint64_t zero_fills;        /* of them, first touches */
    uint64_t pool_loads;        /* of them, from the pool */
    uint64_t device_loads;      /* of them, from the device */
    uint64_t evicted_pages;     /* that left the program */
    uint64_t move_refused;      /* pages that UFFDIO_MOVE refused */
    uint64_t copied_out;        /* pages evicted by write-protect and copy */
    uint64_t poisoned_pages;    /* pages lost to read-back errors */
    uint64_t locked_bytes;      /* under region_lock now, there or not */
    uint64_t over_budget_bytes; /* how far above the limit, at most */
};

struct region;

/* 0; -EPERM (no way to userfaultfd), -ENOSYS, -ENOMEM, -EINVAL. */
int region_create(struct region **region, const struct region_options *options);

/* Nobody may touch the region's memory any more. */
void region_destroy(struct region *region);

void *region_base(const struct region *region);
size_t region_bytes(const struct region *region);

/*
 * Changes of a range [at, at + bytes), page-aligned, inside the region. None of them may be called from a thread
 * whose stack, or whose argument structures, lie in managed memory, nor with signals that could run such code:
 * they take the lock that fault handlers take. (preload/ calls them on a private stack.)
 */

/* The content is dropped: reads as zero from now on. */
int region_discard(struct region *region, void *at, size_t bytes);

/* Moves the content of [from, from + bytes) to [to, ...), which must not overlap; what was there is dropped. `from`
 * reads as zero after. Works whatever the state of each page. 0, or -errno with everything back at `from`. */
int region_move(struct region *region, void *from, void *to, size_t bytes);

/* mprotect of a range of the region, ordered against pages on their way out. 0 or -errno. */
int region_protect(struct region *region, void *at, size_t bytes, int protection);

/*
 * mlock, munlock: pages of the range that are in the program, or come into it, stay; nothing is brought in. Not
 * nested, and up to the caller: how much may be locked (region_lock_limit bytes leave the region what it needs to
 * work), that a forked child starts without, that discarding a range does not unlock it. `region_lock`: 0 or -ENOMEM.
 */
int region_lock(struct region *region, void *at, size_t bytes);
void region_unlock(struct region *region, void *at, size_t bytes);
size_t region_lock_limit(const struct region *region);

/* MADV_PAGEOUT, MADV_COLD: evict soon. MADV_WILLNEED: bring in. Hints; always 0. */
int region_pageout(struct region *region, void *at, size_t bytes);
int region_willneed(struct region *region, void *at, size_t bytes);

/* The range's mapping is replaced in the kernel by a foreign one (a file mapped over it): forget its content and leave it
 * alone. `region_own`: it was not replaced, after all. `region_adopt` maps anonymous, inaccessible memory there again and
 * manages it; if it fails, with -errno, the range stays as foreign as it was. */
int region_disown(struct region *region, void *at, size_t bytes);
void region_own(struct region *region, void *at, size_t bytes);
int region_adopt(struct region *region, void *at, size_t bytes);

/* The range goes back to the kernel as ordinary memory, with its content, and unregistered; foreign from then on. 0 or
 * -errno: then it is as it was. */
int region_hand_over(struct region *region, void *at, size_t bytes);

/* Makes the account's total `bytes` at most, or as little as it can. */
void region_reclaim(struct region *region, size_t bytes);

/* The account's limit has changed: moves the water marks, and evicts what is above them. The pool may take its part of
 * `reach` bytes, what the limit could become. Any thread. */
void region_set_limit(struct region *region, size_t reach);

/* fork: `region_fork_prepare` stops all transitions and drains I/O (the caller then forks at once);
 * `region_fork_parent` lets them go on; `region_fork_child` opens a new userfaultfd (from `userfaultfd_device` if
 * that is >= 0), registers the region again and starts new threads. None of them allocates from malloc. */
void region_fork_prepare(struct region *region);

/* Between prepare and the fork: brings in what is out of [at, at + bytes), which the kernel may read or write for the thread that
 * forks while nobody serves faults. What cannot be read stays out. */
void region_bring_back(struct region *region, const void *at, size_t bytes);

/* Likewise, if memory.lending keeps books: lends all that a child will share, but for the pages of
 * [kept, kept + kept_bytes), which the kernel may write to meanwhile for that thread. How much, in bytes,
 * beside what the pool holds. */
size_t region_lend(struct region *region, const void *kept, size_t kept_bytes);

/* Looks for pages that are borrowed, and the lender's no more; a step. True if that was the last of all. One thread at a time. */
bool region_settle(struct region *region);

/* Once this process shares nothing any more: what loads have left in the cache for the sake of sharing goes, a step at a time.
 * True once all has gone. One thread at a time. */
bool region_end_keeping(struct region *region);
void region_fork_parent(struct region *region);
int region_fork_child(struct region *region, int userfaultfd_device);

/* SIGBUS mode: serves the fault at `address` in the calling thread. 0 if it was the region's and is served; -EINVAL
 * if it is not the region's; -EIO, -EBADMSG, -ENODATA if the page is lost (touching it again raises SIGBUS
 * again). */
int region_serve_fault(struct region *region, void *address);

void region_get_stats(struct region *region, struct region_stats *stats);

/* Stops all transitions, and checks bitmaps, queues, the swap cache and the cache against each other and the
 * kernel's page table; prints each mismatch. The program may go on meanwhile; users of the bare verbs of the same
 * cache may not. */
bool region_consistent(struct region *region);

#endif
