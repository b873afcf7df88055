/* SPDX-License-Identifier: MIT */
#include "codec/codec.h"

#include <libdeflate.h>
#include <pthread.h>

#include "tests/harness.h"
#include "tests/support/guarded.h"
#include "tests/support/pages.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * Every call of malloc and its kin in the program, libraries included, except libc's own. Sanitizers have
 * their own malloc, which this would hide: there it is left out.
 */
static uint32_t malloc_calls; /* atomic */

#if !SANITIZED
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *at, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_add_relaxed(&malloc_calls, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_add_relaxed(&malloc_calls, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *at, size_t bytes)
{
    atomic_add_relaxed(&malloc_calls, 1);
    return __libc_realloc(at, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_add_relaxed(&malloc_calls, 1);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **at, size_t alignment, size_t bytes)
{
    atomic_add_relaxed(&malloc_calls, 1);
    *at = __libc_memalign(alignment, bytes);
    return *at ? 0 : ENOMEM;
}
#endif

/* Every compressor at its default, its bounds, and where its inner workings change. */
static const char *const names[] = {
    "lz4",       "lz4:2",   "lz4:64",    "lz4hc",     "lz4hc:9",    "zstd",       "zstd:-10",
    "zstd:-1",   "zstd:3",  "zstd:5",    "zstd:7",    "zstd:12",    "zstd:22",    "deflate:1",
    "deflate:2", "deflate", "deflate:8", "deflate:9", "deflate:10", "deflate:12",
};

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

/* Compresses with `room` bytes up to a guard. */
static int compress_guarded(struct codec_context *context, struct guarded to, size_t room, const void *page)
{
    return codec_compress(context, guarded_end(to, room), room, page);
}

static uint64_t page_buffer[PAGE_BYTES / 8];
static uint64_t other_buffer[PAGE_BYTES / 8];

/* ---- names ---- */

TEST(default_codec_is_lz4_with_acceleration_1)
{
    char text[CODEC_NAME_MAX];
    struct codec lz4 = parse("lz4"), one = parse("lz4:1");
    CHECK(codec_equal(&lz4, &one));
    CHECK(strcmp(codec_format_name(&one, text), "lz4") == 0);
}

TEST(names_are_written_as_they_are_read)
{
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        char text[CODEC_NAME_MAX];
        struct codec codec = parse(names[i]);
        CHECK(strcmp(codec_format_name(&codec, text), names[i]) == 0);
    }
}

TEST(bad_names_and_levels_say_what_is_wrong)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"", -ENOENT},
        {":", -ENOENT},
        {"lz", -ENOENT},
        {"lz4h", -ENOENT},
        {"lz4hcx", -ENOENT},
        {"LZ4", -ENOENT},
        {" lz4", -ENOENT},
        {"lz4 ", -ENOENT},
        {"lzo:1", -ENOENT},
        {"lz4:", -EINVAL},
        {"lz4:-", -EINVAL},
        {"zstd:x", -EINVAL},
        {"zstd:3x", -EINVAL},
        {"zstd:+3", -EINVAL},
        {"zstd: 3", -EINVAL},
        {"zstd:3:3", -EINVAL},
        {"zstd:--3", -EINVAL},
        {"lz4:0", -ERANGE},
        {"zstd:0", -ERANGE},
        {"zstd:-0", -ERANGE},
        {"lz4:-1", -ERANGE},
        {"lz4hc:10", -ERANGE},
        {"zstd:23", -ERANGE},
        {"zstd:-11", -ERANGE},
        {"deflate:13", -ERANGE},
        {"lz4:99999999999999999999", -ERANGE},
        {"zstd:-99999999999999999999", -ERANGE},
        {"zstd:99999999999999999999x", -EINVAL},
        {"lz4:4294967297", -ERANGE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct codec codec = {0};
        int error = codec_parse(cases[i].text, &codec);
        if (error != cases[i].error || codec.ops) {
            harness_fail(__FILE__, __LINE__, "\"%s\": %d and not %d", cases[i].text, error, cases[i].error);
        }
    }
}

static int parse_with_level(const char *name, int level)
{
    char text[64];
    struct codec codec;
    snprintf(text, sizeof text, "%s:%d", name, level);
    return codec_parse(text, &codec);
}

