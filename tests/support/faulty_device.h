/* SPDX-License-Identifier: MIT */
/*
 * A swap device that fails when it is told to, for tests. It stands before another device, which it closes
 * when it is closed itself. All functions may be called from any thread, at any time.
 *
 *     struct swap_device *disk = faulty_device_create(ram_device_create(64 << 20, RAM_DEVICE_ASYNC));
 *     faulty_fail_nth(disk, SWAP_WRITE, 3, -EIO);   the third write from now fails
 *     faulty_hold(disk, SWAP_WRITE, true);          writes from now on are not answered
 *     ...
 *     faulty_let_go(disk);                          now they go on, and complete as usual
 *
 * A failed write leaves the inner device as it was, unless it is said otherwise. A failed read fills the
 * buffer with 0xee.
 */
#ifndef UZSWAP_TESTS_FAULTY_DEVICE_H
#define UZSWAP_TESTS_FAULTY_DEVICE_H

#include "swap/device.h"

struct swap_device *faulty_device_create(struct swap_device *inner);
struct swap_device *faulty_inner(struct swap_device *device);

/* The `n`th `operation` from now on (1 = the next) gets `error` (-EIO, -ENOSPC, ...) as its result. */
void faulty_fail_nth(struct swap_device *device, enum swap_operation operation, uint64_t n, int error);

/* Every one does, until called again with 0. */
void faulty_fail_all(struct swap_device *device, enum swap_operation operation, int error);

/* The `n`th write from now on puts only its first half on the inner device, and gets `error`. */
void faulty_tear_nth_write(struct swap_device *device, uint64_t n, int error);

/* One bit of what the `n`th read from now on returns is wrong. With the second, of every read, until told. */
void faulty_flip_nth_read(struct swap_device *device, uint64_t n);
void faulty_flip_all_reads(struct swap_device *device, bool on);

/* Writes that end above `bytes` get -ENOSPC. UINT64_MAX: no limit. */
void faulty_set_capacity(struct swap_device *device, uint64_t bytes);

/*
 * While on, each `operation` is kept back: neither carried out nor answered. `faulty_let_go` hands all
 * that are kept back to the inner device, in order, and ends every hold; they complete as the inner device
 * completes. `faulty_let_go_one` hands over the oldest only, holds stay; false if there is none.
 * `faulty_held` counts them. reap(wait) meanwhile waits, as it would for a slow disk, unless nothing is in
 * flight.
 */
void faulty_hold(struct swap_device *device, enum swap_operation operation, bool on);
void faulty_let_go(struct swap_device *device);
bool faulty_let_go_one(struct swap_device *device);
size_t faulty_held(struct swap_device *device);

/* How many `operation`s were submitted so far. */
uint64_t faulty_count(struct swap_device *device, enum swap_operation operation);

#endif
