/* SPDX-License-Identifier: MIT */
/*
 * The four lifecycles (tests/lifecycles/): each verb by one thread, then at random beside a naive model while everything
 * fails now and then; those that are to be sound also by many threads. What order of steps may break is the explorer's
 * business.
 */
#include <pthread.h>

#include "base/sys.h"
#include "tests/harness.h"
#include "tests/lifecycles/memory_substrate.h"

#define KEYS 4
#define ALWAYS 256
#define MODEL_STEPS 60000
#define STRESS_STEPS 100000

static const struct lifecycle_ops *lifecycle; /* under test */
static struct substrate *substrate;
static struct cache *cache;

static void set_up(void)
{
    struct memory_options options = {.keys = KEYS, .object_bytes = 64, .checked = true};
    substrate = memory_substrate_create(&options);
    REQUIRE(substrate && lifecycle->create(&cache, substrate, KEYS) == 0);
}

/* The pool and the device hold what the keys name, and nothing else. */
static void check_no_leak(void)
{
    unsigned objects, slots, objects_out, slots_out;
    lifecycle->survey(cache, &objects, &slots);
    memory_substrate_count(substrate, &objects_out, &slots_out);
    CHECK_EQUAL(objects_out, objects);
    CHECK_EQUAL(slots_out, slots);
}

static void tear_down(void)
{
    check_no_leak();
    CHECK_EQUAL(memory_substrate_misuses(substrate), 0);
    memory_substrate_destroy(substrate);
}

static void check_objects(unsigned expected)
{
    unsigned objects, slots;
    lifecycle->survey(cache, &objects, &slots);
    CHECK_EQUAL(objects, expected);
    check_no_leak();
}

static void check_loads(unsigned key, uint64_t version)
{
    uint64_t found = 0;
    CHECK_EQUAL(lifecycle->load(cache, key, &found), 0);
    CHECK_EQUAL(found, version);
}

static void check_not_here(unsigned key)
{
    uint64_t version;
    CHECK_EQUAL(lifecycle->load(cache, key, &version), -ENOENT);
    CHECK_EQUAL(lifecycle->load_exclusive(cache, key, &version), -ENOENT);
}

static void check_written_back(unsigned key)
{
    CHECK(lifecycle->writeback(cache, key) || lifecycle->writeback(cache, key)); /* perhaps a second chance */
}

/* --- One thread, a verb each --- */

TEST(nothing_is_not_here)
{
    set_up();
    check_not_here(0);
    lifecycle->invalidate(cache, 0);
    lifecycle->invalidate_area(cache);
    CHECK(!lifecycle->writeback(cache, 0));
    check_objects(0);
    tear_down();
}

TEST(load_gives_what_was_stored)
{
    set_up();
    CHECK_EQUAL(lifecycle->store(cache, 1, 77), 0);
    check_loads(1, 77);
    check_loads(1, 77);
    check_not_here(0);
    check_objects(1);
    tear_down();
}

TEST(store_replaces_the_older_version)
{
    set_up();
    lifecycle->store(cache, 1, 77);
    lifecycle->store(cache, 1, 78);
    check_loads(1, 78);
    check_objects(1);
    check_written_back(1);
    lifecycle->store(cache, 1, 79);
    check_loads(1, 79);
    check_objects(1);
    tear_down();
}

TEST(store_that_fails_removes_the_older_version)
{
    set_up();
    lifecycle->store(cache, 0, 77);
    lifecycle->store(cache, 1, 78);
    check_written_back(1);
    memory_substrate_options(substrate)->alloc_fails = ALWAYS;
    for (unsigned key = 0; key < 3; key++) {
        CHECK_EQUAL(lifecycle->store(cache, key, 79), -ENOMEM);
        check_not_here(key);
    }
    check_objects(0);
    tear_down();
}

TEST(exclusive_load_removes)
{
    set_up();
    uint64_t version = 0;
    lifecycle->store(cache, 0, 77);
    CHECK_EQUAL(lifecycle->load_exclusive(cache, 0, &version), 0);
    CHECK_EQUAL(version, 77);
    check_not_here(0);
    lifecycle->store(cache, 0, 78);
    check_written_back(0);
    CHECK_EQUAL(lifecycle->load_exclusive(cache, 0, &version), 0);
    CHECK_EQUAL(version, 78);
    check_not_here(0);
    check_objects(0);
    tear_down();
}

