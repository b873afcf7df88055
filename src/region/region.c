/* SPDX-License-Identifier: MIT */
/* Making and ending a region, in this order: memory, tables, userfaultfd, registration, threads; and fork. */
#include "region/region.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/sys.h"
#include "region/internal.h"

#define STAGING_CLUSTERS_MIN 64
#define STAGING_CLUSTERS_MAX 4096
/* The least budget that leaves room between the marks. */
#define BUDGET_MIN ((size_t)4 << 20)

static size_t mapped_bytes(const struct region *r)
{
    return (size_t)r->pages << PAGE_SHIFT;
}

static bool options_are_good(const struct region_options *o)
{
    return o->bytes && o->zswap && o->swap_cache && o->memory && o->threads &&
           (size_t)o->memory->account->most >= BUDGET_MIN && o->bytes <= SIZE_MAX / 2;
}

static int map_range(struct region *r)
{
    int protection = r->options.start_inaccessible ? PROT_NONE : PROT_READ | PROT_WRITE;
    long at = sys_mmap(NULL, mapped_bytes(r), protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_error(at)) {
        return -ENOMEM;
    }
    r->base = (unsigned char *)at;
    /* A huge page could appear around a page put in, and dropping part of one frees nothing. */
    sys_madvise(r->base, mapped_bytes(r), MADV_NOHUGEPAGE);
    return 0;
}

static uint32_t staging_clusters(const struct region *r)
{
    size_t quarter = (size_t)r->account->most / CLUSTER_BYTES / 4;
    return (uint32_t)(quarter < STAGING_CLUSTERS_MIN   ? STAGING_CLUSTERS_MIN
                      : quarter > STAGING_CLUSTERS_MAX ? STAGING_CLUSTERS_MAX
                                                       : quarter);
}

static int create_tables(struct region *r)
{
    int error = sparse_init(&r->clusters, r->memory, r->pages / CLUSTER_PAGES, sizeof(struct cluster),
                            ACCOUNT_TABLES);
    if (!error) {
        error =
            sparse_init(&r->locked, r->memory, r->pages / CLUSTER_PAGES, sizeof(uint64_t), ACCOUNT_TABLES);
    }
    if (!error) {
        error = lent_init(r);
    }
    if (!error) {
        error = staging_init(&r->staging, r->memory, staging_clusters(r));
    }
    r->zero_pages = memory_reserve(r->memory, READAHEAD_MAX * PAGE_BYTES); /* never written, so no memory */
    r->copy_buffer = memory_map(r->memory, PAGE_BYTES, ACCOUNT_TABLES);
    if (!error && (!r->zero_pages || !r->copy_buffer)) {
        error = -ENOMEM;
    }
    return error;
}

static int register_pages(struct region *r, uint64_t from, uint64_t to)
{
    return from == to ? 0
                      : userfault_register(&r->userfault, page_address(r, from), (to - from) << PAGE_SHIFT);
}

/* All but what is foreign (there is none in a new region): a file could not be registered, and shared memory is not
 * ours to fill. */
static int register_own_pages(struct region *r)
{
    uint64_t from = 0;
    int error = 0;
    for (uint64_t i = 0; !error && (i = sparse_next_committed(&r->clusters, i)) < r->clusters.slots_total;
         i++) {
        unsigned first, count;
        for (uint64_t foreign = region_cluster(r, i)->foreign;
             !error && mask_next_run(&foreign, &first, &count);) {
            error = register_pages(r, from, i * CLUSTER_PAGES + first);
            from = i * CLUSTER_PAGES + first + count;
        }
    }
    return error ? error : register_pages(r, from, r->pages);
}

static int register_ranges(struct region *r)
{
    int error = register_own_pages(r);
    return error ? error : userfault_register(&r->userfault, r->staging.base, staging_bytes(&r->staging));
}

