/* SPDX-License-Identifier: MIT */
/* The swap map: placement, counts, full and fragmented maps, a model beside it, and many threads. */
#include "swap/swap_map.h"

#include <pthread.h>
#include <time.h>

#include "tests/harness.h"

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_map map;

static void set_up(uint64_t slots)
{
    REQUIRE(swap_map_init(&map, &memory, slots * SLOT_BYTES, NULL) == 0);
}

static void tear_down(void)
{
    CHECK(swap_map_consistent(&map));
    swap_map_destroy(&map);
    CHECK_EQUAL(account_total(&account), 0);
}

/* The first slot of a new object, or -errno. */
static int64_t alloc_one(uint8_t slots)
{
    uint64_t first;
    int error = swap_map_alloc(&map, &slots, 1, &first);
    return error ? error : (int64_t)first;
}

/* Fills the map with objects of one slot. */
static void fill(uint64_t slots)
{
    for (uint64_t i = 0; i < slots; i++) {
        CHECK_EQUAL(alloc_one(1), i);
    }
}

TEST(init_refuses_a_device_of_no_slots)
{
    CHECK_EQUAL(swap_map_init(&map, &memory, SLOT_BYTES - 1, NULL), -EINVAL);
}

TEST(init_survives_each_failure_of_memory)
{
    for (int64_t i = 1; i <= 6; i++) {
        memory.fail_countdown = i;
        CHECK_EQUAL(swap_map_init(&map, &memory, 1 << 20, NULL), -ENOMEM);
        CHECK_EQUAL(account_total(&account), 0);
    }
    memory.fail_countdown = 0;
}

TEST(objects_of_a_cluster_lie_one_behind_the_other)
{
    set_up(1000);
    uint8_t slots[] = {3, 1, 9, 8};
    uint64_t first[4];
    CHECK_EQUAL(alloc_one(2), 0);
    CHECK_EQUAL(swap_map_alloc(&map, slots, 4, first), 0);
    CHECK_EQUAL(first[0], 2);
    CHECK_EQUAL(first[1], 5);
    CHECK_EQUAL(first[2], 6);
    CHECK_EQUAL(first[3], 15);
    CHECK_EQUAL(swap_map_used(&map), 23);
    CHECK_EQUAL(swap_map_high_water(&map), 23);
    tear_down();
}

TEST(alloc_refuses_sizes_that_are_none)
{
    set_up(1000);
    uint8_t slots[] = {3, 0, SWAP_OBJECT_SLOTS_MAX + 1};
    uint64_t first[3];
    CHECK_EQUAL(swap_map_alloc(&map, slots, 2, first), -EINVAL);
    CHECK_EQUAL(swap_map_alloc(&map, slots + 2, 1, first), -EINVAL);
    CHECK_EQUAL(swap_map_alloc(&map, slots, 0, first), 0);
    CHECK_EQUAL(swap_map_used(&map), 0);
    tear_down();
}

TEST(a_put_frees)
{
    set_up(10);
    CHECK_EQUAL(alloc_one(9), 0);
    CHECK_EQUAL(swap_map_used(&map), 9);
    CHECK_EQUAL(swap_map_used_here(&map), 9);
    swap_map_put(&map, 0);
    CHECK_EQUAL(swap_map_used(&map), 0);
    CHECK_EQUAL(swap_map_used_here(&map), 0);
    CHECK_EQUAL(swap_map_high_water(&map), 9);
    tear_down();
}

TEST(put_frees_only_its_own_object)
{
    set_up(27);
    for (int64_t i = 0; i < 3; i++) {
        CHECK_EQUAL(alloc_one(9), 9 * i);
    }
    swap_map_put(&map, 9);
    CHECK_EQUAL(swap_map_used(&map), 18);
    CHECK(swap_map_consistent(&map));
    CHECK_EQUAL(alloc_one(9), 9);
    tear_down();
}

TEST(put_of_what_is_no_object_changes_nothing)
{
    set_up(100);
    CHECK_EQUAL(alloc_one(3), 0);
    uint64_t wrong[] = {1, 2, 3, 99, 100, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        swap_map_put(&map, wrong[i]);
    }
    CHECK_EQUAL(swap_map_used(&map), 3);
    tear_down();
}

TEST(fresh_ground_comes_before_holes)
{
    set_up(20);
    CHECK_EQUAL(alloc_one(9), 0);
    swap_map_put(&map, 0);
    CHECK_EQUAL(alloc_one(9), 9);
    CHECK_EQUAL(alloc_one(2), 18);
    CHECK_EQUAL(alloc_one(9), 0);
    tear_down();
}