TEST(invalidate_removes_one_and_area_all)
{
    set_up();
    for (unsigned key = 0; key < KEYS; key++) {
        lifecycle->store(cache, key, key + 77);
    }
    check_written_back(2);
    lifecycle->invalidate(cache, 0);
    check_not_here(0);
    check_loads(1, 78);
    check_loads(2, 79);
    lifecycle->invalidate(cache, 2);
    check_not_here(2);
    check_objects(2);
    check_written_back(1);
    lifecycle->invalidate_area(cache);
    for (unsigned key = 0; key < KEYS; key++) {
        check_not_here(key);
    }
    check_objects(0);
    tear_down();
}

TEST(writeback_brings_the_entry_to_the_device)
{
    set_up();
    lifecycle->store(cache, 0, 77);
    CHECK(lifecycle->writeback(cache, 0));
    check_objects(0);
    unsigned objects, slots;
    lifecycle->survey(cache, &objects, &slots);
    CHECK_EQUAL(slots, lifecycle->home_slots ? 0 : 1);
    check_loads(0, 77);
    CHECK(!lifecycle->writeback(cache, 0));
    check_loads(0, 77);
    tear_down();
}

TEST(writeback_that_fails_leaves_the_entry)
{
    set_up();
    struct memory_options *options = memory_substrate_options(substrate);
    uint16_t *const faults[] = {&options->acquire_exists, &options->acquire_fails, &options->write_fails};
    lifecycle->store(cache, 0, 77);
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        *faults[i] = ALWAYS;
        CHECK(!lifecycle->writeback(cache, 0));
        CHECK(!lifecycle->writeback(cache, 0));
        check_loads(0, 77);
        check_objects(1);
        *faults[i] = 0;
    }
    check_written_back(0);
    check_loads(0, 77);
    tear_down();
}

TEST(read_error_leaves_the_entry)
{
    set_up();
    uint64_t version;
    lifecycle->store(cache, 0, 77);
    check_written_back(0);
    memory_substrate_options(substrate)->read_fails = ALWAYS;
    CHECK_EQUAL(lifecycle->load(cache, 0, &version), -EIO);
    CHECK_EQUAL(lifecycle->load_exclusive(cache, 0, &version), -EIO);
    memory_substrate_options(substrate)->read_fails = 0;
    check_loads(0, 77);
    tear_down();
}

TEST(move_keeps_the_version)
{
    set_up();
    CHECK(!lifecycle->move(cache, 0));
    lifecycle->store(cache, 0, 77);
    CHECK(lifecycle->move(cache, 0));
    check_loads(0, 77);
    check_objects(1);
    memory_substrate_options(substrate)->alloc_fails = ALWAYS;
    CHECK(!lifecycle->move(cache, 0));
    check_loads(0, 77);
    check_written_back(0);
    CHECK(!lifecycle->move(cache, 0));
    check_loads(0, 77);
    tear_down();
}

/* --- One thread, at random, beside a model --- */

static struct {
    uint64_t version; /* 0 = not here */
    bool on_device;
} model[KEYS];

static void model_load(unsigned key, bool exclusive)
{
    uint64_t version = 0;
    int error = (exclusive ? lifecycle->load_exclusive : lifecycle->load)(cache, key, &version);
    if (!model[key].version) {
        CHECK_EQUAL(error, -ENOENT);
    } else if (error) {
        CHECK(error == -EIO && model[key].on_device);
    } else {
        CHECK_EQUAL(version, model[key].version);
        if (exclusive) {
            model[key].version = 0;
        }
    }
}

static void model_step(uint64_t *random, uint64_t version)
{
    unsigned key = (unsigned)(harness_random(random) % KEYS);
    switch (harness_random(random) % 16) {
    case 0:
        lifecycle->invalidate(cache, key);
        model[key].version = 0;
        break;
    case 1:
        model_load(key, true);
        break;
    case 2:
    case 3:
    case 4:
        model_load(key, false);
        break;
    case 5:
        if (lifecycle->move && lifecycle->move(cache, key)) {
            CHECK(model[key].version && !model[key].on_device);
        }
        break;
    case 6:
        if (harness_random(random) % 8 == 0) {
            lifecycle->invalidate_area(cache);
            memset(model, 0, sizeof model);
        }
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        if (lifecycle->writeback(cache, key)) {
            CHECK(model[key].version && !model[key].on_device);
            model[key].on_device = true;
        }
        break;
    default:
        model[key].version = lifecycle->store(cache, key, version) ? 0 : version;
        model[key].on_device = false;
    }
}

