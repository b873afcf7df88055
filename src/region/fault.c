/* SPDX-License-Identifier: MIT */
/*
 * Serving faults.
 *
 *   the kernel --message--> handler thread --+-- nothing anywhere: zeros
 *                                            +-- in the swap cache: copied back, no codec
 *                                            +-- in the pool: decompressed
 *                                            +-- on the device: read if that needs no waiting (the page cache), else
 *                                            |   left to a page-in thread, so that no other fault waits for its I/O
 *                                            +-- in transition: whoever has it serves the fault too
 *
 * After each, the entry is invalidated: the page's home is the program again. The copy elsewhere is dropped only
 * once the page is in the program; after a fork it may stay (kept.c).
 *
 * Touches in order are recognised (streams.h), and then a window of pages comes along, up to the end of the cluster.
 */
#include <errno.h>
#include <poll.h>

#include "base/futex.h"
#include "base/sys.h"
#include "region/internal.h"

#define MESSAGES 16
#define PAGEIN_THREADS_DEFAULT 4
#define PAGEIN_START_MS 1000 /* the handler serves by itself what comes before the first of them runs */

/* ---- one page */

/* Only with the slot held: the page has come home. */
static void clear_out(struct region *r, uint64_t page)
{
    struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
    atomic_fetch_and_acq_rel(&cluster->out, ~(1ull << page % CLUSTER_PAGES));
}

static bool is_resident(struct region *r, uint64_t page)
{
    struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
    return cluster && atomic_read_acquire(&cluster->resident) >> page % CLUSTER_PAGES & 1;
}

/* Ends a fault that has put no page in. In this order: a thread that is woken and faults again must not find the
 * slot held by somebody who is done. */
static void release_and_wake(struct region *r, uint64_t page, struct swap_cache_token token)
{
    swap_cache_release(r->swap_cache, token);
    userfault_wake(&r->userfault, page_address(r, page), PAGE_BYTES);
}

static int load_page(struct region *r, uint64_t page, bool may_wait, void *buffer)
{
    for (;;) {
        int error = zswap_load_at_once(r->zswap, page_entry(r, page), buffer);
        if (error == -EAGAIN && may_wait) {
            error = slow_load(r, page, buffer);
        }
        if (error != -ENOMEM) {
            return error;
        }
        sys_yield();
    }
}

/* Brings the page in from pool or device, with its slot held as `token`, and releases the slot. -EAGAIN if it would
 * have to wait for the device and may not: then nothing has happened, and the slot is still held. One that waits
 * gives the layout lock up meanwhile. */
static int bring_in(struct server *server, uint64_t page, struct swap_cache_token token, bool may_wait,
                    bool writes)
{
    struct region *r = server->region;
    int error = load_page(r, page, may_wait, server->buffer);
    if (error == -EAGAIN) {
        return error;
    }
    if (!error) {
        reclaim_make_room(r, PAGE_BYTES);
        error = kept_fill(r, page, server->buffer, true, writes);
        if (!error) {
            clear_out(r, page);
            swap_cache_release(r->swap_cache, token);
            return 0;
        }
    } else if (error != -ESTALE && page_is_out(r, page)) {
        server->lost = error == -ENOENT ? -ENODATA : error;
        fill_poison(r, page, server->lost);
    } /* else the range was discarded while the request waited: the next touch finds zeros */
    release_and_wake(r, page, token);
    return error;
}

static void run_pagein(void *argument);
static int start_servers(struct region *r, struct server *servers, unsigned wanted, unsigned *used,
                         void (*run)(void *), const char *name);

/* Most programs never wait for the device, and small ones should start fast: these threads start when first needed. Only
 * the handler thread comes here. Does one serve the queue? One that was started may be turned away (by a seccomp filter of
 * the program's, above all), and ends without a word; so they are counted when they run. */
static bool has_pagein_threads(struct region *r)
{
    if (unlikely(!r->pageins_used)) {
        unsigned wanted = r->options.pagein_threads ? r->options.pagein_threads : PAGEIN_THREADS_DEFAULT;
        start_servers(r, r->pageins, wanted < PAGEIN_THREADS_MAX ? wanted : PAGEIN_THREADS_MAX,
                      &r->pageins_used, run_pagein, "uzswap-pagein");
        if (r->pageins_used) {
            futex_wait(&r->pageins_run, 0, PAGEIN_START_MS);
        }
    }
    /* Acquire, for order's sake only: the queue has its own. */
    return atomic_read_acquire(&r->pageins_run);
}

