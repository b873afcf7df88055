/* SPDX-License-Identifier: MIT */
/*
 * Contexts: what one verb needs while it runs, so that nothing is allocated on the path: a codec context and a buffer.
 *
 * There is a fixed number of them, each claimed by one verb at a time. A thread starts its search at a place derived
 * from its stack's address, so that it mostly finds the same one, and threads find different ones, without any word
 * that all of them write. The memory of a context is taken when it is first claimed; if there is none, the thread uses
 * one that exists already, so that a load never fails for it (context 0 always exists).
 */
#ifndef UZSWAP_ZSWAP_CONTEXT_H
#define UZSWAP_ZSWAP_CONTEXT_H

#include "base/lock.h"
#include "base/memory.h"
#include "base/types.h"
#include "codec/codec.h"

#ifndef CONTEXTS_MAX /* fewer only for the explorer */
#define CONTEXTS_MAX 256
#endif
/* So many of them may be waiting for the device at one time: the others stay for verbs that do not. */
#ifndef CONTEXTS_WAITING_MAX
#define CONTEXTS_WAITING_MAX (CONTEXTS_MAX / 4 * 3)
#endif
/* A page read from the device with its record header, in whole slots; or a compressed page. */
#define CONTEXT_BUFFER_BYTES (2 * PAGE_BYTES)

struct context {
    uint32_t busy;   /* 1 while a verb has it; atomic, taken and given back with acquire and release */
    uint32_t exists; /* 1 once codec and buffer are there. Guard: busy */
    struct codec_context *codec; /* Guard: busy */
    unsigned char *buffer;       /* CONTEXT_BUFFER_BYTES. Guard: busy */
    struct swap_entry expected;  /* what follows the entry loaded last. Guard: busy */
    uint32_t visits; /* type + 1 of the area whose entry a store looks at, 0 = none; atomic; dedup.h */
} __attribute__((aligned(64)));

struct contexts {
    struct memory *memory;
    struct context *table; /* CONTEXTS_MAX */
    uint32_t
        waiting; /* verbs that wait for the device; atomic, relaxed: a count, nothing is reached through it */
    uint64_t codec; /* the current codec, packed; atomic, relaxed: any recent value will do */
};

/* 0 or -ENOMEM. */
int contexts_init(struct contexts *contexts, struct memory *memory, const struct codec *codec);
void contexts_destroy(struct contexts *contexts);

/* What codec later claims for compression use. */
void contexts_set_codec(struct contexts *contexts, const struct codec *codec);
struct codec contexts_codec(const struct contexts *contexts);

/* Claims a context; waits only while CONTEXTS_MAX verbs are running. Never NULL. */
struct context *context_claim(struct contexts *contexts);
void context_unclaim(struct context *context);

/* A verb that holds a context is about to wait for the device. False: too many do; it gives its context back and
 * tries again later, so that a device that does not answer cannot take all contexts from those who need none of
 * it. */
bool context_begin_wait(struct contexts *contexts);
void context_end_wait(struct contexts *contexts);

/* Makes the claimed context compress with the current codec. Without memory for it, it keeps the one it had. */
void context_use_current_codec(struct contexts *contexts, struct context *context);

/* A number that differs between most threads and stays the same in one: its stack's place. No thread-local
 * storage, since threads unknown to libc run this too. */
static inline unsigned thread_hint(void)
{
    return (unsigned)(((uintptr_t)__builtin_frame_address(0) >> 15) * 0x9e3779b97f4a7c15ull >> 32);
}

#endif
