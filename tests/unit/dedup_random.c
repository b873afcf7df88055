/* SPDX-License-Identifier: MIT */
/* Random verbs on pages of few contents, so that nearly all are shared: one thread beside a naive model, and threads. */
#include <pthread.h>
#include <sched.h>

#include "tests/support/restless.h"
#include "tests/unit/zswap_fixture.h"

#define ENTRIES 96u
#define SPREAD 31u /* offsets apart, so that several pages of the index are in use */
#define CONTENTS 6u
#define STEPS (HARNESS_SANITIZED ? 4000 : 20000)

static struct fixture f;
static unsigned char contents[CONTENTS][PAGE_BYTES];

/* Two kinds that shrink, one that does not, one same-filled; the last two differ in one byte. */
static void make_contents(void)
{
    for (unsigned i = 0; i < CONTENTS; i++) {
        (i == 2 ? incompressible_page_for : page_for)(contents[i], at(0), i);
    }
    memset(contents[3], 0x5a, PAGE_BYTES);
    memcpy(contents[5], contents[4], PAGE_BYTES);
    contents[5][PAGE_BYTES - 1] ^= 1;
}

static void set_up(size_t limit, enum zswap_writeback mode, enum ram_device_mode device_mode)
{
    make_contents();
    fixture_prepare(&f, limit, mode, device_mode);
    f.options.deduplicate = true;
    f.options.pool = &restless_pool;
    REQUIRE(zswap_create(&f.zswap, &f.options) == 0);
    REQUIRE(zswap_area_create(f.zswap, TYPE, AREA_PAGES) == 0);
}

static void tear_down(void)
{
    CHECK(zswap_consistent(f.zswap));
    zswap_invalidate_area(f.zswap, TYPE);
    zswap_writeback_reap(f.zswap, true);
    struct zswap_stats stats = stats_of(&f);
    CHECK_EQUAL(stats.pool_payload + stats.stored_pages + stats.shared_objects + stats.deduplicated_pages, 0);
    CHECK_EQUAL(restless_objects(), 0);
    CHECK_EQUAL(restless_misuses(), 0);
    fixture_destroy(&f);
}

/* The content that the page is, CONTENTS if it is none. */
static unsigned content_of(const void *page)
{
    unsigned i = 0;
    while (i < CONTENTS && memcmp(page, contents[i], PAGE_BYTES)) {
        i++;
    }
    return i;
}

/* ---- one thread and a model: what each entry holds, CONTENTS = nothing */

static unsigned model[ENTRIES];

static void model_store(uint64_t *seed, unsigned i)
{
    model[i] = (unsigned)(harness_random(seed) % CONTENTS);
    int error = zswap_store(f.zswap, at(i * SPREAD), contents[model[i]]);
    CHECK(!error || error == -ENOSPC || error == -ENOMEM);
    model[i] = error ? CONTENTS : model[i];
}

static void model_load(unsigned i, int (*verb)(struct zswap *, struct swap_entry, void *))
{
    unsigned char page[PAGE_BYTES];
    int error = verb(f.zswap, at(i * SPREAD), page);
    CHECK_EQUAL(error, model[i] == CONTENTS ? -ENOENT : 0);
    CHECK(error || content_of(page) == model[i]);
}

static void model_invalidate_range(unsigned first, unsigned n)
{
    zswap_invalidate_range(f.zswap, TYPE, first * SPREAD, n * SPREAD);
    for (unsigned i = first; i < first + n && i < ENTRIES; i++) {
        model[i] = CONTENTS;
    }
}

static void model_step(uint64_t *seed)
{
    unsigned i = (unsigned)(harness_random(seed) % ENTRIES), what = (unsigned)(harness_random(seed) % 64);
    if (what < 26) {
        model_store(seed, i);
    } else if (what < 40) {
        model_load(i, zswap_load);
    } else if (what < 48) {
        model_load(i, zswap_load_exclusive);
        model[i] = CONTENTS;
    } else if (what < 56) {
        CHECK_EQUAL(zswap_invalidate(f.zswap, at(i * SPREAD)), model[i] != CONTENTS);
        model[i] = CONTENTS;
    } else if (what < 57) {
        model_invalidate_range(i, (unsigned)(harness_random(seed) % ENTRIES));
    } else if (what < 59) {
        zswap_writeback(f.zswap, 4096);
        zswap_writeback_reap(f.zswap, what % 2);
    } else if (what < 62) {
        zswap_trim(f.zswap);
    } else {
        f.memory.fail_countdown = (int64_t)(harness_random(seed) % 4);
    }
}

static void beside_a_model(size_t limit, enum zswap_writeback mode)
{
    uint64_t seed = limit + mode + 1, most = 0;
    set_up(limit, mode, RAM_DEVICE_ASYNC);
    for (unsigned i = 0; i < ENTRIES; i++) {
        model[i] = CONTENTS;
    }
    for (unsigned step = 0; step < STEPS; step++) {
        model_step(&seed);
        if (step % 64 == 0) {
            f.memory.fail_countdown = 0;
            zswap_writeback_reap(f.zswap, true);
            CHECK(zswap_consistent(f.zswap));
            struct zswap_stats stats = stats_of(&f);
            most = stats.deduplicated_pages > most ? stats.deduplicated_pages : most;
            CHECK_EQUAL(restless_objects(), stats.stored_pages - stats.same_filled_pages -
                                                stats.deduplicated_pages + stats.shared_objects);
        }
    }
    f.memory.fail_countdown = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        model_load(i, zswap_load);
    }
    printf("# at most %llu entries shared\n", (unsigned long long)most);
    CHECK(most > ENTRIES / 8);
    tear_down();
}

