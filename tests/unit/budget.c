/* SPDX-License-Identifier: MIT */
/* Members that are simulated: each uses what it is told to, and evicts at once what is above its limit. */
#include "base/budget.h"

#include "base/budget_policy.h"
#include "base/lending.h"
#include "tests/harness.h"

#define MIB ((int64_t)1 << 20)
#define MEMBERS 40
#define TREE (256 * MIB)

static struct session *session;
static struct budget budgets[MEMBERS];
static bool alive[MEMBERS];
static uint64_t now;

static void (*meanwhile)(void); /* what happens when a look comes to member 2, once */

static bool lives(const struct session *s, uint32_t place)
{
    (void)s;
    if (place == 2 && meanwhile) {
        void (*happens)(void) = meanwhile;
        meanwhile = NULL;
        happens();
    }
    return alive[place];
}

static void begin(void)
{
    REQUIRE(session_create_private(&session) == 0);
    memset(alive, 0, sizeof alive);
    now = 1000000;
}

static void end(void)
{
    session_close(session);
}

static struct account *account_of(int i)
{
    return &session->processes[i].account;
}

static int64_t limit_of(int i)
{
    return (int64_t)account_limit(account_of(i));
}

static int64_t used_by(int i)
{
    return (int64_t)account_total(account_of(i));
}

/* A process starts in place `i`; what was there is gone. */
static void start_one(int i, int64_t tree)
{
    memset(&session->processes[i], 0, sizeof session->processes[i]);
    account_of(i)->most = tree;
    budget_init(&budgets[i], session, (uint32_t)i, lives);
    alive[i] = true;
}

/* What member `i` may use without evicting. */
static int64_t high_mark(int i)
{
    return limit_of(i) ? (int64_t)budget_marks_of((size_t)limit_of(i)).high : 0;
}

/* Uses `bytes` more, or as much as it may. What it got. */
static int64_t touch(int i, int64_t bytes)
{
    int64_t wanted = used_by(i) + bytes;
    if (wanted > high_mark(i)) {
        budget_more(&budgets[i], budget_limit_for((size_t)wanted), now);
    }
    int64_t got = (wanted < high_mark(i) ? wanted : high_mark(i)) - used_by(i);
    if (got > 0) {
        account_charge(account_of(i), ACCOUNT_RESIDENT, (size_t)got);
    }
    return got > 0 ? got : 0;
}

static void fill_up(int i, int64_t most)
{
    while (used_by(i) < most && touch(i, MIB)) {
    }
}

static void balance(int i)
{
    budget_balance(&budgets[i], now);
    if (used_by(i) > high_mark(i)) {
        account_uncharge(account_of(i), ACCOUNT_RESIDENT, (size_t)(used_by(i) - high_mark(i)));
    }
}

/* All that are alive want more than there is, for a while. */
static void press(int rounds)
{
    for (int round = 0; round < rounds; round++, now += 20) {
        for (int i = 0; i < MEMBERS; i++) {
            if (alive[i]) {
                touch(i, 4 * MIB);
                balance(i);
            }
        }
    }
}

/* What all that are alive may use. */
static int64_t granted(void)
{
    int64_t sum = 0;
    for (int i = 0; i < MEMBERS; i++) {
        sum += alive[i] ? limit_of(i) : 0;
    }
    return sum;
}

TEST(who_is_alone_gets_the_whole_budget)
{
    begin();
    start_one(0, TREE);
    fill_up(0, TREE);
    CHECK_EQUAL(limit_of(0), TREE);
    CHECK(!budget_balance(&budgets[0], now));
    CHECK_EQUAL(limit_of(0), TREE);
    end();
}

TEST(limits_are_raised_in_steps)
{
    begin();
    start_one(0, TREE);
    int changes = 0;
    for (int64_t last = 0; touch(0, MIB / 64); last = limit_of(0)) {
        changes += last != limit_of(0);
    }
    CHECK(changes > 10 && changes <= 128 + 10);
    end();
}

TEST(hungry_members_end_with_equal_shares)
{
    begin();
    for (int i = 0; i < 5; i++) {
        start_one(i, TREE);
    }
    press(60);
    for (int i = 0; i < 5; i++) {
        CHECK(limit_of(i) >= (TREE - TREE / 16) / 5 - MIB / 8 && limit_of(i) <= TREE / 5);
    }
    end();
}

TEST(a_newcomer_gets_its_share_from_one_that_had_all)
{
    begin();
    start_one(0, TREE);
    fill_up(0, TREE);
    start_one(1, TREE);
    press(60);
    for (int i = 0; i < 2; i++) {
        CHECK(limit_of(i) <= TREE / 2 && limit_of(i) >= TREE * 7 / 16);
    }
    end();
}

TEST(a_small_newcomer_takes_little_from_the_others)
{
    begin();
    start_one(0, TREE);
    fill_up(0, TREE);
    now += 10000; /* asleep */
    start_one(1, TREE);
    for (int i = 0; i < 10; i++, now += 20) {
        touch(1, MIB - used_by(1));
        balance(0);
        balance(1);
    }
    CHECK_EQUAL(used_by(1), MIB);
    CHECK(limit_of(0) >= TREE - TREE / 16 - 8 * MIB);
    end();
}

