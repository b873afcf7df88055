/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: codec_decompress on any input.
 *
 *   clang -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -Isrc -I. tests/fuzz/codec_decompress.c \
 *       src/codec/?*.c src/base/memory.c src/base/lock.c -l:liblz4.a -l:libzstd.a -l:libdeflate.a
 *
 * The compression libraries are not instrumented, so the fuzzer cannot see its way through them. Two things
 * make up for that: input and page end at pages that nobody may touch, and half of the runs start from a page
 * that was compressed and then damaged, so that they get deep into the decoders.
 *
 *   byte 0      bits 0-1 format, bit 7: damage a compressed page
 *   then        the input; or |level|n|n edits of 3 bytes: position 2, xor 1|bytes cut off|page, repeated|
 */
#include "codec/codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/guarded.h"
#include "tests/support/require.h"

#define INPUT_MAX (2 * PAGE_BYTES)

static const char *const names[CODEC_FORMATS][4] = {
    [CODEC_FORMAT_LZ4] = {"lz4", "lz4:16", "lz4hc", "lz4hc:9"},
    [CODEC_FORMAT_ZSTD] = {"zstd", "zstd:-5", "zstd:5", "zstd:15"},
    [CODEC_FORMAT_DEFLATE] = {"deflate:1", "deflate", "deflate:9", "deflate:10"},
};

static struct account account;
static struct memory memory = {.account = &account};
static struct codec_context *contexts[CODEC_FORMATS][4];
static struct guarded input, page;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    input = guarded_map(INPUT_MAX);
    page = guarded_map(PAGE_BYTES);
    REQUIRE(input.start && page.start);
    for (int format = 0; format < CODEC_FORMATS; format++) {
        for (int i = 0; i < 4; i++) {
            struct codec codec;
            REQUIRE(codec_parse(names[format][i], &codec) == 0);
            REQUIRE(codec_context_create(&contexts[format][i], &memory, &codec) == 0);
        }
    }
    return 0;
}

/* Decompresses twice over different old contents: what it calls a page must come from the input alone. */
static int decompress(enum codec_format format, const char *from, size_t bytes)
{
    static char first[PAGE_BYTES];
    memset(page.start, 0x55, PAGE_BYTES);
    int error = codec_decompress(contexts[format][0], format, page.start, from, bytes);
    REQUIRE(error == 0 || error == -EBADMSG);
    memcpy(first, page.start, PAGE_BYTES);
    memset(page.start, 0xaa, PAGE_BYTES);
    REQUIRE(codec_decompress(contexts[format][1], format, page.start, from, bytes) == error);
    REQUIRE(error || memcmp(first, page.start, PAGE_BYTES) == 0);
    return error;
}

static uint8_t take(const uint8_t **data, size_t *size)
{
    if (!*size) {
        return 0;
    }
    --*size;
    return *(*data)++;
}

static void damage_a_page(enum codec_format format, const uint8_t *data, size_t size)
{
    static char plain[PAGE_BYTES], packed[INPUT_MAX];
    struct codec_context *context = contexts[format][take(&data, &size) % 4];
    struct {
        size_t position;
        uint8_t flip;
    } edits[8];
    size_t edit_count = take(&data, &size) % 8;
    for (size_t i = 0; i < edit_count; i++) {
        edits[i].position = (size_t)take(&data, &size) << 8;
        edits[i].position |= take(&data, &size);
        edits[i].flip = take(&data, &size);
    }
    size_t cut = take(&data, &size);
    for (size_t i = 0; i < PAGE_BYTES; i++) {
        plain[i] = size ? (char)(data[i % size] + i / size / 16) : 0;
    }
    int packed_bytes = codec_compress(context, packed, sizeof packed, plain);
    REQUIRE(packed_bytes > 0);
    size_t bytes = (size_t)packed_bytes;
    bool damaged = cut > 0;
    for (size_t i = 0; i < edit_count; i++) {
        packed[edits[i].position % bytes] ^= (char)edits[i].flip;
        damaged = damaged || edits[i].flip;
    }
    bytes -= cut < bytes ? cut : 0;
    int error = decompress(format, guarded_copy(input, packed, bytes), bytes);
    REQUIRE(damaged || (error == 0 && memcmp(plain, page.start, PAGE_BYTES) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    enum codec_format format = (enum codec_format)((data[0] & 3) % CODEC_FORMATS);
    if (data[0] & 0x80) {
        damage_a_page(format, data + 1, size - 1);
    } else {
        size_t bytes = min_size(size - 1, INPUT_MAX);
        decompress(format, guarded_copy(input, data + 1, bytes), bytes);
    }
    return 0;
}
