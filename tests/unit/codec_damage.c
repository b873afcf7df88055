/* SPDX-License-Identifier: MIT */
/*
 * Decoders on input that is damaged or made to do harm: 0 or -EBADMSG, and never a touch outside of input and
 * page, both of which end at pages that nobody may touch.
 */
#include "codec/codec.h"
#include "tests/harness.h"
#include "tests/support/guarded.h"
#include "tests/support/pages.h"

/* One of each format. */
static const char *const format_names[CODEC_FORMATS] = {"lz4", "zstd", "deflate"};

static struct account account;
static struct memory memory = {.account = &account};

static struct codec parse(const char *name)
{
    struct codec codec = {0};
    REQUIRE(codec_parse(name, &codec) == 0);
    return codec;
}

static struct codec_context *make_context(const char *name)
{
    struct codec codec = parse(name);
    struct codec_context *context = NULL;
    REQUIRE(codec_context_create(&context, &memory, &codec) == 0);
    return context;
}

static uint64_t page_buffer[PAGE_BYTES / 8];
static uint64_t other_buffer[PAGE_BYTES / 8];

/* Leaves a page of that kind in page_buffer and its compressed bytes in `bytes`; how many they are. */
static size_t make_input(struct codec_context *context, char bytes[PAGE_BYTES], enum page_kind kind)
{
    uint64_t random = 37;
    make_page(page_buffer, kind, &random);
    int n = codec_compress(context, bytes, PAGE_BYTES, page_buffer);
    REQUIRE(n > 0);
    return (size_t)n;
}

static const enum page_kind damaged_kinds[] = {PAGE_ZERO, PAGE_TEXT, PAGE_SPARSE, PAGE_HALF_RANDOM};