TEST(an_idle_member_keeps_what_it_has_while_nobody_is_hungry)
{
    begin();
    for (int i = 0; i < 2; i++) {
        start_one(i, TREE);
        fill_up(i, 100 * MIB);
        CHECK_EQUAL(used_by(i), 100 * MIB);
    }
    now += 10000;
    int64_t before = limit_of(0);
    CHECK(!budget_balance(&budgets[0], now) && !budget_balance(&budgets[1], now));
    CHECK_EQUAL(limit_of(0), before);
    end();
}

TEST(who_sleeps_gives_to_who_is_hungry_bit_by_bit)
{
    begin();
    for (int i = 0; i < 2; i++) {
        start_one(i, TREE);
        fill_up(i, 100 * MIB);
        budget_note_active(&budgets[i], now);
    }
    now += BUDGET_IDLE_MS;
    start_one(2, TREE);
    for (int round = 0; round < 100; round++, now += 20) {
        budget_note_active(&budgets[1], now); /* it works with what it has */
        budget_note_active(&budgets[2], now);
        touch(2, 4 * MIB);
        for (int i = 0; i < 3; i++) {
            int64_t before = used_by(i);
            balance(i);
            CHECK(i != 0 || round == 0 || used_by(i) >= before / 2);
        }
    }
    CHECK(limit_of(0) <= MIB);
    CHECK(used_by(1) >= 99 * MIB);
    CHECK(used_by(2) >= 120 * MIB);
    CHECK(granted() <= TREE);
    end();
}

TEST(what_cannot_leave_is_not_asked_for)
{
    begin();
    start_one(0, TREE);
    fill_up(0, 60 * MIB);
    account_move(account_of(0), ACCOUNT_RESIDENT, ACCOUNT_TABLES, (size_t)(20 * MIB));
    account_move(account_of(0), ACCOUNT_RESIDENT, ACCOUNT_POOL, (size_t)(20 * MIB));
    budget_note_active(&budgets[0], now);
    now += BUDGET_IDLE_MS;
    start_one(1, TREE);
    for (int round = 0; round < 200; round++, now += 20) {
        touch(1, 4 * MIB);
        balance(0);
        balance(1);
    }
    CHECK(used_by(0) >= 40 * MIB && used_by(0) <= 41 * MIB);
    CHECK(high_mark(0) >= used_by(0) - (int64_t)PAGE_BYTES);
    end();
}

/* Member `child` shares all that `parent` has. */
static void fork_one(int parent, int child)
{
    start_one(child, account_of(parent)->most);
    session->processes[child].lender = (uint32_t)parent + 1;
    account_charge(account_of(child), ACCOUNT_RESIDENT, (size_t)used_by(parent));
    account_give_credit(account_of(child), (size_t)used_by(parent));
}

TEST(a_parent_need_not_give_its_child_what_both_share)
{
    begin();
    start_one(0, TREE);
    fill_up(0, 200 * MIB);
    fork_one(0, 1);
    for (int round = 0; round < 60; round++, now += 20) {
        for (int i = 0; i < 2; i++) {
            touch(i, 4 * MIB);
            balance(i);
            CHECK(used_by(0) >= 200 * MIB);
        }
    }
    /* Each has for itself, paid for or borrowed, the same. */
    CHECK(limit_of(0) >= 210 * MIB && limit_of(0) <= 220 * MIB);
    CHECK(limit_of(1) >= 15 * MIB && limit_of(1) <= 30 * MIB);
    CHECK(granted() <= TREE);
    alive[0] = false; /* what was borrowed is the child's to pay for */
    CHECK(limit_of(1) < (int64_t)lending_used(session, &session->processes[1], lives));
    end();
}

TEST(who_has_borrowed_much_still_gets_something_to_work_with)
{
    begin();
    start_one(0, TREE);
    fill_up(0, 200 * MIB);
    fork_one(0, 1);
    for (int i = 2; i < 8; i++) {
        start_one(i, TREE);
    }
    press(60);
    for (int i = 0; i < 8; i++) {
        CHECK(limit_of(i) >= TREE / 80 && limit_of(i) <= TREE / 6);
    }
    CHECK(granted() <= TREE);
    end();
}

TEST(the_room_of_who_dies_is_there_at_once)
{
    begin();
    start_one(0, TREE);
    start_one(1, TREE);
    press(60);
    CHECK(limit_of(1) <= TREE / 2);
    alive[0] = false;
    balance(1); /* it was hungry: the first look doubles what it has */
    CHECK(limit_of(1) >= TREE * 3 / 4);
    end();
}

TEST(the_whole_budget_comes_back_once_company_is_forgotten)
{
    begin();
    start_one(0, TREE);
    start_one(1, TREE);
    press(60);
    alive[1] = false;
    press(600);
    CHECK_EQUAL(limit_of(0), TREE);
    end();
}

