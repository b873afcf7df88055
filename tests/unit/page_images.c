/* SPDX-License-Identifier: MIT */
/* Pages of real programs (tests/data): through every codec, through the cache with every pool, and how densely pools pack them. */
#include "tests/support/page_image.h"
#include "tests/unit/zswap_fixture.h"
#include "zswap/internal.h"
#include "zswap/same_filled.h"

static struct page_image image;
static _Alignas(8) unsigned char loaded[PAGE_BYTES];

static void open_image(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.pages", UZSWAP_TEST_DATA, name);
    REQUIRE(page_image_open(&image, path) == 0);
    REQUIRE(image.pages >= 100);
}

/* ---- codecs */

static void check_codec(const char *name)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct codec_context *context;
    struct codec codec;
    unsigned char compressed[PAGE_BYTES];
    REQUIRE(codec_parse(name, &codec) == 0);
    REQUIRE(codec_context_create(&context, &memory, &codec) == 0);
    size_t shrunk = 0;
    for (size_t i = 0; i < image.pages; i++) {
        int bytes = codec_compress(context, compressed, sizeof compressed, page_image_page(&image, i));
        CHECK(bytes >= 0 && bytes <= (int)sizeof compressed);
        if (bytes > 0) {
            shrunk++;
            int error =
                codec_decompress(context, codec_output_format(&codec), loaded, compressed, (size_t)bytes);
            CHECK_EQUAL(error, 0);
            CHECK(memcmp(loaded, page_image_page(&image, i), PAGE_BYTES) == 0);
        }
    }
    CHECK(shrunk > image.pages * 8 / 10);
    codec_context_destroy(context);
}

static void check_codecs(const char *name)
{
    static const char *const codecs[] = {"lz4", "lz4hc", "zstd", "zstd:-5", "deflate"};
    open_image(name);
    for (size_t i = 0; i < ARRAY_LENGTH(codecs); i++) {
        check_codec(codecs[i]);
    }
    page_image_close(&image);
}

/* ---- the cache */

static void check_loads(struct fixture *f)
{
    for (size_t i = 0; i < image.pages; i++) {
        memset(loaded, 0x5a, PAGE_BYTES);
        CHECK_EQUAL(zswap_load(f->zswap, at(i), loaded), 0);
        CHECK(memcmp(loaded, page_image_page(&image, i), PAGE_BYTES) == 0);
    }
}

/* In a pool that holds them all, and in one for which some must go to the device. */
static void check_cache(const char *name, const struct pool_ops *pool)
{
    open_image(name);
    for (unsigned small = 0; small < 2; small++) {
        struct fixture f;
        fixture_prepare(&f, small ? (size_t)128 << 10 : (size_t)64 << 20, ZSWAP_WRITEBACK_COMPRESSED,
                        RAM_DEVICE_SYNC);
        f.options.pool = pool;
        REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
        REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
        for (size_t i = 0; i < image.pages; i++) {
            CHECK_EQUAL(zswap_store(f.zswap, at(i), page_image_page(&image, i)), 0);
        }
        struct zswap_stats stats = stats_of(&f);
        CHECK_EQUAL(stats.stored_pages + stats.device_pages, image.pages);
        CHECK_EQUAL(stats.device_pages > 0, small);
        check_loads(&f);
        CHECK(zswap_consistent(f.zswap));
        fixture_destroy(&f);
    }
    page_image_close(&image);
}

/* ---- density: a model, in which only sizes count */

enum { DENSITY_OBJECTS = 12000, SIZES_MAX = 512 };

struct model {
    struct account account;
    struct memory memory;
    struct pool *pool;
    uint64_t handles[DENSITY_OBJECTS];
    uint32_t sizes[DENSITY_OBJECTS];
    uint64_t payload;
};

static struct model model; /* large */
static uint32_t image_sizes[SIZES_MAX];

/* What the pages of the image compress to, as the cache does it; how many hold an object. */
static size_t measure_image(void)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct codec_context *context;
    struct codec codec;
    unsigned char compressed[PAGE_BYTES];
    size_t count = 0;
    uint64_t value;
    REQUIRE(codec_parse("lz4", &codec) == 0 && codec_context_create(&context, &memory, &codec) == 0);
    for (size_t i = 0; i < image.pages && count < SIZES_MAX; i++) {
        if (!same_filled(page_image_page(&image, i), &value)) {
            int bytes = codec_compress(context, compressed, ZSWAP_COMPRESSED_MAX, page_image_page(&image, i));
            image_sizes[count++] = bytes ? (uint32_t)bytes : PAGE_BYTES;
        }
    }
    codec_context_destroy(context);
    return count;
}