TEST(list_names_every_compressor_with_its_levels)
{
    char list[256];
    snprintf(list, sizeof list, "%s", codec_list());
    int found = 0;
    char *rest = NULL;
    for (char *item = strtok_r(list, ", ", &rest); item; item = strtok_r(NULL, ", ", &rest), found++) {
        char name[32];
        int min, max;
        REQUIRE(sscanf(item, "%31[^:]:%d..%d", name, &min, &max) == 3);
        CHECK_EQUAL(parse_with_level(name, min), 0);
        CHECK_EQUAL(parse_with_level(name, max), 0);
        CHECK_EQUAL(parse_with_level(name, min - 1), -ERANGE);
        CHECK_EQUAL(parse_with_level(name, max + 1), -ERANGE);
    }
    CHECK_EQUAL(found, 4);
}

TEST(lz4_and_lz4hc_share_a_format)
{
    struct codec lz4 = parse("lz4"), lz4hc = parse("lz4hc:9"), zstd = parse("zstd"),
                 deflate = parse("deflate");
    CHECK_EQUAL(codec_output_format(&lz4), CODEC_FORMAT_LZ4);
    CHECK_EQUAL(codec_output_format(&lz4hc), CODEC_FORMAT_LZ4);
    CHECK_EQUAL(codec_output_format(&zstd), CODEC_FORMAT_ZSTD);
    CHECK_EQUAL(codec_output_format(&deflate), CODEC_FORMAT_DEFLATE);
}

/* ---- round trips ---- */

/* Compresses page_buffer into `to` and back into `page`; the number of compressed bytes. */
static int round_trip(struct codec_context *context, const char *name, struct guarded to, struct guarded page)
{
    enum codec_format format = codec_output_format(codec_context_codec(context));
    size_t room = 3800;
    int bytes = compress_guarded(context, to, room, page_buffer);
    if (bytes <= 0) {
        harness_fail(__FILE__, __LINE__, "%s: compress answers %d", name, bytes);
        return 0;
    }
    memmove(guarded_end(to, (size_t)bytes), guarded_end(to, room), (size_t)bytes);
    memset(page.start, 0xa5, PAGE_BYTES);
    int error = codec_decompress(context, format, page.start, guarded_end(to, (size_t)bytes), (size_t)bytes);
    if (error || memcmp(page.start, page_buffer, PAGE_BYTES) != 0) {
        harness_fail(__FILE__, __LINE__, "%s: decompress answers %d, or another page", name, error);
    }
    return bytes;
}

TEST(every_codec_gives_back_every_kind_of_page)
{
    struct guarded to = guarded_map(PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(to.start && page.start);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec_context *context = make_context(names[i]);
        uint64_t random = 1 + i;
        /* More than 16 pages, so that lz4's table of 64 KiB offsets wraps. */
        for (int n = 0; n < 5 * PAGE_KINDS; n++) {
            make_page(page_buffer, n % PAGE_KINDS, &random);
            round_trip(context, names[i], to, page);
        }
        codec_context_destroy(context);
    }
    guarded_unmap(to);
    guarded_unmap(page);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(compressible_pages_shrink)
{
    struct guarded to = guarded_map(PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(to.start && page.start);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec_context *context = make_context(names[i]);
        uint64_t random = 7;
        make_page(page_buffer, PAGE_ZERO, &random);
        CHECK(round_trip(context, names[i], to, page) <= 32);
        make_page(page_buffer, PAGE_HALF_RANDOM, &random);
        CHECK(round_trip(context, names[i], to, page) <= (int)PAGE_BYTES * 6 / 10);
        codec_context_destroy(context);
    }
    guarded_unmap(to);
    guarded_unmap(page);
}

TEST(random_page_does_not_fit_and_the_next_page_does)
{
    struct guarded to = guarded_map(PAGE_BYTES), page = guarded_map(PAGE_BYTES);
    REQUIRE(to.start && page.start);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec_context *context = make_context(names[i]);
        uint64_t random = 11;
        for (int n = 0; n < 20; n++) {
            fill_random(page_buffer, &random);
            CHECK_EQUAL(compress_guarded(context, to, 3800, page_buffer), 0);
            make_page(page_buffer, n % PAGE_KINDS, &random);
            round_trip(context, names[i], to, page);
        }
        codec_context_destroy(context);
    }
    guarded_unmap(to);
    guarded_unmap(page);
}

