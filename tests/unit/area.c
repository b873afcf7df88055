/* SPDX-License-Identifier: MIT */
/* One swap area: the order of its LRU, the giving back of its memory, and what its checker sees. */
#include "zswap/area.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "tests/harness.h"

#define PER_PAGE (PAGE_BYTES / 8)
#define PAGES (4 * PER_PAGE - 12)

static struct account account;
static struct memory memory = {.account = &account};
static struct area area;

static void set_up(void)
{
    REQUIRE(area_init(&area, &memory, PAGES) == 0);
}

static void tear_down(void)
{
    area_destroy(&area);
    CHECK_EQUAL(account_total(&account), 0);
}

static void set_word(uint64_t offset, uint64_t word)
{
    uint64_t *slot = area_word_for_store(&area, offset, entry_kind(word) == ENTRY_POOL);
    REQUIRE(slot);
    atomic_set_release(slot, word);
}

/* As a store does: publish, then link. */
static void put(uint64_t offset)
{
    set_word(offset, entry_make(ENTRY_POOL, offset + 1, 100, 1));
    area_lru_add(&area, offset);
}

/* As invalidate does: remove, then drop. */
static void remove_entry(uint64_t offset)
{
    set_word(offset, 0);
    area_lru_drop(&area, offset);
}

static void check_oldest(uint64_t expected)
{
    uint64_t offset = UINT64_MAX;
    CHECK(area_lru_take_oldest(&area, &offset));
    CHECK_EQUAL(offset, expected);
}

TEST(oldest_comes_first)
{
    set_up();
    put(7);
    put(0);
    put(PAGES - 1);
    CHECK_EQUAL(area_lru_count(&area), 3);
    CHECK(area_consistent(&area));
    check_oldest(7);
    check_oldest(0);
    check_oldest(PAGES - 1);
    uint64_t offset;
    CHECK(!area_lru_take_oldest(&area, &offset));
    tear_down();
}

TEST(adding_again_makes_it_the_newest)
{
    set_up();
    put(1);
    put(2);
    put(3);
    put(1);
    CHECK_EQUAL(area_lru_count(&area), 3);
    check_oldest(2);
    check_oldest(3);
    check_oldest(1);
    tear_down();
}

