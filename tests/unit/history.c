/* SPDX-License-Identifier: MIT */
/* The linearizability checker: hand-made histories, and every order tried for small random ones. */
#include "tests/support/history.h"

#include "base/types.h"
#include "tests/harness.h"

#define OF(...) ((const struct history_event[]){__VA_ARGS__})

#define IS(first, ...) linearizable(OF(__VA_ARGS__), ARRAY_LENGTH(OF(__VA_ARGS__)), first)

/* verb, version, begin, end */
#define STORE(...)                                                                                           \
    {                                                                                                        \
        HISTORY_STORE, __VA_ARGS__                                                                           \
    }
#define STORE_FAIL(...)                                                                                      \
    {                                                                                                        \
        HISTORY_STORE_FAIL, 0, __VA_ARGS__                                                                   \
    }
#define LOAD(...)                                                                                            \
    {                                                                                                        \
        HISTORY_LOAD, __VA_ARGS__                                                                            \
    }
#define EXCLUSIVE(...)                                                                                       \
    {                                                                                                        \
        HISTORY_EXCLUSIVE, __VA_ARGS__                                                                       \
    }
#define INVALIDATE(...)                                                                                      \
    {                                                                                                        \
        HISTORY_INVALIDATE, 0, __VA_ARGS__                                                                   \
    }
#define REMOVE(...)                                                                                          \
    {                                                                                                        \
        HISTORY_REMOVE, 0, __VA_ARGS__                                                                       \
    }
#define NOTHING(...)                                                                                         \
    {                                                                                                        \
        HISTORY_NOTHING, 0, __VA_ARGS__                                                                      \
    }

static uint64_t lasts[HISTORY_MAX + 2];
static size_t lasts_used;

static bool linearizable(const struct history_event *events, size_t n, uint64_t first)
{
    return history_is_linearizable(events, n, first, lasts, &lasts_used);
}

/* Are the possible last versions of the latest history just these? */
static bool ends_with(size_t n, const uint64_t *versions)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < lasts_used; j++) {
            found += lasts[j] == versions[i];
        }
    }
    return found == n && lasts_used == n;
}

#define ENDS_WITH(...)                                                                                       \
    ends_with(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (const uint64_t[]){__VA_ARGS__})

TEST(nothing_happened)
{
    CHECK(history_is_linearizable(NULL, 0, 7, lasts, &lasts_used));
    CHECK(ENDS_WITH(7));
}

TEST(one_after_the_other)
{
    CHECK(IS(0, STORE(1, 1, 2), LOAD(1, 3, 4), STORE(2, 5, 6), LOAD(2, 7, 8), EXCLUSIVE(2, 9, 10),
             LOAD(0, 11, 12)));
    CHECK(ENDS_WITH(0));
    CHECK(IS(9, LOAD(9, 1, 2), STORE_FAIL(3, 4), LOAD(0, 5, 6), STORE(4, 7, 8), NOTHING(9, 10)));
    CHECK(ENDS_WITH(4));
    CHECK(IS(9, REMOVE(1, 2), INVALIDATE(3, 4), LOAD(0, 5, 6), EXCLUSIVE(0, 7, 8)));
    CHECK(ENDS_WITH(0));
}

TEST(order_of_the_array_does_not_matter)
{
    CHECK(IS(0, LOAD(2, 7, 8), STORE(1, 1, 2), STORE(2, 5, 6), LOAD(1, 3, 4)));
    CHECK(!IS(0, LOAD(1, 7, 8), STORE(1, 1, 2), STORE(2, 5, 6), LOAD(1, 3, 4)));
}

TEST(stale_read)
{
    CHECK(!IS(0, STORE(1, 1, 2), STORE(2, 3, 4), LOAD(1, 5, 6)));
    CHECK(!IS(1, STORE(2, 3, 4), LOAD(1, 5, 6)));
    /* new, then old again */
    CHECK(!IS(1, STORE(2, 1, 9), LOAD(2, 2, 3), LOAD(1, 4, 5)));
}

TEST(lost_update)
{
    CHECK(!IS(0, STORE(1, 1, 2), LOAD(0, 3, 4)));
    CHECK(!IS(0, STORE(1, 1, 3), STORE(2, 2, 4), LOAD(0, 5, 6)));
}