TEST(nothing_is_written_beyond_any_room)
{
    struct guarded to = guarded_map(2 * PAGE_BYTES);
    REQUIRE(to.start);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec_context *context = make_context(names[i]);
        enum codec_format format = codec_output_format(codec_context_codec(context));
        uint64_t random = 13;
        make_page(page_buffer, PAGE_SPARSE, &random);
        size_t needed = (size_t)compress_guarded(context, to, 2 * PAGE_BYTES, page_buffer);
        CHECK(needed > 0 && needed < PAGE_BYTES / 2);
        for (size_t room = 0; room < needed + 64; room += room + 16 < needed ? 13 : 1) {
            int bytes = compress_guarded(context, to, room, page_buffer);
            CHECK(bytes >= 0 && (size_t)bytes <= room);
            /* Some libraries want a few bytes more than they fill. */
            CHECK(bytes > 0 || room < needed + 32);
            if (bytes) {
                CHECK_EQUAL(
                    codec_decompress(context, format, other_buffer, guarded_end(to, room), (size_t)bytes), 0);
                CHECK(memcmp(page_buffer, other_buffer, PAGE_BYTES) == 0);
            }
        }
        codec_context_destroy(context);
    }
    guarded_unmap(to);
}

TEST(full_room_takes_incompressible_pages)
{
    struct guarded to = guarded_map(2 * PAGE_BYTES);
    REQUIRE(to.start);
    for (int i = 0; i < CODEC_FORMATS; i++) {
        struct codec_context *context = make_context(format_names[i]);
        uint64_t random = 17;
        fill_random(page_buffer, &random);
        int bytes = compress_guarded(context, to, 2 * PAGE_BYTES, page_buffer);
        CHECK(bytes > (int)PAGE_BYTES && bytes < (int)PAGE_BYTES + 32);
        CHECK_EQUAL(codec_decompress(context, (enum codec_format)i, other_buffer,
                                     guarded_end(to, 2 * PAGE_BYTES), (size_t)bytes),
                    0);
        CHECK(memcmp(page_buffer, other_buffer, PAGE_BYTES) == 0);
        codec_context_destroy(context);
    }
    guarded_unmap(to);
}

/* ---- changing codecs, and memory ---- */

TEST(pages_of_older_codecs_stay_readable)
{
    enum { PAGES = 60 };
    static char stored[PAGES][PAGE_BYTES];
    enum codec_format formats[PAGES];
    size_t bytes[PAGES];
    struct codec_context *context = make_context("lz4");
    uint64_t random = 19;
    for (int n = 0; n < PAGES; n++) {
        struct codec codec = parse(names[harness_random(&random) % ARRAY_LENGTH(names)]);
        REQUIRE(codec_context_set(context, &codec) == 0);
        CHECK(codec_equal(codec_context_codec(context), &codec));
        uint64_t page_random = 1000 + (uint64_t)n;
        make_page(page_buffer, n % PAGE_KINDS, &page_random);
        formats[n] = codec_output_format(&codec);
        bytes[n] = (size_t)codec_compress(context, stored[n], PAGE_BYTES, page_buffer);
        for (int old = 0; old <= n; old++) {
            page_random = 1000 + (uint64_t)old;
            make_page(page_buffer, old % PAGE_KINDS, &page_random);
            CHECK_EQUAL(codec_decompress(context, formats[old], other_buffer, stored[old], bytes[old]), 0);
            CHECK(memcmp(page_buffer, other_buffer, PAGE_BYTES) == 0);
        }
    }
    codec_context_destroy(context);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(context_is_charged_as_a_table)
{
    struct codec_context *context = make_context("zstd");
    CHECK(account_total(&account) > 100 << 10);
    CHECK(account_total(&account) < 300 << 10);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_TABLES), account_total(&account));
    codec_context_destroy(context);
    codec_context_destroy(NULL);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(create_without_memory_leaves_nothing_behind)
{
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec codec = parse(names[i]);
        int failures = 0;
        for (int nth = 1;; nth++) {
            struct codec_context *context = NULL;
            atomic_set_relaxed(&memory.fail_countdown, nth);
            int error = codec_context_create(&context, &memory, &codec);
            if (!error) {
                codec_context_destroy(context);
                break;
            }
            failures++;
            CHECK_EQUAL(error, -ENOMEM);
            CHECK(!context);
            CHECK_EQUAL(account_total(&account), 0);
        }
        atomic_set_relaxed(&memory.fail_countdown, 0);
        /* The context, its compressor, and a decoder unless it is lz4's. */
        CHECK_EQUAL(failures, codec_output_format(&codec) == CODEC_FORMAT_LZ4 ? 2 : 3);
        CHECK_EQUAL(account_total(&account), 0);
    }
}