TEST(old_ground_is_used_again_once_half_of_it_is_free)
{
    const uint64_t slots = 40000;
    set_up(100000);
    fill(slots);
    for (uint64_t i = 0; i < slots * 3 / 4; i++) {
        swap_map_put(&map, i);
    }
    for (uint64_t i = 0; i < slots / 4; i++) {
        CHECK(alloc_one(1) < (int64_t)slots);
    }
    CHECK_EQUAL(swap_map_high_water(&map), slots);
    CHECK_EQUAL(alloc_one(1), slots); /* now half of it is in use */
    CHECK(swap_map_consistent(&map));
    tear_down();
}

TEST(full_map_answers_enospc)
{
    set_up(50);
    fill(50);
    CHECK_EQUAL(alloc_one(1), -ENOSPC);
    swap_map_put(&map, 33);
    CHECK_EQUAL(alloc_one(2), -ENOSPC);
    CHECK_EQUAL(alloc_one(1), 33);
    tear_down();
}

TEST(rest_of_fresh_ground_lengthens_the_hole_before_it)
{
    set_up(12);
    CHECK_EQUAL(alloc_one(9), 0);
    swap_map_put(&map, 0);
    CHECK_EQUAL(alloc_one(9), 0); /* 3 slots of fresh ground are too few */
    swap_map_put(&map, 0);
    uint8_t slots[] = {9, 3};
    uint64_t first[2];
    CHECK_EQUAL(swap_map_alloc(&map, slots, 2, first), 0);
    CHECK_EQUAL(swap_map_used(&map), 12);
    tear_down();
}

TEST(alloc_that_finds_no_place_for_one_object_takes_nothing)
{
    set_up(100);
    fill(100);
    for (uint64_t i = 0; i < 100; i += 2) {
        swap_map_put(&map, i);
    }
    uint8_t slots[] = {1, 1, 1, 2, 1};
    uint64_t first[5];
    CHECK_EQUAL(swap_map_alloc(&map, slots, 5, first), -ENOSPC);
    CHECK_EQUAL(swap_map_used(&map), 50);
    CHECK(swap_map_consistent(&map));
    CHECK_EQUAL(swap_map_alloc(&map, slots, 3, first), 0);
    CHECK_EQUAL(swap_map_used(&map), 53);
    tear_down();
}

TEST(alloc_without_memory_takes_nothing)
{
    enum { OBJECTS = 1000 };
    static uint8_t slots[OBJECTS];
    static uint64_t first[OBJECTS];
    memset(slots, 9, sizeof slots);
    for (int64_t i = 1; i <= 3; i++) {
        set_up(100000);
        memory.fail_countdown = i;
        CHECK_EQUAL(swap_map_alloc(&map, slots, OBJECTS, first), -ENOMEM);
        CHECK_EQUAL(swap_map_used(&map), 0);
        CHECK(swap_map_consistent(&map));
        memory.fail_countdown = 0;
        CHECK_EQUAL(swap_map_alloc(&map, slots, OBJECTS, first), 0);
        tear_down();
    }
}

TEST(cluster_goes_into_the_hole_that_takes_all_of_it)
{
    set_up(200);
    fill(200);
    uint8_t slots[] = {4, 4, 4, 4, 4};
    uint64_t first[5];
    for (uint64_t i = 0; i < 60; i++) {
        if (i % 6) {
            swap_map_put(&map, i); /* holes of 5 */
        }
    }
    for (uint64_t i = 100; i < 120; i++) {
        swap_map_put(&map, i); /* one of 20 */
    }
    CHECK_EQUAL(swap_map_alloc(&map, slots, 5, first), 0);
    CHECK_EQUAL(first[0], 100);
    CHECK_EQUAL(first[4], 116);
    CHECK_EQUAL(swap_map_alloc(&map, slots, 5, first), 0); /* now over the small ones */
    CHECK(first[4] < 60);
    tear_down();
}

TEST(freeing_ends_the_memory_of_a_search_in_vain)
{
    set_up(100);
    fill(100);
    for (uint64_t i = 0; i < 100; i += 2) {
        swap_map_put(&map, i);
    }
    CHECK_EQUAL(alloc_one(2), -ENOSPC);
    CHECK_EQUAL(alloc_one(3), -ENOSPC);
    swap_map_put(&map, 51);
    CHECK_EQUAL(alloc_one(3), 50);
    tear_down();
}