TEST(truncated_or_extended_input_is_refused)
{
    struct guarded input = guarded_map(2 * PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(input.start && page.start);
    for (int i = 0; i < CODEC_FORMATS; i++) {
        struct codec_context *context = make_context(format_names[i]);
        enum codec_format format = (enum codec_format)i;
        for (size_t k = 0; k < ARRAY_LENGTH(damaged_kinds); k++) {
            char bytes[PAGE_BYTES + 16] = {0};
            size_t whole = make_input(context, bytes, damaged_kinds[k]);
            for (size_t n = 0; n < whole; n++) {
                const char *from = guarded_copy(input, bytes, n);
                CHECK_EQUAL(codec_decompress(context, format, page.start, from, n), -EBADMSG);
            }
            for (size_t n = whole + 1; n < whole + 16; n++) {
                const char *from = guarded_copy(input, bytes, n);
                CHECK_EQUAL(codec_decompress(context, format, page.start, from, n), -EBADMSG);
            }
            const char *from = guarded_copy(input, bytes, whole);
            CHECK_EQUAL(codec_decompress(context, format, page.start, from, whole), 0);
            CHECK(memcmp(page.start, page_buffer, PAGE_BYTES) == 0);
        }
        codec_context_destroy(context);
    }
    guarded_unmap(input);
    guarded_unmap(page);
}

/* 0 with whatever page, or -EBADMSG; and the context goes on working. */
TEST(flipped_bits_never_break_out)
{
    struct guarded input = guarded_map(PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(input.start && page.start);
    for (int i = 0; i < CODEC_FORMATS; i++) {
        struct codec_context *context = make_context(format_names[i]);
        int refused = 0;
        for (size_t k = 0; k < ARRAY_LENGTH(damaged_kinds); k++) {
            char bytes[PAGE_BYTES];
            size_t whole = make_input(context, bytes, damaged_kinds[k]);
            char *from = guarded_copy(input, bytes, whole);
            for (size_t bit = 0; bit < 8 * whole; bit += 1 + 8 * whole / 4000) {
                from[bit / 8] ^= (char)(1 << bit % 8);
                int error = codec_decompress(context, (enum codec_format)i, page.start, from, whole);
                CHECK(error == 0 || error == -EBADMSG);
                refused += error != 0;
                from[bit / 8] ^= (char)(1 << bit % 8);
            }
            CHECK_EQUAL(codec_decompress(context, (enum codec_format)i, page.start, from, whole), 0);
            CHECK(memcmp(page.start, page_buffer, PAGE_BYTES) == 0);
        }
        CHECK(refused > 0);
        codec_context_destroy(context);
    }
    guarded_unmap(input);
    guarded_unmap(page);
}

TEST(random_input_never_breaks_out)
{
    struct guarded input = guarded_map(PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(input.start && page.start);
    struct codec_context *context = make_context("lz4");
    uint64_t random = 41;
    for (int n = 0; n < 6000; n++) {
        fill_random(other_buffer, &random);
        size_t bytes = harness_random(&random) % (n % 2 ? 64 : PAGE_BYTES) + 1;
        char *from =
            n % 3 ? guarded_copy(input, other_buffer, bytes) : memcpy(input.start, other_buffer, bytes);
        int format = (int)(harness_random(&random) % CODEC_FORMATS);
        if (format == CODEC_FORMAT_ZSTD && n % 4 && bytes > 4) {
            memcpy(from, "\0\x10", 2); /* a frame header that passes, so that blocks are read */
            from[2] = (char)((from[2] & 0xf8) | 4 | (n & 1)); /* a compressed block */
            from[4] = 0;
        }
        int error = codec_decompress(context, (enum codec_format)format, page.start, from, bytes);
        CHECK(error == 0 || error == -EBADMSG);
    }
    codec_context_destroy(context);
    guarded_unmap(input);
    guarded_unmap(page);
}

/* zstd: a frame with a window of 8 KiB and one last block that repeats a byte `n` times. */
static size_t zstd_repeat(char *to, unsigned n)
{
    unsigned header = n << 3 | 1 << 1 | 1;
    memcpy(to, (char[]){0, 3 << 3, (char)header, (char)(header >> 8), (char)(header >> 16), 'x'}, 6);
    return 6;
}

/* deflate: one last block, stored. */
static size_t deflate_stored(char *to, unsigned n)
{
    memcpy(to, (char[]){1, (char)n, (char)(n >> 8), (char)~n, (char)(~n >> 8)}, 5);
    memset(to + 5, 'x', n);
    return 5 + n;
}

/* lz4: a literal, a match of n - 6 at distance 1, five literals. */
static size_t lz4_repeat(char *to, unsigned n)
{
    size_t at = 0;
    to[at++] = 0x1f;
    to[at++] = 'x';
    to[at++] = 1;
    to[at++] = 0;
    unsigned more = n - 6 - 4 - 15;
    for (; more >= 255; more -= 255) {
        to[at++] = (char)255;
    }
    to[at++] = (char)more;
    to[at++] = 0x50;
    memset(to + at, 'x', 5);
    return at + 5;
}

TEST(input_that_gives_more_or_less_than_a_page_is_refused)
{
    static size_t (*const build[CODEC_FORMATS])(char *, unsigned) = {lz4_repeat, zstd_repeat, deflate_stored};
    struct guarded input = guarded_map(2 * PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(input.start && page.start);
    struct codec_context *context = make_context("lz4");
    memset(page_buffer, 'x', PAGE_BYTES);
    for (int i = 0; i < CODEC_FORMATS; i++) {
        for (unsigned n = 4000; n < 4200; n++) {
            char bytes[2 * PAGE_BYTES];
            size_t length = build[i](bytes, n);
            const char *from = guarded_copy(input, bytes, length);
            int error = codec_decompress(context, (enum codec_format)i, page.start, from, length);
            CHECK_EQUAL(error, n == PAGE_BYTES ? 0 : -EBADMSG);
            CHECK(error || memcmp(page.start, page_buffer, PAGE_BYTES) == 0);
        }
    }
    codec_context_destroy(context);
    guarded_unmap(input);
    guarded_unmap(page);
}

TEST(unknown_format_and_absurd_length_are_refused)
{
    struct codec_context *context = make_context("lz4");
    char byte = 0;
    CHECK_EQUAL(codec_decompress(context, CODEC_FORMATS, other_buffer, &byte, 1), -EBADMSG);
    CHECK_EQUAL(codec_decompress(context, (enum codec_format) - 1, other_buffer, &byte, 1), -EBADMSG);
    for (int i = 0; i < CODEC_FORMATS; i++) {
        CHECK_EQUAL(codec_decompress(context, (enum codec_format)i, other_buffer, &byte, 0), -EBADMSG);
        CHECK_EQUAL(codec_decompress(context, (enum codec_format)i, other_buffer, &byte, 1ull << 32),
                    -EBADMSG);
    }
    codec_context_destroy(context);
}

int main(void)
{
    RUN(truncated_or_extended_input_is_refused);
    RUN(flipped_bits_never_break_out);
    RUN(random_input_never_breaks_out);
    RUN(input_that_gives_more_or_less_than_a_page_is_refused);
    RUN(unknown_format_and_absurd_length_are_refused);
    return harness_finish();
}
