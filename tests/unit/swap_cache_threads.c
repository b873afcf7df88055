/* SPDX-License-Identifier: MIT */
/* The swap cache under many threads on few entries: each is owned by one at a time, and no slot is lost. */
#include <pthread.h>

#include "tests/unit/swap_cache_fixture.h"

enum { THREADS = 4, ENTRIES = 6, ROUNDS = 30000 };

/*
 * What one entry's owners share. `owners` counts those who hold it exclusively (a writeback does not: a
 * fault may take its slot over). `page` is plain memory, guarded by nothing but the holds: ThreadSanitizer
 * sees a second owner. A page lives in exactly one place: with the program (0) or in the slot.
 */
static struct shared {
    uint32_t owners; /* atomic */
    uint64_t page;
    uint64_t busy;   /* faults left to another, atomic */
    uint64_t served; /* BUSY faults that an owner was told of, atomic */
} shared[ENTRIES];

static void enter(struct shared *s)
{
    CHECK_EQUAL(atomic_add_acq_rel(&s->owners, 1), 1);
    s->page++;
}

static void leave(struct shared *s)
{
    s->page++;
    CHECK_EQUAL(atomic_sub_acq_rel(&s->owners, 1), 0);
}

static void one_fault(struct swap_entry entry, struct shared *s)
{
    struct swap_cache_token token;
    uint64_t page;
    switch (swap_cache_take(cache, entry, &token, &page)) {
    case SWAP_CACHE_NEW:
    case SWAP_CACHE_PAGE:
        enter(s);
        leave(s);
        CHECK(swap_cache_release(cache, token));
        break;
    case SWAP_CACHE_BUSY:
        atomic_add_relaxed(&s->busy, 1);
        break;
    default:
        break;
    }
}

static void serve(struct shared *s, struct swap_cache_token token)
{
    enter(s);
    atomic_add_relaxed(&s->served, 1);
    leave(s);
    CHECK(swap_cache_release(cache, token));
}

static void one_eviction(struct swap_entry entry, struct shared *s, uint64_t random)
{
    struct swap_cache_token token;
    if (swap_cache_acquire(cache, entry, SWAP_CACHE_EVICT, &token) != SWAP_CACHE_NEW) {
        return;
    }
    enter(s);
    leave(s);
    bool over =
        random % 4 ? swap_cache_publish(cache, token, entry.offset) : swap_cache_release(cache, token);
    if (!over) {
        serve(s, token);
    }
}

static void one_store(struct swap_entry entry, struct shared *s, uint64_t random)
{
    struct swap_cache_token token;
    if (!swap_cache_begin_store(cache, entry, entry.offset, &token)) {
        return;
    }
    enter(s);
    leave(s);
    if (!(random % 4 ? swap_cache_finish_store : swap_cache_cancel_store)(cache, token)) {
        serve(s, token);
    }
}

static void one_writeback(struct swap_entry entry)
{
    struct swap_cache_token token;
    if (swap_cache_acquire(cache, entry, SWAP_CACHE_WRITEBACK, &token) == SWAP_CACHE_NEW) {
        CHECK(swap_cache_release(cache, token));
    }
}

static void *stress(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument, page;
    for (int i = 0; i < ROUNDS && !atomic_read_relaxed(&harness_failures); i++) {
        uint64_t random = harness_random(&seed);
        uint64_t number = (random >> 32) % ENTRIES;
        struct swap_entry entry = {.type = 1, .offset = number};
        struct shared *s = &shared[number];
        switch (random % 10) {
        case 0:
        case 1:
        case 2:
            one_fault(entry, s);
            break;
        case 3:
        case 4:
        case 5:
            one_eviction(entry, s, random >> 8);
            break;
        case 6:
        case 7:
            one_store(entry, s, random >> 8);
            break;
        case 8:
            one_writeback(entry);
            break;
        default:
            swap_cache_drop(cache, entry, &page);
            break;
        }
    }
    return NULL;
}

static void run_stress(size_t slots)
{
    pthread_t threads[THREADS];
    memset(shared, 0, sizeof shared);
    set_up(slots);
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, stress, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct swap_entry entry = {.type = 1, .offset = i};
        uint64_t page;
        swap_cache_drop(cache, entry, &page);
        CHECK(!swap_cache_has(cache, entry));
        CHECK(shared[i].served <= shared[i].busy);
    }
    CHECK_EQUAL(swap_cache_count(cache), 0);
    CHECK(swap_cache_consistent(cache)); /* no slot is lost */
    tear_down();
}

TEST(threads_never_own_one_entry_together)
{
    run_stress(64);
}

TEST(threads_never_own_one_entry_together_with_too_few_slots)
{
    run_stress(3);
}

enum { RACES = 3000 };
static pthread_barrier_t barrier; /* the racers and the test */
static uint32_t new_answers;      /* atomic */

static void *race_for_x(void *argument)
{
    (void)argument;
    for (int round = 0; round < RACES; round++) {
        pthread_barrier_wait(&barrier);
        struct swap_cache_token token;
        enum swap_cache_answer answer = swap_cache_acquire(cache, x, SWAP_CACHE_EVICT, &token);
        CHECK(answer == SWAP_CACHE_NEW || answer == SWAP_CACHE_EXIST);
        atomic_add_relaxed(&new_answers, answer == SWAP_CACHE_NEW);
        pthread_barrier_wait(&barrier);
        if (answer == SWAP_CACHE_NEW) {
            CHECK(swap_cache_release(cache, token));
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* Both racers find their shard without a free slot, and fetch one from elsewhere with the shard unlocked. */
TEST(two_that_fetch_a_slot_from_another_shard_make_one)
{
    pthread_t threads[2];
    set_up(8);
    new_answers = 0;
    pthread_barrier_init(&barrier, NULL, 3);
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, race_for_x, NULL) == 0);
    }
    for (uint32_t round = 1; round <= RACES; round++) {
        /* All slots wander to other shards. */
        struct swap_cache_token tokens[8];
        for (uint64_t i = 0; i < 8; i++) {
            struct swap_entry other = {.type = 9, .offset = round + i * 1000};
            CHECK_EQUAL(swap_cache_acquire(cache, other, SWAP_CACHE_EVICT, &tokens[i]), SWAP_CACHE_NEW);
        }
        for (uint64_t i = 0; i < 8; i++) {
            CHECK(swap_cache_release(cache, tokens[i]));
        }
        for (int i = 0; i < 3; i++) {
            pthread_barrier_wait(&barrier);
        }
        CHECK_EQUAL(new_answers, round);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&barrier);
    tear_down();
}

int main(void)
{
    RUN(threads_never_own_one_entry_together);
    RUN(threads_never_own_one_entry_together_with_too_few_slots);
    RUN(two_that_fetch_a_slot_from_another_shard_make_one);
    return harness_finish();
}