static bool push_pagein(struct region *r, uint64_t page, struct swap_cache_token token, bool writes)
{
    struct pagein_queue *queue = &r->pagein;
    bool served = has_pagein_threads(r);
    mutex_lock(&queue->lock);
    bool room = queue->count < PAGEIN_QUEUE && served;
    if (room) {
        queue->ring[(queue->head + queue->count++) % PAGEIN_QUEUE] =
            (struct pagein_request){page, token, writes};
        atomic_add_relaxed(&queue->unfinished, 1);
    }
    mutex_unlock(&queue->lock);
    if (room) {
        /* Acq-rel: a page-in thread that sees the number has the request before it. */
        atomic_add_acq_rel(&queue->wake, 1);
        futex_wake(&queue->wake, 1);
    }
    return room;
}

static void serve_zeros(struct region *r, uint64_t page, struct stream_window window,
                        struct swap_cache_token token)
{
    reclaim_make_room(r, window.count * PAGE_BYTES);
    region_count(r, REGION_ZERO_FILLS, 1);
    int error = fill_zeros(r, window.direction > 0 ? page : page - (window.count - 1), window.count);
    if (error && window.count > 1) {
        error = fill_zeros(
            r, page, 1); /* the window reaches into another mapping: no call crosses from one to the next */
    }
    if (error || !is_resident(r, page)) {
        release_and_wake(r, page, token);
    } else {
        swap_cache_release(r->swap_cache, token);
    }
}

/* Brings in the other pages of a window, as far as that goes without waiting for the device. */
static void read_ahead(struct server *server, uint64_t page, struct stream_window window)
{
    struct region *r = server->region;
    for (unsigned i = 1; i < window.count; i++) {
        uint64_t next = window.direction > 0 ? page + i : page - i;
        struct swap_cache_token token;
        uint64_t name;
        if (is_resident(r, next) || !page_is_out(r, next)) {
            continue;
        }
        enum swap_cache_answer answer = swap_cache_take(r->swap_cache, page_entry(r, next), &token, &name);
        if (answer == SWAP_CACHE_PAGE) {
            fill_from_staging(r, next, token, name);
        } else if (answer != SWAP_CACHE_NEW) {
            return;
        } else if (is_resident(r, next) || bring_in(server, next, token, false, false) == -EAGAIN) {
            release_and_wake(r, next, token); /* a fault may have come meanwhile, and rely on us */
            return;
        }
    }
}

/* The pages to bring in for a touch of `page`, all in its cluster. */
static struct stream_window window_of(struct server *server, uint64_t page)
{
    struct stream_window window = streams_fault(&server->streams, page);
    unsigned index = (unsigned)(page % CLUSTER_PAGES);
    unsigned room = window.direction > 0 ? CLUSTER_PAGES - index : index + 1;
    window.count = window.count < room ? window.count : room;
    /* Relaxed: a hint. Nothing is brought in ahead where there is no room. */
    if (atomic_read_relaxed(&server->region->over_budget)) {
        window.count = 1;
    }
    return window;
}

/* Most faults of a page that is there were overtaken by somebody who put it in. But the program may have dropped it
 * by a system call that we do not see: then it reads as zero, or the thread would come back for ever. */
static void restore_resident(struct region *r, uint64_t page)
{
    size_t done;
    SCOPED_LOCK(cluster_lock(r, page / CLUSTER_PAGES));
    if (!userfault_copy(&r->userfault, page_address(r, page), r->zero_pages, PAGE_BYTES, false, &done)) {
        kept_end(r, page / CLUSTER_PAGES, 1ull << page % CLUSTER_PAGES);
    }
}

/* The slot is ours and there is no page in the swap cache. */
static void serve_new(struct server *server, uint64_t page, struct swap_cache_token token, bool can_queue,
                      bool writes)
{
    struct region *r = server->region;
    if (is_resident(r, page)) {
        restore_resident(r, page);
        release_and_wake(r, page, token);
        return;
    }
    struct stream_window window = window_of(server, page);
    if (!page_is_out(r, page)) {
        serve_zeros(r, page, window, token);
        return;
    }
    bool on_device = zswap_find(r->zswap, page_entry(r, page)) == ZSWAP_ON_DEVICE;
    if (on_device && atomic_read_relaxed(&r->pagein.stopped)) {
        release_and_wake(r, page, token); /* and is touched again, until the fork is through */
        sys_yield();
        return;
    }
    region_count(r, on_device ? REGION_DEVICE_LOADS : REGION_POOL_LOADS, 1);
    int error = bring_in(server, page, token, !can_queue, writes);
    if (error == -EAGAIN && push_pagein(r, page, token, writes)) {
        return;
    }
    if (error == -EAGAIN) {
        error = bring_in(server, page, token, true, writes); /* the queue is full: now others have to wait */
    }
    if (!error) {
        read_ahead(server, page, window);
    }
}

