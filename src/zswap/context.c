/* SPDX-License-Identifier: MIT */
#include "zswap/context.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/sys.h"

/* A codec in one word, so that it changes at once: the ops table's address (48 bits at most) and the level. */
static uint64_t pack_codec(const struct codec *codec)
{
    return (uint64_t)(uintptr_t)codec->ops << 16 | (uint16_t)(int16_t)codec->level;
}

static struct codec unpack_codec(uint64_t word)
{
    return (struct codec){.ops = (const struct codec_ops *)(uintptr_t)(word >> 16),
                          .level = (int16_t)(uint16_t)(word & 0xffff)};
}

void contexts_set_codec(struct contexts *contexts, const struct codec *codec)
{
    atomic_set_relaxed(&contexts->codec, pack_codec(codec));
}

struct codec contexts_codec(const struct contexts *contexts)
{
    return unpack_codec(atomic_read_relaxed(&contexts->codec));
}

static bool create(struct contexts *contexts, struct context *context)
{
    struct codec codec = contexts_codec(contexts);
    context->buffer = memory_map(contexts->memory, CONTEXT_BUFFER_BYTES, ACCOUNT_TABLES);
    if (!context->buffer) {
        return false;
    }
    if (codec_context_create(&context->codec, contexts->memory, &codec)) {
        memory_unmap(contexts->memory, context->buffer, CONTEXT_BUFFER_BYTES, ACCOUNT_TABLES);
        context->buffer = NULL;
        return false;
    }
    context->exists = 1;
    return true;
}

int contexts_init(struct contexts *contexts, struct memory *memory, const struct codec *codec)
{
    *contexts = (struct contexts){.memory = memory};
    contexts_set_codec(contexts, codec);
    contexts->table = memory_map(memory, CONTEXTS_MAX * sizeof(struct context), ACCOUNT_TABLES);
    if (!contexts->table || !create(contexts, &contexts->table[0])) {
        contexts_destroy(contexts);
        return -ENOMEM;
    }
    return 0;
}

void contexts_destroy(struct contexts *contexts)
{
    if (!contexts->table) {
        return;
    }
    for (size_t i = 0; i < CONTEXTS_MAX; i++) {
        if (contexts->table[i].exists) {
            codec_context_destroy(contexts->table[i].codec);
            memory_unmap(contexts->memory, contexts->table[i].buffer, CONTEXT_BUFFER_BYTES, ACCOUNT_TABLES);
        }
    }
    memory_unmap(contexts->memory, contexts->table, CONTEXTS_MAX * sizeof(struct context), ACCOUNT_TABLES);
    contexts->table = NULL;
}

static bool try_claim(struct context *context)
{
    uint32_t idle = 0;
    return !atomic_read_relaxed(&context->busy) && atomic_cas_acq_rel(&context->busy, &idle, 1);
}

struct context *context_claim(struct contexts *contexts)
{
    unsigned start = thread_hint();
    bool may_create = true;
    for (;;) {
        for (unsigned i = 0; i < CONTEXTS_MAX; i++) {
            struct context *context = &contexts->table[(start + i) % CONTEXTS_MAX];
            if (!try_claim(context)) {
                continue;
            }
            if (likely(context->exists) || (may_create && create(contexts, context))) {
                return context;
            }
            may_create = false;
            context_unclaim(context);
        }
        sys_yield();
    }
}

void context_unclaim(struct context *context)
{
    /* Release: the next to claim it sees what this verb left in it. */
    atomic_set_release(&context->busy, 0);
}

bool context_begin_wait(struct contexts *contexts)
{
    uint32_t waiting = atomic_read_relaxed(&contexts->waiting);
    while (waiting < CONTEXTS_WAITING_MAX) {
        if (atomic_cas_relaxed(&contexts->waiting, &waiting, waiting + 1)) {
            return true;
        }
    }
    return false;
}

void context_end_wait(struct contexts *contexts)
{
    atomic_sub_relaxed(&contexts->waiting, 1);
}

void context_use_current_codec(struct contexts *contexts, struct context *context)
{
    struct codec codec = contexts_codec(contexts);
    if (unlikely(!codec_equal(&codec, codec_context_codec(context->codec)))) {
        (void)codec_context_set(context->codec, &codec); /* without memory the old codec does as well */
    }
}
