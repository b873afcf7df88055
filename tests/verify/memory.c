/* SPDX-License-Identifier: MIT */
/* base/memory.h out of the explorer's arena. What is given back is not used again: tables come and go in set_up only. */
#include "base/memory.h"

#include <string.h>

#include "tests/verify/world.h"

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

/* Page-aligned, as from the kernel: who gives a page back gives back all of it. */
void *memory_reserve(struct memory *m, size_t bytes)
{
    (void)m;
    uintptr_t at = (uintptr_t)explore_alloc(round_up(min_size(bytes, RESERVE_MAX), PAGE_BYTES) + PAGE_BYTES);
    return (void *)round_up(at, PAGE_BYTES); /* no more is ever touched */
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
    WORLD_POINT(EXPLORE_UPDATE, "memory: give back");
    memset(at, 0, bytes);
}

void memory_uncharge(struct memory *m, size_t bytes, enum account_kind kind)
{
    (void)m, (void)bytes, (void)kind;
}

void memory_uncharge_all(struct memory *m)
{
    (void)m;
}

void memory_drop(const struct memory *m, void *at, size_t bytes)
{
    (void)m;
    WORLD_POINT(EXPLORE_UPDATE, "memory: give back");
    memset(at, 0, bytes);
}

void memory_collapse(void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
}
