/* SPDX-License-Identifier: MIT */
/*
 * The life of an entry: each arrow of the diagram in zswap/lifecycle.h by one thread, then many threads on few words.
 * The objects are fakes that know whether they are alive: freed twice, used after free and leaked are all seen.
 */
#include "zswap/lifecycle.h"

#include <pthread.h>
#include <sched.h>

#include "tests/harness.h"

#define OBJECTS 256
#define THREADS 4
#define WORDS 3
#define ROUNDS 100000
#define CAPACITY 256

static struct account account;
static struct memory memory = {.account = &account};
static struct lifecycle lc;

struct object {
    uint32_t alive; /* atomic */
    uint64_t bytes; /* plain: written before publication and after release, read by holders */
};

static struct object objects[OBJECTS];
static uint32_t released; /* atomic */

static struct object *object_of(uint64_t word)
{
    return &objects[entry_name(word) % OBJECTS];
}

/* Names are given out again as soon as they are free, lowest first: a mix-up of old and new is likely. */
static uint64_t make_object(enum entry_kind kind)
{
    for (uint64_t i = 0;; i++) {
        struct object *object = &objects[i % OBJECTS];
        uint32_t dead = 0;
        if (atomic_cas_acq_rel(&object->alive, &dead, 1)) {
            object->bytes = i % OBJECTS + 1000;
            return entry_make(kind, i % OBJECTS, 100, 1);
        }
    }
}

static void release(void *owner, uint64_t content)
{
    CHECK(owner == &objects);
    CHECK(entry_is_object(content) && content == entry_content(content));
    struct object *object = object_of(content);
    CHECK_EQUAL(atomic_read_acquire(&object->alive), 1); /* else freed twice */
    object->bytes = 0;
    atomic_add_relaxed(&released, 1);
    atomic_set_release(&object->alive, 0);
}

static void check_readable(uint64_t held)
{
    CHECK_EQUAL(object_of(held)->bytes, entry_name(held) + 1000);
}

static void set_up(void)
{
    memset(objects, 0, sizeof objects);
    released = 0;
    REQUIRE(lifecycle_init(&lc, &memory, CAPACITY, release, &objects) == 0);
}

static void tear_down(void)
{
    CHECK_EQUAL(lifecycle_orphans(&lc), 0);
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK_EQUAL(objects[i].alive, 0);
    }
    lifecycle_destroy(&lc);
    CHECK_EQUAL(account_total(&account), 0);
}

/* --- One thread --- */

TEST(store_publishes_and_invalidate_frees)
{
    set_up();
    uint64_t word = 0, object = make_object(ENTRY_POOL);
    CHECK_EQUAL(lifecycle_replace(&lc, &word, object), 0);
    CHECK(word == object);
    CHECK(lifecycle_replace(&lc, &word, 0) == object);
    CHECK_EQUAL(word, 0);
    CHECK_EQUAL(released, 1);
    CHECK_EQUAL(lifecycle_replace(&lc, &word, 0), 0);
    tear_down();
}

