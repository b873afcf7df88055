/* SPDX-License-Identifier: MIT */
#include "swap/record.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "swap/device.h"

/* Read and written by one process, so in the machine's byte order. */
struct record_header {
    uint64_t sum;   /* of all that follows, to the end of the payload */
    uint16_t bytes; /* of the payload */
    uint8_t reserved[6];
};

_Static_assert(sizeof(struct record_header) == RECORD_HEADER_BYTES, "the header has no holes");

#define SUMMED_FROM offsetof(struct record_header, bytes)

/* Hashed rather than added up, so that neighbouring pages and slots have nothing in common. */
static uint64_t place_seed(struct swap_entry entry, uint64_t first_slot)
{
    const uint64_t place[3] = {entry.type, entry.offset, first_slot};
    return XXH3_64bits(place, sizeof place);
}

static uint64_t record_sum(const void *record, size_t bytes, struct swap_entry entry, uint64_t first_slot)
{
    return XXH3_64bits_withSeed((const char *)record + SUMMED_FROM, RECORD_HEADER_BYTES - SUMMED_FROM + bytes,
                                place_seed(entry, first_slot));
}

size_t record_slots(size_t bytes)
{
    return (RECORD_HEADER_BYTES + bytes + SLOT_BYTES - 1) >> SLOT_SHIFT;
}

void record_seal(void *record, size_t bytes, struct swap_entry entry, uint64_t first_slot)
{
    struct record_header header = {.bytes = (uint16_t)bytes};
    memcpy(record, &header, sizeof header);
    size_t end = RECORD_HEADER_BYTES + bytes;
    memset((char *)record + end, 0, (record_slots(bytes) << SLOT_SHIFT) - end);
    header.sum = record_sum(record, bytes, entry, first_slot);
    memcpy(record, &header, sizeof header);
}

const void *record_open(const void *record, size_t bytes, struct swap_entry entry, uint64_t first_slot)
{
    struct record_header header;
    memcpy(&header, record, sizeof header);
    /* The length first: the caller's is trusted, the record's is not, and only what both agree on is read. */
    if (bytes > PAGE_BYTES || header.bytes != bytes ||
        header.sum != record_sum(record, bytes, entry, first_slot)) {
        return NULL;
    }
    return (const char *)record + RECORD_HEADER_BYTES;
}

uint64_t record_page_sum(const void *page, struct swap_entry entry, uint64_t first_slot)
{
    uint64_t sum = XXH3_64bits_withSeed(page, PAGE_BYTES, place_seed(entry, first_slot));
    return sum ? sum : 1; /* 0 is free to mean "none" */
}
