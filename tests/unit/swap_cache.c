/* SPDX-License-Identifier: MIT */
/* The swap cache, by one thread: every arrow of the diagram in swap/swap_cache.h. */
#include "swap/swap_cache_slots.h"
#include "tests/unit/swap_cache_fixture.h"

static struct swap_cache_token acquire(enum swap_cache_owner owner)
{
    struct swap_cache_token token = {0};
    CHECK_EQUAL(swap_cache_acquire(cache, x, owner, &token), SWAP_CACHE_NEW);
    return token;
}

static enum swap_cache_answer take(struct swap_cache_token *token, uint64_t *page)
{
    *page = 0;
    return swap_cache_take(cache, x, token, page);
}

/* x waits as page `page`. */
static void put_waiting(uint64_t page)
{
    CHECK(swap_cache_publish(cache, acquire(SWAP_CACHE_EVICT), page));
}

/* A fault finds x being served by another, and ends with that. */
static void check_is_fault(struct swap_cache_token owner)
{
    struct swap_cache_token token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_BUSY);
    CHECK(swap_cache_release(cache, owner));
    CHECK(!swap_cache_has(cache, x));
    CHECK_EQUAL(swap_cache_count(cache), 0);
}

/* A fault finds x waiting as `page`. */
static void check_waits(uint64_t page)
{
    struct swap_cache_token token;
    uint64_t found;
    CHECK_EQUAL(take(&token, &found), SWAP_CACHE_PAGE);
    CHECK_EQUAL(found, page);
    CHECK(swap_cache_release(cache, token));
}

TEST(create_refuses_no_slots_and_too_many)
{
    CHECK_EQUAL(swap_cache_create(&cache, &memory, 0), -EINVAL);
    CHECK_EQUAL(swap_cache_create(&cache, &memory, (size_t)1 << 40), -EINVAL);
}

TEST(create_survives_each_failure_of_memory)
{
    for (int64_t i = 1; i <= 3; i++) {
        memory.fail_countdown = i;
        CHECK_EQUAL(swap_cache_create(&cache, &memory, 100), -ENOMEM);
        CHECK_EQUAL(account_total(&account), 0);
    }
    memory.fail_countdown = 0;
}

TEST(acquire_answers_new_then_exist)
{
    set_up(8);
    struct swap_cache_token token = acquire(SWAP_CACHE_EVICT), other;
    CHECK(swap_cache_has(cache, x));
    CHECK_EQUAL(swap_cache_acquire(cache, x, SWAP_CACHE_EVICT, &other), SWAP_CACHE_EXIST);
    CHECK_EQUAL(swap_cache_acquire(cache, x, SWAP_CACHE_WRITEBACK, &other), SWAP_CACHE_EXIST);
    CHECK_EQUAL(swap_cache_count(cache), 1);
    CHECK(swap_cache_release(cache, token));
    CHECK(!swap_cache_has(cache, x));
    CHECK_EQUAL(swap_cache_count(cache), 0);
    tear_down();
}

TEST(entries_of_one_offset_and_two_types_are_two)
{
    set_up(8);
    struct swap_entry y = {.type = 4, .offset = x.offset};
    struct swap_cache_token token = acquire(SWAP_CACHE_EVICT), other;
    CHECK(!swap_cache_has(cache, y));
    CHECK_EQUAL(swap_cache_acquire(cache, y, SWAP_CACHE_EVICT, &other), SWAP_CACHE_NEW);
    CHECK(swap_cache_release(cache, token));
    CHECK(swap_cache_has(cache, y));
    CHECK(swap_cache_release(cache, other));
    tear_down();
}

TEST(published_page_waits_and_is_found_by_a_fault)
{
    set_up(8);
    put_waiting(77);
    struct swap_cache_token token;
    CHECK_EQUAL(swap_cache_acquire(cache, x, SWAP_CACHE_EVICT, &token), SWAP_CACHE_EXIST);
    check_waits(77);
    CHECK(!swap_cache_has(cache, x));
    tear_down();
}

TEST(fault_without_slot_owns_the_transition)
{
    set_up(8);
    struct swap_cache_token token, other;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_NEW);
    CHECK_EQUAL(swap_cache_acquire(cache, x, SWAP_CACHE_EVICT, &other), SWAP_CACHE_EXIST);
    check_is_fault(token);
    tear_down();
}

