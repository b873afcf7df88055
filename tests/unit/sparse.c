/* SPDX-License-Identifier: MIT */
/* Sparse arrays, and the memory and account under them: behaviours, a naive model, and many threads. */
#include "base/sparse.h"

#include <pthread.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "tests/harness.h"

static struct account account;
static struct memory memory = {.account = &account};

/* An array of 8-byte slots that ends in the middle of a page. */
#define PER_PAGE (PAGE_BYTES / 8)
#define PAGES 200
#define SLOTS (PAGES * PER_PAGE - 100)

static struct sparse array;

static void set_up(void)
{
    REQUIRE(sparse_init(&array, &memory, SLOTS, 8, ACCOUNT_POOL) == 0);
}

static void tear_down(void)
{
    sparse_destroy(&array);
    CHECK_EQUAL(account_total(&account), 0);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        CHECK_EQUAL(account.bytes[kind], 0);
    }
}

TEST(untouched_slots_are_not_there_and_cost_nothing)
{
    set_up();
    for (uint64_t i = 0; i < SLOTS; i += 77) {
        CHECK(!sparse_get(&array, i));
    }
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), 0);
    CHECK_EQUAL(sparse_next_committed(&array, 0), SLOTS);
    tear_down();
}

TEST(slots_outside_are_not_there)
{
    set_up();
    CHECK(sparse_get_for_write(&array, SLOTS - 1));
    CHECK(!sparse_get_for_write(&array, SLOTS));
    CHECK(!sparse_get(&array, SLOTS));
    CHECK(!sparse_get_for_write(&array, UINT64_MAX));
    CHECK(!sparse_get(&array, UINT64_MAX));
    tear_down();
}

TEST(a_page_is_charged_once_and_reads_as_zero)
{
    set_up();
    uint64_t *slot = sparse_get_for_write(&array, PER_PAGE + 3);
    REQUIRE(slot);
    CHECK_EQUAL(*slot, 0);
    *slot = 42;
    CHECK(sparse_get_for_write(&array, PER_PAGE) == slot - 3);
    CHECK(sparse_get(&array, PER_PAGE + 3) == slot);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), PAGE_BYTES);
    tear_down();
}

TEST(a_released_page_is_gone_and_comes_back_as_zero)
{
    set_up();
    *(uint64_t *)sparse_get_for_write(&array, 5) = 42;
    sparse_release_page(&array, 7);
    CHECK(!sparse_get(&array, 5));
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), 0);
    CHECK_EQUAL(*(uint64_t *)sparse_get_for_write(&array, 5), 0);
    tear_down();
}

TEST(a_page_that_is_not_committed_is_emptied_all_the_same)
{
    set_up();
    uint64_t *slot = sparse_get_for_write(&array, 5);
    sparse_release_page(&array, 7);
    *slot = 42; /* by one who found it before */
    sparse_release_page(&array, 7);
    CHECK_EQUAL(*slot, 0);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), 0);
    tear_down();
}

TEST(sizes_that_make_no_sense_are_refused)
{
    struct sparse s;
    CHECK_EQUAL(sparse_init(&s, &memory, 0, 8, ACCOUNT_POOL), -EINVAL);
    CHECK_EQUAL(sparse_init(&s, &memory, 10, 0, ACCOUNT_POOL), -EINVAL);
    CHECK_EQUAL(sparse_init(&s, &memory, 10, 24, ACCOUNT_POOL), -EINVAL);
    CHECK_EQUAL(sparse_init(&s, &memory, 10, 2 * PAGE_BYTES, ACCOUNT_POOL), -EINVAL);
    CHECK_EQUAL(sparse_init(&s, &memory, UINT64_MAX / 8, 8, ACCOUNT_POOL), -EINVAL);
    CHECK_EQUAL(account_total(&account), 0);
}

/* Each request for memory fails in turn, of init and of the first write. */
TEST(no_memory_is_an_answer)
{
    for (int n = 1;; n++) {
        struct sparse s;
        memory.fail_countdown = n;
        int error = sparse_init(&s, &memory, SLOTS, 8, ACCOUNT_POOL);
        void *slot = error ? NULL : sparse_get_for_write(&s, 9);
        bool fired = memory.fail_countdown <= 0;
        memory.fail_countdown = 0;
        CHECK(!error || error == -ENOMEM);
        if (!error) {
            CHECK((slot == NULL) == fired);
            CHECK(sparse_get_for_write(&s, 9)); /* and it can be had later */
            sparse_destroy(&s);
        }
        CHECK_EQUAL(account_total(&account), 0);
        if (!fired) {
            CHECK(n > 4);
            return;
        }
    }
}

