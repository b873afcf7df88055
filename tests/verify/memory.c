/* SPDX-License-Identifier: MIT */
/* base/memory.h out of the explorer's arena. What is given back is not used again: tables come and go in set_up only. */
#include "base/memory.h"

#include <string.h>

#include "tests/verify/explore.h"

#define RESERVE_MAX ((size_t)16 << 10)

void *memory_map(struct memory *m, size_t bytes, enum account_kind kind)
{
    (void)m, (void)kind;
    return explore_alloc(bytes);
}

void memory_unmap(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    (void)m, (void)at, (void)bytes, (void)kind;
}

void *memory_reserve(struct memory *m, size_t bytes)
{
    (void)m;
    return explore_alloc(min_size(bytes, RESERVE_MAX)); /* no more is ever touched */
}

void memory_unreserve(struct memory *m, void *at, size_t bytes)
{
    (void)m, (void)at, (void)bytes;
}

bool memory_commit(struct memory *m, size_t bytes, enum account_kind kind)
{
    (void)m, (void)bytes, (void)kind;
    return true;
}

void memory_release(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    (void)m, (void)kind;
    memset(at, 0, bytes);
}
