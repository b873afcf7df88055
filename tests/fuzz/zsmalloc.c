/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any sequence of operations on a small zsmalloc, beside a model of what each owner names.
 *
 *   clang -std=gnu11 -D_GNU_SOURCE -DLOCK_CHECKS -O1 -g -fsanitize=fuzzer,address,undefined -Isrc -I. tests/fuzz/zsmalloc.c \
 *       src/pool/?*.c src/base/memory.c src/base/sparse.c src/base/lock.c
 *
 * An operation is 3 bytes: |verb|owner|argument|. What it does to others while objects are moved is an operation too:
 * `meanwhile` is done by the mover, once, when it is asked next.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/zsmalloc.h"
#include "tests/support/require.h"

#define OWNERS 256
#define PAGES 100

struct object {
    uint64_t handle; /* 0 = none */
    size_t bytes;
    uint8_t content;
};

struct model {
    struct account account;
    struct memory memory;
    struct pool *pool;
    struct object objects[OWNERS];
    struct operation {
        uint8_t verb, owner, argument;
    } meanwhile;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both ends of an object, and a byte here and there; all would take most of the time. */
static size_t next_place(const struct object *object, size_t i)
{
    return i < 16 || i + 100 > object->bytes ? i + 1 : i + 79;
}

/* A byte tells the object and its place in it. */
static uint8_t byte_of(const struct object *object, uint8_t owner, size_t i)
{
    return (uint8_t)(object->content + owner * 7 + i * 31 + (i >> 8));
}

static void check_object(struct model *m, uint8_t owner)
{
    const struct object *object = &m->objects[owner];
    const uint8_t *at = pool_zsmalloc.map(m->pool, object->handle);
    for (size_t i = 0; i < object->bytes; i = next_place(object, i)) {
        REQUIRE(at[i] == byte_of(object, owner, i));
    }
    pool_zsmalloc.unmap(m->pool, object->handle);
}

static void drop(struct model *m, uint8_t owner)
{
    uint64_t handle = m->objects[owner].handle;
    if (handle) {
        check_object(m, owner);
        m->objects[owner].handle = 0;
        pool_zsmalloc.free(m->pool, handle);
    }
}

/* Few sizes, each of which many objects share, and any. */
static size_t size_of(uint8_t argument)
{
    return argument < 128 ? 64 + (size_t)(argument % 8) * 500 : (size_t)(argument - 127) * 32;
}

static void put(struct model *m, uint8_t owner, uint8_t argument)
{
    struct object object = {.bytes = size_of(argument), .content = argument};
    drop(m, owner);
    if (pool_zsmalloc.alloc(m->pool, object.bytes, owner, &object.handle)) {
        return;
    }
    uint8_t *at = pool_zsmalloc.map(m->pool, object.handle);
    for (size_t i = 0; i < object.bytes; i = next_place(&object, i)) {
        at[i] = byte_of(&object, owner, i);
    }
    pool_zsmalloc.unmap(m->pool, object.handle);
    m->objects[owner] = object;
}

static void operate(struct model *m, struct operation operation);

static void do_meanwhile(struct model *m)
{
    struct operation operation = m->meanwhile;
    m->meanwhile = (struct operation){0};
    operate(m, operation);
}

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct model *m = context;
    REQUIRE(owner < OWNERS);
    if (m->meanwhile.argument & 1) {
        do_meanwhile(m);
    }
    return m->objects[owner].handle == handle;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct model *m = context;
    struct object *object = &m->objects[owner];
    REQUIRE(object->handle == handle && moved != handle);
    struct operation meanwhile = m->meanwhile;
    if (meanwhile.owner == owner &&
        meanwhile.verb % 8 == 3) { /* its entry is removed: this hold is the last */
        m->meanwhile = (struct operation){0};
        object->handle = 0;
        pool_zsmalloc.free(m->pool, handle);
        return false;
    }
    object->handle = moved;
    check_object(m, (uint8_t)owner);
    pool_zsmalloc.free(m->pool, handle);
    do_meanwhile(m);
    return true;
}

static const struct pool_mover mover = {.hold = hold, .commit = commit};

static void operate(struct model *m, struct operation operation)
{
    switch (operation.verb % 8) {
    case 0:
        break;
    case 1:
    case 2:
        put(m, operation.owner, operation.argument);
        break;
    case 3:
        drop(m, operation.owner);
        break;
    case 4: /* many of one size */
        for (unsigned i = 0; i < 40; i++) {
            put(m, (uint8_t)(operation.owner + i), operation.argument);
        }
        break;
    case 5: /* every n-th of 64 */
        for (unsigned i = 0; i < 64; i += 1 + operation.argument % 8) {
            drop(m, (uint8_t)(operation.owner + i));
        }
        break;
    case 6:
        pool_zsmalloc.trim(m->pool);
        break;
    case 7:
        pool_zsmalloc.compact(m->pool, (size_t)operation.argument << 14, &mover, m);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    m = (struct model){.memory = {.account = &m.account}};
    REQUIRE(pool_zsmalloc.create(&m.pool, &m.memory, PAGES * PAGE_BYTES) == 0);
    for (; size >= 3; data += 3, size -= 3) {
        struct operation operation = {data[0], data[1], data[2]};
        if (operation.verb & 0x80) {
            m.meanwhile = operation;
            continue;
        }
        m.memory.fail_countdown = operation.verb & 0x40 ? 1 + operation.argument % 4 : 0;
        operate(&m, operation);
        m.memory.fail_countdown = 0;
        REQUIRE(size / 3 % 4 || pool_zsmalloc.consistent(m.pool));
        REQUIRE(pool_zsmalloc.total_size(m.pool) <= PAGES * PAGE_BYTES);
    }
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        drop(&m, (uint8_t)owner);
    }
    pool_zsmalloc.trim(m.pool);
    REQUIRE(pool_zsmalloc.total_size(m.pool) == 0 && pool_zsmalloc.consistent(m.pool));
    pool_zsmalloc.destroy(m.pool);
    REQUIRE(account_total(&m.account) == 0);
    return 0;
}
