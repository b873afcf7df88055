/* SPDX-License-Identifier: MIT */
/*
 * A swap device in plain memory, for tests. Follows the contract of swap/device.h; any thread may use it.
 *
 * Synchronous: each I/O is done before submit returns. Asynchronous: WRITE, DISCARD and FLUSH, and with
 * RAM_DEVICE_ASYNC_READ also READ, are queued, and carried out by the next reap, in order.
 *
 * DISCARD fills the bytes with 0xdd, so that who reads them later gets caught.
 */
#ifndef UZSWAP_TESTS_RAM_DEVICE_H
#define UZSWAP_TESTS_RAM_DEVICE_H

#include "swap/device.h"

enum ram_device_mode {
    RAM_DEVICE_SYNC,
    RAM_DEVICE_ASYNC,
    RAM_DEVICE_ASYNC_READ,
};

struct swap_device *ram_device_create(uint64_t size, enum ram_device_mode mode);

/* The device's bytes, to look at or to damage. */
unsigned char *ram_device_bytes(struct swap_device *device);

/* I/Os submitted and not yet done. */
size_t ram_device_in_flight(struct swap_device *device);

#endif
