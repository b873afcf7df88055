/* SPDX-License-Identifier: MIT */
/*
 * I/O of the file device through io_uring. Reaping is begin / next / end:
 *
 *   begin   become the one reaper, or sleep until the reaper has ended (`turns`)
 *   next    without a lock: take all completions there are; if none and the caller wants to wait, wait in the
 *           kernel. Nobody else reads completions, so none can be taken away from under the waiter, and
 *           as `in_kernel` says that one is to come, it wakes. Others may submit meanwhile.
 *   end     let the next one reap; only then, with no lock and no role, run `done` of what was taken; count
 *           it, and wake the sleepers
 *
 * A sleeper reads `turns`, then `completed`, then tries to begin: a reaper that ends in between has
 * changed `turns`, and the sleep is refused by the kernel.
 *
 * Of liburing only what is built without libc is used: nothing here touches errno or malloc. The functions
 * that touch a queue are not thread-safe.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/sys.h"
#include "swap/file.h"

void file_ring_init(struct file_ring *ring)
{
    *ring = (struct file_ring){0};
    mutex_init(&ring->submit_lock, LOCK_RANK_DEVICE);
    mutex_init(&ring->reap_lock, LOCK_RANK_DEVICE);
    if (io_uring_queue_init(FILE_IN_FLIGHT, &ring->ring, 0)) {
        return;
    }
    /* A child that shared the queues would submit and reap the parent's I/O. */
    if (io_uring_ring_dontfork(&ring->ring)) {
        io_uring_queue_exit(&ring->ring);
        return;
    }
    ring->ready = true;
}

void file_ring_exit(struct file_ring *ring)
{
    if (ring->ready) {
        io_uring_queue_exit(&ring->ring);
        ring->ready = false;
    }
}

void file_ring_forget(struct file_ring *ring)
{
    if (ring->ready) {
        /* The queues' addresses are free, and may be something else's by now: no munmap. */
        sys_close(ring->ring.ring_fd);
        ring->ready = false;
    }
}

/* --- Submitting --- */

/*
 * Takes a place in the ring; if all are taken, waits for a completion first. Release: the I/O's fields are
 * written before the reaper, who lowers the count with acquire, reads them. (The kernel in between orders
 * that too, but ThreadSanitizer does not see it.)
 */
static void reserve_place(struct file_device *file)
{
    struct file_ring *ring = &file->ring;
    uint32_t seen = atomic_read_relaxed(&ring->reserved); /* relaxed: the exchange checks it */
    for (;;) {
        if (seen >= FILE_IN_FLIGHT) {
            if (!file_ring_reap(file, true)) {
                sys_yield(); /* a submitter is between here and the kernel */
            }
            seen = atomic_read_relaxed(&ring->reserved);
        } else if (atomic_cas_acq_rel(&ring->reserved, &seen, seen + 1)) {
            return;
        }
    }
}

static void give_place_back(struct file_ring *ring)
{
    atomic_sub_acq_rel(&ring->reserved, 1); /* acquire: see reserve_place */
}

static void prepare(struct io_uring_sqe *sqe, int fd, struct swap_io *io)
{
    switch (io->operation) {
    case SWAP_READ:
        io_uring_prep_read(sqe, fd, io->buffer, (unsigned)io->bytes, io->position);
        break;
    case SWAP_WRITE: {
        /* A longer one is a short write, which file_perform continues. */
        size_t bytes = min_size(io->bytes, (size_t)1 << 30);
        io_uring_prep_write(sqe, fd, io->buffer, (unsigned)bytes, io->position);
        break;
    }
    case SWAP_DISCARD:
        io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->position,
                                (off_t)io->bytes);
        break;
    case SWAP_FLUSH:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, io);
}

/* Hands `io` to the kernel. False if it was not taken; nothing of it is left in the queue then. */
static bool enter_kernel(struct file_device *file, struct swap_io *io)
{
    struct file_ring *ring = &file->ring;
    SCOPED_LOCK(&ring->submit_lock);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe) {
        return false;
    }
    prepare(sqe, file->fd, io);
    io_uring_submit(&ring->ring);
    if (io_uring_sq_ready(&ring->ring)) {
        /* It lies in the queue and would be sent with the next: make it one that does nothing. */
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data(sqe, NULL);
        return false;
    }
    /* After the submission, so that whoever waits for a completion knows that one will come. */
    atomic_add_relaxed(&ring->in_kernel, 1); /* relaxed: a count; a late view of it means "not yet there" */
    return true;
}