TEST(store_frees_the_older_object)
{
    set_up();
    uint64_t older = make_object(ENTRY_POOL), newer = make_object(ENTRY_POOL), word = older;
    CHECK(lifecycle_replace(&lc, &word, newer) == older);
    CHECK_EQUAL(object_of(older)->alive, 0);
    CHECK_EQUAL(object_of(newer)->alive, 1);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(filled_words_have_no_object)
{
    set_up();
    uint64_t filled = 77 << 3 | ENTRY_FILLED, word = filled;
    CHECK(lifecycle_hold(&word, true) == filled);
    CHECK(word == filled);
    CHECK(lifecycle_remove_filled(&word, filled));
    CHECK(!lifecycle_remove_filled(&word, filled));
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    word = filled;
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    CHECK(lifecycle_replace(&lc, &word, 0) == filled);
    CHECK_EQUAL(released, 0);
    tear_down();
}

TEST(hold_counts_and_marks)
{
    set_up();
    uint64_t word = 0, object = make_object(ENTRY_POOL);
    CHECK_EQUAL(lifecycle_hold(&word, true), 0);
    lifecycle_replace(&lc, &word, object);
    uint64_t first = lifecycle_hold(&word, false);
    CHECK_EQUAL(entry_holders(word), 1);
    CHECK(!(word & ENTRY_REF));
    uint64_t second = lifecycle_hold(&word, true);
    CHECK_EQUAL(entry_holders(word), 2);
    CHECK(word & ENTRY_REF);
    CHECK(entry_content(first) == object && entry_content(second) == object);
    lifecycle_unhold(&lc, &word, first);
    lifecycle_unhold(&lc, &word, second);
    CHECK(word == (object | ENTRY_REF));
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(object_on_the_device_is_not_marked)
{
    set_up();
    uint64_t word = make_object(ENTRY_DEVICE);
    uint64_t held = lifecycle_hold(&word, true);
    CHECK(!(word & ENTRY_REF));
    lifecycle_unhold(&lc, &word, held);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(removed_object_lives_until_its_last_holder_lets_go)
{
    set_up();
    uint64_t object = make_object(ENTRY_POOL), word = object;
    uint64_t first = lifecycle_hold(&word, true), second = lifecycle_hold(&word, true);
    CHECK(entry_content(lifecycle_replace(&lc, &word, 0)) == object);
    CHECK_EQUAL(word, 0);
    CHECK_EQUAL(lifecycle_orphans(&lc), 1);
    lifecycle_unhold(&lc, &word, second);
    CHECK_EQUAL(object_of(object)->alive, 1);
    lifecycle_unhold(&lc, &word, first);
    CHECK_EQUAL(object_of(object)->alive, 0);
    tear_down();
}

TEST(replaced_object_lives_until_its_last_holder_lets_go)
{
    set_up();
    uint64_t older = make_object(ENTRY_POOL), newer = make_object(ENTRY_POOL), word = older;
    uint64_t held = lifecycle_hold(&word, true);
    lifecycle_replace(&lc, &word, newer);
    uint64_t held_newer = lifecycle_hold(&word, true);
    lifecycle_unhold(&lc, &word, held);
    CHECK_EQUAL(object_of(older)->alive, 0);
    CHECK_EQUAL(entry_holders(word), 1);
    lifecycle_unhold(&lc, &word, held_newer);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(exclusive_load_removes_what_it_holds)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL);
    uint64_t held = lifecycle_hold(&word, false);
    CHECK(lifecycle_remove_held(&lc, &word, held));
    CHECK_EQUAL(word, 0);
    CHECK_EQUAL(released, 1);
    tear_down();
}

TEST(of_two_exclusive_loads_one_gets_the_entry)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL);
    uint64_t first = lifecycle_hold(&word, false), second = lifecycle_hold(&word, false);
    CHECK(lifecycle_remove_held(&lc, &word, second));
    CHECK_EQUAL(released, 0); /* the first still reads it */
    CHECK(!lifecycle_remove_held(&lc, &word, first));
    CHECK_EQUAL(released, 1);
    tear_down();
}

