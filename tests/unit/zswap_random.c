/* SPDX-License-Identifier: MIT */
/* The cache beside a naive model, by one thread; behaviours one by one are in zswap.c and zswap_writeback.c. */
#include "tests/unit/zswap_fixture.h"

#define OFFSETS 700

static struct fixture f;
static _Alignas(8) unsigned char page[PAGE_BYTES], found[PAGE_BYTES];

static uint64_t version[OFFSETS]; /* 0 = not there */
static uint64_t next, there;
static bool bounded; /* by a limit, at which there is writeback */

/* What is stored at offset `i` as its version: same-filled, incompressible, or text. */
static void make_version(uint64_t i)
{
    if (version[i] % 5 == 0) {
        same_page_of(page, version[i]);
    } else if (version[i] % 7 == 0) {
        incompressible_page_for(page, at(i), version[i]);
    } else {
        page_for(page, at(i), version[i]);
    }
}

static void model_forget(uint64_t i)
{
    there -= version[i] != 0;
    version[i] = 0;
}

static void model_store(uint64_t i)
{
    there += !version[i];
    version[i] = next++;
    make_version(i);
    int error = zswap_store(f.zswap, at(i), page);
    if (error == -ENOSPC && bounded) { /* the writes that make room are not through */
        CHECK_GONE(&f, at(i));
        model_forget(i);
        zswap_writeback_reap(f.zswap, true);
    } else {
        CHECK_EQUAL(error, 0);
    }
}

static void model_load(uint64_t i, bool exclusive)
{
    int error = (exclusive ? zswap_load_exclusive : zswap_load)(f.zswap, at(i), found);
    CHECK_EQUAL(error, version[i] ? 0 : -ENOENT);
    if (version[i]) {
        make_version(i);
        CHECK(memcmp(page, found, PAGE_BYTES) == 0);
    }
    if (exclusive) {
        model_forget(i);
    }
}

static void model_invalidate_range(uint64_t i)
{
    uint64_t before = there, last = min_size(i + 30, OFFSETS);
    for (uint64_t k = i; k < last; k++) {
        model_forget(k);
    }
    CHECK_EQUAL(zswap_invalidate_range(f.zswap, TYPE, i, last - i), before - there);
}

static void model_step(int round, uint64_t i, unsigned what)
{
    if (what < 8) {
        model_store(i);
    } else if (what == 8) {
        CHECK_EQUAL(zswap_invalidate(f.zswap, at(i)), version[i] != 0);
        model_forget(i);
    } else if (what == 9 && round % 8 == 0) {
        model_invalidate_range(i);
    } else if (what == 10) {
        zswap_writeback_reap(f.zswap, false);
    } else if (what == 11 && bounded) {
        zswap_writeback(f.zswap, 20000);
    } else {
        model_load(i, what == 12);
    }
}

TEST(behaves_like_a_naive_model)
{
    for (int mode = ZSWAP_WRITEBACK_COMPRESSED; mode <= ZSWAP_WRITEBACK_OFF; mode++) {
        uint64_t seed = 17 + (uint64_t)mode;
        bounded = mode != ZSWAP_WRITEBACK_OFF;
        fixture_init(&f, bounded ? SMALL : ROOMY, (enum zswap_writeback)mode, RAM_DEVICE_ASYNC);
        memset(version, 0, sizeof version);
        next = 1;
        there = 0;
        for (int round = 0; round < 6000; round++) {
            uint64_t i = harness_random(&seed) % OFFSETS;
            model_step(round, i, harness_random(&seed) % 16);
        }
        zswap_writeback_reap(f.zswap, true);
        CHECK_EQUAL(stats_of(&f).stored_pages + stats_of(&f).device_pages, there);
        fixture_destroy(&f);
    }
}

int main(void)
{
    RUN(behaves_like_a_naive_model);
    return harness_finish();
}