bool file_ring_submit(struct file_device *file, struct swap_io *io)
{
    reserve_place(file);
    if (enter_kernel(file, io)) {
        return true;
    }
    give_place_back(&file->ring);
    return false;
}

/* --- Reaping --- */

static bool begin_reaping(struct file_ring *ring)
{
    SCOPED_LOCK(&ring->reap_lock);
    if (ring->reaping) {
        return false;
    }
    ring->reaping = true;
    return true;
}

static void end_reaping(struct file_ring *ring)
{
    SCOPED_LOCK(&ring->reap_lock);
    ring->reaping = false;
}

/* Results that say nothing of the file: what io_uring does not know, or was kept from. */
static bool is_refusal(int result)
{
    return result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -EINVAL ||
           result == -EOPNOTSUPP;
}

static void set_result(struct file_device *file, struct swap_io *io, int result)
{
    if (result < 0 && !is_refusal(result)) {
        io->result = result;
        return;
    }
    if (io->operation == SWAP_WRITE) {
        io->transferred += result > 0 ? (size_t)result : 0;
        io->result = io->transferred == io->bytes ? 0 : file_perform(file, io);
    } else {
        io->result = result < 0 ? file_perform(file, io) : 0;
    }
}

/* Takes what has completed, in order; *result is kept in io->result for now. The caller is the reaper. */
static struct swap_io *take_completions(struct file_ring *ring)
{
    struct swap_io *head = NULL, **tail = &head;
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
        struct swap_io *io = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&ring->ring, cqe);
        if (!io) {
            continue; /* one that was made to do nothing */
        }
        atomic_sub_relaxed(&ring->in_kernel, 1); /* relaxed: a count */
        give_place_back(ring);
        io->result = result;
        io->next = NULL;
        *tail = io;
        tail = &io->next;
    }
    return head;
}

/* What has completed; with `wait`, not before something has, unless nothing is to come. */
static struct swap_io *next_completions(struct file_ring *ring, bool wait)
{
    for (;;) {
        struct swap_io *list = take_completions(ring);
        if (list || !wait || atomic_read_relaxed(&ring->in_kernel) <= 0) {
            return list;
        }
        struct io_uring_cqe *cqe;
        int result = io_uring_wait_cqe(&ring->ring, &cqe);
        if (result && result != -EINTR && result != -EAGAIN) {
            /* The program has closed our descriptor. Completions still appear in the queue: look often. */
            futex_wait(&ring->turns, atomic_read_relaxed(&ring->turns), 1);
        }
    }
}

static size_t finish_all(struct file_device *file, struct swap_io *list)
{
    size_t count = 0;
    while (list) {
        struct swap_io *io = list;
        list = io->next;
        set_result(file, io, io->result);
        io->done(io);
        count++;
    }
    return count;
}

static size_t reap_as_the_one(struct file_device *file, bool wait)
{
    struct file_ring *ring = &file->ring;
    struct swap_io *list = next_completions(ring, wait);
    end_reaping(ring);
    size_t count = finish_all(file, list);
    /* Release, both: a sleeper that sees the new `turns` sees the new `completed`, and what `done` wrote. */
    atomic_add_acq_rel(&ring->completed, (uint32_t)count);
    atomic_add_acq_rel(&ring->turns, 1);
    futex_wake(&ring->turns, INT_MAX);
    return count;
}

size_t file_ring_reap(struct file_device *file, bool wait)
{
    struct file_ring *ring = &file->ring;
    uint32_t at_start = atomic_read_acquire(&ring->completed);
    for (;;) {
        uint32_t turn = atomic_read_acquire(&ring->turns); /* acquire: pairs with reap_as_the_one */
        if (atomic_read_acquire(&ring->completed) != at_start) {
            return 0; /* another has done it */
        }
        if (begin_reaping(ring)) {
            return reap_as_the_one(file, wait);
        }
        if (!wait) {
            return 0;
        }
        futex_wait(&ring->turns, turn, -1);
    }
}
