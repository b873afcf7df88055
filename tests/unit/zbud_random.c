/* SPDX-License-Identifier: MIT */
/* zbud beside a naive model, and under threads; behaviours one by one are in zbud.c. */
#include <pthread.h>

#include "tests/unit/zbud_fixture.h"

/* What the model knows of a live object. */
struct object {
    uint64_t handle, owner;
    size_t bytes;
};

/* Sizes as they come: compressed pages of all kinds, tiny ones, raw ones. */
static size_t random_size(uint64_t *seed)
{
    switch (harness_random(seed) % 8) {
    case 0:
        return PAGE_BYTES;
    case 1:
        return 1 + harness_random(seed) % 64;
    default:
        return 1 + harness_random(seed) % PAGE_BYTES;
    }
}

static size_t naive_pages(const struct object *objects, size_t count, size_t *most_in_a_page)
{
    size_t pages = 0;
    *most_in_a_page = 0;
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
        for (size_t j = 0; j < i; j++) {
            before += share_page(objects[i].handle, objects[j].handle);
        }
        pages += before == 0;
        *most_in_a_page = max_size(*most_in_a_page, before + 1);
    }
    return pages;
}

/* The owner of the object that shares objects[i]'s page, 0 if there is none. */
static uint64_t naive_peer(const struct object *objects, size_t count, size_t i)
{
    for (size_t j = 0; j < count; j++) {
        if (j != i && share_page(objects[i].handle, objects[j].handle)) {
            return objects[j].owner;
        }
    }
    return 0;
}

static void model_alloc(struct fixture *f, struct object *objects, size_t *count, size_t bytes,
                        uint64_t owner)
{
    struct object object = {.owner = owner, .bytes = bytes};
    if (pool_zbud.alloc(f->pool, bytes, owner, &object.handle) == 0) {
        fill(map(f, object.handle), bytes, owner);
        objects[(*count)++] = object;
    } else {
        size_t most;
        CHECK_EQUAL(naive_pages(objects, *count, &most), 64);
    }
}

static void model_check_and_free(struct fixture *f, struct object *objects, size_t *count, size_t i)
{
    struct object object = objects[i];
    uint64_t peer = 0;
    CHECK(holds(map(f, object.handle), object.bytes, object.owner));
    CHECK_EQUAL(pool_zbud.peers(f->pool, object.handle, &peer, 1), naive_peer(objects, *count, i) ? 1 : 0);
    CHECK_EQUAL(peer, naive_peer(objects, *count, i));
    pool_zbud.free(f->pool, object.handle);
    objects[i] = objects[--*count];
}

TEST(random_operations_agree_with_a_naive_model)
{
    enum { STEPS = 8000 };
    static struct object objects[128];
    size_t count = 0, most = 0;
    struct fixture f;
    set_up(&f, 64 * PAGE_BYTES); /* small, so that it is full at times */
    uint64_t seed = 42;
    for (int step = 1; step <= STEPS && !harness_failures; step++) {
        unsigned bias = step / 500 % 2 ? 40 : 60; /* grows, then shrinks */
        unsigned dice = (unsigned)(harness_random(&seed) % 100);
        if (dice == 0) {
            pool_zbud.trim(f.pool);
            CHECK_EQUAL(pages_held(&f), naive_pages(objects, count, &most));
        } else if (dice < bias && count < ARRAY_LENGTH(objects)) {
            model_alloc(&f, objects, &count, random_size(&seed), (uint64_t)step);
        } else if (count) {
            model_check_and_free(&f, objects, &count, harness_random(&seed) % count);
        }
        CHECK(pool_zbud.consistent(f.pool));
        size_t pages = naive_pages(objects, count, &most);
        CHECK(most <= 2);
        CHECK(pages_held(&f) >= pages && pages_held(&f) <= pages + zbud_of(f.pool)->source.reserve_max);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(holds(map(&f, objects[i].handle), objects[i].bytes, objects[i].owner));
    }
    tear_down(&f);
}

struct worker {
    struct fixture *f;
    pthread_t thread;
    uint64_t number;
    size_t max_bytes;
    uint64_t refused;
};

static void worker_step(struct worker *w, struct object *object, uint64_t *seed, uint64_t step)
{
    struct pool *pool = w->f->pool;
    if (object->handle) {
        uint64_t peer;
        CHECK(holds(pool_zbud.map(pool, object->handle), object->bytes, object->owner));
        pool_zbud.unmap(pool, object->handle);
        CHECK(pool_zbud.peers(pool, object->handle, &peer, 1) <= 1);
        pool_zbud.free(pool, object->handle);
        object->handle = 0;
        return;
    }
    object->bytes = random_size(seed);
    object->owner = w->number << 32 | step;
    int error = pool_zbud.alloc(pool, object->bytes, object->owner, &object->handle);
    if (error) {
        CHECK_EQUAL(error, -ENOMEM);
        object->handle = 0;
        w->refused++;
        return;
    }
    fill(pool_zbud.map(pool, object->handle), object->bytes, object->owner);
    pool_zbud.unmap(pool, object->handle);
}

static void *work(void *argument)
{
    enum { OBJECTS = 300, STEPS = 10000 };
    struct worker *w = argument;
    struct object objects[OBJECTS] = {0};
    uint64_t seed = w->number + 1;
    for (uint64_t step = 1; step <= STEPS; step++) {
        /* At times in order and all free, so that runs go back; mostly at random. */
        size_t i = step / 2000 % 2 ? step % OBJECTS : harness_random(&seed) % OBJECTS;
        worker_step(w, &objects[i], &seed, step);
        if (step % 1000 == 0) {
            pool_zbud.trim(w->f->pool);
            CHECK(pool_zbud.total_size(w->f->pool) <= w->max_bytes);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (objects[i].handle) {
            worker_step(w, &objects[i], &seed, 0);
        }
    }
    return NULL;
}

/* How many allocs were refused. */
static uint64_t run_four_threads(size_t max_bytes)
{
    struct fixture f;
    set_up(&f, max_bytes);
    struct worker workers[4];
    for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
        workers[i] = (struct worker){.f = &f, .number = i, .max_bytes = max_bytes};
        REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    uint64_t refused = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        refused += workers[i].refused;
    }
    CHECK(pool_zbud.consistent(f.pool));
    pool_zbud.trim(f.pool);
    CHECK_EQUAL(pages_held(&f), 0);
    tear_down(&f);
    return refused;
}

TEST(four_threads_never_see_each_others_bytes)
{
    CHECK_EQUAL(run_four_threads(64 << 20), 0); /* never full, with a reserve of many pages */
}

TEST(four_threads_never_see_each_others_bytes_in_a_full_pool)
{
    CHECK(run_four_threads(80 * PAGE_BYTES) >
          0); /* too small even for one of them, with a reserve of one page */
}

int main(void)
{
    RUN(random_operations_agree_with_a_naive_model);
    RUN(four_threads_never_see_each_others_bytes);
    RUN(four_threads_never_see_each_others_bytes_in_a_full_pool);
    return harness_finish();
}
