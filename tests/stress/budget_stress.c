/* SPDX-License-Identifier: MIT */
/*
 * Processes that share a budget take and give it at random, and are killed at random, in the middle of whatever they do.
 * At every moment all that live use no more than the budget, and who is left can have all of it.
 */
#include <sys/prctl.h>
#include <time.h>

#include "base/budget.h"
#include "base/budget_policy.h"
#include "base/clock.h"
#include "tests/support/shared.h"

#define MIB ((int64_t)1 << 20)
#define TREE (256 * MIB)
#define CHILDREN 16
#define KILLS (HARNESS_SANITIZED ? 200 : 2000)

static struct session *session;
static pid_t children[CHILDREN];

static struct account *join(struct budget *budget)
{
    struct membership self;
    int place = session_claim(session, (uint32_t)getpid(), &self);
    if (place < 0) {
        _exit(2);
    }
    session->processes[place].account.most = TREE;
    budget_init(budget, session, (uint32_t)place, session_is_alive);
    return &session->processes[place].account;
}

/* Uses up to `wanted` bytes, as far as its limit goes. */
static void use(struct account *account, int64_t wanted)
{
    int64_t used = (int64_t)account_total(account), limit = (int64_t)account_limit(account);
    int64_t goal = wanted < limit ? wanted : limit;
    if (goal > used) {
        account_charge(account, ACCOUNT_RESIDENT, (size_t)(goal - used));
    } else {
        account_uncharge(account, ACCOUNT_RESIDENT, (size_t)(used - goal));
    }
}

static void pause_shortly(uint64_t *seed)
{
    struct timespec t = {.tv_nsec = (long)(harness_random(seed) % 500000)};
    nanosleep(&t, NULL);
}

static void live(void)
{
    struct budget budget;
    struct account *account = join(&budget);
    uint64_t seed = (uint64_t)getpid() * 7919 + 1;
    for (;;) {
        pause_shortly(&seed);
        int64_t wanted = (int64_t)(harness_random(&seed) % (uint64_t)(TREE / 4));
        switch (harness_random(&seed) % 4) {
        case 0:
            budget_balance(&budget, clock_ms());
            use(account, (int64_t)account_total(account));
            break;
        case 1:
            use(account, (int64_t)account_total(account) / 2);
            break;
        default:
            budget_more(&budget, budget_limit_for((size_t)wanted), clock_ms());
            use(account, wanted);
        }
    }
}

static pid_t start_child(void)
{
    fflush(stdout);
    pid_t parent = getpid(), child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            live();
        }
        _exit(2);
    }
    return child;
}

/* Read one after the other while they change: a member's use must be looked at before it can have moved to another. So all
 * are stopped for it, wherever they are. */
static int64_t used_by_all(void)
{
    int64_t sum = 0;
    for (int i = 0; i < CHILDREN; i++) {
        kill(children[i], SIGSTOP);
    }
    for (int i = 0; i < CHILDREN; i++) {
        siginfo_t info;
        REQUIRE(waitid(P_PID, (id_t)children[i], &info, WSTOPPED | WEXITED) == 0);
        CHECK_EQUAL(info.si_code, CLD_STOPPED);
    }
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        sum += session_is_alive(session, i) ? (int64_t)account_total(&session->processes[i].account) : 0;
    }
    for (int i = 0; i < CHILDREN; i++) {
        kill(children[i], SIGCONT);
    }
    return sum;
}

TEST(killed_at_any_moment_they_never_use_more_than_the_budget)
{
    uint64_t seed = 1;
    int64_t most = 0;
    REQUIRE(session_create_private(&session) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = start_child();
    }
    for (int kills = 0; kills < KILLS; kills++) {
        pause_shortly(&seed);
        int i = (int)(harness_random(&seed) % CHILDREN);
        shared_kill(children[i]);
        shared_reap(children[i]);
        children[i] = start_child();
        int64_t used = used_by_all();
        CHECK(used <= TREE);
        most = used > most ? used : most;
    }
    printf("# at most %lld MiB were seen in use\n", (long long)(most / MIB));
    CHECK(most > TREE / 4);
    CHECK(session->peak > TREE / 2);
    for (int i = 0; i < CHILDREN; i++) {
        shared_kill(children[i]);
        shared_reap(children[i]);
    }
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        CHECK(!session_is_alive(session, i));
    }
}

static int take_all(void *nothing)
{
    struct budget budget;
    struct account *account = join(&budget);
    (void)nothing;
    budget_more(&budget, (size_t)TREE, clock_ms());
    CHECK_EQUAL(account_limit(account), TREE);
    return 0;
}

TEST(who_comes_after_them_gets_the_whole_budget)
{
    shared_wait(shared_fork(take_all, NULL));
    session_close(session);
}

int main(void)
{
    RUN(killed_at_any_moment_they_never_use_more_than_the_budget);
    RUN(who_comes_after_them_gets_the_whole_budget);
    return harness_finish();
}