TEST(a_stopped_member_keeps_its_claim_and_the_others_share_the_rest)
{
    begin();
    start_one(0, TREE);
    fill_up(0, 200 * MIB);
    int64_t stopped = limit_of(0);
    start_one(1, TREE);
    start_one(2, TREE);
    for (int round = 0; round < 100; round++, now += 20) {
        for (int i = 1; i < 3; i++) {
            touch(i, MIB);
            balance(i);
        }
        CHECK(granted() <= TREE);
    }
    CHECK_EQUAL(limit_of(0), stopped);
    CHECK(limit_of(1) + limit_of(2) >= (TREE - stopped) / 2);
    end();
}

TEST(who_is_refused_is_hungry_for_a_while_and_wakes_the_others)
{
    begin();
    start_one(0, TREE);
    fill_up(0, TREE);
    start_one(1, TREE);
    CHECK(!budget_more(&budgets[1], (size_t)TREE, now));
    CHECK_EQUAL(limit_of(1), 0);
    CHECK(budget_is_hungry(&budgets[1], now));
    CHECK(!budget_is_hungry(&budgets[1], now + BUDGET_HUNGRY_MS));
    CHECK_EQUAL(atomic_read_relaxed(&session->hunger), 1);
    end();
}

static void raise_member_1(void)
{
    atomic_set_seq_cst(&account_of(1)->limit, 200 * MIB);
}

TEST(two_that_raise_at_once_do_not_both_get_it)
{
    begin();
    for (int i = 0; i < 3; i++) {
        start_one(i, TREE);
        budget_force(&budgets[i], MIB);
    }
    meanwhile = raise_member_1; /* whose limit has been read by then */
    CHECK(!budget_more(&budgets[0], (size_t)(100 * MIB), now));
    CHECK_EQUAL(limit_of(0), MIB);
    CHECK(!meanwhile);
    end();
}

TEST(what_is_used_above_a_lowered_limit_counts_until_it_is_evicted)
{
    begin();
    start_one(0, TREE);
    fill_up(0, TREE);
    start_one(1, TREE);
    for (int i = 0; i < 20; i++, now += 20) {
        touch(1, 8 * MIB);
        budget_balance(&budgets[0], now); /* and evicts nothing */
        CHECK(limit_of(1) + used_by(0) <= TREE);
    }
    CHECK(limit_of(0) < used_by(0));
    end();
}

TEST(thirty_small_processes_fit_beside_a_large_one)
{
    begin();
    start_one(0, 64 * MIB);
    fill_up(0, 64 * MIB);
    for (int i = 1; i <= 30; i++) {
        start_one(i, 64 * MIB);
        for (int tries = 0; used_by(i) < MIB && tries < 100; tries++, now += 10) {
            touch(i, MIB - used_by(i));
            for (int j = 0; j <= i; j++) {
                balance(j);
            }
        }
        CHECK_EQUAL(used_by(i), MIB);
        CHECK(granted() <= 64 * MIB);
    }
    end();
}

TEST(whatever_happens_the_sum_keeps_to_the_limit)
{
    uint64_t seed = 77;
    begin();
    start_one(0, TREE);
    for (int step = 0; step < 50000; step++) {
        int i = (int)(harness_random(&seed) % MEMBERS);
        unsigned deed = harness_random(&seed) % 64;
        if (!alive[i]) {
            start_one(i, TREE);
        } else if (deed == 0) {
            alive[i] = false;
        } else if (deed < 16) {
            balance(i);
        } else {
            touch(i, (int64_t)(harness_random(&seed) % (uint64_t)(16 * MIB)));
        }
        now += harness_random(&seed) % 4;
        CHECK(granted() <= TREE);
        CHECK((int64_t)budget_used(&budgets[0]) <= TREE);
    }
    CHECK(session->peak <= TREE && session->peak > TREE * 3 / 4);
    end();
}

int main(void)
{
    RUN(who_is_alone_gets_the_whole_budget);
    RUN(limits_are_raised_in_steps);
    RUN(hungry_members_end_with_equal_shares);
    RUN(a_newcomer_gets_its_share_from_one_that_had_all);
    RUN(a_small_newcomer_takes_little_from_the_others);
    RUN(an_idle_member_keeps_what_it_has_while_nobody_is_hungry);
    RUN(who_sleeps_gives_to_who_is_hungry_bit_by_bit);
    RUN(what_cannot_leave_is_not_asked_for);
    RUN(a_parent_need_not_give_its_child_what_both_share);
    RUN(who_has_borrowed_much_still_gets_something_to_work_with);
    RUN(the_room_of_who_dies_is_there_at_once);
    RUN(the_whole_budget_comes_back_once_company_is_forgotten);
    RUN(a_stopped_member_keeps_its_claim_and_the_others_share_the_rest);
    RUN(who_is_refused_is_hungry_for_a_while_and_wakes_the_others);
    RUN(two_that_raise_at_once_do_not_both_get_it);
    RUN(what_is_used_above_a_lowered_limit_counts_until_it_is_evicted);
    RUN(thirty_small_processes_fit_beside_a_large_one);
    RUN(whatever_happens_the_sum_keeps_to_the_limit);
    return harness_finish();
}