void fault_serve(struct server *server, uint64_t page, bool can_queue, bool writes)
{
    struct region *r = server->region;
    struct swap_cache_token token;
    uint64_t name;
    region_count(r, REGION_FAULTS, 1);
    for (;;) {
        switch (swap_cache_take(r->swap_cache, page_entry(r, page), &token, &name)) {
        case SWAP_CACHE_NEW:
            serve_new(server, page, token, can_queue, writes);
            return;
        case SWAP_CACHE_PAGE:
            reclaim_make_room(r, PAGE_BYTES);
            fill_from_staging(r, page, token, name);
            return;
        case SWAP_CACHE_BUSY:
        case SWAP_CACHE_EXIST:
            return;
        case SWAP_CACHE_FAIL:
            reclaim_free_slots(r); /* every slot is in use, most by pages that wait */
            break;
        }
    }
}

/* ---- messages */

/* A write to a page that is lent or kept, or that is being copied out: that is over, one way or the other, once the
 * cluster's lock is free. */
static void serve_protected(struct region *r, uint64_t page)
{
    uint64_t number = page / CLUSTER_PAGES, given_free = lent_prepare_write(r, page);
    SCOPED_LOCK(cluster_lock(r, number));
    lent_end(r, number, given_free);
    kept_end(r, number, 1ull << page % CLUSTER_PAGES);
    if (is_resident(r, page)) {
        userfault_protect(&r->userfault, page_address(r, page), PAGE_BYTES, false);
    }
    userfault_wake(&r->userfault, page_address(r, page), PAGE_BYTES);
}

/* Our own touch of a staging page whose content the program dropped by a raw system call: it reads as zero. */
static void serve_staging(struct region *r, unsigned char *at)
{
    size_t done;
    if (userfault_copy(&r->userfault, at, r->zero_pages, PAGE_BYTES, true, &done)) {
        userfault_wake(&r->userfault, at, PAGE_BYTES);
    }
}

static void serve_message(struct server *server, const struct uffd_msg *message)
{
    struct region *r = server->region;
    if (message->event != UFFD_EVENT_PAGEFAULT) {
        return;
    }
    unsigned char *at = (unsigned char *)(uintptr_t)(message->arg.pagefault.address & ~(PAGE_BYTES - 1));
    if (at < r->base || at >= r->base + (r->pages << PAGE_SHIFT)) {
        serve_staging(r, at);
        return;
    }
    uint64_t page = (uint64_t)(at - r->base) >> PAGE_SHIFT;
    rwlock_read_lock(&r->layout);
    if (message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
        serve_protected(r, page);
    } else {
        fault_serve(server, page, true, message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE);
    }
    rwlock_read_unlock(&r->layout);
    reclaim_poke(r);
}

static void wait_for_message(struct region *r)
{
    struct pollfd fds[2] = {{.fd = r->userfault.fd, .events = POLLIN}, {.fd = r->stop_fd, .events = POLLIN}};
    sys_call6(SYS_ppoll, (long)fds, 2, 0, 0, 0, 0);
}

static void run_handler(void *argument)
{
    struct server *server = argument;
    struct region *r = server->region;
    struct uffd_msg messages[MESSAGES];
    while (!atomic_read_acquire(&r->stop)) {
        size_t n = userfault_read(&r->userfault, messages, MESSAGES);
        for (size_t i = 0; i < n; i++) {
            serve_message(server, &messages[i]);
        }
        if (n < MESSAGES) { /* else there may be more */
            wait_for_message(r);
        }
    }
}

/* ---- page-in threads */

static bool pop_pagein(struct pagein_queue *queue, struct pagein_request *request)
{
    SCOPED_LOCK(&queue->lock);
    if (!queue->count) {
        return false;
    }
    *request = queue->ring[queue->head];
    queue->head = (queue->head + 1) % PAGEIN_QUEUE;
    queue->count--;
    return true;
}