TEST(verbs_at_random_agree_with_a_model)
{
    set_up();
    struct memory_options *options = memory_substrate_options(substrate);
    options->alloc_fails = options->slot_alloc_fails = options->read_fails = 20;
    options->acquire_exists = options->acquire_fails = options->write_fails = 30;
    memset(model, 0, sizeof model);
    uint64_t random = 4711;
    for (unsigned i = 0; i < MODEL_STEPS; i++) {
        model_step(&random, i + 1);
        unsigned in_pool = 0;
        for (unsigned key = 0; key < KEYS; key++) {
            in_pool += model[key].version && !model[key].on_device;
        }
        check_objects(in_pool);
    }
    tear_down();
}

/* --- A device that does not answer --- */

static bool written;

static void *write_back(void *unused)
{
    memory_substrate_enter(1);
    written = lifecycle->writeback(cache, 0);
    return unused;
}

static pthread_t start_writeback_on_held_device(void)
{
    pthread_t thread;
    memory_substrate_hold_device(substrate);
    REQUIRE(pthread_create(&thread, NULL, write_back, NULL) == 0);
    while (!memory_substrate_waiting(substrate)) {
        sys_yield();
    }
    return thread;
}

static void let_go(pthread_t thread)
{
    memory_substrate_let_go_device(substrate);
    pthread_join(thread, NULL);
}

TEST(store_does_not_wait_for_a_writeback)
{
    set_up();
    lifecycle->store(cache, 0, 77);
    pthread_t thread = start_writeback_on_held_device();
    check_loads(0, 77);
    CHECK_EQUAL(lifecycle->store(cache, 0, 78), 0);
    check_loads(0, 78);
    CHECK(!lifecycle->writeback(cache, 0)); /* one at a time */
    let_go(thread);
    CHECK(!written);
    check_loads(0, 78);
    check_objects(1);
    tear_down();
}

TEST(removal_does_not_wait_for_a_writeback)
{
    set_up();
    lifecycle->store(cache, 0, 77);
    pthread_t thread = start_writeback_on_held_device();
    lifecycle->invalidate(cache, 0);
    check_not_here(0);
    let_go(thread);
    CHECK(!written);
    check_not_here(0);

    lifecycle->store(cache, 0, 78);
    thread = start_writeback_on_held_device();
    uint64_t version = 0;
    CHECK_EQUAL(lifecycle->load_exclusive(cache, 0, &version), 0);
    CHECK_EQUAL(version, 78);
    check_not_here(0);
    let_go(thread);
    CHECK(!written);
    check_objects(0);
    tear_down();
}

/* The first race of 2013, by another way in: the writeback fails after the entry was invalidated. So the checks above can
 * fail. */
TEST(leak_is_seen)
{
    set_up();
    lifecycle->store(cache, 0, 77);
    memory_substrate_options(substrate)->write_fails = ALWAYS;
    pthread_t thread = start_writeback_on_held_device();
    lifecycle->invalidate(cache, 0);
    let_go(thread);
    unsigned objects, slots;
    memory_substrate_count(substrate, &objects, &slots);
    CHECK_EQUAL(objects, lifecycle == &lifecycle_baseline ? 1 : 0);
    memory_substrate_destroy(substrate);
}

/* --- Many threads --- */

/*
 * Thread t alone stores key t, versions 1, 2, 3, ... with the key above them; everybody does all else to every key. A load
 * may not find what was replaced or removed before it began.
 */
#define VERSION_BITS 32

static struct {
    uint64_t begun, ended;            /* the newest version whose store has begun, has ended; atomic */
    uint64_t oldest;                  /* of those that a load which begins now may find; atomic */
    uint32_t taken[STRESS_STEPS + 1]; /* by an exclusive load; atomic */
} stress[KEYS];

_Static_assert(KEYS == LIFECYCLE_THREADS_MAX, "a key a thread");

static void raise_to(uint64_t *word, uint64_t value)
{
    uint64_t seen = atomic_read_acquire(word);
    while (seen < value && !atomic_cas_acq_rel(word, &seen, value)) {
    }
}

static void stress_load(unsigned key, bool exclusive)
{
    uint64_t oldest = atomic_read_acquire(&stress[key].oldest), version = 0;
    int error = (exclusive ? lifecycle->load_exclusive : lifecycle->load)(cache, key, &version);
    if (error) {
        CHECK(error == -ENOENT);
        return;
    }
    uint64_t number = version & ((1ull << VERSION_BITS) - 1);
    CHECK_EQUAL(version >> VERSION_BITS, key);
    CHECK(number >= oldest);
    CHECK(number <= atomic_read_acquire(&stress[key].begun));
    if (exclusive && number <= STRESS_STEPS) {
        CHECK_EQUAL(atomic_swap_acq_rel(&stress[key].taken[number], 1), 0);
        raise_to(&stress[key].oldest, number + 1);
    }
}

