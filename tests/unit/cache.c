/* SPDX-License-Identifier: MIT */
/* A cache from settings as people write them: which are refused, and that the message names the thing and the way out. */
#include "zswap/cache.h"

#include <errno.h>
#include <string.h>

#include "tests/harness.h"

static struct account account = {.limit = 64 << 20, .most = 64 << 20};
static struct memory memory = {.account = &account};

static struct cache_settings good_settings(void)
{
    return (struct cache_settings){
        .memory = &memory,
        .pool = "zsmalloc",
        .compressor = "lz4",
        .swap = "file:",
        .swap_size = 1 << 20,
    };
}

/* Is refused, with a text that has `words` in it; and leaves nothing behind. */
static void check_refused(const struct cache_settings *settings, const char *words)
{
    struct cache cache;
    struct cache_error error = {{0}};
    CHECK_EQUAL(cache_open(&cache, settings, &error), -EINVAL);
    CHECK(strstr(error.text, words));
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(good_settings_make_a_cache)
{
    struct cache_settings settings = good_settings();
    struct cache cache;
    struct cache_error error;
    REQUIRE(cache_open(&cache, &settings, &error) == 0);
    CHECK(cache.zswap && cache.device);
    cache_close(&cache);
    CHECK_EQUAL(account_total(&account), 0);
}

TEST(a_pool_that_is_not_there_is_named_beside_those_that_are)
{
    struct cache_settings settings = good_settings();
    settings.pool = "z3fold";
    check_refused(&settings, "z3fold");
    check_refused(&settings, "zsmalloc");
}

TEST(a_compressor_that_is_not_there_is_named_beside_those_that_are)
{
    struct cache_settings settings = good_settings();
    settings.compressor = "lz5";
    check_refused(&settings, "lz5");
    check_refused(&settings, "zstd");
}

TEST(a_device_too_small_or_too_large_is_refused_for_its_size)
{
    struct cache_settings settings = good_settings();
    settings.swap_size = 1;
    check_refused(&settings, "swap_size");
    settings.swap_size = UINT64_MAX;
    check_refused(&settings, "swap_size");
}

int main(void)
{
    RUN(good_settings_make_a_cache);
    RUN(a_pool_that_is_not_there_is_named_beside_those_that_are);
    RUN(a_compressor_that_is_not_there_is_named_beside_those_that_are);
    RUN(a_device_too_small_or_too_large_is_refused_for_its_size);
    return harness_finish();
}
