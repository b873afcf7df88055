/* SPDX-License-Identifier: MIT */
#include "region/streams.h"

/* Does the fault go on with the stream? Then its direction. */
static int follows(const struct stream *stream, uint64_t page)
{
    if (!stream->window) {
        return 0;
    }
    if (!stream->direction) {
        return page - stream->next <= 1 + STREAM_SKIP ? 1 : stream->next - page <= 1 + STREAM_SKIP ? -1 : 0;
    }
    uint64_t ahead = stream->direction > 0 ? page - stream->next : stream->next - page;
    return ahead <= STREAM_SKIP ? stream->direction : 0;
}

static struct stream *oldest(struct streams *s)
{
    struct stream *found = &s->table[0];
    for (struct stream *stream = s->table; stream < s->table + STREAMS; stream++) {
        if (stream->last_used < found->last_used) {
            found = stream;
        }
    }
    return found;
}

struct stream_window streams_fault(struct streams *s, uint64_t page)
{
    s->clock++;
    for (struct stream *stream = s->table; stream < s->table + STREAMS; stream++) {
        int direction = follows(stream, page);
        if (direction) {
            unsigned window = stream->window * 2 < STREAM_WINDOW_MAX ? stream->window * 2 : STREAM_WINDOW_MAX;
            *stream = (struct stream){.next = direction > 0 ? page + window : page - window,
                                      .last_used = s->clock,
                                      .direction = direction,
                                      .window = window};
            return (struct stream_window){window, direction};
        }
    }
    *oldest(s) = (struct stream){.next = page, .last_used = s->clock, .window = 1};
    return (struct stream_window){1, 1};
}
