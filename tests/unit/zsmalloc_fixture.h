/* SPDX-License-Identifier: MIT */
/* A zsmalloc with an account of its own, a mover for objects whose owners are places in a table, and contents that tell objects
 * apart. */
#ifndef UZSWAP_TESTS_UNIT_ZSMALLOC_FIXTURE_H
#define UZSWAP_TESTS_UNIT_ZSMALLOC_FIXTURE_H

#include "pool/zsmalloc.h"
#include "tests/unit/pool_fixture.h"

#define OWNERS_MAX 4096

/* What an owner names. */
struct object {
    uint64_t handle; /* 0 = nothing */
    size_t bytes;
    uint64_t content;
    bool unfilled; /* not the owner's yet, as the mover sees it */
    bool restless; /* changes while it is moved */
};

struct fixture {
    struct account account;
    struct memory memory;
    struct pool *pool;
    struct zs *z;
    struct object objects[OWNERS_MAX];
    size_t moved, refused, held;
    void (*in_hold)(struct fixture *f, uint64_t owner); /* what others do meanwhile */
    void (*in_commit)(struct fixture *f, uint64_t owner);
};

__attribute__((unused)) static void set_up(struct fixture *f, size_t max_bytes)
{
    *f = (struct fixture){0};
    f->memory.account = &f->account;
    REQUIRE(pool_zsmalloc.create(&f->pool, &f->memory, max_bytes) == 0);
    f->z = zs_of(f->pool);
}

__attribute__((unused)) static void tear_down(struct fixture *f)
{
    pool_tear_down(f->pool, &f->account);
}

__attribute__((unused)) static char *map(struct fixture *f, uint64_t handle)
{
    return pool_zsmalloc.map(f->pool, handle);
}

__attribute__((unused)) static size_t pages_held(struct fixture *f)
{
    return pool_pages_held(f->pool, &f->account);
}

/* 0 or an error; the object of `owner` is filled. */
__attribute__((unused)) static int try_put(struct fixture *f, uint64_t owner, size_t bytes, uint64_t content)
{
    struct object object = {.bytes = bytes, .content = content};
    REQUIRE(!f->objects[owner].handle);
    int error = pool_zsmalloc.alloc(f->pool, bytes, owner, &object.handle);
    if (!error) {
        f->objects[owner] = object;
        fill(map(f, object.handle), bytes, content);
        pool_zsmalloc.unmap(f->pool, object.handle);
    }
    return error;
}

__attribute__((unused)) static uint64_t put(struct fixture *f, uint64_t owner, size_t bytes)
{
    REQUIRE(try_put(f, owner, bytes, owner + 1) == 0);
    return f->objects[owner].handle;
}

__attribute__((unused)) static void put_range(struct fixture *f, uint64_t first, uint64_t count, size_t bytes)
{
    for (uint64_t owner = first; owner < first + count; owner++) {
        put(f, owner, bytes);
    }
}

__attribute__((unused)) static bool is_whole(struct fixture *f, uint64_t owner)
{
    struct object *object = &f->objects[owner];
    return holds(map(f, object->handle), object->bytes, object->content);
}

__attribute__((unused)) static bool all_whole(struct fixture *f)
{
    for (uint64_t owner = 0; owner < OWNERS_MAX; owner++) {
        if (f->objects[owner].handle && !is_whole(f, owner)) {
            return false;
        }
    }
    return true;
}

__attribute__((unused)) static void drop(struct fixture *f, uint64_t owner)
{
    uint64_t handle = f->objects[owner].handle;
    f->objects[owner].handle = 0;
    pool_zsmalloc.free(f->pool, handle);
}

__attribute__((unused)) static void drop_range(struct fixture *f, uint64_t first, uint64_t count)
{
    for (uint64_t owner = first; owner < first + count; owner++) {
        drop(f, owner);
    }
}

__attribute__((unused)) static const struct zs_shape *shape_of(struct fixture *f, size_t bytes)
{
    return &f->z->shapes[f->z->class_of_units[(bytes - 1) / ZS_UNIT_BYTES]];
}

__attribute__((unused)) static uint32_t chain_of(struct fixture *f, uint64_t owner)
{
    return zs_handle_chain(f->objects[owner].handle);
}

/* ---- the mover */

static bool mover_hold(void *context, uint64_t owner, uint64_t handle)
{
    struct fixture *f = context;
    REQUIRE(owner < OWNERS_MAX && !f->held);
    struct object *object = &f->objects[owner];
    if (f->in_hold) {
        f->in_hold(f, owner);
    }
    if (object->handle != handle || object->unfilled) {
        f->refused++;
        return false;
    }
    f->held = handle;
    return true;
}

static bool mover_commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct fixture *f = context;
    struct object *object = &f->objects[owner];
    CHECK_EQUAL(f->held, handle);
    f->held = 0;
    CHECK(holds(map(f, moved), object->bytes, object->content));
    if (f->in_commit) {
        f->in_commit(f, owner);
    }
    if (object->handle != handle || object->restless) {
        f->refused++;
        return false;
    }
    object->handle = moved;
    f->moved++;
    pool_zsmalloc.free(f->pool, handle);
    return true;
}

static const struct pool_mover fixture_mover = {.hold = mover_hold, .commit = mover_commit};

__attribute__((unused)) static size_t compact(struct fixture *f, size_t bytes)
{
    size_t won = pool_zsmalloc.compact(f->pool, bytes, &fixture_mover, f);
    CHECK_EQUAL(f->held, 0);
    return won;
}

#endif
