/* SPDX-License-Identifier: MIT */
/*
 * Store. A page that repeats one word needs no object; a page that does not shrink is kept raw, so that it has its
 * place in the LRU like any other. The entry is published with one compare-and-swap, after its object is
 * filled; linked to the LRU after that. A store that fails removes the older entry, which is older data.
 */
#include <errno.h>
#include <string.h>

#include "zswap/dedup.h"
#include "zswap/same_filled.h"

/* Puts `bytes` bytes at `from` into the pool and makes the entry's word. 0 or -ENOMEM. */
static int put_object(struct zswap *z, struct swap_entry entry, const void *from, size_t bytes,
                      unsigned format, uint64_t *word)
{
    uint64_t handle;
    prepare_removal(z, z->areas[entry.type], entry.offset, true);
    int error = z->pool->ops->alloc(z->pool, bytes, entry_pack(entry), &handle);
    if (error) {
        counter_add(z, COUNTER_REJECT_ALLOC, 1);
        return error;
    }
    memcpy(z->pool->ops->map(z->pool, handle), from, bytes);
    z->pool->ops->unmap(z->pool, handle);
    *word = entry_make(ENTRY_POOL, handle, bytes, format);
    return 0;
}

static int put_page(struct zswap *z, struct swap_entry entry, const void *page, uint64_t *word)
{
    struct context *context = context_claim(&z->contexts);
    context_use_current_codec(&z->contexts, context);
    int bytes = codec_compress(context->codec, context->buffer, ZSWAP_COMPRESSED_MAX, page);
    int error;
    if (bytes > 0) {
        enum codec_format format = codec_output_format(codec_context_codec(context->codec));
        error = put_object(z, entry, context->buffer, (size_t)bytes, format, word);
    } else if (bytes == 0) {
        counter_add(z, COUNTER_REJECT_POOR, 1);
        error = put_object(z, entry, page, PAGE_BYTES, 0, word);
    } else {
        counter_add(z, COUNTER_REJECT_COMPRESS, 1);
        error = -EIO;
    }
    context_unclaim(context);
    return error;
}

/* The word for `page`, with its object in the pool if it needs one. */
static int make_word(struct zswap *z, struct swap_entry entry, const void *page, uint64_t *word)
{
    uint64_t value;
    bool filled = same_filled(page, &value);
    if (filled && (*word = same_filled_encode(value)) != 0) {
        prepare_removal(z, z->areas[entry.type], entry.offset, true);
        return 0;
    }
    uint64_t hash = 0;
    if (z->dedup && !filled) {
        hash = dedup_hash(page);
        if (dedup_store(z, entry, page, hash, word)) {
            return 0;
        }
    }
    if (!shrinker_make_room(z)) {
        counter_add(z, COUNTER_REJECT_RECLAIM, 1);
        return -ENOSPC;
    }
    if (z->dedup && !filled) {
        dedup_note(z, entry, hash);
    }
    return filled ? put_object(z, entry, &value, sizeof value, ENTRY_FORMAT_FILL8, word)
                  : put_page(z, entry, page, word);
}

int zswap_store(struct zswap *z, struct swap_entry entry, const void *page)
{
    struct area *area = area_of(z, entry);
    if (!area) {
        return -EINVAL;
    }
    area_prefetch(area, entry.offset);
    counter_add(z, COUNTER_STORES, 1);
    uint64_t word = 0;
    int error = make_word(z, entry, page, &word);
    uint64_t *slot = error ? NULL : area_word_for_store(area, entry.offset, entry_kind(word) == ENTRY_POOL);
    if (!slot) {
        if (!error) {
            counter_add(z, COUNTER_REJECT_INDEX, 1);
            error = -ENOMEM;
            if (entry_kind(word) == ENTRY_POOL) {
                release_object(z, entry_content(word));
            }
        }
        zswap_invalidate(z, entry);
        return error;
    }
    uint64_t old = lifecycle_replace(&z->lifecycle, slot, word);
    count_change(z, old, word);
    if (old) {
        counter_add(z, COUNTER_DUPLICATE, 1);
    }
    if (!area_confirm(area, entry.offset)) {
        counter_add(z, COUNTER_REJECT_INDEX, 1);
        old = lifecycle_replace(&z->lifecycle, slot, 0);
        count_change(z, old, 0);
        /* `old` may be of a concurrent store, which has linked it already. */
        area_lru_drop(area, entry.offset);
        return -ENOMEM;
    }
    if (entry_kind(word) == ENTRY_POOL) {
        area_lru_add(area, entry.offset);
    } else if (entry_kind(old) == ENTRY_POOL) {
        area_lru_drop(area, entry.offset);
    }
    return 0;
}
