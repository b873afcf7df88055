/* SPDX-License-Identifier: MIT */
/*
 * What codec.c asks of a compression library: one table a compressor, one a format's decoder. Known to
 * codec/ alone.
 *
 * Contract
 *  - `create` maps the state with codec_state_map or, where the library asks for memory itself, leaves
 *    what it was given in `state`. 0, or -ENOMEM with nothing mapped. The state lives until its mapping is
 *    dropped; no library is told about its end, so it may hold nothing outside the mapping.
 *  - `compress` and `decompress` have the contracts of codec_compress and codec_decompress; codec.c has
 *    checked the level, and that `room` and `bytes` are 1 .. INT_MAX. They allocate nothing.
 *  - A state is used by one thread at a time, and stays usable after every result, failures too.
 */
#ifndef UZSWAP_CODEC_CODEC_OPS_H
#define UZSWAP_CODEC_CODEC_OPS_H

#include "base/memory.h"
#include "codec/codec.h"

/* The working memory of one compressor or decoder. All zeros: none. */
struct codec_state {
    void *mapping;
    size_t bytes;
    void *object; /* the library's structure, somewhere in the mapping */
};

/* Maps `bytes` zeroed bytes and points `object` to them. 0 or -ENOMEM. */
int codec_state_map(struct codec_state *state, struct memory *memory, size_t bytes);
void codec_state_unmap(struct codec_state *state, struct memory *memory);

struct codec_ops {
    const char *name;
    enum codec_format format;
    int level_min, level_max, level_default; /* 0 lies in no range: libraries read it as "default" */

    int (*create)(struct codec_state *state, struct memory *memory, int level);
    int (*compress)(void *object, int level, void *to, size_t room, const void *page);
};

struct codec_decoder_ops {
    int (*create)(struct codec_state *state, struct memory *memory); /* NULL: needs no state */
    int (*decompress)(void *object, void *page, const void *from, size_t bytes);
};

extern const struct codec_ops codec_ops_lz4, codec_ops_lz4hc; /* lz4.c */
extern const struct codec_ops codec_ops_zstd;                 /* zstd.c */
extern const struct codec_ops codec_ops_deflate;              /* deflate.c */
extern const struct codec_decoder_ops codec_decoder_lz4, codec_decoder_zstd, codec_decoder_deflate;

#endif