TEST(exclusive_load_leaves_a_newer_entry_alone)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL), newer = make_object(ENTRY_POOL);
    uint64_t held = lifecycle_hold(&word, false);
    lifecycle_replace(&lc, &word, newer);
    CHECK(!lifecycle_remove_held(&lc, &word, held));
    CHECK(word == newer);
    CHECK_EQUAL(released, 1);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(writeback_moves_the_entry_to_the_device)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL), on_device = make_object(ENTRY_DEVICE), pool = word;
    uint64_t held = lifecycle_begin_writeback(&word);
    CHECK(held && word & ENTRY_WB);
    CHECK(lifecycle_finish_writeback(&lc, &word, held, on_device));
    CHECK(word == on_device);
    CHECK_EQUAL(object_of(pool)->alive, 0);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(there_is_one_writeback_at_a_time)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL);
    uint64_t held = lifecycle_begin_writeback(&word);
    CHECK(held);
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    CHECK(lifecycle_abort_writeback(&lc, &word, held));
    CHECK(lifecycle_begin_writeback(&word));
    lifecycle_abort_writeback(&lc, &word, word);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(loaded_entry_gets_one_second_chance)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL), object = word;
    lifecycle_unhold(&lc, &word, lifecycle_hold(&word, true));
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    CHECK(word == object);
    uint64_t held = lifecycle_begin_writeback(&word);
    CHECK(held);
    lifecycle_abort_writeback(&lc, &word, held);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(entries_that_are_not_in_the_pool_are_not_written_back)
{
    set_up();
    uint64_t word = 0;
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    word = ENTRY_FROZEN;
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    word = make_object(ENTRY_DEVICE);
    CHECK_EQUAL(lifecycle_begin_writeback(&word), 0);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(entry_being_written_back_can_be_loaded)
{
    set_up();
    uint64_t pool = make_object(ENTRY_POOL), on_device = make_object(ENTRY_DEVICE), word = pool;
    uint64_t writing = lifecycle_begin_writeback(&word);
    uint64_t held = lifecycle_hold(&word, true);
    CHECK(entry_content(held) == pool);
    CHECK(lifecycle_finish_writeback(&lc, &word, writing, on_device));
    CHECK_EQUAL(object_of(pool)->alive, 1);
    lifecycle_unhold(&lc, &word, held);
    CHECK_EQUAL(object_of(pool)->alive, 0);
    CHECK(word == on_device);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

/* The race of 2013 that leaked: reclaim begins, invalidate, reclaim ends. */
TEST(invalidate_during_writeback_leaks_nothing)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL);
    uint64_t held = lifecycle_begin_writeback(&word);
    CHECK(lifecycle_replace(&lc, &word, 0));
    CHECK_EQUAL(released, 0);
    CHECK(!lifecycle_finish_writeback(&lc, &word, held, entry_make(ENTRY_DEVICE, 200, 100, 1)));
    CHECK_EQUAL(word, 0);
    CHECK_EQUAL(released, 1);
    tear_down();
}

/* The race of 2013 that gave old data: reclaim begins, store of a new page, reclaim ends. */
TEST(store_during_writeback_wins)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL), newer = make_object(ENTRY_POOL);
    uint64_t held = lifecycle_begin_writeback(&word);
    lifecycle_replace(&lc, &word, newer);
    CHECK(!lifecycle_finish_writeback(&lc, &word, held, entry_make(ENTRY_DEVICE, 200, 100, 1)));
    CHECK(word == newer);
    CHECK_EQUAL(released, 1);
    lifecycle_replace(&lc, &word, 0);
    tear_down();
}

TEST(exclusive_load_during_writeback_wins)
{
    set_up();
    uint64_t word = make_object(ENTRY_POOL);
    uint64_t writing = lifecycle_begin_writeback(&word), held = lifecycle_hold(&word, false);
    CHECK(lifecycle_remove_held(&lc, &word, held));
    CHECK_EQUAL(released, 0);
    CHECK(!lifecycle_finish_writeback(&lc, &word, writing, entry_make(ENTRY_DEVICE, 200, 100, 1)));
    CHECK_EQUAL(released, 1);
    tear_down();
}

TEST(aborted_writeback_leaves_the_entry)
{
    set_up();
    uint64_t object = make_object(ENTRY_POOL), word = object;
    uint64_t writing = lifecycle_begin_writeback(&word), held = lifecycle_hold(&word, false);
    CHECK(lifecycle_abort_writeback(&lc, &word, writing));
    CHECK(!(word & ENTRY_WB) && entry_holders(word) == 1);
    lifecycle_unhold(&lc, &word, held);
    CHECK(word == object);
    writing = lifecycle_begin_writeback(&word);
    lifecycle_replace(&lc, &word, 0);
    CHECK(!lifecycle_abort_writeback(&lc, &word, writing));
    CHECK_EQUAL(released, 1);
    tear_down();
}