TEST(beside_a_model_with_room)
{
    beside_a_model(4 << 20, ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(beside_a_model_at_the_limit)
{
    beside_a_model(24 << 10, ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(beside_a_model_with_plain_pages_on_the_device)
{
    beside_a_model(24 << 10, ZSWAP_WRITEBACK_PAGE);
}

TEST(beside_a_model_without_writeback)
{
    beside_a_model(64 << 10, ZSWAP_WRITEBACK_OFF);
}

/* ---- threads: each stores in its own entries and knows what they hold; all read all */

#define THREADS 4u
#define OWN (ENTRIES / THREADS)

static uint32_t done; /* atomic */

static void *use(void *number)
{
    unsigned first = (unsigned)(uintptr_t)number * OWN, mine[OWN];
    uint64_t seed = first + 1;
    unsigned char page[PAGE_BYTES];
    for (unsigned i = 0; i < OWN; i++) {
        mine[i] = CONTENTS;
    }
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)(harness_random(&seed) % OWN), what = (unsigned)(harness_random(&seed) % 16);
        struct swap_entry entry = at((first + i) * SPREAD);
        if (what < 6) {
            mine[i] = (unsigned)(harness_random(&seed) % CONTENTS);
            int error = zswap_store(f.zswap, entry, contents[mine[i]]);
            CHECK(!error || error == -ENOSPC);
            mine[i] = error ? CONTENTS : mine[i];
        } else if (what < 8) {
            CHECK_EQUAL(zswap_invalidate(f.zswap, entry), mine[i] != CONTENTS);
            mine[i] = CONTENTS;
        } else if (what < 12) {
            int error = (what < 10 ? zswap_load : zswap_load_exclusive)(f.zswap, entry, page);
            CHECK_EQUAL(error, mine[i] == CONTENTS ? -ENOENT : 0);
            CHECK(error || content_of(page) == mine[i]);
            mine[i] = what < 10 ? mine[i] : CONTENTS;
        } else {
            entry = at((unsigned)(harness_random(&seed) % ENTRIES) * SPREAD);
            int error = zswap_load(f.zswap, entry, page);
            CHECK(error ? error == -ENOENT : content_of(page) < CONTENTS);
        }
    }
    return NULL;
}

static void *disturb(void *unused)
{
    while (!atomic_read_relaxed(&done)) {
        zswap_trim(f.zswap);
        zswap_writeback(f.zswap, 1);
        zswap_writeback_reap(f.zswap, false);
        sched_yield();
    }
    return unused;
}

/* Entries of an area that comes and goes are found by stores to the other. */
static void *come_and_go(void *unused)
{
    while (!atomic_read_relaxed(&done)) {
        REQUIRE(zswap_area_create(f.zswap, TYPE + 1, 64) == 0);
        for (unsigned i = 0; i < 64; i++) {
            zswap_store(f.zswap, (struct swap_entry){TYPE + 1, i}, contents[i % CONTENTS]);
        }
        zswap_area_destroy(f.zswap, TYPE + 1);
    }
    return unused;
}

static void threads(size_t limit, enum zswap_writeback mode)
{
    pthread_t users[THREADS], others[2];
    set_up(limit, mode, RAM_DEVICE_ASYNC);
    restless_set(16);
    done = 0;
    REQUIRE(pthread_create(&others[0], NULL, disturb, NULL) == 0);
    REQUIRE(pthread_create(&others[1], NULL, come_and_go, NULL) == 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&users[i], NULL, use, (void *)i) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(users[i], NULL);
    }
    atomic_set_relaxed(&done, 1);
    pthread_join(others[0], NULL);
    pthread_join(others[1], NULL);
    restless_set(0);
    zswap_writeback_reap(f.zswap, true);
    struct zswap_stats stats = stats_of(&f);
    printf("# %llu written back, %llu objects moved, %llu compared in vain\n",
           (unsigned long long)stats.written_back_pages, (unsigned long long)restless_moves(),
           (unsigned long long)stats.dedup_collisions);
    CHECK(stats.written_back_pages > 0 || mode == ZSWAP_WRITEBACK_OFF);
    tear_down();
}

TEST(threads_with_writeback)
{
    threads(64 << 10, ZSWAP_WRITEBACK_COMPRESSED);
}

TEST(threads_with_plain_pages_on_the_device)
{
    threads(64 << 10, ZSWAP_WRITEBACK_PAGE);
}

TEST(threads_without_writeback)
{
    threads(4 << 20, ZSWAP_WRITEBACK_OFF);
}

int main(void)
{
    RUN(beside_a_model_with_room);
    RUN(beside_a_model_at_the_limit);
    RUN(beside_a_model_with_plain_pages_on_the_device);
    RUN(beside_a_model_without_writeback);
    RUN(threads_with_writeback);
    RUN(threads_with_plain_pages_on_the_device);
    RUN(threads_without_writeback);
    return harness_finish();
}
