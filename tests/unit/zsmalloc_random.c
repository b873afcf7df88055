/* SPDX-License-Identifier: MIT */
/* zsmalloc beside a naive model, and under threads; behaviours one by one are in zsmalloc.c. */
#include <pthread.h>

#include "base/sys.h"
#include "tests/unit/zsmalloc_fixture.h"
#include "zswap/lifecycle.h"

static struct fixture f;

/* Sizes as they come: compressed pages of all kinds, many of a few classes, tiny ones, raw ones. */
static size_t random_size(uint64_t *seed)
{
    switch (harness_random(seed) % 8) {
    case 0:
        return PAGE_BYTES;
    case 1:
        return 1 + harness_random(seed) % 64;
    case 2:
    case 3:
    case 4:
        return 1000 + 500 * (harness_random(seed) % 3);
    default:
        return 1 + harness_random(seed) % PAGE_BYTES;
    }
}

/* ---- one thread and a model: what each owner names, how long it is, and what is in it */

enum { MODEL_OWNERS = 400, MODEL_PAGES = 160 };

static size_t payload_of(const struct fixture *fixture)
{
    size_t payload = 0;
    for (uint64_t owner = 0; owner < MODEL_OWNERS; owner++) {
        payload += fixture->objects[owner].handle ? fixture->objects[owner].bytes : 0;
    }
    return payload;
}

/* No two live objects overlap, said with nothing but their addresses and lengths. */
static bool all_apart(struct fixture *fixture)
{
    for (uint64_t a = 0; a < MODEL_OWNERS; a++) {
        for (uint64_t b = 0; b < a && fixture->objects[a].handle; b++) {
            const struct object *one = &fixture->objects[a], *other = &fixture->objects[b];
            if (other->handle && map(fixture, one->handle) < map(fixture, other->handle) + other->bytes &&
                map(fixture, other->handle) < map(fixture, one->handle) + one->bytes) {
                return false;
            }
        }
    }
    return true;
}

static void model_compact(uint64_t *seed)
{
    uint64_t stays = harness_random(seed) % MODEL_OWNERS, changes = harness_random(seed) % MODEL_OWNERS;
    f.objects[stays].unfilled = true;
    f.objects[changes].restless = true;
    size_t before = pages_held(&f);
    size_t won = compact(&f, harness_random(seed) % 4 ? harness_random(seed) % (1 << 18) : SIZE_MAX);
    size_t after = pages_held(&f);
    CHECK_EQUAL(won, before > after ? (before - after) * PAGE_BYTES : 0);
    f.objects[stays].unfilled = f.objects[changes].restless = false;
}

static void model_step(uint64_t step, unsigned percent_put, uint64_t *seed)
{
    uint64_t owner = harness_random(seed) % MODEL_OWNERS;
    unsigned dice = (unsigned)(harness_random(seed) % 100);
    if (dice == 0) {
        pool_zsmalloc.trim(f.pool);
    } else if (dice < 4) {
        model_compact(seed);
    } else if (f.objects[owner].handle && dice >= percent_put) {
        CHECK(is_whole(&f, owner));
        drop(&f, owner);
    } else if (!f.objects[owner].handle) {
        if (try_put(&f, owner, random_size(seed), step)) {
            CHECK(pages_held(&f) + ZS_CHAIN_PAGES > MODEL_PAGES);
        }
    }
}

TEST(random_operations_agree_with_a_naive_model)
{
    enum { STEPS = 12000 };
    set_up(&f, MODEL_PAGES * PAGE_BYTES); /* small, so that it is full at times */
    uint64_t seed = 42;
    for (uint64_t step = 1; step <= STEPS && !harness_failures; step++) {
        model_step(step, step / 1000 % 2 ? 30 : 70, &seed); /* grows, then shrinks */
        CHECK(pool_zsmalloc.consistent(f.pool));
        CHECK(pages_held(&f) <= MODEL_PAGES);
        CHECK(pages_held(&f) * PAGE_BYTES >= payload_of(&f));
        if (step % 50 == 0) {
            CHECK(all_whole(&f));
            CHECK(all_apart(&f));
        }
    }
    printf("# %zu moved, %zu refused\n", f.moved, f.refused);
    CHECK(f.moved > 500 && f.refused > 3);
    tear_down(&f);
}

