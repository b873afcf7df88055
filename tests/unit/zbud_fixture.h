/* SPDX-License-Identifier: MIT */
/* A zbud with an account of its own, and contents that tell objects apart. */
#ifndef UZSWAP_TESTS_UNIT_ZBUD_FIXTURE_H
#define UZSWAP_TESTS_UNIT_ZBUD_FIXTURE_H

#include "pool/zbud.h"
#include "tests/unit/pool_fixture.h"

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
    pool_tear_down(f->pool, &f->account);
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
    return pool_pages_held(f->pool, &f->account);
}

__attribute__((unused)) static bool share_page(uint64_t a, uint64_t b)
{
    return zbud_handle_page(a) == zbud_handle_page(b);
}

#endif
