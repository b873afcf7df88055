/* SPDX-License-Identifier: MIT */
/*
 * Recognising touches in order, several of them at once: programs copy, merge and partition, which is two or three
 * streams of faults that interleave, upwards and downwards.
 *
 * Each of the last STREAMS faults that fitted nothing begins a stream of its own. A fault close by gives it a
 * direction; a fault where it expects one, or up to STREAM_SKIP pages further, goes on with it and doubles its
 * window: the pages to bring in along with the one that was touched. The stream that was quiet longest makes room
 * for a new one.
 */
#ifndef UZSWAP_REGION_STREAMS_H
#define UZSWAP_REGION_STREAMS_H

#include "base/types.h"

#define STREAMS 16
#define STREAM_SKIP 3
#define STREAM_WINDOW_MAX 16u

struct stream {
    uint64_t next; /* the page expected next, or, without a direction, the page that began it */
    uint64_t last_used;
    int direction;   /* +1, -1; 0 = not known yet */
    unsigned window; /* 0 = unused */
};

/* One thread's, or guarded by its user. Zeroed, it knows nothing. */
struct streams {
    struct stream table[STREAMS];
    uint64_t clock;
};

/* What to bring in for a fault of `page`: `count` pages, `page` itself among them, from `page` on (direction +1) or
 * down to it (direction -1). */
struct stream_window {
    unsigned count;
    int direction;
};

struct stream_window streams_fault(struct streams *s, uint64_t page);

#endif