TEST(fault_during_evict_is_left_to_publish)
{
    set_up(8);
    struct swap_cache_token evict = acquire(SWAP_CACHE_EVICT), token;
    uint64_t page;
    CHECK(!swap_cache_is_wanted(cache, evict));
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_BUSY);
    CHECK(swap_cache_is_wanted(cache, evict));
    CHECK(!swap_cache_publish(cache, evict, 5));
    check_is_fault(evict);
    tear_down();
}

TEST(fault_during_evict_is_left_to_release)
{
    set_up(8);
    struct swap_cache_token evict = acquire(SWAP_CACHE_EVICT), token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_BUSY);
    CHECK(!swap_cache_release(cache, evict));
    check_is_fault(evict);
    tear_down();
}

TEST(page_of_a_publish_that_met_a_fault_can_be_put_back)
{
    set_up(8);
    struct swap_cache_token evict = acquire(SWAP_CACHE_EVICT), token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_BUSY);
    CHECK(!swap_cache_publish(cache, evict, 5));
    swap_cache_putback(cache, evict);
    check_waits(5);
    tear_down();
}

TEST(begin_store_wants_the_page_it_names)
{
    set_up(8);
    struct swap_cache_token token;
    CHECK(!swap_cache_begin_store(cache, x, 5, &token));
    put_waiting(5);
    CHECK(!swap_cache_begin_store(cache, x, 6, &token));
    CHECK(swap_cache_begin_store(cache, x, 5, &token));
    CHECK(!swap_cache_begin_store(cache, x, 5, &token));
    CHECK(swap_cache_finish_store(cache, token));
    CHECK(!swap_cache_has(cache, x));
    tear_down();
}

TEST(cancelled_store_lets_the_page_wait_again)
{
    set_up(8);
    put_waiting(5);
    struct swap_cache_token token;
    CHECK(swap_cache_begin_store(cache, x, 5, &token));
    CHECK(swap_cache_cancel_store(cache, token));
    check_waits(5);
    tear_down();
}

TEST(fault_during_store_is_left_to_finish_and_cancel)
{
    for (int cancel = 0; cancel < 2; cancel++) {
        set_up(8);
        put_waiting(5);
        struct swap_cache_token store, token;
        uint64_t page;
        CHECK(swap_cache_begin_store(cache, x, 5, &store));
        CHECK(!swap_cache_is_wanted(cache, store));
        CHECK_EQUAL(take(&token, &page), SWAP_CACHE_BUSY);
        CHECK(swap_cache_is_wanted(cache, store));
        CHECK(!(cancel ? swap_cache_cancel_store : swap_cache_finish_store)(cache, store));
        check_is_fault(store);
        tear_down();
    }
}

TEST(fault_puts_its_page_back)
{
    set_up(8);
    put_waiting(5);
    struct swap_cache_token token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_PAGE);
    swap_cache_putback(cache, token);
    CHECK(swap_cache_begin_store(cache, x, 5, &token));
    CHECK(swap_cache_finish_store(cache, token));
    tear_down();
}

TEST(putback_without_a_page_removes_the_slot)
{
    set_up(8);
    struct swap_cache_token token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_NEW);
    swap_cache_putback(cache, token);
    CHECK(!swap_cache_has(cache, x));
    tear_down();
}

TEST(fault_takes_over_from_writeback)
{
    set_up(8);
    struct swap_cache_token writeback = acquire(SWAP_CACHE_WRITEBACK), token;
    uint64_t page;
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_NEW);
    CHECK(swap_cache_release(cache, writeback));
    CHECK(swap_cache_has(cache, x));
    check_is_fault(token);
    CHECK(swap_cache_release(cache, writeback)); /* still nothing */
    tear_down();
}

TEST(token_of_a_past_hold_does_not_touch_a_later_one)
{
    set_up(1);
    struct swap_cache_token old = acquire(SWAP_CACHE_WRITEBACK), token;
    CHECK(swap_cache_release(cache, old));
    put_waiting(9);
    CHECK(swap_cache_begin_store(cache, x, 9, &token));
    CHECK(swap_cache_release(cache, old));
    CHECK(swap_cache_publish(cache, old, 1));
    swap_cache_putback(cache, old);
    CHECK(swap_cache_finish_store(cache, old));
    CHECK(swap_cache_cancel_store(cache, old));
    CHECK(swap_cache_has(cache, x));
    CHECK(swap_cache_cancel_store(cache, token));
    check_waits(9);
    tear_down();
}