static void stress_store(unsigned key)
{
    uint64_t number = atomic_read_relaxed(&stress[key].begun) + 1;
    atomic_set_release(&stress[key].begun, number);
    CHECK_EQUAL(lifecycle->store(cache, key, (uint64_t)key << VERSION_BITS | number), 0);
    atomic_set_release(&stress[key].ended, number);
    raise_to(&stress[key].oldest, number);
}

static void stress_invalidate(unsigned key)
{
    uint64_t ended = atomic_read_acquire(&stress[key].ended);
    lifecycle->invalidate(cache, key);
    raise_to(&stress[key].oldest, ended + 1);
}

static void *stress_thread(void *number)
{
    unsigned self = (unsigned)(uintptr_t)number;
    uint64_t random = self + 1;
    memory_substrate_enter(self);
    for (unsigned i = 0; i < STRESS_STEPS; i++) {
        unsigned key = (unsigned)(harness_random(&random) % KEYS);
        switch (harness_random(&random) % 16) {
        case 0:
            stress_invalidate(key);
            break;
        case 1:
            stress_load(key, true);
            break;
        case 2:
            if (lifecycle->move) {
                lifecycle->move(cache, key);
            }
            break;
        case 3:
        case 4:
        case 5:
        case 6:
            lifecycle->writeback(cache, key);
            break;
        case 7:
        case 8:
        case 9:
        case 10:
            stress_store(self);
            break;
        default:
            stress_load(key, false);
        }
    }
    return NULL;
}

static void run_threads(void *(*run)(void *))
{
    pthread_t threads[LIFECYCLE_THREADS_MAX];
    for (uintptr_t i = 0; i < LIFECYCLE_THREADS_MAX; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    }
    for (size_t i = 0; i < LIFECYCLE_THREADS_MAX; i++) {
        pthread_join(threads[i], NULL);
    }
}

TEST(threads_find_no_old_version_and_leak_nothing)
{
    set_up();
    struct memory_options *options = memory_substrate_options(substrate);
    options->acquire_exists = options->write_fails = 20;
    memset(stress, 0, sizeof stress);
    run_threads(stress_thread);
    tear_down();
}

/* --- Which lifecycles --- */

static void run_with(const struct lifecycle_ops *ops, const char *name, void (*test)(void))
{
    char full[100];
    lifecycle = ops;
    snprintf(full, sizeof full, "%s: %s", ops->name, name);
    harness_run(full, test);
}

#define RUN_WITH(ops, test) run_with(&(ops), #test, test)

#define RUN_EACH(test)                                                                                       \
    do {                                                                                                     \
        RUN_WITH(lifecycle_baseline, test);                                                                  \
        RUN_WITH(lifecycle_getput, test);                                                                    \
        RUN_WITH(lifecycle_cas, test);                                                                       \
        RUN_WITH(lifecycle_production, test);                                                                \
    } while (0)

int main(void)
{
    RUN_EACH(nothing_is_not_here);
    RUN_EACH(load_gives_what_was_stored);
    RUN_EACH(store_replaces_the_older_version);
    RUN_EACH(store_that_fails_removes_the_older_version);
    RUN_EACH(exclusive_load_removes);
    RUN_EACH(invalidate_removes_one_and_area_all);
    RUN_EACH(writeback_brings_the_entry_to_the_device);
    RUN_EACH(writeback_that_fails_leaves_the_entry);
    RUN_EACH(read_error_leaves_the_entry);
    RUN_WITH(lifecycle_production, move_keeps_the_version);
    RUN_EACH(verbs_at_random_agree_with_a_model);

    /* cas waits, by design. */
    RUN_WITH(lifecycle_getput, store_does_not_wait_for_a_writeback);
    RUN_WITH(lifecycle_production, store_does_not_wait_for_a_writeback);
    RUN_WITH(lifecycle_getput, removal_does_not_wait_for_a_writeback);
    RUN_WITH(lifecycle_production, removal_does_not_wait_for_a_writeback);
    RUN_WITH(lifecycle_baseline, leak_is_seen);
    RUN_WITH(lifecycle_getput, leak_is_seen);
    RUN_WITH(lifecycle_production, leak_is_seen);

    RUN_WITH(lifecycle_getput, threads_find_no_old_version_and_leak_nothing);
    RUN_WITH(lifecycle_cas, threads_find_no_old_version_and_leak_nothing);
    RUN_WITH(lifecycle_production, threads_find_no_old_version_and_leak_nothing);
    return harness_finish();
}