TEST(destroying_what_was_never_made_is_nothing)
{
    struct sparse s = {0};
    sparse_destroy(&s);
    CHECK_EQUAL(account_total(&account), 0);
}

/* The bitmap of this one has several pages, which are skipped where nothing was committed. */
TEST(next_committed_skips_far)
{
    const uint64_t slots = 1ull << 33;
    struct sparse s;
    REQUIRE(sparse_init(&s, &memory, slots, 8, ACCOUNT_POOL) == 0);
    const uint64_t at[] = {PER_PAGE * 63, PER_PAGE * 64, PER_PAGE * 32768ull,
                           PER_PAGE * (32768ull * 5 + 4711), slots - PER_PAGE};
    for (size_t i = 0; i < ARRAY_LENGTH(at); i++) {
        REQUIRE(sparse_get_for_write(&s, at[i] + 5));
    }
    uint64_t next = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(at); i++) {
        next = sparse_next_committed(&s, next);
        CHECK_EQUAL(next, at[i]);
        CHECK_EQUAL(sparse_next_committed(&s, next + 7), at[i] + 7); /* inside a page: where it was asked */
        next += PER_PAGE;
    }
    CHECK_EQUAL(sparse_next_committed(&s, next), slots);
    sparse_destroy(&s);
    CHECK_EQUAL(account_total(&account), 0);
}

static uint64_t model_next(const bool *committed, uint64_t i)
{
    while (i < SLOTS && !committed[i / PER_PAGE]) {
        i++;
    }
    return i;
}

TEST(behaves_like_the_naive_model)
{
    static bool committed[PAGES];
    static uint64_t value[SLOTS];
    uint64_t seed = 7, pages = 0;
    set_up();
    for (int round = 0; round < 5000; round++) {
        uint64_t i = harness_random(&seed) % SLOTS, page = i / PER_PAGE;
        switch (harness_random(&seed) % 4) {
        case 0:
            pages += !committed[page];
            committed[page] = true;
            *(uint64_t *)sparse_get_for_write(&array, i) = value[i] = harness_random(&seed);
            break;
        case 1:
            pages -= committed[page];
            committed[page] = false;
            memset(&value[page * PER_PAGE], 0, 8 * (page == PAGES - 1 ? SLOTS % PER_PAGE : PER_PAGE));
            sparse_release_page(&array, i);
            break;
        case 2:
            CHECK_EQUAL(sparse_next_committed(&array, i), model_next(committed, i));
            break;
        default:
            CHECK((sparse_get(&array, i) != NULL) == committed[page]);
            CHECK(!committed[page] || *(uint64_t *)sparse_get(&array, i) == value[i]);
        }
        CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), pages * PAGE_BYTES);
    }
    tear_down();
}

static void *touch_all(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < SLOTS; i += PER_PAGE / 4) {
        CHECK(sparse_get_for_write(&array, i));
    }
    return NULL;
}

TEST(threads_that_touch_the_same_pages_charge_them_once)
{
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        set_up();
        for (int i = 0; i < 4; i++) {
            REQUIRE(pthread_create(&threads[i], NULL, touch_all, NULL) == 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
        }
        CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), PAGES * PAGE_BYTES);
        tear_down();
    }
}

TEST(account_knows_kinds_total_and_peak)
{
    struct account a = {0};
    account_charge(&a, ACCOUNT_RESIDENT, 100);
    account_charge(&a, ACCOUNT_POOL, 50);
    account_move(&a, ACCOUNT_RESIDENT, ACCOUNT_SWAP_CACHE, 30);
    CHECK_EQUAL(account_bytes(&a, ACCOUNT_RESIDENT), 70);
    CHECK_EQUAL(account_bytes(&a, ACCOUNT_SWAP_CACHE), 30);
    CHECK_EQUAL(account_total(&a), 150);
    account_uncharge(&a, ACCOUNT_POOL, 50);
    account_charge(&a, ACCOUNT_TABLES, 10);
    CHECK_EQUAL(account_total(&a), 110);
    CHECK_EQUAL(a.peak, 150);
}