TEST(two_exclusive_loads_of_one_store)
{
    CHECK(!IS(0, STORE(1, 1, 2), EXCLUSIVE(1, 3, 6), EXCLUSIVE(1, 4, 5)));
    CHECK(IS(0, STORE(1, 1, 2), EXCLUSIVE(1, 3, 6), EXCLUSIVE(0, 4, 5)));
    CHECK(!IS(1, EXCLUSIVE(1, 1, 2), LOAD(1, 3, 4)));
}

TEST(load_after_invalidate)
{
    CHECK(!IS(0, STORE(1, 1, 2), INVALIDATE(3, 4), LOAD(1, 5, 6)));
    CHECK(!IS(0, STORE(1, 1, 2), STORE_FAIL(3, 4), LOAD(1, 5, 6)));
    CHECK(!IS(1, INVALIDATE(1, 9), LOAD(0, 2, 3), LOAD(1, 4, 5)));
    CHECK(!IS(0, REMOVE(1, 2)));
    CHECK(!IS(1, REMOVE(1, 4), REMOVE(2, 3)));
}

TEST(load_of_the_future)
{
    CHECK(!IS(0, LOAD(1, 1, 2), STORE(1, 3, 4)));
    CHECK(!IS(0, LOAD(1, 1, 3), STORE(1, 3, 4))); /* who ended at 3 precedes who began at 3 */
    CHECK(IS(0, LOAD(1, 1, 4), STORE(1, 3, 5)));
    CHECK(!IS(0, LOAD(8, 1, 2)));
}

TEST(verbs_at_one_time_may_take_either_order)
{
    CHECK(IS(1, STORE(2, 1, 4), LOAD(1, 2, 3)));
    CHECK(IS(1, STORE(2, 1, 4), LOAD(2, 2, 3)));
    CHECK(ENDS_WITH(2));
    CHECK(IS(0, STORE(1, 1, 4), STORE(2, 2, 3)));
    CHECK(ENDS_WITH(1, 2));
    CHECK(IS(0, STORE(1, 1, 4), STORE(2, 2, 3), LOAD(1, 5, 6)));
    CHECK(ENDS_WITH(1));
    CHECK(!IS(0, STORE(1, 1, 4), STORE(2, 2, 3), LOAD(1, 5, 6), LOAD(2, 7, 8)));
    CHECK(IS(1, INVALIDATE(1, 4), STORE(2, 2, 5), STORE_FAIL(3, 6)));
    CHECK(ENDS_WITH(0, 2));
    CHECK(IS(0, STORE(1, 1, 10), EXCLUSIVE(1, 2, 3), LOAD(0, 4, 5)));
    CHECK(ENDS_WITH(0));
}

TEST(a_verb_that_failed_says_nothing)
{
    CHECK(IS(1, NOTHING(1, 2), LOAD(1, 3, 4), NOTHING(1, 9), STORE(2, 5, 8)));
    CHECK(ENDS_WITH(2));
}

/* ---- against all orders */

#define SMALL HISTORY_AT_ONCE
#define ROUNDS (HARNESS_SANITIZED ? 10000 : 100000)

struct trial {
    const struct history_event *events;
    size_t n;
    bool found;
    uint64_t lasts[1 << SMALL];
    size_t lasts_used;
};

static void note_last(struct trial *t, uint64_t version)
{
    for (size_t i = 0; i < t->lasts_used; i++) {
        if (t->lasts[i] == version) {
            return;
        }
    }
    t->lasts[t->lasts_used++] = version;
}

/* Takes each event next that no other left ended before. */
static void try_all(struct trial *t, unsigned done, uint64_t version)
{
    if (done == (1u << t->n) - 1) {
        t->found = true;
        note_last(t, version);
        return;
    }
    for (size_t i = 0; i < t->n; i++) {
        const struct history_event *e = &t->events[i];
        bool next = !(done >> i & 1);
        for (size_t j = 0; j < t->n; j++) {
            next = next && (done >> j & 1 || j == i || t->events[j].end > e->begin);
        }
        bool says = e->verb == HISTORY_LOAD || e->verb == HISTORY_EXCLUSIVE;
        if (!next || (says && e->version != version) || (e->verb == HISTORY_REMOVE && !version)) {
            continue;
        }
        bool keeps = e->verb == HISTORY_LOAD || e->verb == HISTORY_NOTHING;
        try_all(t, done | 1u << i, e->verb == HISTORY_STORE ? e->version : keeps ? version : 0);
    }
}

