/* SPDX-License-Identifier: MIT */
/*
 * Compressors, by name, behind one interface.
 *
 *   codec          what a user chooses: a compressor and a level ("lz4", "zstd:3")
 *   format         what the compressed bytes are; decoding depends on it alone, so pages stored with an
 *                  old codec stay readable after the codec was changed (lz4 and lz4hc share a format)
 *   codec context  one thread's working memory: the state of one codec, and decoders of the formats it met
 *
 * Nothing here calls malloc: contexts take their memory from `struct memory` when they are made. Compress
 * allocates nothing; decompress only when the first page of a format other than the codec's own comes,
 * that is, after the codec was changed. A context serves one thread at a time; the rest is immutable
 * and thread-safe.
 */
#ifndef UZSWAP_CODEC_CODEC_H
#define UZSWAP_CODEC_CODEC_H

#include "base/memory.h"
#include "base/types.h"

enum codec_format {
    CODEC_FORMAT_LZ4,
    CODEC_FORMAT_ZSTD,
    CODEC_FORMAT_DEFLATE,
    CODEC_FORMATS,
};

struct codec_ops;

/* A small value: copy it freely. */
struct codec {
    const struct codec_ops *ops;
    int level;
};

/* The longest "name:level", with its terminating 0. */
#define CODEC_NAME_MAX 24

/* Reads NAME[:LEVEL]. 0; -ENOENT if no compressor has that name; -EINVAL if the level is no number;
 * -ERANGE if it is outside the compressor's levels (0 always is). */
int codec_parse(const char *text, struct codec *codec);

/* Writes "name" or "name:level" (if it is not the default level) to `text` and returns `text`. */
char *codec_format_name(const struct codec *codec, char text[CODEC_NAME_MAX]);

/* The names of all compressors with their levels, for help texts: "lz4:1..64, zstd:-10..22, ...". */
const char *codec_list(void);

bool codec_equal(const struct codec *a, const struct codec *b);
enum codec_format codec_output_format(const struct codec *codec);

struct codec_context;

/* 0 or -ENOMEM. Memory is charged to ACCOUNT_TABLES. */
int codec_context_create(struct codec_context **context, struct memory *memory, const struct codec *codec);
void codec_context_destroy(struct codec_context *context);

/* Makes the context compress with `codec` from now on. 0 or -ENOMEM, and then the old one stays. */
int codec_context_set(struct codec_context *context, const struct codec *codec);
const struct codec *codec_context_codec(const struct codec_context *context);

/*
 * Compresses the page `page` into `to`, which has room for `room` bytes (less than PAGE_BYTES is
 * normal: then "does not fit" means "not worth it").
 *
 * The number of bytes written (1 .. room), 0 if they do not fit, -EIO if the compressor failed.
 */
int codec_compress(struct codec_context *context, void *to, size_t room, const void *page);

/*
 * Decompresses `bytes` bytes at `from` into the page `page`. Safe on any input: never reads outside
 * [from, from + bytes) nor writes outside the page. 0 if all of the input gives exactly one page; -EBADMSG
 * if not; -ENOMEM if the decoder of a format that is not the codec's could not be made. After an error
 * the page's content is undefined.
 *
 * No format carries a checksum: damaged input may well give a page, and the wrong one. Whoever keeps the bytes
 * where they can be damaged (swap/record.h) checks them before they come here.
 */
int codec_decompress(struct codec_context *context, enum codec_format format, void *page, const void *from,
                     size_t bytes);

#endif