TEST(drop_removes_only_what_waits)
{
    set_up(8);
    uint64_t page = 0;
    CHECK(!swap_cache_drop(cache, x, &page));
    struct swap_cache_token token = acquire(SWAP_CACHE_EVICT);
    CHECK(!swap_cache_drop(cache, x, &page));
    CHECK(swap_cache_publish(cache, token, 12));
    CHECK(swap_cache_drop(cache, x, &page));
    CHECK_EQUAL(page, 12);
    CHECK(!swap_cache_has(cache, x));
    tear_down();
}

TEST(all_slots_are_of_use_and_one_more_fails)
{
    enum { SLOTS = 777 };
    static struct swap_cache_token tokens[SLOTS];
    set_up(SLOTS);
    for (uint64_t i = 0; i < SLOTS; i++) {
        struct swap_entry entry = {.type = 0, .offset = i};
        CHECK_EQUAL(swap_cache_acquire(cache, entry, SWAP_CACHE_EVICT, &tokens[i]), SWAP_CACHE_NEW);
    }
    struct swap_cache_token token;
    uint64_t page;
    CHECK_EQUAL(swap_cache_count(cache), SLOTS);
    CHECK_EQUAL(swap_cache_acquire(cache, x, SWAP_CACHE_EVICT, &token), SWAP_CACHE_FAIL);
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_FAIL);
    CHECK(swap_cache_consistent(cache));
    CHECK(swap_cache_release(cache, tokens[5]));
    CHECK_EQUAL(take(&token, &page), SWAP_CACHE_NEW);
    CHECK(swap_cache_release(cache, token));
    for (uint64_t i = 0; i < SLOTS; i++) {
        CHECK(swap_cache_release(cache, tokens[i]));
    }
    CHECK_EQUAL(swap_cache_count(cache), 0);
    tear_down();
}

/* The checker prints what it finds: that is expected here. */
TEST(consistent_finds_planted_faults)
{
    set_up(4);
    put_waiting(5);
    struct slot *slot = NULL;
    for (uint32_t i = 1; i <= 4; i++) {
        slot = cache->slots[i].state == SLOT_WAITING ? &cache->slots[i] : slot;
    }
    REQUIRE(slot);
    CHECK(swap_cache_consistent(cache));
    slot->state = SLOT_FREE;
    CHECK(!swap_cache_consistent(cache));
    slot->state = SLOT_WAITING;
    slot->offset++;
    CHECK(!swap_cache_consistent(cache));
    slot->offset--;
    slot->generation++;
    CHECK(!swap_cache_consistent(cache));
    slot->generation--;
    slot->next = (uint32_t)(slot - cache->slots);
    CHECK(!swap_cache_consistent(cache));
    slot->next = 0;
    for (unsigned i = 0; i < SWAP_CACHE_SHARDS; i++) {
        uint32_t first = cache->shards[i].free;
        if (first) {
            cache->shards[i].free = cache->slots[first].next;
            CHECK(!swap_cache_consistent(cache));
            cache->shards[i].free = first;
            break;
        }
    }
    tear_down();
}

int main(void)
{
    RUN(create_refuses_no_slots_and_too_many);
    RUN(create_survives_each_failure_of_memory);
    RUN(acquire_answers_new_then_exist);
    RUN(entries_of_one_offset_and_two_types_are_two);
    RUN(published_page_waits_and_is_found_by_a_fault);
    RUN(fault_without_slot_owns_the_transition);
    RUN(fault_during_evict_is_left_to_publish);
    RUN(fault_during_evict_is_left_to_release);
    RUN(page_of_a_publish_that_met_a_fault_can_be_put_back);
    RUN(begin_store_wants_the_page_it_names);
    RUN(cancelled_store_lets_the_page_wait_again);
    RUN(fault_during_store_is_left_to_finish_and_cancel);
    RUN(fault_puts_its_page_back);
    RUN(putback_without_a_page_removes_the_slot);
    RUN(fault_takes_over_from_writeback);
    RUN(token_of_a_past_hold_does_not_touch_a_later_one);
    RUN(drop_removes_only_what_waits);
    RUN(all_slots_are_of_use_and_one_more_fails);
    RUN(consistent_finds_planted_faults);
    return harness_finish();
}
