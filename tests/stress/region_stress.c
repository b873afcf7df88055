/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, in little memory: threads touch and check pages of their own, strewn over shared clusters; one changes ranges
 * of its own (discard, move, protect) and hints at everybody's; the device queues its writes, and fails some. At the end
 * all must be consistent, and nothing left.
 *
 *     UZSWAP_STRESS_SECONDS=60 stress-region_stress          runs longer
 *     UZSWAP_STRESS_SEED=7 ...                               draws other numbers
 */
#include <pthread.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define TOUCHERS 3u
#define REGION_BYTES (24 * MIB)
#define BUDGET (10 * MIB)
#define OWN_PAGES 256u /* the changer's, at the end: one half is in use, the other empty */

static struct fixture f;
static uint32_t stop;    /* atomic */
static uint64_t touches; /* atomic */
static uint64_t changes; /* atomic */
static uint64_t seed;
static bool with_faults;

static uint64_t pages_touched(void)
{
    return f.pages - OWN_PAGES;
}

static void *run_toucher(void *argument)
{
    uint64_t id = (uintptr_t)argument, random = seed * 31 + id + 1;
    uint32_t *versions = calloc(f.pages, sizeof *versions);
    REQUIRE(versions);
    uint64_t mine = pages_touched() / TOUCHERS;
    while (!atomic_read_acquire(&stop)) {
        uint64_t at = harness_random(&random) % mine;
        uint64_t run = harness_random(&random) % 8 ? 1 : 1 + harness_random(&random) % 20;
        for (uint64_t i = at; i < at + run && i < mine; i++) {
            uint64_t page = i * TOUCHERS + id;
            CHECK(fixture_is(&f, fixture_page(&f, page), page, versions[page]));
            if (harness_random(&random) % 3 == 0) {
                fixture_make(&f, fixture_page(&f, page), page, ++versions[page]);
            }
            atomic_add_relaxed(&touches, 1);
        }
    }
    for (uint64_t i = 0; i < mine; i++) {
        uint64_t page = i * TOUCHERS + id;
        CHECK(fixture_is(&f, fixture_page(&f, page), page, versions[page]));
    }
    free(versions);
    return NULL;
}

/* ---- the changer's own pages: what each should hold */

struct own {
    uint64_t page[OWN_PAGES];    /* whose content */
    uint64_t version[OWN_PAGES]; /* 0 = zeros */
    uint64_t random;
};

static unsigned char *own_page(uint64_t i)
{
    return fixture_page(&f, pages_touched() + i);
}

static void write_own(struct own *own, uint64_t i)
{
    own->page[i] = i;
    own->version[i] = 1 + harness_random(&own->random) % 1000;
    fixture_make(&f, own_page(i), i, own->version[i]);
}

static void check_own(const struct own *own, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        CHECK(fixture_is(&f, own_page(i), own->page[i], own->version[i]));
    }
}

/* Moves a range from one half to the other, where that is empty. */
static void move_own(struct own *own, uint64_t first, uint64_t count)
{
    uint64_t to = harness_random(&own->random) % (OWN_PAGES / 2 - count + 1);
    to += first < OWN_PAGES / 2 ? OWN_PAGES / 2 : 0;
    CHECK_EQUAL(region_discard(f.region, own_page(to), count * PAGE_BYTES), 0);
    CHECK_EQUAL(region_move(f.region, own_page(first), own_page(to), count * PAGE_BYTES), 0);
    for (uint64_t i = 0; i < count; i++) {
        own->page[to + i] = own->page[first + i];
        own->version[to + i] = own->version[first + i];
        own->version[first + i] = 0;
    }
}

