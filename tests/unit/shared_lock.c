/* SPDX-License-Identifier: MIT */
/* The lock between processes, whose holders are killed. */
#include "base/shared_lock.h"

#include "base/member.h"
#include "tests/support/shared.h"

enum { PROCESSES = 4, ROUNDS = HARNESS_SANITIZED ? 60 : 400 };

struct shared {
    struct member_table table;
    struct shared_lock lock;
    uint32_t step;
    uint64_t left, right; /* Guard: lock. Equal, but for a holder half-way */
    uint64_t repairs;     /* Guard: lock */
    uint64_t violations;  /* atomic */
};

static struct shared *shared;

static void bury_nothing(void *context, uint32_t index)
{
    (void)context;
    (void)index;
}

static void become_member(void)
{
    struct membership me;
    REQUIRE(member_claim(&me, &shared->table, (uint32_t)getpid(), bury_nothing, NULL) >= 0);
}

static void begin(void)
{
    shared = shared_memory(sizeof *shared);
    become_member();
}

static void end(void)
{
    member_thread_leave();
    munmap(shared, sizeof *shared);
}

TEST(a_lock_is_taken_and_given)
{
    begin();
    CHECK(!shared_lock_is_mine(&shared->lock));
    CHECK_EQUAL(shared_lock_take(&shared->lock), 0);
    CHECK(shared_lock_is_mine(&shared->lock));
    shared_lock_give(&shared->lock);
    CHECK(!shared_lock_is_mine(&shared->lock));
    CHECK_EQUAL(shared_lock_take(&shared->lock), 0);
    shared_lock_give(&shared->lock);
    end();
}

static int take_and_hang(void *argument)
{
    (void)argument;
    become_member();
    shared_lock_take(&shared->lock);
    atomic_set_release(&shared->step, 1);
    pause();
    return 2;
}

static int take_over_and_hang(void *argument)
{
    (void)argument;
    become_member();
    if (shared_lock_take(&shared->lock) != -EOWNERDEAD) {
        return 2;
    }
    atomic_set_release(&shared->step, 2);
    pause();
    return 3;
}

TEST(a_dead_holder_is_told_of_until_somebody_has_repaired)
{
    begin();
    pid_t first = shared_fork(take_and_hang, NULL);
    shared_await(&shared->step, 1);
    shared_kill(first);
    pid_t second = shared_fork(take_over_and_hang, NULL);
    shared_await(&shared->step, 2);
    shared_kill(second);
    CHECK_EQUAL(shared_lock_take(&shared->lock), -EOWNERDEAD);
    shared_lock_give(&shared->lock);
    CHECK_EQUAL(shared_lock_take(&shared->lock), 0);
    shared_lock_give(&shared->lock);
    shared_reap(first);
    shared_reap(second);
    end();
}

/* His place may be another's by the time somebody looks. */
TEST(a_holder_whose_place_is_taken_is_dead)
{
    begin();
    pid_t first = shared_fork(take_and_hang, NULL);
    shared_await(&shared->step, 1);
    shared_kill(first);
    shared->table.members[1].pid = 0;
    for (uint32_t i = 2; i < MEMBERS_MAX; i++) {
        shared->table.members[i].threads[0] = 1; /* taken, all of them */
    }
    uint64_t holder = shared->lock.holder;
    pid_t second = shared_fork(take_over_and_hang, NULL);
    shared_await(&shared->step, 2);
    CHECK(shared->lock.holder != holder);
    CHECK_EQUAL(shared->lock.holder & 0xffffffff, holder & 0xffffffff);
    shared_kill(second);
    shared_reap(first);
    shared_reap(second);
    end();
}

/* Writes two words that belong together; repairs them if a dead holder has written but one. */
static void work(void)
{
    int taken = shared_lock_take(&shared->lock);
    if (taken == -EOWNERDEAD) {
        shared->right = shared->left;
        shared->repairs++;
    } else if (atomic_read_relaxed(&shared->left) != atomic_read_relaxed(&shared->right)) {
        atomic_add_relaxed(&shared->violations, 1);
    }
    atomic_set_relaxed(&shared->left, shared->left + 1);
    for (int i = 0; i < 20; i++) {
        cpu_relax();
    }
    atomic_set_relaxed(&shared->right, shared->right + 1);
    shared_lock_give(&shared->lock);
}

__attribute__((noreturn)) static int work_until_killed(void *argument)
{
    (void)argument;
    become_member();
    for (;;) {
        work();
    }
}

static int work_a_while(void *argument)
{
    (void)argument;
    become_member();
    for (int i = 0; i < 20000 / (HARNESS_SANITIZED ? 10 : 1); i++) {
        work();
    }
    return 0;
}

TEST(holders_exclude_each_other)
{
    begin();
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = shared_fork(work_a_while, NULL);
    }
    for (int i = 0; i < PROCESSES; i++) {
        shared_wait(children[i]);
    }
    CHECK_EQUAL(shared->violations, 0);
    CHECK_EQUAL(shared->repairs, 0);
    CHECK_EQUAL(shared->left, PROCESSES * (20000 / (HARNESS_SANITIZED ? 10 : 1)));
    end();
}

TEST(holders_are_killed_and_what_they_left_is_repaired)
{
    pid_t children[PROCESSES] = {0};
    uint64_t random = 7;
    begin();
    int rounds = 0;
    for (; rounds < ROUNDS || !atomic_read_relaxed(&shared->repairs); rounds++) {
        pid_t *child = &children[harness_random(&random) % PROCESSES];
        if (*child) {
            usleep((useconds_t)(harness_random(&random) % 500));
            shared_kill(*child);
            shared_reap(*child);
        }
        *child = shared_fork(work_until_killed, NULL);
        work();
    }
    for (int i = 0; i < PROCESSES; i++) {
        if (children[i]) {
            shared_kill(children[i]);
            shared_reap(children[i]);
        }
    }
    work();
    CHECK_EQUAL(shared->violations, 0);
    CHECK(shared->repairs > 0);
    printf("# %llu of %d kills met a holder\n", (unsigned long long)shared->repairs, rounds);
    end();
}

int main(void)
{
    RUN(a_lock_is_taken_and_given);
    RUN(a_dead_holder_is_told_of_until_somebody_has_repaired);
    RUN(a_holder_whose_place_is_taken_is_dead);
    RUN(holders_exclude_each_other);
    RUN(holders_are_killed_and_what_they_left_is_repaired);
    return harness_finish();
}