/* The file stands for the address space of who opens it. Without it, what needs it does without. */
static void open_memory(struct region *r)
{
    long fd = sys_call6(SYS_openat, AT_FDCWD, (long)"/proc/self/mem", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    r->memory_fd = fd < 0 ? -1 : (int)fd;
}

static int open_userfault(struct region *r, int device)
{
    open_memory(r);
    int error = userfault_open(&r->userfault, r->options.fault_mode == REGION_FAULT_SIGBUS, device);
    if (error) {
        r->userfault.fd = -1;
        return error;
    }
    return register_ranges(r);
}

static void init_locks(struct region *r)
{
    rwlock_init(&r->layout, LOCK_RANK_LAYOUT);
    mutex_init(&r->reclaim_lock, LOCK_RANK_RECLAIM);
    mutex_init(&r->pagein.lock, LOCK_RANK_LEAF);
    mutex_init(&r->slow_loads_lock, LOCK_RANK_LEAF);
    for (unsigned i = 0; i < CLUSTER_LOCKS; i++) {
        mutex_init(&r->cluster_locks[i], LOCK_RANK_CLUSTER);
    }
}

int region_start_threads(struct region *r)
{
    r->stop = 0;
    r->stop_fd = (int)sys_call3(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0);
    if (r->stop_fd < 0) {
        return r->stop_fd;
    }
    int error = fault_start(r);
    return error ? error : reclaim_start(r);
}

void region_stop_threads(struct region *r)
{
    if (r->stop_fd < 0) {
        return;
    }
    /* Release: pairs with the threads' acquire. */
    atomic_set_release(&r->stop, 1);
    if (r->reclaimer.state) {
        reclaim_stop(r);
    }
    fault_stop(r);
    sys_close(r->stop_fd);
    r->stop_fd = -1;
}

static int create_parts(struct region *r)
{
    int error = zswap_area_create(r->zswap, r->type, r->pages);
    if (error) {
        r->zswap = NULL;
        return error;
    }
    error = map_range(r);
    if (!error) {
        error = create_tables(r);
    }
    if (!error) {
        error = open_userfault(r, -1);
    }
    if (!error) {
        marks_set(r, (size_t)r->account->most);
        error = region_start_threads(r);
    }
    return error;
}

int region_create(struct region **region, const struct region_options *options)
{
    if (!options_are_good(options)) {
        return -EINVAL;
    }
    struct region *r = memory_map(options->memory, sizeof *r, ACCOUNT_TABLES);
    if (!r) {
        return -ENOMEM;
    }
    r->options = *options;
    r->bytes = round_up(options->bytes, PAGE_BYTES);
    r->pages = round_up(options->bytes, CLUSTER_BYTES) >> PAGE_SHIFT;
    r->memory = options->memory;
    r->account = options->memory->account;
    r->zswap = options->zswap;
    r->swap_cache = options->swap_cache;
    r->type = options->type;
    r->threads = options->threads;
    r->userfault.fd = -1;
    r->memory_fd = -1;
    r->stop_fd = -1;
    r->pool_whole = r->pool_limit = zswap_max_pool_bytes(options->zswap);
    init_locks(r);
    cluster_queue_init(&r->resident);
    int error = create_parts(r);
    if (error) {
        region_destroy(r);
        return error;
    }
    *region = r;
    return 0;
}

/* What is still resident goes with the mapping. */
static void uncharge_resident(struct region *r)
{
    for (uint64_t i = 0; (i = sparse_next_committed(&r->clusters, i)) < r->clusters.slots_total; i++) {
        struct cluster *cluster = region_cluster(r, i);
        account_uncharge(r->account, ACCOUNT_RESIDENT,
                         (size_t)__builtin_popcountll(cluster->resident) * PAGE_BYTES);
        for (uint64_t out = cluster->out; out; out &= out - 1) {
            uint64_t name;
            swap_cache_drop(r->swap_cache, page_entry(r, i * CLUSTER_PAGES + (unsigned)__builtin_ctzll(out)),
                            &name);
        }
    }
}

void region_destroy(struct region *r)
{
    struct memory *memory = r->memory;
    region_stop_threads(r);
    userfault_close(&r->userfault);
    if (r->memory_fd >= 0) {
        sys_close(r->memory_fd);
    }
    if (r->clusters.slots) {
        uncharge_resident(r);
    }
    if (r->base) {
        sys_munmap(r->base, mapped_bytes(r));
    }
    if (r->zswap) {
        zswap_area_destroy(r->zswap, r->type);
    }
    for (unsigned i = 0; i < HANDLERS_MAX; i++) {
        server_destroy(&r->handlers[i]);
    }
    for (unsigned i = 0; i < PAGEIN_THREADS_MAX; i++) {
        server_destroy(&r->pageins[i]);
    }
    memory_unreserve(memory, r->zero_pages, READAHEAD_MAX * PAGE_BYTES);
    memory_unmap(memory, r->copy_buffer, PAGE_BYTES, ACCOUNT_TABLES);
    staging_destroy(&r->staging);
    sparse_destroy(&r->lent);
    sparse_destroy(&r->locked);
    sparse_destroy(&r->clusters);
    memory_unmap(memory, r, sizeof *r, ACCOUNT_TABLES);
}

void *region_base(const struct region *r)
{
    return r->base;
}

size_t region_bytes(const struct region *r)
{
    return r->bytes;
}

void region_get_stats(struct region *r, struct region_stats *stats)
{
    const uint64_t *c = r->counters;
    *stats = (struct region_stats){
        .faults = atomic_read_relaxed(&c[REGION_FAULTS]),
        .refaults = atomic_read_relaxed(&c[REGION_REFAULTS]),
        .zero_fills = atomic_read_relaxed(&c[REGION_ZERO_FILLS]),
        .pool_loads = atomic_read_relaxed(&c[REGION_POOL_LOADS]),
        .device_loads = atomic_read_relaxed(&c[REGION_DEVICE_LOADS]),
        .evicted_pages = atomic_read_relaxed(&c[REGION_EVICTED]),
        .move_refused = atomic_read_relaxed(&c[REGION_MOVE_REFUSED]),
        .copied_out = atomic_read_relaxed(&c[REGION_COPIED_OUT]),
        .poisoned_pages = atomic_read_relaxed(&c[REGION_POISONED]),
        .locked_bytes = atomic_read_relaxed(&r->locked_bytes),
        .over_budget_bytes = atomic_read_relaxed(&r->over_bytes),
    };
}

/* ---- fork */

void region_fork_prepare(struct region *r)
{
    for (;;) {
        rwlock_write_lock(&r->layout);
        /* A page on its way from the device holds its slot with no lock held: let those finish, for in the child nobody
         * would. Acquire: what they did is seen. */
        if (!atomic_read_acquire(&r->pagein.unfinished)) {
            break;
        }
        rwlock_write_unlock(&r->layout);
        /* Relaxed: a fault more or less; else there might always be one. */
        atomic_set_relaxed(&r->pagein.stopped, 1);
        sys_yield();
    }
    atomic_set_relaxed(&r->pagein.stopped, 0);
    zswap_writeback_reap(r->zswap, true);
    zswap_rest(r->zswap, true); /* the child should not begin with buffers that it may never use */
}

void region_fork_parent(struct region *r)
{
    rwlock_write_unlock(&r->layout);
}

int region_fork_child(struct region *r, int userfaultfd_device)
{
    /* Only this thread exists here. Locks may have been copied while others waited for them; descriptors are the
     * parent's. What the layout lock guards is whole, since it was held. */
    lock_forget_held(LOCK_RANK_LAYOUT);
    init_locks(r);
    r->account = r->memory->account;
    r->pagein.head = r->pagein.count = 0;
    r->pagein.unfinished = 0;
    r->handlers_used = r->pageins_used = r->pageins_run = 0;
    for (unsigned i = 0; i < PAGEIN_THREADS_MAX; i++) {
        r->pageins[i].busy = 0; /* SIGBUS mode: claimed by threads that waited for the layout lock */
    }
    r->reclaim_sleeps = 0;
    memset(&r->reclaimer, 0, sizeof r->reclaimer);
    int error = open_userfault(r, userfaultfd_device);
    if (!error) {
        lent_fork_child(r);
        error = region_start_threads(r);
    }
    return error;
}