TEST(frozen_slot_reads_as_empty)
{
    set_up();
    uint64_t word = ENTRY_FROZEN;
    CHECK_EQUAL(lifecycle_hold(&word, true), 0);
    CHECK_EQUAL(lifecycle_replace(&lc, &word, 0), 0);
    CHECK(word == ENTRY_FROZEN);
    tear_down();
}

TEST(as_many_orphans_as_there_may_be_holders)
{
    static uint64_t words[CAPACITY], held[CAPACITY];
    set_up();
    for (size_t i = 0; i < CAPACITY; i++) {
        words[i] = make_object(ENTRY_POOL);
        held[i] = lifecycle_hold(&words[i], false);
        lifecycle_replace(&lc, &words[i], 0);
    }
    CHECK_EQUAL(lifecycle_orphans(&lc), CAPACITY);
    for (size_t i = 0; i < CAPACITY; i++) {
        size_t k = i * 37 % CAPACITY; /* in another order */
        lifecycle_unhold(&lc, &words[k], held[k]);
    }
    tear_down();
}

/* --- Many threads --- */

static uint64_t words[WORDS]; /* atomic, by lifecycle.c */

static void one_load(uint64_t *word, bool exclusive)
{
    uint64_t held = lifecycle_hold(word, !exclusive);
    if (entry_kind(held) == ENTRY_FILLED) {
        if (exclusive) {
            lifecycle_remove_filled(word, held);
        }
    } else if (held) {
        check_readable(held);
        if (exclusive) {
            lifecycle_remove_held(&lc, word, held);
        } else {
            lifecycle_unhold(&lc, word, held);
        }
    }
}

static void one_writeback(uint64_t *word, uint64_t *seed)
{
    uint64_t held = lifecycle_begin_writeback(word);
    if (!held) {
        return;
    }
    check_readable(held);
    if (harness_random(seed) % 4 == 0) {
        lifecycle_abort_writeback(&lc, word, held);
        return;
    }
    uint64_t on_device = make_object(ENTRY_DEVICE);
    if (harness_random(seed) % 8 == 0) {
        sched_yield();
    }
    if (!lifecycle_finish_writeback(&lc, word, held, on_device)) {
        release(&objects, on_device);
    }
}

static void *use_words(void *number)
{
    uint64_t seed = (uintptr_t)number * 7919 + 1;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t *word = &words[harness_random(&seed) % WORDS];
        switch (harness_random(&seed) % 12) {
        case 0:
        case 1:
        case 2:
            lifecycle_replace(&lc, word, make_object(ENTRY_POOL));
            break;
        case 3:
            lifecycle_replace(&lc, word, harness_random(&seed) << 3 | ENTRY_FILLED);
            break;
        case 4:
            lifecycle_replace(&lc, word, 0);
            break;
        case 5:
        case 6:
            one_load(word, true);
            break;
        case 7:
        case 8:
        case 9:
            one_writeback(word, &seed);
            break;
        default:
            one_load(word, false);
        }
    }
    return NULL;
}

TEST(threads_on_few_words_leak_nothing_and_free_nothing_twice)
{
    pthread_t threads[THREADS];
    set_up();
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, use_words, (void *)i) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < WORDS; i++) {
        CHECK(!entry_is_object(words[i]) || (!entry_holders(words[i]) && !(words[i] & ENTRY_WB)));
        lifecycle_replace(&lc, &words[i], 0);
    }
    CHECK(released > ROUNDS / 10);
    tear_down();
}