static void protect_own(struct own *own, uint64_t first, uint64_t count)
{
    CHECK_EQUAL(region_protect(f.region, own_page(first), count * PAGE_BYTES, PROT_READ), 0);
    region_pageout(f.region, own_page(first), count * PAGE_BYTES);
    check_own(own, first, count);
    CHECK_EQUAL(region_protect(f.region, own_page(first), count * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
}

static void hint(struct own *own)
{
    uint64_t first = harness_random(&own->random) % (f.pages - 200),
             count = 1 + harness_random(&own->random) % 200;
    if (harness_random(&own->random) % 2) {
        region_pageout(f.region, fixture_page(&f, first), count * PAGE_BYTES);
    } else {
        region_willneed(f.region, fixture_page(&f, first), count * PAGE_BYTES);
    }
}

static void set_codec(struct own *own)
{
    static const char *const names[] = {"lz4", "zstd:1", "deflate:1"};
    struct codec codec;
    REQUIRE(!codec_parse(names[harness_random(&own->random) % 3], &codec));
    zswap_set_codec(f.zswap, &codec);
}

static void fail_something(struct own *own)
{
    if (with_faults && harness_random(&own->random) % 4 == 0) {
        faulty_fail_nth(f.device, SWAP_WRITE, 1, -EIO);
    } else if (with_faults && harness_random(&own->random) % 4 == 0) {
        faulty_tear_nth_write(f.device, 1, -EIO);
    }
}

static void change(struct own *own)
{
    uint64_t count = 1 + harness_random(&own->random) % 70;
    uint64_t first = harness_random(&own->random) % (OWN_PAGES / 2 - count + 1);
    first += harness_random(&own->random) % 2 ? OWN_PAGES / 2 : 0;
    switch (harness_random(&own->random) % 8) {
    case 0:
        CHECK_EQUAL(region_discard(f.region, own_page(first), count * PAGE_BYTES), 0);
        memset(&own->version[first], 0, count * sizeof own->version[0]);
        break;
    case 1:
        move_own(own, first, count);
        break;
    case 2:
        protect_own(own, first, count);
        break;
    case 3:
        hint(own);
        break;
    case 4:
        check_own(own, first, count);
        break;
    case 5:
        set_codec(own);
        fail_something(own);
        zswap_writeback(f.zswap, MIB / 4);
        break;
    case 6:
        region_fork_prepare(f.region); /* as if somebody forked */
        region_fork_parent(f.region);
        break;
    default:
        for (uint64_t i = first; i < first + count; i++) {
            write_own(own, i);
        }
    }
    atomic_add_relaxed(&changes, 1);
}

static void *run_changer(void *argument)
{
    static struct own own;
    (void)argument;
    memset(&own, 0, sizeof own);
    own.random = seed * 17 + 5;
    while (!atomic_read_acquire(&stop)) {
        change(&own);
    }
    check_own(&own, 0, OWN_PAGES);
    return NULL;
}

static int seconds(void)
{
    const char *text = getenv("UZSWAP_STRESS_SECONDS");
    return text ? atoi(text) : 6;
}

/* A quarter of the time for each. */
static void stress(struct fixture_options o, bool without_move)
{
    pthread_t threads[TOUCHERS + 1];
    const char *text = getenv("UZSWAP_STRESS_SEED");
    seed = text ? strtoull(text, NULL, 0) : 1;
    stop = 0;
    touches = changes = 0;
    with_faults = o.device == FIXTURE_FAULTY;
    fixture_open(&f, o);
    if (without_move) {
        rwlock_write_lock(&f.region->layout);
        f.region->userfault.has_move = false;
        rwlock_write_unlock(&f.region->layout);
    }
    for (uint64_t i = 0; i <= TOUCHERS; i++) {
        void *(*run)(void *) = i < TOUCHERS ? run_toucher : run_changer;
        REQUIRE(!pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i));
    }
    do {
        fixture_sleep_ms(seconds() * 1000 / 4);
    } while (!fixture_stats(&f).evicted_pages);
    atomic_set_release(&stop, 1);
    for (uint64_t i = 0; i <= TOUCHERS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct region_stats s = fixture_stats(&f);
    printf("# %llu touches, %llu changes; faults %llu, evicted %llu, refaults %llu, pool %llu, device %llu, "
           "copied %llu, "
           "peak %lld KiB of %lld\n",
           (unsigned long long)touches, (unsigned long long)changes, (unsigned long long)s.faults,
           (unsigned long long)s.evicted_pages, (unsigned long long)s.refaults,
           (unsigned long long)s.pool_loads, (unsigned long long)s.device_loads,
           (unsigned long long)s.copied_out, (long long)f.account.peak >> 10,
           (long long)f.account.limit >> 10);
    CHECK(s.evicted_pages > 0);
    CHECK_EQUAL(s.poisoned_pages, 0);
    fixture_close(&f);
}

static const struct fixture_options tight = {
    .bytes = REGION_BYTES, .budget = BUDGET, .device = FIXTURE_RAM_QUEUED, .pool_bytes = 3 * MIB};

TEST(everything_at_once)
{
    stress(tight, false);
}

TEST(everything_at_once_with_a_failing_device)
{
    struct fixture_options o = tight;
    o.device = FIXTURE_FAULTY;
    o.incompressible = true;
    stress(o, false);
}

TEST(everything_at_once_with_a_file_of_plain_pages)
{
    struct fixture_options o = tight;
    o.device = FIXTURE_FILE;
    o.writeback = ZSWAP_WRITEBACK_PAGE;
    stress(o, false);
}

TEST(everything_at_once_without_move_and_few_slots)
{
    struct fixture_options o = tight;
    o.slots = 300;
    stress(o, true);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(everything_at_once);
    RUN(everything_at_once_with_a_failing_device);
    RUN(everything_at_once_with_a_file_of_plain_pages);
    RUN(everything_at_once_without_move_and_few_slots);
    return harness_finish();
}