TEST(set_without_memory_keeps_the_old_codec)
{
    char bytes[PAGE_BYTES];
    for (size_t i = 0; i < ARRAY_LENGTH(names) * ARRAY_LENGTH(names); i++) {
        struct codec from = parse(names[i / ARRAY_LENGTH(names)]), to = parse(names[i % ARRAY_LENGTH(names)]);
        if (codec_equal(&from, &to)) {
            continue;
        }
        struct codec_context *context = make_context(names[i / ARRAY_LENGTH(names)]);
        for (int nth = 1;; nth++) {
            atomic_set_relaxed(&memory.fail_countdown, nth);
            int error = codec_context_set(context, &to);
            atomic_set_relaxed(&memory.fail_countdown, 0);
            const struct codec *now = error ? &from : &to;
            CHECK(codec_equal(codec_context_codec(context), now));
            if (i % 7 == 0) { /* seldom: the highest levels are slow */
                uint64_t random = 23;
                make_page(page_buffer, PAGE_TEXT, &random);
                int n = codec_compress(context, bytes, sizeof bytes, page_buffer);
                CHECK(n > 0);
                CHECK_EQUAL(
                    codec_decompress(context, codec_output_format(now), other_buffer, bytes, (size_t)n), 0);
                CHECK(memcmp(page_buffer, other_buffer, PAGE_BYTES) == 0);
            }
            if (!error) {
                break;
            }
            CHECK_EQUAL(error, -ENOMEM);
        }
        codec_context_destroy(context);
        CHECK_EQUAL(account_total(&account), 0);
    }
}

TEST(set_to_the_same_codec_asks_for_no_memory)
{
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec codec = parse(names[i]);
        struct codec_context *context = make_context(names[i]);
        atomic_set_relaxed(&memory.fail_countdown, 1);
        CHECK_EQUAL(codec_context_set(context, &codec), 0);
        CHECK_EQUAL(atomic_read_relaxed(&memory.fail_countdown), 1);
        atomic_set_relaxed(&memory.fail_countdown, 0);
        codec_context_destroy(context);
    }
}

TEST(foreign_decoder_is_made_once_when_first_needed)
{
    static const char *const foreign[] = {"zstd", "deflate"};
    struct codec_context *reader = make_context("lz4");
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++) {
        char bytes[PAGE_BYTES];
        uint64_t random = 29;
        struct codec_context *writer = make_context(foreign[i]);
        enum codec_format format = codec_output_format(codec_context_codec(writer));
        make_page(page_buffer, PAGE_POINTERS, &random);
        int n = codec_compress(writer, bytes, sizeof bytes, page_buffer);
        CHECK(n > 0);
        size_t before = account_total(&account);

        atomic_set_relaxed(&memory.fail_countdown, 1);
        CHECK_EQUAL(codec_decompress(reader, format, other_buffer, bytes, (size_t)n), -ENOMEM);
        CHECK_EQUAL(account_total(&account), before);
        CHECK_EQUAL(codec_decompress(reader, format, other_buffer, bytes, (size_t)n), 0);
        CHECK(memcmp(page_buffer, other_buffer, PAGE_BYTES) == 0);
        size_t after = account_total(&account);
        CHECK(after > before);

        atomic_set_relaxed(&memory.fail_countdown, 1);
        CHECK_EQUAL(codec_decompress(reader, format, other_buffer, bytes, (size_t)n), 0);
        atomic_set_relaxed(&memory.fail_countdown, 0);
        CHECK_EQUAL(account_total(&account), after);
        codec_context_destroy(writer);
    }
    codec_context_destroy(reader);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(nothing_calls_malloc)
{
    if (SANITIZED) {
        SKIP("a sanitizer owns malloc");
    }
    char bytes[PAGE_BYTES];
    uint32_t before = atomic_read_relaxed(&malloc_calls);
    void *(*volatile call)(size_t) = malloc; /* or the compiler leaves the pair out */
    free(call(1));
    CHECK_EQUAL(atomic_read_relaxed(&malloc_calls), before + 1); /* the counter works */
    before++;
    struct codec_context *reader = make_context("lz4");
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct codec_context *context = make_context(names[i]);
        enum codec_format format = codec_output_format(codec_context_codec(context));
        uint64_t random = 31;
        for (int kind = 0; kind < PAGE_KINDS; kind++) {
            make_page(page_buffer, (enum page_kind)kind, &random);
            int n = codec_compress(context, bytes, sizeof bytes, page_buffer);
            CHECK_EQUAL(codec_decompress(reader, format, other_buffer, bytes, (size_t)n), 0);
        }
        fill_random(page_buffer, &random);
        codec_compress(context, bytes, 3800, page_buffer);
        codec_context_destroy(context);
        if (atomic_read_relaxed(&malloc_calls) != before) {
            harness_fail(__FILE__, __LINE__, "%s calls malloc", names[i]);
            before = atomic_read_relaxed(&malloc_calls);
        }
    }
    codec_context_destroy(reader);
}