static void run_pagein(void *argument)
{
    struct server *server = argument;
    struct region *r = server->region;
    struct pagein_request request;
    atomic_add_acq_rel(&r->pageins_run, 1);
    futex_wake(&r->pageins_run, 1);
    while (!atomic_read_acquire(&r->stop)) {
        /* Acquire: a push after this read changes the word, and the sleep below returns at once. */
        uint32_t seen = atomic_read_acquire(&r->pagein.wake);
        if (!pop_pagein(&r->pagein, &request)) {
            futex_wait(&r->pagein.wake, seen, -1);
            continue;
        }
        rwlock_read_lock(&r->layout);
        bring_in(server, request.page, request.token, true, request.writes);
        /* Release: whoever sees 0 sees what was done. */
        atomic_sub_acq_rel(&r->pagein.unfinished, 1);
        rwlock_read_unlock(&r->layout);
        reclaim_poke(r);
    }
}

/* ---- start and stop */

int server_init(struct server *server, struct region *r)
{
    void *buffer = memory_map(r->memory, PAGE_BYTES, ACCOUNT_TABLES);
    if (!buffer) {
        return -ENOMEM;
    }
    *server = (struct server){.region = r, .buffer = buffer};
    return 0;
}

void server_destroy(struct server *server)
{
    if (server->region) {
        memory_unmap(server->region->memory, server->buffer, PAGE_BYTES, ACCOUNT_TABLES);
        server->region = NULL;
    }
}

static int start_servers(struct region *r, struct server *servers, unsigned wanted, unsigned *used,
                         void (*run)(void *), const char *name)
{
    for (*used = 0; *used < wanted; ++*used) {
        int error = servers[*used].region ? 0 : server_init(&servers[*used], r);
        if (error) {
            return error;
        }
        error = r->threads->start(&servers[*used].thread, run, &servers[*used], name);
        if (error) {
            return error;
        }
    }
    return 0;
}

int fault_start(struct region *r)
{
    int error = 0;
    if (r->options.fault_mode == REGION_FAULT_SIGBUS) {
        for (unsigned i = 0; i < PAGEIN_THREADS_MAX && !error; i++) {
            error = r->pageins[i].region ? 0 : server_init(&r->pageins[i], r);
        }
        return error;
    }
    return start_servers(r, r->handlers, 1, &r->handlers_used, run_handler, "uzswap-fault");
}

/* Requests that came when the page-in threads had seen `stop`. A touch need not wait any more for there to be one: a
 * message of a touch that was answered with another may be read late. */
static void drop_pageins(struct region *r)
{
    struct pagein_request request;
    while (pop_pagein(&r->pagein, &request)) {
        release_and_wake(r, request.page, request.token);
        atomic_sub_acq_rel(&r->pagein.unfinished, 1);
    }
}

void fault_stop(struct region *r)
{
    atomic_add_acq_rel(&r->pagein.wake, 1);
    futex_wake(&r->pagein.wake, INT_MAX);
    uint64_t one = 1;
    sys_write(r->stop_fd, &one, sizeof one);
    while (r->handlers_used) {
        r->threads->join(&r->handlers[--r->handlers_used].thread);
    }
    while (r->pageins_used) {
        r->threads->join(&r->pageins[--r->pageins_used].thread);
    }
    drop_pageins(r);
    r->pageins_run = 0;
}

/* ---- SIGBUS mode */

static struct server *claim_server(struct region *r)
{
    for (;;) {
        for (unsigned i = 0; i < PAGEIN_THREADS_MAX; i++) {
            uint32_t idle = 0;
            if (atomic_cas_acq_rel(&r->pageins[i].busy, &idle, 1)) {
                return &r->pageins[i];
            }
        }
        sys_yield();
    }
}

int region_serve_fault(struct region *r, void *address)
{
    unsigned char *at = address;
    if (r->options.fault_mode != REGION_FAULT_SIGBUS || at < r->base || at >= r->base + r->bytes) {
        return -EINVAL;
    }
    uint64_t page = (uint64_t)(at - r->base) >> PAGE_SHIFT;
    struct server *server = claim_server(r);
    rwlock_read_lock(&r->layout);
    server->lost = 0;
    fault_serve(server, page, false, false);
    int lost = server->lost;
    rwlock_read_unlock(&r->layout);
    /* Release: the next to claim it sees the window as left. */
    atomic_set_release(&server->busy, 0);
    reclaim_poke(r);
    return lost;
}