static bool model_hold(void *context, uint64_t owner, uint64_t handle)
{
    (void)context;
    return model.handles[owner] == handle;
}

static bool model_commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    (void)context;
    model.handles[owner] = moved;
    model.pool->ops->free(model.pool, handle);
    return true;
}

static void model_compact(void)
{
    static const struct pool_mover mover = {.hold = model_hold, .commit = model_commit};
    model.pool->ops->trim(model.pool);
    while (model.pool->ops->compact &&
           model.pool->ops->compact(model.pool, (size_t)1 << 20, &mover, NULL) != 0) {
    }
}

static void check_density_is(const char *stage, unsigned per_mille)
{
    uint64_t found = model.payload * 1000 / model.pool->ops->total_size(model.pool);
    printf("# %s, %s: %llu per mille\n", model.pool->ops->name, stage, (unsigned long long)found);
    CHECK(found >= per_mille);
    CHECK(found <= 1000);
}

/* Payload over pool, at least, per mille: filled; after half was freed at random, and compaction. With some 20 MiB in the pool the chains
 * that are not full count for more than with the hundreds of MiB that bench/density.py measures. */
static void check_density(const char *name, const struct pool_ops *pool, unsigned filled, unsigned half)
{
    uint64_t seed = 7;
    open_image(name);
    size_t sizes = measure_image();
    memset(&model, 0, sizeof model);
    model.memory.account = &model.account;
    REQUIRE(sizes && pool->create(&model.pool, &model.memory, (size_t)256 << 20) == 0);
    for (size_t i = 0; i < DENSITY_OBJECTS; i++) {
        model.sizes[i] = image_sizes[harness_random(&seed) % sizes];
        model.payload += model.sizes[i];
        REQUIRE(pool->alloc(model.pool, model.sizes[i], i, &model.handles[i]) == 0);
    }
    check_density_is("filled", filled);
    for (size_t i = 0; i < DENSITY_OBJECTS; i++) {
        if (harness_random(&seed) >> 32 & 1) {
            pool->free(model.pool, model.handles[i]);
            model.handles[i] = 0;
            model.payload -= model.sizes[i];
        }
    }
    model_compact();
    check_density_is("half freed, compacted", half);
    CHECK(pool->consistent(model.pool));
    pool->destroy(model.pool);
    CHECK_EQUAL(account_total(&model.account), 0);
    page_image_close(&image);
}

#define IMAGE(name)                                                                                          \
    TEST(name##_pages_survive_every_codec)                                                                   \
    {                                                                                                        \
        check_codecs(#name);                                                                                 \
    }                                                                                                        \
    TEST(name##_pages_survive_a_cache_with_zbud)                                                             \
    {                                                                                                        \
        check_cache(#name, &pool_zbud);                                                                      \
    }                                                                                                        \
    TEST(name##_pages_survive_a_cache_with_zsmalloc)                                                         \
    {                                                                                                        \
        check_cache(#name, &pool_zsmalloc);                                                                  \
    }                                                                                                        \
    TEST(name##_pages_lie_densely_in_zsmalloc)                                                               \
    {                                                                                                        \
        check_density(#name, &pool_zsmalloc, 965, 950);                                                      \
    }                                                                                                        \
    TEST(name##_pages_lie_in_zbud_at_most_two_by_two)                                                        \
    {                                                                                                        \
        check_density(#name, &pool_zbud, 400, 250);                                                          \
    }

IMAGE(redis)
IMAGE(sqlite)
IMAGE(python)
IMAGE(compiler)
IMAGE(java)
IMAGE(chromium)

#define RUN_IMAGE(name)                                                                                      \
    RUN(name##_pages_survive_every_codec);                                                                   \
    RUN(name##_pages_survive_a_cache_with_zbud);                                                             \
    RUN(name##_pages_survive_a_cache_with_zsmalloc);                                                         \
    RUN(name##_pages_lie_densely_in_zsmalloc);                                                               \
    RUN(name##_pages_lie_in_zbud_at_most_two_by_two)

int main(void)
{
    RUN_IMAGE(redis);
    RUN_IMAGE(sqlite);
    RUN_IMAGE(python);
    RUN_IMAGE(compiler);
    RUN_IMAGE(java);
    RUN_IMAGE(chromium);
    return harness_finish();
}
