/* SPDX-License-Identifier: MIT */
/*
 * How a page lies on a swap device.
 *
 * Compressed (packed): a record of a 16-byte header and the payload, padded with zeros to whole slots.
 *
 *   |checksum 8|bytes 2|reserved 6|payload ...|0...|
 *
 * The checksum (XXH3, 64 bits) covers header and payload and is seeded with the swap entry and the
 * first slot, so that a record of another page, or an old one, never passes for this one.
 *
 * Plain page: the 4096 bytes as they are; the checksum stays in the swap map.
 */
#ifndef UZSWAP_SWAP_RECORD_H
#define UZSWAP_SWAP_RECORD_H

#include "base/types.h"

#define RECORD_HEADER_BYTES 16

/* Slots that a record of `bytes` bytes of payload takes. */
size_t record_slots(size_t bytes);

/* Fills header and padding around the payload, which the caller has put at `record` +
 * RECORD_HEADER_BYTES. */
void record_seal(void *record, size_t bytes, struct swap_entry entry, uint64_t first_slot);

/* The payload of the record at `record` if it is whole and is `entry`'s, of `bytes` bytes; else NULL. */
const void *record_open(const void *record, size_t bytes, struct swap_entry entry, uint64_t first_slot);

/* Checksum of a plain page. Never 0. */
uint64_t record_page_sum(const void *page, struct swap_entry entry, uint64_t first_slot);

#endif
