/* SPDX-License-Identifier: MIT */
/* The swap cache: every arrow of the diagram in swap/swap_cache.h, a model beside it, and many threads. */
#include "swap/swap_cache.h"

#include <pthread.h>

#include "swap/swap_cache_slots.h"
#include "tests/harness.h"

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_cache *cache;

static const struct swap_entry x = {.type = 3, .offset = 1000};

static void set_up(size_t slots)
{
    REQUIRE(swap_cache_create(&cache, &memory, slots) == 0);
}

static void tear_down(void)
{
    CHECK(swap_cache_consistent(cache));
    swap_cache_destroy(cache);
    CHECK_EQUAL(account_total(&account), 0);
}

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

/* --- A model beside it --- */

enum model_state { M_NONE, M_WAITING, M_EVICT, M_STORE, M_FAULT, M_WRITEBACK };

struct model {
    enum model_state state;
    bool fault_came, has_page;
    uint64_t page;
    struct swap_cache_token token;
};

enum { MODEL_ENTRIES = 40, MODEL_SLOTS = 25 };
static struct model model[MODEL_ENTRIES];
static size_t model_used;

static void model_remove(struct model *m)
{
    m->state = M_NONE;
    model_used--;
}

static void model_begin(struct model *m, enum model_state state)
{
    model_used += m->state == M_NONE;
    m->has_page &= m->state == M_WAITING;
    m->state = state;
    m->fault_came = false;
}

/* The end of a hold that a fault may have met; what the function under test must answer. */
static bool model_end(struct model *m, bool removes)
{
    bool over = !m->fault_came;
    m->fault_came = false;
    if (!over) {
        m->state = M_FAULT;
    } else if (removes) {
        model_remove(m);
    } else {
        m->state = M_WAITING;
    }
    return over;
}

static void model_take(struct model *m, struct swap_entry entry)
{
    enum swap_cache_answer expected = SWAP_CACHE_BUSY;
    struct swap_cache_token token;
    uint64_t page = 0;
    if (m->state == M_NONE) {
        expected = model_used < MODEL_SLOTS ? SWAP_CACHE_NEW : SWAP_CACHE_FAIL;
    } else if (m->state == M_WAITING || m->state == M_WRITEBACK) {
        expected = m->state == M_WAITING ? SWAP_CACHE_PAGE : SWAP_CACHE_NEW;
    }
    CHECK_EQUAL(swap_cache_take(cache, entry, &token, &page), expected);
    if (expected == SWAP_CACHE_PAGE) {
        CHECK_EQUAL(page, m->page);
    }
    if (expected == SWAP_CACHE_NEW || expected == SWAP_CACHE_PAGE) {
        struct swap_cache_token old = m->token;
        bool took_over = m->state == M_WRITEBACK;
        model_begin(m, M_FAULT);
        m->token = token;
        if (took_over) {
            CHECK(swap_cache_release(cache, old));
        }
    } else if (m->state == M_EVICT || m->state == M_STORE) {
        m->fault_came = true;
    }
}

static void model_acquire(struct model *m, struct swap_entry entry, bool writeback)
{
    enum swap_cache_answer expected = m->state != M_NONE          ? SWAP_CACHE_EXIST
                                      : model_used == MODEL_SLOTS ? SWAP_CACHE_FAIL
                                                                  : SWAP_CACHE_NEW;
    struct swap_cache_token token;
    CHECK_EQUAL(swap_cache_acquire(cache, entry, writeback ? SWAP_CACHE_WRITEBACK : SWAP_CACHE_EVICT, &token),
                expected);
    if (expected == SWAP_CACHE_NEW) {
        model_begin(m, writeback ? M_WRITEBACK : M_EVICT);
        m->token = token;
    }
}

static void model_go_on(struct model *m, struct swap_entry entry, uint64_t random)
{
    uint64_t page;
    switch (m->state) {
    case M_NONE:
        CHECK(!swap_cache_drop(cache, entry, &page));
        break;
    case M_WAITING:
        if (random % 4) {
            CHECK(!swap_cache_begin_store(cache, entry, m->page + 1, &m->token));
            CHECK(swap_cache_begin_store(cache, entry, m->page, &m->token));
            model_begin(m, M_STORE);
        } else {
            CHECK(swap_cache_drop(cache, entry, &page));
            CHECK_EQUAL(page, m->page);
            model_remove(m);
        }
        break;
    case M_EVICT:
        if (random % 4) {
            m->page = random;
            m->has_page = true;
            CHECK_EQUAL(swap_cache_publish(cache, m->token, random), model_end(m, false));
        } else {
            CHECK_EQUAL(swap_cache_release(cache, m->token), model_end(m, true));
        }
        break;
    case M_STORE:
        CHECK_EQUAL(swap_cache_is_wanted(cache, m->token), m->fault_came);
        if (random % 2) {
            CHECK_EQUAL(swap_cache_finish_store(cache, m->token), model_end(m, true));
        } else {
            CHECK_EQUAL(swap_cache_cancel_store(cache, m->token), model_end(m, false));
        }
        break;
    case M_FAULT:
        if (random % 4 == 0 && m->has_page) {
            swap_cache_putback(cache, m->token);
            m->state = M_WAITING;
            break;
        }
        /* fall through */
    case M_WRITEBACK:
        CHECK(swap_cache_release(cache, m->token));
        model_remove(m);
        break;
    }
}

TEST(random_operations_agree_with_the_model)
{
    uint64_t seed = 42;
    set_up(MODEL_SLOTS);
    for (int step = 0; step < 200000 && !harness_failures; step++) {
        uint64_t random = harness_random(&seed);
        size_t i = (random >> 32) % MODEL_ENTRIES;
        struct swap_entry entry = {.type = (uint32_t)(i % 3), .offset = i / 3};
        switch (random % 8) {
        case 0:
        case 1:
            model_take(&model[i], entry);
            break;
        case 2:
            model_acquire(&model[i], entry, false);
            break;
        case 3:
            model_acquire(&model[i], entry, true);
            break;
        default:
            model_go_on(&model[i], entry, random >> 8);
            break;
        }
        CHECK_EQUAL(swap_cache_has(cache, entry), model[i].state != M_NONE);
        CHECK_EQUAL(swap_cache_count(cache), model_used);
        if (step % 1000 == 0) {
            CHECK(swap_cache_consistent(cache));
        }
    }
    tear_down();
}

/* --- Many threads on few entries --- */

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
    RUN(random_operations_agree_with_the_model);
    RUN(threads_never_own_one_entry_together);
    RUN(threads_never_own_one_entry_together_with_too_few_slots);
    RUN(two_that_fetch_a_slot_from_another_shard_make_one);
    return harness_finish();
}
