/* SPDX-License-Identifier: MIT */
/* A swap cache with an account of its own, and an entry for it. */
#ifndef UZSWAP_TESTS_UNIT_SWAP_CACHE_FIXTURE_H
#define UZSWAP_TESTS_UNIT_SWAP_CACHE_FIXTURE_H

#include "swap/swap_cache.h"
#include "tests/harness.h"

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_cache *cache;
__attribute__((unused)) static const struct swap_entry x = {.type = 3, .offset = 1000};

static inline void set_up(size_t slots)
{
    REQUIRE(swap_cache_create(&cache, &memory, slots) == 0);
}

static inline void tear_down(void)
{
    CHECK(swap_cache_consistent(cache));
    swap_cache_destroy(cache);
    CHECK_EQUAL(account_total(&account), 0);
}

#endif
