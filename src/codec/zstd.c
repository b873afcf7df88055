/* SPDX-License-Identifier: MIT */
/*
 * zstd, in memory it is given (its static contexts), with parameters for 4 KiB.
 *
 * A page is one frame without magic number, content size and checksum: 2 bytes of header where an ordinary
 * frame has 7. The size is known, and what can be damaged on its way (a device) has a checksum of its own.
 *
 * Telling zstd the page's size up front makes it choose window and tables of 4 to 8 KiB entries: a
 * context of 72 KiB (level 1) to 270 KiB (12 and above) instead of megabytes, and nothing to clear.
 *
 * The default is 1: level 3, zstd's own, takes a sixth more time for 0.2 points out of 15 on a Python
 * heap. Negative levels leave literals uncompressed; below -5 lz4 is better in both size and time.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec/codec_ops.h"

#define FRAME_HEADER_BYTES ((size_t)2)
#define BLOCK_HEADER_BYTES ((size_t)3)

static bool set_parameters(ZSTD_CCtx *cctx, int level)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_format, ZSTD_f_zstd1_magicless)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 0));
}

static int create_compressor(struct codec_state *state, struct memory *memory, int level)
{
    /* The same parameters that ZSTD_compress2 derives from level and page size. */
    size_t bytes = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, PAGE_BYTES, 0));
    int error = codec_state_map(state, memory, bytes);
    if (error) {
        return error;
    }
    state->object = ZSTD_initStaticCCtx(state->mapping, bytes);
    if (!state->object || !set_parameters(state->object, level)) {
        /* Not with any level in range; too little memory is the only reason zstd could have. */
        codec_state_unmap(state, memory);
        return -ENOMEM;
    }
    return 0;
}

static int compress(void *object, int level, void *to, size_t room, const void *page)
{
    (void)level; /* set when the context was made */
    size_t bytes = ZSTD_compress2(object, to, room, page, PAGE_BYTES);
    if (unlikely(ZSTD_isError(bytes))) {
        return ZSTD_getErrorCode(bytes) == ZSTD_error_dstSize_tooSmall ? 0 : -EIO;
    }
    return (int)bytes;
}

static int create_decoder(struct codec_state *state, struct memory *memory)
{
    size_t bytes = ZSTD_estimateDCtxSize();
    int error = codec_state_map(state, memory, bytes);
    if (error) {
        return error;
    }
    state->object = ZSTD_initStaticDCtx(state->mapping, bytes);
    if (!state->object ||
        ZSTD_isError(ZSTD_DCtx_setParameter(state->object, ZSTD_d_format, ZSTD_f_zstd1_magicless))) {
        codec_state_unmap(state, memory); /* as in create_compressor */
        return -ENOMEM;
    }
    return 0;
}

/*
 * Is this one frame of the kind we write, and nothing behind it? zstd 1.5.4 reads four bytes at the start of
 * each frame however few there are, and takes a frame without magic number that happens to begin like
 * one of its skippable or ancient formats for that.
 */
static bool is_one_frame(const uint8_t *from, size_t bytes)
{
    /* Descriptor byte 0: no content size, checksum or dictionary. Then the window, which zstd checks. */
    if (bytes < FRAME_HEADER_BYTES || from[0] != 0) {
        return false;
    }
    bool last = false;
    size_t at = FRAME_HEADER_BYTES;
    while (!last && bytes - at >= BLOCK_HEADER_BYTES) {
        /* |size 21|type 2|last 1|, little-endian; type 1 is one byte, to be repeated `size` times. */
        unsigned header = from[at] | (unsigned)from[at + 1] << 8 | (unsigned)from[at + 2] << 16;
        size_t size = (header >> 1 & 3) == 1 ? 1 : header >> 3;
        last = header & 1;
        at += BLOCK_HEADER_BYTES;
        if (size > bytes - at) {
            return false;
        }
        at += size;
    }
    return last && at == bytes;
}

static int decompress(void *object, void *page, const void *from, size_t bytes)
{
    if (unlikely(!is_one_frame(from, bytes))) {
        return -EBADMSG;
    }
    return ZSTD_decompressDCtx(object, page, PAGE_BYTES, from, bytes) == PAGE_BYTES ? 0 : -EBADMSG;
}

const struct codec_ops codec_ops_zstd = {
    .name = "zstd",
    .format = CODEC_FORMAT_ZSTD,
    .level_min = -10,
    .level_max = 22,
    .level_default = 1,
    .create = create_compressor,
    .compress = compress,
};

const struct codec_decoder_ops codec_decoder_zstd = {
    .create = create_decoder,
    .decompress = decompress,
};