TEST(the_pool_stays_dense_under_churn_with_compaction)
{
    enum { ROUNDS = 20000, OWNERS = 4000 };
    set_up(&f, 64 << 20);
    uint64_t seed = 7;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t owner = harness_random(&seed) % OWNERS;
        if (f.objects[owner].handle) {
            drop(&f, owner);
        }
        put(&f, owner, 64 + harness_random(&seed) % 3000);
        if (i % 1000 == 999) {
            compact(&f, SIZE_MAX);
        }
    }
    size_t payload = 0;
    for (uint64_t owner = 0; owner < OWNERS; owner++) {
        payload += f.objects[owner].handle ? f.objects[owner].bytes : 0;
    }
    printf("# payload is %zu %%\n", payload * 100 / (pages_held(&f) * PAGE_BYTES));
    /* Half a page lost in each of 175 classes counts in a small pool. */
    CHECK(payload * 100 >= pages_held(&f) * PAGE_BYTES * 92);
    CHECK(all_whole(&f));
    tear_down(&f);
}

/* ---- threads. The index is entry words under the lifecycle that zswap/ uses: its holds, and its orphans. */

enum { WORDS = 600, THREADS = 4, COMPACTORS = 2 };

struct index {
    struct pool *pool;
    struct lifecycle lifecycle;
    uint64_t words[WORDS];
    uint32_t running; /* workers; atomic */
    uint64_t moved;   /* atomic */
};

static struct index idx;

static void release(void *owner, uint64_t content)
{
    struct index *index = owner;
    index->pool->ops->free(index->pool, entry_name(content));
}

/* One a compacting thread. */
struct move {
    struct index *index;
    uint64_t held; /* word */
};

static bool index_hold(void *context, uint64_t owner, uint64_t handle)
{
    struct move *move = context;
    REQUIRE(owner < WORDS && !move->held);
    uint64_t *word = &move->index->words[owner];
    uint64_t held = lifecycle_hold(word, false);
    if (!held) {
        return false;
    }
    if (entry_name(held) != handle) {
        lifecycle_unhold(&move->index->lifecycle, word, held);
        return false;
    }
    move->held = held;
    return true;
}

static bool index_commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct move *move = context;
    struct index *index = move->index;
    uint64_t held = move->held;
    move->held = 0;
    REQUIRE(entry_name(held) == handle);
    uint64_t next = entry_make(ENTRY_POOL, moved, entry_bytes(held), entry_format(held));
    if (!lifecycle_move(&index->lifecycle, &index->words[owner], held, next)) {
        return false;
    }
    atomic_add_relaxed(&index->moved, 1);
    return true;
}

static const struct pool_mover index_mover = {.hold = index_hold, .commit = index_commit};

/* An object begins with its version, if it is long enough; the rest follows from owner, version and position. */
static void write_object(char *at, size_t bytes, uint64_t owner, uint64_t version)
{
    if (bytes <= sizeof version) {
        memset(at, (int)owner, bytes);
        return;
    }
    memcpy(at, &version, sizeof version);
    fill(at + sizeof version, bytes - sizeof version, owner << 40 | version);
}

static bool is_object(const char *at, size_t bytes, uint64_t owner)
{
    if (bytes <= sizeof(uint64_t)) {
        for (size_t i = 0; i < bytes; i++) {
            if (at[i] != (char)owner) {
                return false;
            }
        }
        return true;
    }
    uint64_t version;
    memcpy(&version, at, sizeof version);
    return holds(at + sizeof version, bytes - sizeof version, owner << 40 | version);
}

