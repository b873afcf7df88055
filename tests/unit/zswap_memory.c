/* SPDX-License-Identifier: MIT */
/*
 * The cache when there is no memory: each request for it fails in turn. Whatever happens: an error code or success, never a
 * wrong byte, and nothing leaked.
 */
#include "tests/unit/zswap_fixture.h"

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], expected[PAGE_BYTES];

/* What may be there after failures: this version, or (if `may_be_gone`) nothing. */
static void check_version(struct swap_entry entry, uint64_t version, bool may_be_gone)
{
    int error = zswap_load(f.zswap, entry, page);
    page_for(expected, entry, version);
    CHECK(error == 0 || (may_be_gone && error == -ENOENT));
    CHECK(error || memcmp(page, expected, PAGE_BYTES) == 0);
}

static void check_error(int error)
{
    CHECK(error == 0 || error == -ENOMEM);
}

/* A life of a cache, with the n-th request for memory failing. True if it came to that. */
static bool live_with_failure(int64_t n, enum zswap_writeback mode)
{
    fixture_prepare(&f, SMALL, mode, RAM_DEVICE_ASYNC);
    f.memory.fail_countdown = n;
    int error = zswap_create(&f.zswap, &f.options);
    check_error(error);
    if (!error) {
        error = zswap_area_create(f.zswap, TYPE, AREA_PAGES);
        check_error(error);
        int stored[12] = {0};
        struct codec zstd;
        REQUIRE(codec_parse("zstd:1", &zstd) == 0);
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            if (i == 8) {
                zswap_set_codec(f.zswap, &zstd);
            }
            stored[i] = store_version(&f, at(i * 300), i);
            check_error(stored[i]);
            if (i == 5) {
                zswap_writeback(f.zswap, SIZE_MAX);
                zswap_writeback_reap(f.zswap, true);
            }
        }
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            int loaded = zswap_load(f.zswap, at(i * 300), page);
            page_for(expected, at(i * 300), i);
            CHECK(loaded == (stored[i] ? -ENOENT : 0) || (loaded == -ENOMEM && !stored[i]));
            CHECK(loaded || memcmp(page, expected, PAGE_BYTES) == 0);
        }
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            stored[i] =
                store_version(&f, at(i * 300), i + 100); /* again: a failure must not leave the older page */
            check_error(stored[i]);
        }
        if (!error) {
            zswap_writeback(f.zswap, SIZE_MAX);
            zswap_writeback_reap(f.zswap, true);
        }
        bool fired = f.memory.fail_countdown <= 0;
        f.memory.fail_countdown = 0;
        for (uint64_t i = 0; !error && i < ARRAY_LENGTH(stored); i++) {
            check_version(at(i * 300), i + 100, stored[i] != 0);
            CHECK(!stored[i] || zswap_find(f.zswap, at(i * 300)) == ZSWAP_NOWHERE);
        }
        CHECK(zswap_consistent(f.zswap));
        if (!error) {
            zswap_invalidate_area(f.zswap, TYPE);
            zswap_trim(f.zswap);
            CHECK_EQUAL(stats_of(&f).pool_total_size, 0); /* no object without an entry */
            CHECK_EQUAL(stats_of(&f).device_bytes, 0);
        }
        zswap_destroy(f.zswap);
        fixture_end(&f);
        return fired;
    }
    f.memory.fail_countdown = 0;
    fixture_end(&f);
    return true;
}

static void fail_each_request(enum zswap_writeback mode)
{
    int64_t n = 1;
    while (live_with_failure(n, mode)) {
        REQUIRE(++n < 500);
    }
    printf("# %lld requests for memory\n", (long long)n - 1);
    CHECK(n > 30);
}

TEST(each_request_for_memory_may_fail_compressed)
{
    fail_each_request(ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(each_request_for_memory_may_fail_pages)
{
    fail_each_request(ZSWAP_WRITEBACK_PAGE);
}

TEST(each_request_for_memory_may_fail_off)
{
    fail_each_request(ZSWAP_WRITEBACK_OFF);
}

int main(void)
{
    RUN(each_request_for_memory_may_fail_compressed);
    RUN(each_request_for_memory_may_fail_pages);
    RUN(each_request_for_memory_may_fail_off);
    return harness_finish();
}
