/* SPDX-License-Identifier: MIT */
/*
 * What a swap device is: numbered bytes that outlive a page's stay in RAM.
 *
 * All I/O is asynchronous with completion. The caller fills a `struct swap_io`, which stays the
 * device's until `done` is called; `submit` may complete it before it returns (then `done` has run on
 * the caller's thread). Otherwise some thread has to call `reap`, and `done` runs on that thread. `done`
 * may not submit to the same device and wait. Locks held during `submit` or `reap` must be ones that
 * `done` does not take.
 *
 * Contract of the ops table
 *  - submit, reap and the rest are called from any thread at any time.
 *  - `result` is 0 when all bytes were transferred; else -errno. A short transfer is continued by the
 *    device; only at the end of what it can do does it answer -EIO (read beyond what was ever written:
 *    zeros are fine, the reader checks sums) or -ENOSPC.
 *  - I/O to the same bytes is not ordered; the caller never has two in flight.
 *  - READs of different pages proceed side by side, and no READ waits behind a WRITE in a queue.
 *  - `max_in_flight` is how many I/Os can be submitted and not yet done; one more makes submit wait for
 *    a completion first.
 */
#ifndef UZSWAP_SWAP_DEVICE_H
#define UZSWAP_SWAP_DEVICE_H

#include "base/memory.h"
#include "base/types.h"

#define SLOT_SHIFT 9
#define SLOT_BYTES ((size_t)1 << SLOT_SHIFT)

enum swap_operation {
    SWAP_READ,
    SWAP_WRITE,
    SWAP_DISCARD, /* the bytes are no longer needed; `buffer` is NULL */
    SWAP_FLUSH,   /* what was written is durable */
};

struct swap_io {
    enum swap_operation operation;
    void *buffer;
    size_t bytes;      /* multiple of SLOT_BYTES */
    uint64_t position; /* in bytes, multiple of SLOT_BYTES */
    int result;        /* set before `done`: 0 or -errno */
    void (*done)(struct swap_io *io);
    void *owner;  /* the caller's */
    bool no_wait; /* READ, if the device `reads_at_once`: -EAGAIN where it would have to wait for a disk */

    /* the device's */
    size_t transferred;
    struct swap_io *next;
};

struct swap_device;

/* Why a device could not be opened, for a person: names the thing, the cause and the way out. */
struct swap_open_error {
    char text[256];
};

struct swap_device_ops {
    const char *scheme; /* "file" */

    /* Is `location` well-formed? 0 or -EINVAL with `error->text` set. Touches nothing. */
    int (*check)(const char *location, struct swap_open_error *error);

    /* `location` is the URI behind "scheme:". `size` in bytes is the most that will be used. 0 or -errno
     * with `error->text` set. */
    int (*open)(struct swap_device **device, const char *location, uint64_t size, struct memory *memory,
                struct swap_open_error *error);

    /* Every I/O must be done. */
    void (*close)(struct swap_device *device);

    void (*submit)(struct swap_device *device, struct swap_io *io);

    /* Runs `done` of what has completed; with `wait`, first waits until at least one has (returns at once
     * if nothing is in flight). How many were done by this call: 0 also if what it waited for was done by
     * another thread's reap, and whenever the device likes to have its caller look again; so a caller who waits
     * for certain I/Os counts those itself, and calls again. */
    size_t (*reap)(struct swap_device *device, bool wait);

    /*
     * In a forked child: what the device holds is shared with the parent from now on (whose bytes are whose, the swap map
     * knows); what a process needs of its own is made anew. `device` is the child's copy of the parent's structure,
     * with nothing in flight. 0 or -errno: then the device refuses all I/O with -EBADF.
     */
    int (*fork_child)(struct swap_device *device);
};

struct swap_device {
    const struct swap_device_ops *ops;
    uint64_t size; /* bytes; may be less than what open was asked for, if the system allows no more */
    uint32_t max_in_flight;
    bool reads_at_once; /* can tell whether a READ would wait, and completes those that do not in submit */
};

extern const struct swap_device_ops swap_device_file; /* swap/file.c */

/*
 * Opens the device that `uri` names: "file:" (an unlinked file in $TMPDIR or /tmp), "file:/folder",
 * "none" (then *device is NULL). 0, or -errno with error->text set: -EINVAL for a URI that is none,
 * -EPROTONOSUPPORT for an unknown scheme.
 */
int swap_device_open(struct swap_device **device, const char *uri, uint64_t size, struct memory *memory,
                     struct swap_open_error *error);

/* As `open`, but only checks that `uri` is well-formed and its scheme known. */
int swap_uri_check(const char *uri, struct swap_open_error *error);

/* Submits `io` and waits until it is done (reaping others' completions meanwhile). Its result. `io->done`
 * and `io->owner` are used by this function. May return only after one more completion of another I/O, if
 * another thread reaps this one at the wrong moment. */
int swap_device_wait(struct swap_device *device, struct swap_io *io);

#endif