TEST(mapped_memory_is_rounded_up_charged_and_zero)
{
    char *at = memory_map(&memory, PAGE_BYTES + 1, ACCOUNT_TABLES);
    REQUIRE(at);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_TABLES), 2 * PAGE_BYTES);
    CHECK_EQUAL(at[0] | at[2 * PAGE_BYTES - 1], 0);
    memory_unmap(&memory, at, PAGE_BYTES + 1, ACCOUNT_TABLES);
    memory_unmap(&memory, NULL, PAGE_BYTES, ACCOUNT_TABLES);
    CHECK_EQUAL(account_total(&account), 0);
}

/* ---- huge pages: the same array, faster */

#define HUGE_BLOCK ((size_t)2 << 20)
#define BLOCKS 3

static void set_up_huge(void)
{
    REQUIRE(sparse_init(&array, &memory, BLOCKS * HUGE_BLOCK / 8 - 10, 8, ACCOUNT_POOL) == 0);
    sparse_allow_huge(&array);
}

static void write_slots(uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        uint64_t *slot = sparse_get_for_write(&array, i);
        REQUIRE(slot);
        *slot = i + 1;
    }
}

static size_t resident_pages(size_t first, size_t pages)
{
    static unsigned char resident[BLOCKS * HUGE_BLOCK / PAGE_BYTES];
    size_t count = 0;
    REQUIRE(!sys_call3(SYS_mincore, (long)(array.slots + first * PAGE_BYTES), (long)(pages * PAGE_BYTES),
                       (long)resident));
    for (size_t i = 0; i < pages; i++) {
        count += resident[i] & 1;
    }
    return count;
}

TEST(slots_keep_their_values_when_pages_become_huge)
{
    set_up_huge();
    write_slots(PER_PAGE, array.slots_total);
    write_slots(0, PER_PAGE); /* the last page of the first block */
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), BLOCKS * HUGE_BLOCK);
    for (uint64_t i = 0; i < array.slots_total; i++) {
        REQUIRE(*(uint64_t *)sparse_get(&array, i) == i + 1);
    }
    tear_down();
}

TEST(a_page_of_a_huge_one_can_be_given_back)
{
    set_up_huge();
    write_slots(0, array.slots_total);
    sparse_release_page(&array, 5 * PER_PAGE);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_POOL), BLOCKS * HUGE_BLOCK - PAGE_BYTES);
    CHECK(!sparse_get(&array, 5 * PER_PAGE));
    CHECK_EQUAL(*(uint64_t *)sparse_get(&array, 5 * PER_PAGE - 1), 5 * PER_PAGE);
    CHECK_EQUAL(*(uint64_t *)sparse_get(&array, 6 * PER_PAGE), 6 * PER_PAGE + 1);
    CHECK_EQUAL(*(uint64_t *)sparse_get_for_write(&array, 5 * PER_PAGE), 0);
    tear_down();
}

TEST(what_has_been_huge_does_not_come_back_whole_for_one_page)
{
    enum { BLOCK_PAGES = HUGE_BLOCK / PAGE_BYTES };
    set_up_huge();
    write_slots(0, array.slots_total);
    for (uint64_t page = 0; page < BLOCK_PAGES; page++) {
        sparse_release_page(&array, page * PER_PAGE);
    }
    CHECK_EQUAL(resident_pages(0, BLOCK_PAGES), 0);
    write_slots(7, 8);
    CHECK_EQUAL(resident_pages(0, BLOCK_PAGES), 1);
    tear_down();
}

int main(void)
{
    RUN(slots_keep_their_values_when_pages_become_huge);
    RUN(a_page_of_a_huge_one_can_be_given_back);
    RUN(what_has_been_huge_does_not_come_back_whole_for_one_page);
    RUN(untouched_slots_are_not_there_and_cost_nothing);
    RUN(slots_outside_are_not_there);
    RUN(a_page_is_charged_once_and_reads_as_zero);
    RUN(a_released_page_is_gone_and_comes_back_as_zero);
    RUN(a_page_that_is_not_committed_is_emptied_all_the_same);
    RUN(sizes_that_make_no_sense_are_refused);
    RUN(no_memory_is_an_answer);
    RUN(destroying_what_was_never_made_is_nothing);
    RUN(next_committed_skips_far);
    RUN(behaves_like_the_naive_model);
    RUN(threads_that_touch_the_same_pages_charge_them_once);
    RUN(account_knows_kinds_total_and_peak);
    RUN(mapped_memory_is_rounded_up_charged_and_zero);
    return harness_finish();
}
