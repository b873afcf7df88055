/* SPDX-License-Identifier: MIT */
/* A zbud with an account of its own, and contents that tell objects apart. */
#ifndef UZSWAP_TESTS_UNIT_ZBUD_FIXTURE_H
#define UZSWAP_TESTS_UNIT_ZBUD_FIXTURE_H

#include "pool/zbud.h"
#include "tests/harness.h"

struct fixture {
    struct account account;
    struct memory memory;
    struct pool *pool;
};

__attribute__((unused)) static void set_up(struct fixture *f, size_t max_bytes)
{
    *f = (struct fixture){0};
    f->memory.account = &f->account;
    REQUIRE(pool_zbud.create(&f->pool, &f->memory, max_bytes) == 0);
}

__attribute__((unused)) static void tear_down(struct fixture *f)
{
    CHECK(pool_zbud.consistent(f->pool));
    pool_zbud.destroy(f->pool);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        CHECK_EQUAL(f->account.bytes[kind], 0);
    }
}

__attribute__((unused)) static uint64_t alloc(struct fixture *f, size_t bytes, uint64_t owner)
{
    uint64_t handle = 0;
    REQUIRE(pool_zbud.alloc(f->pool, bytes, owner, &handle) == 0);
    return handle;
}

__attribute__((unused)) static char *map(struct fixture *f, uint64_t handle)
{
    return pool_zbud.map(f->pool, handle);
}

__attribute__((unused)) static size_t pages_held(struct fixture *f)
{
    size_t bytes = pool_zbud.total_size(f->pool);
    CHECK_EQUAL(bytes % PAGE_BYTES, 0);
    CHECK_EQUAL(f->account.bytes[ACCOUNT_POOL], bytes);
    return bytes / PAGE_BYTES;
}

__attribute__((unused)) static bool share_page(uint64_t a, uint64_t b)
{
    return zbud_handle_page(a) == zbud_handle_page(b);
}

/* Content that tells object, length and position apart. */
__attribute__((unused)) static void fill(char *at, size_t bytes, uint64_t owner)
{
    uint64_t state = owner * 2 + 1;
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (char)(i % 8 ? state >> 8 * (i % 8) : harness_random(&state));
    }
}

__attribute__((unused)) static bool holds(const char *at, size_t bytes, uint64_t owner)
{
    char expected[PAGE_BYTES];
    fill(expected, bytes, owner);
    return memcmp(at, expected, bytes) == 0;
}

#endif
