/* SPDX-License-Identifier: MIT */
/*
 * uzswap: zswap in user space.
 *
 * A compressed, write-back cache for pages of 4096 bytes. Use it in one of two ways:
 *
 *   the verbs    store, load, exclusive load, invalidate: a page store in RAM with a disk behind it. A page is named by a swap
 *                entry (type, offset), as in the kernel: a type is one area, an offset the number of a page in it.
 *   a region     memory that looks ordinary and holds more than its RAM: pages that are not touched are compressed, and the
 *                coldest written to disk; touching one brings it back.
 *
 * Everything that a cache and its regions take counts against one budget, `memory`: pages in use, pages in transit,
 * compressed pages, tables.
 *
 * Functions answer 0 or -errno unless they say otherwise; none of them prints, aborts or exits. All are thread-safe
 * unless they say otherwise. Link with -luzswap.
 */
#ifndef UZSWAP_H
#define UZSWAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UZSWAP_PAGE_BYTES 4096
#define UZSWAP_TYPES 32

#if defined(__GNUC__)
#define UZSWAP_API __attribute__((visibility("default")))
#else
#define UZSWAP_API
#endif

struct uzswap;
struct uzswap_region;

enum uzswap_writeback {
    UZSWAP_WRITEBACK_COMPRESSED = 0, /* the oldest pages go to disk as they are compressed, packed */
    UZSWAP_WRITEBACK_PAGE,           /* ... as plain pages */
    UZSWAP_WRITEBACK_OFF,            /* no disk */
};

/* Zero or NULL stands for the default of each field. */
struct uzswap_options {
    size_t memory;          /* the budget in bytes; must be given, 8 MiB or more */
    const char *pool;       /* "zsmalloc" (default): dense; "zbud": at most two in a page */
    const char *compressor; /* NAME or NAME:LEVEL: "lz4" (default), "lz4hc", "zstd", "deflate" */
    const char *swap;   /* "file:" (an unlinked file in $TMPDIR or /tmp; default), "file:/FOLDER", "none" */
    uint64_t swap_size; /* most bytes on the device; default 64 GiB */
    enum uzswap_writeback writeback;
    unsigned
        max_pool_percent; /* most of the budget that compressed pages may take; default 50 with a device, else 80 */
    /* Not 0: stored pages that are equal share one object in the pool. Costs a hash of each page, and a little
     * memory of its own (docs/pools.md). How long a store takes then tells whether an equal page is stored. */
    int deduplicate;
};

/* Why uzswap_create failed, for a person: the thing, the cause, the way out. */
struct uzswap_error {
    char text[320];
};

/* Makes a cache. -EINVAL (an option is wrong), -ENOMEM, or why the swap device could not be opened; `error` may be
 * NULL. */
UZSWAP_API int uzswap_create(struct uzswap **cache, const struct uzswap_options *options,
                             struct uzswap_error *error);

/* Frees the cache and all in it. Regions first; no other call may be running. */
UZSWAP_API void uzswap_destroy(struct uzswap *cache);

/* ---- the verbs */

/* Makes the area `type` (0 .. UZSWAP_TYPES - 1) with offsets 0 .. pages - 1 (up to 2^32 - 2). Takes address space,
 * memory only as pages are stored. -EINVAL, -ENOMEM. */
UZSWAP_API int uzswap_area_create(struct uzswap *cache, uint32_t type, uint64_t pages);

/*
 * Keeps a copy of the page at `page` under (type, offset), in place of what was there. -EINVAL: no such area or offset;
 * -ENOSPC: the pool is full and nothing can be written back; -ENOMEM; -EIO: the compressor failed. A store that
 * fails removes what was there, which would be older than the page refused. Never waits for I/O of the same entry;
 * where stores come faster than the disk takes the oldest pages, it waits for room.
 */
UZSWAP_API int uzswap_store(struct uzswap *cache, uint32_t type, uint64_t offset, const void *page);

/* Copies the page to `page`. -ENOENT: not here; -EBADMSG: damaged on the device; -EIO: the device cannot read it.
 * Waits for the disk only if the one copy is there. */
UZSWAP_API int uzswap_load(struct uzswap *cache, uint32_t type, uint64_t offset, void *page);

/* Load and free: as uzswap_load, and then the entry is gone. Of several at once, one gets it. */
UZSWAP_API int uzswap_load_exclusive(struct uzswap *cache, uint32_t type, uint64_t offset, void *page);

/* Removes the entry; -ENOENT if there was none. */
UZSWAP_API int uzswap_invalidate_page(struct uzswap *cache, uint32_t type, uint64_t offset);

/* Removes all entries of the area and gives their memory back. */
UZSWAP_API int uzswap_invalidate_area(struct uzswap *cache, uint32_t type);

/* Writes at least `bytes` bytes of the oldest compressed pages back, if it can, and waits until they are on the device.
 * *written (may be NULL) is how many bytes of payload went. */
UZSWAP_API int uzswap_writeback(struct uzswap *cache, size_t bytes, size_t *written);

/* Stores from now on use this compressor; pages stored before stay readable. -EINVAL. */
UZSWAP_API int uzswap_set_compressor(struct uzswap *cache, const char *compressor);