/* Few versions and short times, so that about as many are linearizable as are not. */
static size_t random_history(struct history_event *events, uint64_t *seed)
{
    size_t n = 1 + harness_random(seed) % SMALL;
    uint64_t times = 4 + harness_random(seed) % 20;
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = harness_random(seed) % times;
        enum history_verb verb = (enum history_verb)(harness_random(seed) % (HISTORY_NOTHING + 1));
        events[i] = (struct history_event){.verb = harness_random(seed) % 3 ? verb : HISTORY_STORE,
                                           .begin = begin,
                                           .end = begin + 1 + harness_random(seed) % 8,
                                           .version = i + 1};
        if (events[i].verb != HISTORY_STORE) {
            events[i].version = harness_random(seed) % 3 ? 1 + harness_random(seed) % n : 0;
        }
    }
    return n;
}

TEST(agrees_with_all_orders)
{
    uint64_t seed = 1, yes = 0, no = 0, several = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct history_event events[SMALL];
        struct trial t = {.events = events, .n = random_history(events, &seed)};
        uint64_t first = harness_random(&seed) % 3;
        try_all(&t, 0, first);
        bool answer = linearizable(events, t.n, first);
        CHECK_EQUAL(answer, t.found);
        CHECK(!answer || ends_with(t.lasts_used, t.lasts));
        yes += t.found;
        no += !t.found;
        several += t.lasts_used > 1;
    }
    printf("# linearizable: %llu, of them with several possible ends: %llu; not: %llu\n",
           (unsigned long long)yes, (unsigned long long)several, (unsigned long long)no);
    CHECK(yes > 1000 && no > 1000 && several > 1000);
}

/* ---- long ones */

TEST(a_long_history_with_a_verb_that_takes_forever)
{
    struct history_state states[16];
    struct history h;
    history_open(&h, states, ARRAY_LENGTH(states), 0);
    history_begin(&h, 0, HISTORY_STORE, UINT64_MAX); /* it may come at any time */
    for (uint64_t version = 1; version < 10000; version++) {
        history_begin(&h, 1, HISTORY_STORE, version);
        history_begin(&h, 2, HISTORY_EXCLUSIVE, version);
        CHECK_EQUAL(history_end(&h, 1), 0);
        CHECK_EQUAL(history_end(&h, 2), 0);
    }
    history_begin(&h, 1, HISTORY_LOAD, UINT64_MAX);
    CHECK_EQUAL(history_end(&h, 1), 0);
    CHECK_EQUAL(history_end(&h, 0), 0);
    history_begin(&h, 1, HISTORY_LOAD, 0);
    CHECK_EQUAL(history_end(&h, 1), -EILSEQ);
    CHECK(h.most < ARRAY_LENGTH(states));
}

/* p stores at one time and never a load: the most states there can be. */
TEST(room_is_what_the_header_says)
{
    static struct history_state states[(1 << 8) * 17];
    struct history h;
    history_open(&h, states, ARRAY_LENGTH(states), 0);
    uint64_t version = 0, seed = 3;
    for (unsigned slot = 0; slot < 8; slot++) {
        history_begin(&h, slot, HISTORY_STORE, ++version);
    }
    for (int round = 0; round < 1000; round++) {
        unsigned slot = (unsigned)(harness_random(&seed) % 8);
        CHECK_EQUAL(history_end(&h, slot), 0);
        history_begin(&h, slot, harness_random(&seed) % 4 ? HISTORY_STORE : HISTORY_INVALIDATE, ++version);
    }
    printf("# states: %zu\n", h.most);
    CHECK(h.most > 500);
    history_open(&h, states, 4, 0);
    for (unsigned slot = 0; slot < 8; slot++) {
        history_begin(&h, slot, HISTORY_STORE, slot + 1);
    }
    CHECK_EQUAL(history_end(&h, 0), -E2BIG);
}

int main(void)
{
    RUN(nothing_happened);
    RUN(one_after_the_other);
    RUN(order_of_the_array_does_not_matter);
    RUN(stale_read);
    RUN(lost_update);
    RUN(two_exclusive_loads_of_one_store);
    RUN(load_after_invalidate);
    RUN(load_of_the_future);
    RUN(verbs_at_one_time_may_take_either_order);
    RUN(a_verb_that_failed_says_nothing);
    RUN(agrees_with_all_orders);
    RUN(a_long_history_with_a_verb_that_takes_forever);
    RUN(room_is_what_the_header_says);
    return harness_finish();
}