TEST(other_users_of_libdeflate_keep_malloc)
{
    struct codec_context *context = make_context("deflate");
    size_t before = account_total(&account);
    uint32_t calls = atomic_read_relaxed(&malloc_calls);
    struct libdeflate_compressor *theirs = libdeflate_alloc_compressor(1);
    CHECK(theirs);
    CHECK_EQUAL(account_total(&account), before);
    CHECK(SANITIZED || atomic_read_relaxed(&malloc_calls) > calls);
    libdeflate_free_compressor(theirs);
    codec_context_destroy(context);
    CHECK_EQUAL(account_total(&account), 0);
}

/* ---- threads ---- */

static void *make_and_use_contexts(void *seed)
{
    uint64_t random = (uint64_t)(uintptr_t)seed;
    uint64_t page[PAGE_BYTES / 8], back[PAGE_BYTES / 8];
    char bytes[PAGE_BYTES];
    for (int n = 0; n < 60; n++) {
        struct codec_context *context = make_context(n % 2 ? "deflate:1" : format_names[n % CODEC_FORMATS]);
        enum codec_format format = codec_output_format(codec_context_codec(context));
        for (int i = 0; i < PAGE_KINDS; i++) {
            make_page(page, (enum page_kind)i, &random);
            int length = codec_compress(context, bytes, sizeof bytes, page);
            CHECK(length > 0);
            CHECK_EQUAL(codec_decompress(context, format, back, bytes, (size_t)length), 0);
            CHECK(memcmp(page, back, PAGE_BYTES) == 0);
        }
        codec_context_destroy(context);
    }
    return NULL;
}

TEST(threads_make_and_use_their_own_contexts)
{
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        REQUIRE(pthread_create(&threads[i], NULL, make_and_use_contexts, (void *)(i + 1)) == 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(account_total(&account), 0);
}

int main(void)
{
    RUN(threads_make_and_use_their_own_contexts); /* first: they race for libdeflate's hook */
    RUN(default_codec_is_lz4_with_acceleration_1);
    RUN(names_are_written_as_they_are_read);
    RUN(bad_names_and_levels_say_what_is_wrong);
    RUN(list_names_every_compressor_with_its_levels);
    RUN(lz4_and_lz4hc_share_a_format);
    RUN(every_codec_gives_back_every_kind_of_page);
    RUN(compressible_pages_shrink);
    RUN(random_page_does_not_fit_and_the_next_page_does);
    RUN(nothing_is_written_beyond_any_room);
    RUN(full_room_takes_incompressible_pages);
    RUN(pages_of_older_codecs_stay_readable);
    RUN(context_is_charged_as_a_table);
    RUN(create_without_memory_leaves_nothing_behind);
    RUN(set_without_memory_keeps_the_old_codec);
    RUN(set_to_the_same_codec_asks_for_no_memory);
    RUN(foreign_decoder_is_made_once_when_first_needed);
    RUN(nothing_calls_malloc);
    RUN(other_users_of_libdeflate_keep_malloc);
    return harness_finish();
}