TEST(hole_across_the_border_of_two_windows_is_found)
{
    enum { SLOTS = 70000 };
    set_up(SLOTS);
    fill(SLOTS);
    for (uint64_t border = 16384; border < SLOTS; border += 16384) {
        for (uint64_t i = border - 4; i < border + 5; i++) {
            swap_map_put(&map, i);
        }
        CHECK_EQUAL(alloc_one(9), border - 4);
    }
    tear_down();
}

/* A bound far above what a search takes, but far below what one count at a time for each object would. */
TEST(nearly_full_map_of_8_million_slots_is_searched_quickly)
{
    enum { SLOTS = 8 << 20, PER_CALL = 4096 };
    static uint8_t slots[PER_CALL];
    static uint64_t first[PER_CALL];
    memset(slots, 1, sizeof slots);
    set_up(SLOTS);
    for (int i = 0; i < SLOTS / PER_CALL; i++) {
        CHECK_EQUAL(swap_map_alloc(&map, slots, PER_CALL, first), 0);
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    uint64_t seed = 7;
    for (int i = 0; i < 30; i++) {
        uint64_t hole = harness_random(&seed) % SLOTS;
        swap_map_put(&map, hole);
        CHECK_EQUAL(alloc_one(2), -ENOSPC);
        CHECK_EQUAL(alloc_one(1), hole);
        for (int j = 0; j < 1000; j++) {
            CHECK_EQUAL(alloc_one(1), -ENOSPC);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    printf("# %.1f ms for 30 searches of the whole map, 30 of half\n", ms);
    CHECK(ms < 3000);
    tear_down();
}

TEST(sums_are_kept_by_page)
{
    set_up(1 << 20);
    uint8_t slots[] = {8, 8, 1, 8};
    uint64_t first[4];
    CHECK_EQUAL(swap_map_alloc(&map, slots, 4, first), 0);
    CHECK_EQUAL(swap_map_sum(&map, first[0]), 0);
    CHECK_EQUAL(swap_map_set_sum(&map, first[0], 11), 0);
    CHECK_EQUAL(swap_map_set_sum(&map, first[1], 22), 0);
    CHECK_EQUAL(swap_map_set_sum(&map, first[3], 33), 0);
    CHECK_EQUAL(swap_map_sum(&map, first[0]), 11);
    CHECK_EQUAL(swap_map_sum(&map, first[1]), 22);
    CHECK_EQUAL(swap_map_sum(&map, first[3]), 33);
    memory.fail_countdown = 1;
    CHECK_EQUAL(swap_map_set_sum(&map, 900000, 1), -ENOMEM);
    memory.fail_countdown = 0;
    tear_down();
}

/* The checker prints what it finds: that is expected here. */
TEST(consistent_finds_planted_faults)
{
    set_up(100000);
    CHECK_EQUAL(alloc_one(3), 0);
    CHECK_EQUAL(alloc_one(9), 3);
    uint8_t *counts = (uint8_t *)map.counts.slots;
    CHECK(swap_map_consistent(&map));
    counts[0] = 0;
    CHECK(!swap_map_consistent(&map));
    counts[0] = 1;
    counts[3] = 255;
    CHECK(!swap_map_consistent(&map));
    counts[3] = 1;
    counts[50] = 1;
    CHECK(!swap_map_consistent(&map));
    counts[50] = 0;
    map.state->slots_used++;
    CHECK(!swap_map_consistent(&map));
    map.state->slots_used--;
    map.state->high_water = 5;
    CHECK(!swap_map_consistent(&map));
    map.state->high_water = 12;
    tear_down();
}

/* --- A model beside it --- */

enum { MODEL_SLOTS = 3000, MODEL_OBJECTS = 3000, CLUSTER = 12 };

struct object {
    uint64_t first;
    uint8_t slots;
};
static uint8_t in_use[MODEL_SLOTS];
static struct object objects[MODEL_OBJECTS];
static size_t object_count;
static uint64_t model_used;

static void model_add(uint64_t first, uint8_t slots)
{
    REQUIRE(first + slots <= MODEL_SLOTS);
    for (uint64_t i = first; i < first + slots; i++) {
        CHECK(!in_use[i]);
        in_use[i] = 1;
    }
    objects[object_count++] = (struct object){.first = first, .slots = slots};
    model_used += slots;
}

/* Is there a hole of `slots` slots? */
static bool model_has_hole(unsigned slots)
{
    unsigned length = 0;
    for (size_t i = 0; i < MODEL_SLOTS && length < slots; i++) {
        length = in_use[i] ? 0 : length + 1;
    }
    return length >= slots;
}

static void model_alloc(uint64_t random)
{
    uint8_t slots[CLUSTER];
    uint64_t first[CLUSTER];
    size_t n = 1 + random % CLUSTER;
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        slots[i] = (uint8_t)(1 + (random >> (8 + 4 * i)) % 9);
        total += slots[i];
    }
    int error = swap_map_alloc(&map, slots, n, first);
    if (!error) {
        for (size_t i = 0; i < n; i++) {
            model_add(first[i], slots[i]);
        }
        return;
    }
    CHECK_EQUAL(error, -ENOSPC);
    if (n == 1) {
        CHECK(!model_has_hole(slots[0]));
    }
    /* A hole for all of them must not be overlooked. */
    CHECK(!model_has_hole((unsigned)total));
}

static void model_put(uint64_t random)
{
    if (!object_count) {
        return;
    }
    struct object *o = &objects[(random >> 16) % object_count];
    swap_map_put(&map, o->first);
    memset(in_use + o->first, 0, o->slots);
    model_used -= o->slots;
    *o = objects[--object_count];
}

TEST(random_operations_agree_with_the_model)
{
    uint64_t seed = 99;
    set_up(MODEL_SLOTS);
    for (int step = 0; step < 60000 && !harness_failures; step++) {
        uint64_t random = harness_random(&seed);
        bool grow = step / 5000 % 2 == 0;
        if (random % 100 < (grow ? 30 : 5)) {
            model_alloc(harness_random(&seed));
        } else {
            model_put(harness_random(&seed));
        }
        CHECK_EQUAL(swap_map_used(&map), model_used);
        if (step % 100 == 0) {
            CHECK(swap_map_consistent(&map));
        }
    }
    while (object_count) {
        model_put(1);
    }
    CHECK_EQUAL(swap_map_used(&map), 0);
    tear_down();
}

/* --- Many threads --- */

enum { THREADS = 4, ROUNDS = 10000, HELD = 40, STRESS_SLOTS = THREADS * HELD * 5 };
static uint8_t owner[STRESS_SLOTS]; /* plain: whoever has been given a slot owns its byte */

static void give_back(uint64_t first, uint8_t slots, uint8_t id)
{
    for (uint64_t s = first; s < first + slots; s++) {
        CHECK_EQUAL(owner[s], id);
        owner[s] = 0;
    }
    swap_map_put(&map, first);
}

static void *stress(void *argument)
{
    uint8_t id = (uint8_t)(uintptr_t)argument;
    uint64_t seed = id, first[HELD];
    uint8_t slots[HELD] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = harness_random(&seed) % HELD;
        if (slots[i]) {
            give_back(first[i], slots[i], id);
            slots[i] = 0;
            continue;
        }
        slots[i] = (uint8_t)(1 + harness_random(&seed) % 9);
        if (swap_map_alloc(&map, &slots[i], 1, &first[i])) {
            slots[i] = 0;
            continue;
        }
        for (uint64_t s = first[i]; s < first[i] + slots[i]; s++) {
            CHECK_EQUAL(owner[s], 0);
            owner[s] = id;
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        if (slots[i]) {
            give_back(first[i], slots[i], id);
        }
    }
    return NULL;
}

TEST(threads_are_never_given_one_slot_together)
{
    pthread_t threads[THREADS];
    set_up(STRESS_SLOTS);
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, stress, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(swap_map_used(&map), 0);
    tear_down();
}

int main(void)
{
    RUN(init_refuses_a_device_of_no_slots);
    RUN(init_survives_each_failure_of_memory);
    RUN(objects_of_a_cluster_lie_one_behind_the_other);
    RUN(alloc_refuses_sizes_that_are_none);
    RUN(a_put_frees);
    RUN(put_frees_only_its_own_object);
    RUN(put_of_what_is_no_object_changes_nothing);
    RUN(fresh_ground_comes_before_holes);
    RUN(old_ground_is_used_again_once_half_of_it_is_free);
    RUN(full_map_answers_enospc);
    RUN(rest_of_fresh_ground_lengthens_the_hole_before_it);
    RUN(alloc_that_finds_no_place_for_one_object_takes_nothing);
    RUN(alloc_without_memory_takes_nothing);
    RUN(cluster_goes_into_the_hole_that_takes_all_of_it);
    RUN(freeing_ends_the_memory_of_a_search_in_vain);
    RUN(hole_across_the_border_of_two_windows_is_found);
    RUN(nearly_full_map_of_8_million_slots_is_searched_quickly);
    RUN(sums_are_kept_by_page);
    RUN(consistent_finds_planted_faults);
    RUN(random_operations_agree_with_the_model);
    RUN(threads_are_never_given_one_slot_together);
    return harness_finish();
}