TEST(only_entries_in_the_pool_are_linked)
{
    set_up();
    area_lru_add(&area, 5); /* no word at all */
    set_word(6, 77 << 3 | ENTRY_FILLED);
    area_lru_add(&area, 6);
    set_word(7, entry_make(ENTRY_DEVICE, 1, 100, 1));
    area_lru_add(&area, 7);
    CHECK_EQUAL(area_lru_count(&area), 0);
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(drop_unlinks_what_left_the_pool)
{
    set_up();
    put(1);
    put(2);
    put(3);
    area_lru_drop(&area, 2); /* still in the pool */
    CHECK_EQUAL(area_lru_count(&area), 3);
    remove_entry(2);
    remove_entry(2);
    area_lru_drop(&area, 3 * PER_PAGE); /* never touched */
    CHECK(area_consistent(&area));
    check_oldest(1);
    check_oldest(3);
    tear_down();
}

TEST(take_unlinks_any)
{
    set_up();
    put(1);
    put(2);
    put(3);
    CHECK(area_lru_take(&area, 2));
    CHECK(!area_lru_take(&area, 2));
    CHECK(!area_lru_take(&area, 900));
    CHECK(!area_lru_take(&area, PAGES + 5));
    CHECK(area_lru_take(&area, 3));
    check_oldest(1);
    CHECK(!area_lru_take(&area, 1));
    tear_down();
}

TEST(behaves_like_a_naive_queue)
{
    static uint64_t queue[PAGES];
    size_t n = 0;
    uint64_t seed = 5;
    set_up();
    for (int round = 0; round < 20000; round++) {
        uint64_t offset = harness_random(&seed) % 40 * 50, oldest;
        size_t at = 0;
        while (at < n && queue[at] != offset) {
            at++;
        }
        unsigned what = harness_random(&seed) % 8;
        if (what == 7) {
            CHECK_EQUAL(area_lru_take_oldest(&area, &oldest), n > 0);
            CHECK(!n || oldest == queue[0]);
            offset = n ? oldest : offset;
            at = 0;
        } else if (what == 6) {
            CHECK_EQUAL(area_lru_take(&area, offset), at < n);
        } else if (what == 5) {
            remove_entry(offset);
        } else {
            put(offset);
        }
        if (at < n) {
            memmove(&queue[at], &queue[at + 1], (n - at - 1) * sizeof queue[0]);
            n--;
        }
        if (what < 5) {
            queue[n++] = offset;
        } else {
            set_word(offset, 0);
        }
        CHECK_EQUAL(area_lru_count(&area), n);
    }
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(empty_pages_of_the_index_are_given_back)
{
    set_up();
    size_t before = account_total(&account);
    put(10);
    put(PER_PAGE + 10);
    put(PAGES - 1);
    remove_entry(10);
    remove_entry(PAGES - 1);
    area_release(&area, 0, PAGES);
    CHECK(!area_word(&area, 10));
    CHECK(area_word(&area, PER_PAGE + 10));
    CHECK(!area_word(&area, PAGES - 1));
    remove_entry(PER_PAGE + 10);
    area_release(&area, 0, UINT64_MAX);
    /* What stays is the page of each bitmap. */
    CHECK_EQUAL(account_total(&account), before + 2 * PAGE_BYTES);
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(pages_partly_outside_the_range_stay)
{
    set_up();
    put(10);
    remove_entry(10);
    area_release(&area, 1, PAGES - 1);
    CHECK(area_word(&area, 10));
    area_release(&area, 0, PER_PAGE - 1);
    CHECK(area_word(&area, 10));
    area_release(&area, 0, PER_PAGE);
    CHECK(!area_word(&area, 10));
    tear_down();
}

/* After a release that gave up, no word may be left frozen: a store would wait for ever. */
TEST(page_with_an_entry_stays_and_thaws)
{
    set_up();
    put(PER_PAGE - 1);
    area_release(&area, 0, PAGES);
    uint64_t *words = area_word(&area, 0);
    REQUIRE(words);
    for (size_t i = 0; i < PER_PAGE - 1; i++) {
        CHECK_EQUAL(words[i], 0);
    }
    tear_down();
}

TEST(store_into_a_released_page_is_confirmed)
{
    set_up();
    size_t before = account_total(&account);
    uint64_t *slot = area_word_for_store(&area, 3, true);
    area_release(&area, 0, PAGES);
    CHECK(!area_word(&area, 3));
    atomic_set_release(slot, entry_make(ENTRY_POOL, 9, 100, 1)); /* the store had its slot from before */
    CHECK(area_confirm(&area, 3));
    area_lru_add(&area, 3);
    CHECK(area_word(&area, 3) == slot);
    CHECK_EQUAL(account_total(&account), before + 4 * PAGE_BYTES);
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(store_that_cannot_be_confirmed_is_told_so)
{
    set_up();
    area_word_for_store(&area, 3, true);
    area_release(&area, 0, PAGES);
    memory.fail_countdown = 1;
    CHECK(!area_confirm(&area, 3));
    CHECK(area_confirm(&area, 3));
    tear_down();
}

/* Two threads release all the time, one of them sweeping; the others store and remove, each its own offsets of the same index page. */
static uint32_t stop; /* atomic */

static void *keep_releasing(void *unused)
{
    (void)unused;
    while (!atomic_read_relaxed(&stop)) {
        area_release(&area, 0, PAGES);
    }
    return NULL;
}

static void *keep_sweeping(void *unused)
{
    (void)unused;
    while (!atomic_read_relaxed(&stop)) {
        area_sweep(&area, 1);
    }
    return NULL;
}

static void store_as_zswap_does(uint64_t offset, uint64_t word)
{
    uint64_t *slot = area_word_for_store(&area, offset, true), seen = atomic_read_acquire(slot);
    int waited = 0;
    do {
        while (seen == ENTRY_FROZEN) {
            REQUIRE(++waited < 1000000); /* else left frozen */
            sched_yield();
            seen = atomic_read_acquire(slot);
        }
    } while (!atomic_cas_acq_rel(slot, &seen, word));
    CHECK(area_confirm(&area, offset));
    area_lru_add(&area, offset);
}

static void *store_and_remove(void *number)
{
    uint64_t seed = (uintptr_t)number + 1, offset = (uintptr_t)number * 17;
    for (int i = 0; i < 20000; i++) {
        uint64_t word = entry_make(ENTRY_POOL, harness_random(&seed) >> 30, 100, 1);
        area_prefetch(&area, offset);
        area_prefetch_neighbours(&area, offset);
        store_as_zswap_does(offset, word);
        uint64_t *found = area_word(&area, offset);
        CHECK(found && atomic_read_acquire(found) == word);
        if (found) {
            atomic_set_release(found, 0);
        }
        area_lru_drop(&area, offset);
    }
    return NULL;
}

TEST(release_never_takes_an_entry_and_never_leaves_a_word_frozen)
{
    pthread_t releasers[2], threads[3];
    set_up();
    size_t before = account_total(&account);
    stop = 0;
    REQUIRE(pthread_create(&releasers[0], NULL, keep_releasing, NULL) == 0);
    REQUIRE(pthread_create(&releasers[1], NULL, keep_sweeping, NULL) == 0);
    for (uintptr_t i = 0; i < 3; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, store_and_remove, (void *)i) == 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_set_relaxed(&stop, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(releasers[i], NULL);
    }
    area_release(&area, 0, PAGES);
    CHECK_EQUAL(area_lru_count(&area), 0);
    CHECK(area_consistent(&area));
    CHECK(account_total(&account) <= before + 2 * PAGE_BYTES); /* bitmaps */
    tear_down();
}

/* The page of an offset may or may not be there. */
static bool has_memory(uint64_t offset)
{
    return sparse_is_committed(&area.words, offset) || sparse_is_committed(&area.links, offset);
}

TEST(a_page_that_emptied_by_itself_is_swept)
{
    set_up();
    put(10);
    put(11);
    put(PER_PAGE + 10);
    remove_entry(10);
    CHECK_EQUAL(area_sweep(&area, 8), 0);
    remove_entry(11);
    CHECK(has_memory(10)); /* not at once */
    CHECK_EQUAL(area_sweep(&area, 8), 2 * PAGE_BYTES);
    CHECK(!has_memory(10));
    CHECK(area_word(&area, PER_PAGE + 10));
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(a_sweep_goes_a_step_at_a_time_and_round)
{
    set_up();
    for (uint64_t page = 0; page < 4; page++) {
        put(page * PER_PAGE);
        remove_entry(page * PER_PAGE);
    }
    for (uint64_t page = 0; page < 4; page++) {
        CHECK(has_memory(page * PER_PAGE));
        CHECK_EQUAL(area_sweep(&area, 1), 2 * PAGE_BYTES);
        CHECK(!has_memory(page * PER_PAGE));
    }
    CHECK_EQUAL(area_sweep(&area, 1), 0); /* the end */
    put(0);
    remove_entry(0);
    CHECK_EQUAL(area_sweep(&area, 1), 2 * PAGE_BYTES);
    tear_down();
}

TEST(a_sweep_takes_links_of_what_is_all_on_the_device)
{
    set_up();
    put(3);
    put(4);
    set_word(3, 77 << 3 | ENTRY_DEVICE);
    area_lru_drop(&area, 3);
    CHECK_EQUAL(area_sweep(&area, 8), 0); /* 4 is linked */
    set_word(4, 78 << 3 | ENTRY_DEVICE);
    area_lru_drop(&area, 4);
    CHECK_EQUAL(area_sweep(&area, 8), PAGE_BYTES);
    CHECK(!sparse_is_committed(&area.links, 3));
    CHECK(sparse_is_committed(&area.words, 3));
    put(3);
    check_oldest(3);
    tear_down();
}

TEST(a_sweep_leaves_what_somebody_still_has_to_unlink)
{
    set_up();
    put(3);
    set_word(3, 0); /* removed, and not yet dropped */
    CHECK_EQUAL(area_sweep(&area, 8), PAGE_BYTES);
    CHECK(sparse_is_committed(&area.links, 3));
    area_lru_drop(&area, 3);
    CHECK_EQUAL(area_sweep(&area, 8), PAGE_BYTES);
    CHECK(!has_memory(3));
    tear_down();
}

TEST(what_has_no_object_takes_no_links)
{
    set_up();
    size_t before = account_total(&account);
    set_word(3, 77 << 3 | ENTRY_FILLED);
    CHECK_EQUAL(account_total(&account), before + 2 * PAGE_BYTES); /* words, and their bitmap */
    CHECK(!sparse_is_committed(&area.links, 3));
    area_lru_drop(&area, 3);
    CHECK(!area_lru_take(&area, 3));
    put(3);
    CHECK(sparse_is_committed(&area.links, 3));
    CHECK(area_consistent(&area));
    tear_down();
}

/* Which index pages have memory: those with an entry, and those that have had one since they were last looked at; links
 * likewise. */
TEST(gives_memory_back_like_a_naive_table)
{
    enum { WORDS = 1, LINKS = 2 };
    static unsigned char stored[PAGES], linked[PAGES];
    unsigned kept[4] = {0}, used[4] = {0}, links[4] = {0};
    uint64_t seed = 11;
    set_up();
    for (int round = 0; round < 30000; round++) {
        uint64_t offset = harness_random(&seed) % 4 * PER_PAGE + harness_random(&seed) % 3,
                 page = offset / PER_PAGE;
        unsigned what = harness_random(&seed) % 100;
        if (what < 20) {
            put(offset);
            used[page] += !stored[offset];
            links[page] += !linked[offset];
            stored[offset] = linked[offset] = 1;
            kept[page] |= WORDS | LINKS;
        } else if (what < 30) {
            set_word(offset, 77 << 3 | ENTRY_FILLED);
            area_lru_drop(&area, offset);
            used[page] += !stored[offset];
            links[page] -= linked[offset];
            stored[offset] = 1;
            linked[offset] = 0;
            kept[page] |= WORDS;
        } else if (what < 90) {
            used[page] -= stored[offset];
            if (stored[offset]) {
                remove_entry(offset);
            }
            links[page] -= linked[offset];
            stored[offset] = linked[offset] = 0;
        } else {
            bool swept = what < 95;
            if (swept) {
                area_sweep(&area, 5);
                area_sweep(&area, 5);
            } else {
                area_release(&area, 0, UINT64_MAX);
            }
            for (page = 0; page < 4; page++) {
                kept[page] &= used[page] ? swept && !links[page] ? WORDS : WORDS | LINKS : 0;
            }
        }
        for (page = 0; page < 4; page++) {
            CHECK_EQUAL(sparse_is_committed(&area.words, page * PER_PAGE), kept[page] / WORDS % 2);
            CHECK_EQUAL(sparse_is_committed(&area.links, page * PER_PAGE), kept[page] / LINKS % 2);
        }
    }
    CHECK(area_consistent(&area));
    tear_down();
}

TEST(sizes_that_make_no_sense_are_refused)
{
    struct area none;
    CHECK_EQUAL(area_init(&none, &memory, 0), -EINVAL);
    CHECK_EQUAL(area_init(&none, &memory, AREA_PAGES_MAX + 1), -EINVAL);
    for (int n = 1; n <= 6; n++) {
        memory.fail_countdown = n;
        CHECK_EQUAL(area_init(&none, &memory, PAGES), -ENOMEM);
        CHECK_EQUAL(account_total(&account), 0);
    }
    memory.fail_countdown = 0;
}

/* What the checker prints about a planted fault is wanted, and not shown. */
static bool consistent_quietly(void)
{
    fflush(stderr);
    int saved = dup(2);
    if (freopen("/dev/null", "w", stderr) == NULL) {
        return true;
    }
    bool good = area_consistent(&area);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    return good;
}

static struct lru_links *links_of(uint64_t offset)
{
    return sparse_get(&area.links, offset);
}

TEST(checker_sees_planted_faults)
{
    set_up();
    put(1);
    put(2);
    put(3);
    CHECK(area_consistent(&area));

    uint64_t word = *area_word(&area, 2);
    set_word(2, 0); /* left the pool without a drop */
    CHECK(!consistent_quietly());
    set_word(2, word);

    set_word(9, word); /* in the pool without an add */
    CHECK(!consistent_quietly());
    set_word(9, 0);

    struct lru_links links = *links_of(2);
    links_of(2)->older = 0; /* a broken link back */
    CHECK(!consistent_quietly());
    *links_of(2) = links;

    links_of(2)->newer = 0; /* and forth */
    CHECK(!consistent_quietly());
    *links_of(2) = links;

    links_of(3)->newer = 2; /* a ring */
    CHECK(!consistent_quietly());
    links_of(3)->newer = 0;

    area.linked++;
    CHECK(!consistent_quietly());
    area.linked--;

    area.newest = 3;
    CHECK(!consistent_quietly());
    area.newest = 4;
    CHECK(area_consistent(&area));
    tear_down();
}

int main(void)
{
    RUN(oldest_comes_first);
    RUN(adding_again_makes_it_the_newest);
    RUN(only_entries_in_the_pool_are_linked);
    RUN(drop_unlinks_what_left_the_pool);
    RUN(take_unlinks_any);
    RUN(behaves_like_a_naive_queue);
    RUN(empty_pages_of_the_index_are_given_back);
    RUN(pages_partly_outside_the_range_stay);
    RUN(page_with_an_entry_stays_and_thaws);
    RUN(store_into_a_released_page_is_confirmed);
    RUN(store_that_cannot_be_confirmed_is_told_so);
    RUN(release_never_takes_an_entry_and_never_leaves_a_word_frozen);
    RUN(a_page_that_emptied_by_itself_is_swept);
    RUN(a_sweep_goes_a_step_at_a_time_and_round);
    RUN(a_sweep_takes_links_of_what_is_all_on_the_device);
    RUN(a_sweep_leaves_what_somebody_still_has_to_unlink);
    RUN(what_has_no_object_takes_no_links);
    RUN(gives_memory_back_like_a_naive_table);
    RUN(sizes_that_make_no_sense_are_refused);
    RUN(checker_sees_planted_faults);
    return harness_finish();
}
