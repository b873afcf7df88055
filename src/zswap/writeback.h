/* SPDX-License-Identifier: MIT */
/* The inside of writeback, for its own files: writeback.c, whose head tells how it works, and writeback_gather.c. */
#ifndef UZSWAP_ZSWAP_WRITEBACK_H
#define UZSWAP_ZSWAP_WRITEBACK_H

#include "zswap/internal.h"

/* Less only for the explorer, which copies all of it at each step. */
#ifndef BUFFERS
#define BUFFERS 4
#define BUFFER_SLOTS 256 /* 128 KiB */
#define ITEMS_MAX 128
#endif
#define BUFFER_BYTES (BUFFER_SLOTS * SLOT_BYTES)

struct item {
    struct swap_entry entry;
    struct area *area; /* zswap_area_destroy takes it out of the table before the item has ended */
    uint64_t *word;
    uint64_t held;
    uint64_t object; /* a word with length and format of what is written */
    uint32_t weight; /* bytes that leave the pool with it */
    struct swap_cache_token token;
    uint64_t first; /* device slot */
    uint64_t sum;   /* plain pages */
    uint16_t at;    /* slot in the buffer */
    uint8_t slots;
    uint8_t run;
    bool dropped; /* could not be read: nothing of it is on the device */
};

/* Guard of all fields: the builder from claim to submit, then the thread that completes the last run. */
struct buffer {
    struct zswap *z;
    unsigned char *data;
    uint32_t busy;    /* atomic; claimed under the writeback lock, released at completion */
    uint32_t pending; /* runs not done, and one for the builder; atomic */
    uint32_t items_used, runs_used, slots_used;
    size_t payload; /* of all items */
    struct item items[ITEMS_MAX];
    struct swap_io runs[ITEMS_MAX];
};

struct writeback {
    struct mutex lock;            /* one builder at a time */
    struct buffer *buffers;       /* BUFFERS */
    unsigned char *data;          /* BUFFER_BYTES for each */
    uint32_t charged;             /* buffers, the first. Guard for changes: lock; atomic */
    uint32_t completed_before;    /* at the last rest. Guard: lock */
    uint32_t next_type;           /* whose LRU is next. Guard: lock */
    uint32_t calls_while_failing; /* Guard: lock */
    uint32_t in_flight;           /* buffers; atomic */
    uint32_t failures;            /* failed writes in a row; atomic hint */
    uint32_t completed;           /* buffers, ever; atomic hint */
    uint64_t bytes_in_flight;     /* payload; atomic hint */
};

/* Fills the buffer with the oldest entries, each with its swap-cache slot and its writeback hold. Guard: the
 * writeback lock. */
void writeback_gather(struct zswap *z, struct buffer *b);

#endif
