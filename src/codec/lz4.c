/* SPDX-License-Identifier: MIT */
/*
 * lz4 and lz4hc: one format, two compressors. Bytes are a bare LZ4 block.
 *
 * lz4's level is its acceleration, so a higher level is faster and packs less. It ends at 64, where a Python
 * heap takes 61 % of its size instead of 29 %, and one page in six no longer shrinks by an eighth.
 *
 * lz4hc ends at level 9: from 10 on liblz4 takes 64 KiB from malloc in every call. They gain
 * nothing on pages anyway. Its default is 3 and not liblz4's 9, which takes three times as long for the last
 * 0.8 points out of 24.
 *
 * Both use liblz4's "fast reset". lz4hc's does not clear the tables (256 KiB) before each page, which would take a
 * quarter of lz4hc:3's time. lz4's clears its table (16 KiB) for inputs of 4096 bytes and more, so for each page, but not
 * the whole state once more. These calls are only in the static library.
 */
#define LZ4_STATIC_LINKING_ONLY
#define LZ4_HC_STATIC_LINKING_ONLY
#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>

#include "codec/codec_ops.h"

static int create_lz4(struct codec_state *state, struct memory *memory, int level)
{
    (void)level;
    int error = codec_state_map(state, memory, sizeof(LZ4_stream_t));
    if (!error) {
        LZ4_initStream(state->object, sizeof(LZ4_stream_t));
    }
    return error;
}

static int compress_lz4(void *object, int level, void *to, size_t room, const void *page)
{
    int bytes = LZ4_compress_fast_extState_fastReset(object, page, to, (int)PAGE_BYTES, (int)room, level);
    if (unlikely(bytes <= 0)) {
        /* A page that did not fit: liblz4 does not say that the state is fit for a fast reset after that. */
        LZ4_initStream(object, sizeof(LZ4_stream_t));
        return 0;
    }
    return bytes;
}

static int create_lz4hc(struct codec_state *state, struct memory *memory, int level)
{
    (void)level;
    int error = codec_state_map(state, memory, sizeof(LZ4_streamHC_t));
    if (!error) {
        LZ4_initStreamHC(state->object, sizeof(LZ4_streamHC_t));
    }
    return error;
}

static int compress_lz4hc(void *object, int level, void *to, size_t room, const void *page)
{
    /* It marks the table itself after a page that did not fit, and clears it at the next. */
    int bytes = LZ4_compress_HC_extStateHC_fastReset(object, page, to, (int)PAGE_BYTES, (int)room, level);
    return bytes > 0 ? bytes : 0;
}

static int decompress_lz4(void *object, void *page, const void *from, size_t bytes)
{
    (void)object;
    int got = LZ4_decompress_safe(from, page, (int)bytes, (int)PAGE_BYTES);
    return got == (int)PAGE_BYTES ? 0 : -EBADMSG;
}

const struct codec_ops codec_ops_lz4 = {
    .name = "lz4",
    .format = CODEC_FORMAT_LZ4,
    .level_min = 1,
    .level_max = 64,
    .level_default = 1,
    .create = create_lz4,
    .compress = compress_lz4,
};

const struct codec_ops codec_ops_lz4hc = {
    .name = "lz4hc",
    .format = CODEC_FORMAT_LZ4,
    .level_min = LZ4HC_CLEVEL_MIN,
    .level_max = LZ4HC_CLEVEL_OPT_MIN - 1,
    .level_default = LZ4HC_CLEVEL_MIN,
    .create = create_lz4hc,
    .compress = compress_lz4hc,
};

const struct codec_decoder_ops codec_decoder_lz4 = {
    .decompress = decompress_lz4,
};
