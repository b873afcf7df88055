/* SPDX-License-Identifier: MIT */
/* The pool that tests of the layers above use: zbud, or what UZSWAP_TEST_POOL names. */
#ifndef UZSWAP_TESTS_TEST_POOL_H
#define UZSWAP_TESTS_TEST_POOL_H

#include <stdio.h>
#include <stdlib.h>

#include "pool/pool.h"

static inline const struct pool_ops *test_pool(void)
{
    const char *name = getenv("UZSWAP_TEST_POOL");
    const struct pool_ops *pool = name && *name ? pool_by_name(name) : &pool_zbud;
    if (!pool) {
        printf("Bail out! UZSWAP_TEST_POOL: no pool is called %s\n", name);
        exit(1);
    }
    return pool;
}

#endif