/* One object, many exclusive loads at once: exactly one is told that it was the one. */
static uint64_t prize;
static uint32_t winners; /* atomic */

static void *remove_prize(void *unused)
{
    (void)unused;
    uint64_t held = lifecycle_hold(&prize, false);
    if (held && lifecycle_remove_held(&lc, &prize, held)) {
        atomic_add_relaxed(&winners, 1);
    }
    return NULL;
}

TEST(exactly_one_thread_gets_an_exclusive_load)
{
    set_up();
    for (int round = 0; round < 200; round++) {
        pthread_t threads[THREADS];
        prize = make_object(ENTRY_POOL);
        winners = 0;
        for (int i = 0; i < THREADS; i++) {
            REQUIRE(pthread_create(&threads[i], NULL, remove_prize, NULL) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        CHECK_EQUAL(winners, 1);
        CHECK_EQUAL(prize, 0);
    }
    CHECK_EQUAL(released, 200);
    tear_down();
}

/* More loads of one page than its word can count: the others wait their turn. */
static uint64_t popular;

static void *hold_and_let_go(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        uint64_t held = lifecycle_hold(&popular, true);
        check_readable(held);
        sched_yield();
        lifecycle_unhold(&lc, &popular, held);
    }
    return NULL;
}

TEST(more_holders_than_the_word_counts_wait)
{
    pthread_t threads[8];
    uint64_t held[ENTRY_HOLDERS_MAX];
    set_up();
    popular = make_object(ENTRY_POOL);
    for (unsigned i = 0; i < ENTRY_HOLDERS_MAX - 2; i++) {
        held[i] = lifecycle_hold(&popular, false);
    }
    for (int i = 0; i < 8; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, hold_and_let_go, NULL) == 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(entry_holders(popular), ENTRY_HOLDERS_MAX - 2);
    for (unsigned i = 0; i < ENTRY_HOLDERS_MAX - 2; i++) {
        lifecycle_unhold(&lc, &popular, held[i]);
    }
    lifecycle_replace(&lc, &popular, 0);
    tear_down();
}

TEST(no_memory_for_the_table)
{
    struct lifecycle none;
    memory.fail_countdown = 1;
    CHECK_EQUAL(lifecycle_init(&none, &memory, 10, release, NULL), -ENOMEM);
    lifecycle_destroy(&none);
    CHECK_EQUAL(account_total(&account), 0);
}

int main(void)
{
    RUN(store_publishes_and_invalidate_frees);
    RUN(store_frees_the_older_object);
    RUN(filled_words_have_no_object);
    RUN(hold_counts_and_marks);
    RUN(object_on_the_device_is_not_marked);
    RUN(removed_object_lives_until_its_last_holder_lets_go);
    RUN(replaced_object_lives_until_its_last_holder_lets_go);
    RUN(exclusive_load_removes_what_it_holds);
    RUN(of_two_exclusive_loads_one_gets_the_entry);
    RUN(exclusive_load_leaves_a_newer_entry_alone);
    RUN(writeback_moves_the_entry_to_the_device);
    RUN(there_is_one_writeback_at_a_time);
    RUN(loaded_entry_gets_one_second_chance);
    RUN(entries_that_are_not_in_the_pool_are_not_written_back);
    RUN(entry_being_written_back_can_be_loaded);
    RUN(invalidate_during_writeback_leaks_nothing);
    RUN(store_during_writeback_wins);
    RUN(exclusive_load_during_writeback_wins);
    RUN(aborted_writeback_leaves_the_entry);
    RUN(frozen_slot_reads_as_empty);
    RUN(as_many_orphans_as_there_may_be_holders);
    RUN(threads_on_few_words_leak_nothing_and_free_nothing_twice);
    RUN(exactly_one_thread_gets_an_exclusive_load);
    RUN(more_holders_than_the_word_counts_wait);
    RUN(no_memory_for_the_table);
    return harness_finish();
}
