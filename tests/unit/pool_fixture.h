/* SPDX-License-Identifier: MIT */
/* What the tests of every pool share: an account of its own, memory that fails, contents that tell objects apart. */
#ifndef UZSWAP_TESTS_UNIT_POOL_FIXTURE_H
#define UZSWAP_TESTS_UNIT_POOL_FIXTURE_H

#include <errno.h>

#include "pool/pool.h"
#include "tests/harness.h"

#define POOL_FAILURES_MAX 1000

/* Destroys the pool, which must be whole and leave nothing behind. */
__attribute__((unused)) static void pool_tear_down(struct pool *pool, const struct account *account)
{
    CHECK(pool->ops->consistent(pool));
    pool->ops->destroy(pool);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        CHECK_EQUAL(account->bytes[kind], 0);
    }
}

__attribute__((unused)) static size_t pool_pages_held(struct pool *pool, const struct account *account)
{
    size_t bytes = pool->ops->total_size(pool);
    CHECK_EQUAL(bytes % PAGE_BYTES, 0);
    CHECK_EQUAL(account->bytes[ACCOUNT_POOL], bytes);
    return bytes / PAGE_BYTES;
}

/* Sizes that are none, for an object or for a pool. */
__attribute__((unused)) static void pool_check_sizes_refused(struct pool *pool)
{
    uint64_t handle = 77;
    CHECK_EQUAL(pool->ops->alloc(pool, 0, 1, &handle), -EINVAL);
    CHECK_EQUAL(pool->ops->alloc(pool, PAGE_BYTES + 1, 1, &handle), -EINVAL);
    CHECK_EQUAL(handle, 77);
}

__attribute__((unused)) static void pool_check_create_refuses(const struct pool_ops *ops, size_t max_bytes)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct pool *pool;
    CHECK_EQUAL(ops->create(&pool, &memory, max_bytes), -EINVAL);
    CHECK_EQUAL(account.total, 0);
}

/* Every request for memory that a create makes fails in turn, and leaks nothing. How many there are. */
__attribute__((unused)) static int pool_fail_each_create(const struct pool_ops *ops)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct pool *pool = NULL;
    int failures = 0;
    for (;; failures++) {
        REQUIRE(failures < POOL_FAILURES_MAX);
        memory.fail_countdown = failures + 1;
        int error = ops->create(&pool, &memory, 1 << 20);
        if (!error) {
            break;
        }
        CHECK_EQUAL(error, -ENOMEM);
        CHECK_EQUAL(account.total, 0);
    }
    ops->destroy(pool);
    CHECK_EQUAL(account.total, 0);
    return failures;
}

/* Content that tells object, length and position apart. */
__attribute__((unused)) static void fill(char *at, size_t bytes, uint64_t content)
{
    uint64_t state = content * 2 + 1;
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (char)(i % 8 ? state >> 8 * (i % 8) : harness_random(&state));
    }
}

__attribute__((unused)) static bool holds(const char *at, size_t bytes, uint64_t content)
{
    char expected[PAGE_BYTES];
    fill(expected, bytes, content);
    return memcmp(at, expected, bytes) == 0;
}

#endif
