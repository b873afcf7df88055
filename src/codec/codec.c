/* SPDX-License-Identifier: MIT */
/*
 * Names and levels of compressors, and the contexts that hold their working memory.
 *
 *   context (1 page) ---> compressor      state of the current codec
 *                    ---> decoders[0]     lz4 needs none
 *                    ---> decoders[1..]   one a format, made once, kept until the context ends
 *
 * Each state is a mapping of its own, because codec_context_set replaces the compressor's and a
 * decoder's size has nothing to do with it. Dropping the mapping is all there is to freeing a state.
 *
 * The decoder of the context's own format is made with the context, so that loads allocate nothing
 * as long as the codec is never changed. Decoders of other formats are made when the first such page
 * comes: all of them would cost 108 KiB in each context, for formats that most programs never see.
 */
#include "codec/codec.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "codec/codec_ops.h"

static const struct codec_ops *const compressors[] = {
    &codec_ops_lz4,
    &codec_ops_lz4hc,
    &codec_ops_zstd,
    &codec_ops_deflate,
};

static const struct codec_decoder_ops *const decoders[CODEC_FORMATS] = {
    [CODEC_FORMAT_LZ4] = &codec_decoder_lz4,
    [CODEC_FORMAT_ZSTD] = &codec_decoder_zstd,
    [CODEC_FORMAT_DEFLATE] = &codec_decoder_deflate,
};

/* One thread's. No lock: a context serves one thread at a time. */
struct codec_context {
    struct memory *memory;
    struct codec codec;
    struct codec_state compressor;
    struct codec_state decoders[CODEC_FORMATS];
};

static const struct codec_ops *find_compressor(const char *name, size_t length)
{
    for (size_t i = 0; i < ARRAY_LENGTH(compressors); i++) {
        if (strlen(compressors[i]->name) == length && memcmp(compressors[i]->name, name, length) == 0) {
            return compressors[i];
        }
    }
    return NULL;
}

/* A decimal number with nothing behind it. 0, -EINVAL, or -ERANGE if it is far outside any level. */
static int parse_level(const char *text, int *level)
{
    bool negative = *text == '-';
    text += negative;
    if (!*text) {
        return -EINVAL;
    }
    int n = 0, error = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        if (n > INT_MAX / 10 - 1) {
            error = -ERANGE; /* go on: it may be no number at all */
        } else {
            n = n * 10 + (*text - '0');
        }
    }
    *level = negative ? -n : n;
    return error;
}

int codec_parse(const char *text, struct codec *codec)
{
    size_t length = strcspn(text, ":");
    const struct codec_ops *ops = find_compressor(text, length);
    if (!ops) {
        return -ENOENT;
    }
    int level = ops->level_default;
    if (text[length] == ':') {
        int error = parse_level(text + length + 1, &level);
        if (error) {
            return error;
        }
        if (!level || level < ops->level_min || level > ops->level_max) {
            return -ERANGE;
        }
    }
    *codec = (struct codec){.ops = ops, .level = level};
    return 0;
}

static char *append_int(char *p, int n)
{
    char digits[10];
    int count = 0;
    if (n < 0) {
        *p++ = '-';
    }
    for (unsigned rest = n < 0 ? 0u - (unsigned)n : (unsigned)n; rest || !count; rest /= 10) {
        digits[count++] = (char)('0' + rest % 10);
    }
    while (count) {
        *p++ = digits[--count];
    }
    return p;
}

char *codec_format_name(const struct codec *codec, char text[CODEC_NAME_MAX])
{
    size_t length = strlen(codec->ops->name);
    memcpy(text, codec->ops->name, length);
    char *p = text + length;
    if (codec->level != codec->ops->level_default) {
        *p++ = ':';
        p = append_int(p, codec->level);
    }
    *p = 0;
    return text;
}

const char *codec_list(void)
{
    /* A test compares it with the tables. */
    return "lz4:1..64, lz4hc:3..9, zstd:-10..22, deflate:1..12";
}

bool codec_equal(const struct codec *a, const struct codec *b)
{
    return a->ops == b->ops && a->level == b->level;
}

enum codec_format codec_output_format(const struct codec *codec)
{
    return codec->ops->format;
}

int codec_state_map(struct codec_state *state, struct memory *memory, size_t bytes)
{
    void *mapping = memory_map(memory, bytes, ACCOUNT_TABLES);
    if (!mapping) {
        return -ENOMEM;
    }
    *state = (struct codec_state){.mapping = mapping, .bytes = bytes, .object = mapping};
    return 0;
}

void codec_state_unmap(struct codec_state *state, struct memory *memory)
{
    memory_unmap(memory, state->mapping, state->bytes, ACCOUNT_TABLES);
    *state = (struct codec_state){0};
}

/* Makes the decoder of `format` unless it is there or needs no state. 0 or -ENOMEM. */
static int need_decoder(struct codec_context *context, enum codec_format format)
{
    struct codec_state *state = &context->decoders[format];
    if (state->mapping || !decoders[format]->create) {
        return 0;
    }
    return decoders[format]->create(state, context->memory);
}

int codec_context_create(struct codec_context **result, struct memory *memory, const struct codec *codec)
{
    struct codec_context *context = memory_map(memory, sizeof *context, ACCOUNT_TABLES);
    if (!context) {
        return -ENOMEM;
    }
    context->memory = memory;
    int error = codec_context_set(context, codec);
    if (error) {
        codec_context_destroy(context);
        return error;
    }
    *result = context;
    return 0;
}

void codec_context_destroy(struct codec_context *context)
{
    if (!context) {
        return;
    }
    for (int format = 0; format < CODEC_FORMATS; format++) {
        codec_state_unmap(&context->decoders[format], context->memory);
    }
    codec_state_unmap(&context->compressor, context->memory);
    memory_unmap(context->memory, context, sizeof *context, ACCOUNT_TABLES);
}

int codec_context_set(struct codec_context *context, const struct codec *codec)
{
    if (codec_equal(&context->codec, codec)) {
        return 0;
    }
    struct codec_state compressor = {0};
    /* The decoder first: if the compressor then fails, a decoder more is no harm. */
    int error = need_decoder(context, codec->ops->format);
    if (!error) {
        error = codec->ops->create(&compressor, context->memory, codec->level);
    }
    if (error) {
        return error;
    }
    codec_state_unmap(&context->compressor, context->memory);
    context->compressor = compressor;
    context->codec = *codec;
    return 0;
}

const struct codec *codec_context_codec(const struct codec_context *context)
{
    return &context->codec;
}

int codec_compress(struct codec_context *context, void *to, size_t room, const void *page)
{
    if (unlikely(!room)) {
        return 0;
    }
    const struct codec *codec = &context->codec;
    return codec->ops->compress(context->compressor.object, codec->level, to, min_size(room, INT_MAX), page);
}

int codec_decompress(struct codec_context *context, enum codec_format format, void *page, const void *from,
                     size_t bytes)
{
    /* `format` is read back from stored data, so it is checked like the rest of it. */
    if (unlikely((unsigned)format >= CODEC_FORMATS || !bytes || bytes > INT_MAX)) {
        return -EBADMSG;
    }
    int error = need_decoder(context, format);
    if (unlikely(error)) {
        return error;
    }
    return decoders[format]->decompress(context->decoders[format].object, page, from, bytes);
}