static void store(uint64_t owner, uint64_t version, uint64_t *seed)
{
    size_t bytes = random_size(seed);
    uint64_t handle, word = 0;
    int error = idx.pool->ops->alloc(idx.pool, bytes, owner, &handle);
    if (error) {
        CHECK_EQUAL(error, -ENOMEM);
    } else {
        write_object(idx.pool->ops->map(idx.pool, handle), bytes, owner, version);
        idx.pool->ops->unmap(idx.pool, handle);
        word = entry_make(ENTRY_POOL, handle, bytes, 0);
    }
    lifecycle_replace(&idx.lifecycle, &idx.words[owner], word);
}

/* Loads; with `remove`, exclusively. */
static void load(uint64_t owner, bool remove)
{
    uint64_t *word = &idx.words[owner];
    uint64_t held = lifecycle_hold(word, false);
    if (!held) {
        return;
    }
    uint64_t handle = entry_name(held);
    const char *at = idx.pool->ops->map(idx.pool, handle);
    CHECK(is_object(at, entry_bytes(held), owner));
    if (handle % 64 == 0) {
        sys_yield(); /* a slow reader: what it holds is moved meanwhile */
        CHECK(is_object(at, entry_bytes(held), owner));
    }
    idx.pool->ops->unmap(idx.pool, handle);
    if (remove) {
        lifecycle_remove_held(&idx.lifecycle, word, held);
    } else {
        lifecycle_unhold(&idx.lifecycle, word, held);
    }
}

static void *work(void *argument)
{
    enum { STEPS = 8000 };
    uint64_t number = (uintptr_t)argument, seed = number + 1;
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t owner = harness_random(&seed) % WORDS;
        switch (harness_random(&seed) % (step / 1000 % 2 ? 4 : 8)) {
        case 0:
            lifecycle_replace(&idx.lifecycle, &idx.words[owner], 0);
            break;
        case 1:
            load(owner, true);
            break;
        case 2:
            load(owner, false);
            break;
        default:
            store(owner, number << 32 | step, &seed);
            break;
        }
        if (step % 1000 == 0) {
            idx.pool->ops->trim(idx.pool);
        }
    }
    atomic_sub_acq_rel(&idx.running, 1);
    return NULL;
}

static void *keep_compacting(void *argument)
{
    uint64_t seed = (uintptr_t)argument + 100;
    while (atomic_read_acquire(&idx.running)) {
        struct move move = {.index = &idx};
        idx.pool->ops->compact(idx.pool, harness_random(&seed) % (1 << 20), &index_mover, &move);
        sys_yield();
    }
    return NULL;
}

static void run_threads(size_t max_bytes)
{
    pthread_t threads[THREADS + COMPACTORS];
    set_up(&f, max_bytes);
    idx = (struct index){.pool = f.pool, .running = THREADS};
    REQUIRE(lifecycle_init(&idx.lifecycle, &f.memory, THREADS + COMPACTORS, release, &idx) == 0);
    for (uintptr_t i = 0; i < THREADS + COMPACTORS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, i < THREADS ? work : keep_compacting, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS + COMPACTORS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(lifecycle_orphans(&idx.lifecycle), 0);
    CHECK(pool_zsmalloc.consistent(f.pool));
    CHECK(idx.moved > 100);
    for (uint64_t owner = 0; owner < WORDS; owner++) {
        load(owner, true);
    }
    pool_zsmalloc.trim(f.pool);
    CHECK_EQUAL(pages_held(&f), 0); /* no object is left that nobody names */
    lifecycle_destroy(&idx.lifecycle);
    tear_down(&f);
}

TEST(objects_stay_whole_while_they_are_moved_under_four_threads)
{
    run_threads(64 << 20);
}

TEST(objects_stay_whole_while_they_are_moved_in_a_full_pool)
{
    run_threads(100 * PAGE_BYTES);
}

int main(void)
{
    RUN(random_operations_agree_with_a_naive_model);
    RUN(the_pool_stays_dense_under_churn_with_compaction);
    RUN(objects_stay_whole_while_they_are_moved_under_four_threads);
    RUN(objects_stay_whole_while_they_are_moved_in_a_full_pool);
    return harness_finish();
}