/* Under the kernel's names where it has one (mm/zswap.c). New fields come at the end. */
struct uzswap_stat {
    uint64_t memory_limit, memory_used, memory_peak; /* bytes; the budget and what counts against it */
    uint64_t resident_bytes, swap_cache_bytes, pool_total_size, tables_bytes;
    uint64_t stored_pages;      /* in the pool now, those without an object included */
    uint64_t same_filled_pages; /* of them: one word repeated, no object */
    uint64_t stored_incompressible_pages;
    uint64_t pool_payload;               /* bytes of compressed data in the pool */
    uint64_t device_pages, device_bytes; /* on the device now */
    uint64_t written_back_pages, duplicate_entry, pool_limit_hit;
    uint64_t reject_reclaim_fail, reject_alloc_fail, reject_kmemcache_fail, reject_compress_fail;
    uint64_t reject_compress_poor, decompress_fail;
    /* 0 unless the cache deduplicates. */
    uint64_t
        deduplicated_pages; /* of stored_pages, those that name a shared object, with others or alone by now */
    uint64_t shared_objects; /* that they name */
    uint64_t
        deduplicated_bytes; /* saved by that in the pool, less what it takes itself but for the table of hashes */
    uint64_t dedup_collisions; /* pages that looked equal and were not */
    /* How the pool makes room at its limit. */
    uint64_t written_back_bytes; /* on the device, of written_back_pages */
    uint64_t writeback_batches;  /* write buffers sent there, of up to 128 KiB */
    uint64_t writeback_peers; /* pages written back only because they share memory with an older one (zbud) */
    uint64_t second_chances;  /* pages that writeback passed over: loaded since they were stored, or in use */
    uint64_t shrink_rounds;   /* times the pool came from its limit down to 90 % of it */
    uint64_t shrink_steps;    /* steps on the way there that won anything */
    uint64_t shrink_step_bytes;             /* bytes of a step now: more, the faster the pool refills */
    uint64_t compactions, compactions_vain; /* and of them, those that gave no memory back */
    uint64_t pages_compacted;               /* pages of memory that compaction gave back */
    uint64_t objects_moved;                 /* compressed pages that it moved for that */
};

UZSWAP_API void uzswap_stat(struct uzswap *cache, struct uzswap_stat *stat);

/* ---- regions */

enum uzswap_fault_mode {
    UZSWAP_FAULT_HANDLER = 0, /* threads serve faults, also those taken inside system calls */
    UZSWAP_FAULT_SIGBUS, /* the caller's SIGBUS handler calls uzswap_region_fault; faster, but a system call that is given an
                                 address in a page that is out answers EFAULT */
};

/*
 * Makes a region of `bytes` bytes, reading as zero, as area `type` of the cache. A page that cannot be brought back
 * (the disk failed) raises SIGBUS when touched; the others live on. -EPERM: userfaultfd is not permitted
 * (/dev/userfaultfd, CAP_SYS_PTRACE or sysctl vm.unprivileged_userfaultfd=1 opens it); -ENOSYS: the kernel has
 * none; -EINVAL, -ENOMEM.
 */
UZSWAP_API int uzswap_region_create(struct uzswap_region **region, struct uzswap *cache, uint32_t type,
                                    size_t bytes, enum uzswap_fault_mode mode);

/* Its memory. Do not munmap, mremap or madvise it: uzswap_region_advise is for that. */
UZSWAP_API void *uzswap_region_base(const struct uzswap_region *region);

enum uzswap_advice {
    UZSWAP_DONTNEED, /* forget the content: reads as zero from now on */
    UZSWAP_PAGEOUT,  /* not needed soon */
    UZSWAP_WILLNEED, /* needed soon */
};

/* `at` and `bytes` are multiples of the page size. -EINVAL. The caller's stack must not lie in the region. */
UZSWAP_API int uzswap_region_advise(struct uzswap_region *region, void *at, size_t bytes,
                                    enum uzswap_advice advice);

struct uzswap_region_stat {
    uint64_t faults;       /* touches of pages that were not there */
    uint64_t refaults;     /* of them, pages that were on their way out */
    uint64_t zero_fills;   /* of them, first touches */
    uint64_t pool_loads;   /* of them, decompressed */
    uint64_t device_loads; /* of them, read from the device */
    uint64_t evicted_pages;
    uint64_t poisoned_pages;    /* could not be brought back */
    uint64_t over_budget_bytes; /* how far above the budget it has been; 0 = never */
};

UZSWAP_API void uzswap_region_stat(struct uzswap_region *region, struct uzswap_region_stat *stat);

/* UZSWAP_FAULT_SIGBUS: serves the fault at `address` (siginfo's si_addr). -EINVAL: not the region's, the program's
 * own fault. Async-signal-safe, if the handler was installed with all signals in sa_mask. */
UZSWAP_API int uzswap_region_fault(struct uzswap_region *region, void *address);

/* Nobody may touch its memory any more. */
UZSWAP_API void uzswap_region_destroy(struct uzswap_region *region);

#ifdef __cplusplus
}
#endif

#endif
