/* SPDX-License-Identifier: MIT */
/* Members of shared memory: who lives, who is dead however he died, and burials that are cut short. */
#include "base/member.h"

#include <linux/futex.h>
#include <pthread.h>

#include "tests/support/shared.h"

#if defined(SYS_THREAD_SANITIZER)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

/* What the tests' processes share. */
struct shared {
    struct member_table table;
    struct membership name;         /* of the child */
    uint32_t step;                  /* where the child is */
    uint32_t held[MEMBERS_MAX];     /* what the member in each place holds */
    uint32_t burials, simultaneous; /* burials begun; how many go on */
    uint32_t uncounted;             /* 1: those that a death cuts short are not to be counted as going on */
    uint32_t stop_in_burial;        /* 1: the next burial hangs half-way */
};

static struct shared *shared;

static void begin(void)
{
    shared = shared_memory(sizeof *shared);
}

static void end(void)
{
    member_thread_leave();
    munmap(shared, sizeof *shared);
}

/* Gives back in two steps, of which the second may never come. */
static void bury(void *context, uint32_t index)
{
    bool counted = !atomic_read_relaxed(&shared->uncounted);
    (void)context;
    atomic_add_relaxed(&shared->burials, 1);
    CHECK(!counted || atomic_add_acq_rel(&shared->simultaneous, 1) == 1);
    if (atomic_swap_acq_rel(&shared->stop_in_burial, 0)) {
        atomic_sub_acq_rel(&shared->simultaneous, 1);
        atomic_set_release(&shared->step, 2);
        pause();
    }
    atomic_set_relaxed(&shared->held[index], 0);
    if (counted) {
        atomic_sub_acq_rel(&shared->simultaneous, 1);
    }
}

static int claim(struct membership *self)
{
    return member_claim(self, &shared->table, (uint32_t)getpid(), bury, NULL);
}

static void claim_here(struct membership *self)
{
    REQUIRE(claim(self) >= 0);
}

static int live_until_killed(void *argument)
{
    (void)argument;
    if (claim(&shared->name) < 0) {
        return 2;
    }
    atomic_set_relaxed(&shared->held[shared->name.index], 1);
    atomic_set_release(&shared->step, 1);
    pause();
    return 3;
}

/* A child that is a member and holds something; its name is in shared->name. */
static pid_t start_member(void)
{
    shared->step = 0;
    pid_t child = shared_fork(live_until_killed, NULL);
    shared_await(&shared->step, 1);
    return child;
}

static bool child_is_alive(void)
{
    return member_is_alive(&shared->table, shared->name.index, shared->name.generation);
}

TEST(who_claims_is_alive_until_he_leaves)
{
    struct membership me;
    begin();
    CHECK(!member_place_is_alive(&shared->table, 0));
    CHECK_EQUAL(claim(&me), 0);
    CHECK(member_is_alive(&shared->table, 0, me.generation));
    CHECK(!member_is_alive(&shared->table, 0, me.generation - 1));
    CHECK(!member_thread_is_dead(&shared->table, member_thread_self()));
    uint64_t self = member_thread_self();
    member_thread_leave();
    CHECK(!member_is_alive(&shared->table, 0, me.generation));
    CHECK(member_thread_is_dead(&shared->table, self));
    CHECK_EQUAL(member_thread_self(), 0);
    end();
}

TEST(a_killed_process_is_dead_before_it_is_reaped)
{
    begin();
    pid_t child = start_member();
    CHECK(child_is_alive());
    shared_kill(child);
    CHECK(!child_is_alive());
    shared_reap(child);
    end();
}

static int exit_as_member(void *argument)
{
    (void)argument;
    return claim(&shared->name) < 0;
}

TEST(a_process_that_exits_is_dead)
{
    begin();
    shared_wait(shared_fork(exit_as_member, NULL));
    CHECK(!child_is_alive());
    end();
}

static int exec_as_member(void *argument)
{
    claim(&shared->name);
    execl("/bin/sh", "sh", "-c", (const char *)argument, (char *)NULL);
    return 4;
}

/* The process goes on; its image, which was the member, is dead. */
TEST(an_image_that_has_called_exec_is_dead)
{
    int out[2];
    char command[64], byte;
    begin();
    REQUIRE(pipe(out) == 0);
    snprintf(command, sizeof command, "echo x >&%d; exec sleep 100", out[1]);
    pid_t child = shared_fork(exec_as_member, command);
    REQUIRE(read(out[0], &byte, 1) == 1);
    CHECK(!child_is_alive());
    shared_kill(child);
    shared_reap(child);
    close(out[0]);
    close(out[1]);
    end();
}

/* Is the mapping with this address a shared one? */
static bool is_in_shared_memory(const void *at)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    char rights[5] = "", line[512];
    bool found = false;
    REQUIRE(maps);
    while (!found && fgets(line, sizeof line, maps)) {
        found = sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 && from <= (uintptr_t)at &&
                (uintptr_t)at < to;
    }
    fclose(maps);
    return found && rights[3] == 's';
}

/* All that the kernel reads when the calling thread dies. */
static void check_watch(uint32_t *word)
{
    struct robust_list_head *head = NULL;
    size_t bytes;
    CHECK_EQUAL(sys_call3(SYS_get_robust_list, 0, (long)&head, (long)&bytes), 0);
    REQUIRE(head && is_in_shared_memory(head));
    CHECK((void *)head >= (void *)&shared->table && (void *)(head + 1) <= (void *)(&shared->table + 1));
    CHECK(is_in_shared_memory(head->list.next));
    CHECK((char *)head->list.next + head->futex_offset == (char *)word);
    CHECK(head->list.next->next == &head->list);
}

static void *enter_and_check(void *argument)
{
    const struct membership *me = argument;
    CHECK_EQUAL(member_thread_enter(me, 7), 0);
    check_watch(&shared->table.members[me->index].threads[7]);
    member_thread_leave();
    return NULL;
}

TEST(what_tells_of_a_death_lies_in_shared_memory)
{
    struct membership me;
    pthread_t thread;
    begin();
    claim_here(&me);
    REQUIRE(!pthread_create(&thread, NULL, enter_and_check, &me));
    pthread_join(thread, NULL);
    check_watch(&shared->table.members[me.index].threads[0]);
    end();
}

static void *claim_and_wait(void *argument)
{
    live_until_killed(argument);
    return NULL;
}

/* As it happens to a victim of the OOM killer, or of process_mrelease(2), before its threads have come to their end. */
static int lose_private_memory(void *argument)
{
    const size_t bytes = (size_t)8 << 20;
    pthread_attr_t attributes;
    pthread_t thread;
    (void)argument;
    void *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(stack != MAP_FAILED);
    pthread_attr_init(&attributes);
    REQUIRE(!pthread_attr_setstack(&attributes, stack, bytes)); /* and the thread's static TLS */
    REQUIRE(!pthread_create(&thread, &attributes, claim_and_wait, NULL));
    shared_await(&shared->step, 1);
    sys_madvise(stack, bytes, MADV_DONTNEED);
    kill(getpid(), SIGKILL);
    return 3;
}

TEST(a_process_that_loses_its_private_memory_before_it_dies_is_dead)
{
    begin();
    pid_t child = shared_fork(lose_private_memory, NULL);
    shared_await(&shared->step, 1);
    shared_reap(child);
    CHECK(!child_is_alive());
    end();
}

/* ---- Places */

TEST(places_of_the_living_are_not_taken)
{
    struct membership me;
    begin();
    pid_t child = start_member();
    CHECK_EQUAL(claim(&me), 1);
    shared_kill(child);
    shared_reap(child);
    end();
}

TEST(a_full_table_says_so)
{
    struct membership me;
    begin();
    for (int i = 0; i < MEMBERS_MAX; i++) {
        shared->table.members[i].threads[i % MEMBER_THREADS] = 1;
    }
    CHECK_EQUAL(claim(&me), -EAGAIN);
    shared->table.members[77].threads[77 % MEMBER_THREADS] = 0;
    CHECK_EQUAL(claim(&me), 77);
    end();
}

/* Two images of one process, so to speak. */
TEST(an_image_takes_the_place_of_the_one_before_it)
{
    struct membership before, after;
    begin();
    claim_here(&before);
    member_thread_leave();
    CHECK_EQUAL(member_claim(&after, &shared->table, 1, bury, NULL), 1);
    member_thread_leave();
    CHECK_EQUAL(claim(&after), (int)before.index);
    CHECK(after.generation != before.generation);
    CHECK_EQUAL(shared->burials, 1);
    end();
}

/* What a dead owner held is given back before his place is another's. */
TEST(a_place_is_buried_before_it_is_claimed_again)
{
    struct membership me;
    begin();
    for (int i = 0; i < MEMBERS_MAX; i++) {
        shared->table.members[i].generation = 1;
        shared->held[i] = 1;
    }
    CHECK_EQUAL(claim(&me), 0);
    CHECK_EQUAL(shared->burials, 1);
    CHECK_EQUAL(shared->held[0], 0);
    CHECK_EQUAL(shared->held[1], 1);
    end();
}

static int claim_and_hang(void *argument)
{
    struct membership me;
    (void)argument;
    shared->stop_in_burial = 1;
    member_claim(&me, &shared->table, 77, bury, NULL);
    return 5;
}

TEST(a_burial_is_taken_over_from_the_dead)
{
    struct membership me;
    begin();
    shared->table.members[0].pid = 77;
    shared->table.members[0].generation = 1;
    shared->held[0] = 1;
    pid_t child = shared_fork(claim_and_hang, NULL);
    shared_await(&shared->step, 2);
    CHECK_EQUAL(shared->held[0], 1);
    shared_kill(child);
    CHECK_EQUAL(member_claim(&me, &shared->table, 77, bury, NULL), 0);
    CHECK_EQUAL(shared->held[0], 0);
    CHECK_EQUAL(me.generation, 2);
    shared_reap(child);
    end();
}

/* ---- Threads */

struct thread_test {
    struct membership *member;
    unsigned number;
    int entered;
    uint32_t *go;
};

static void *enter_and_leave(void *argument)
{
    struct thread_test *t = argument;
    t->entered = member_thread_enter(t->member, t->number);
    shared_await(t->go, 1);
    member_thread_leave();
    return NULL;
}

TEST(a_member_lives_as_long_as_a_thread_of_it)
{
    struct membership me;
    pthread_t thread;
    uint32_t go = 0;
    begin();
    claim_here(&me);
    struct thread_test t = {.member = &me, .number = 5, .entered = 1, .go = &go};
    REQUIRE(!pthread_create(&thread, NULL, enter_and_leave, &t));
    while (!member_place_is_alive(&shared->table, 0) ||
           !atomic_read_acquire(&shared->table.members[0].threads[5])) {
        sys_yield();
    }
    member_thread_leave();
    CHECK(member_is_alive(&shared->table, me.index, me.generation));
    atomic_set_release(&go, 1);
    pthread_join(thread, NULL);
    CHECK_EQUAL(t.entered, 0);
    CHECK(!member_is_alive(&shared->table, me.index, me.generation));
    end();
}

/* It was started, and its process died before it came to say so; the place is another's by then, or nobody's. */
TEST(a_late_thread_is_turned_away)
{
    struct membership me, old;
    pthread_t thread;
    uint32_t go = 1;
    begin();
    claim_here(&old);
    member_thread_leave();
    struct thread_test t = {.member = &old, .number = 3, .go = &go};
    for (int taken = 0; taken < 2; taken++) {
        if (taken) {
            claim_here(&me);
        }
        t.entered = 0;
        REQUIRE(!pthread_create(&thread, NULL, enter_and_leave, &t));
        pthread_join(thread, NULL);
        CHECK_EQUAL(t.entered, -ESHUTDOWN);
        CHECK_EQUAL(shared->table.members[0].threads[3], 0);
    }
    end();
}

/* ---- All of it, amid deaths */

enum { PROCESSES = 4, PLACES = 2 * PROCESSES, ROUNDS = HARNESS_SANITIZED ? 60 : 400 };

static void play_living(uint32_t index)
{
    atomic_set_seq_cst(&shared->table.members[index].threads[0], 1);
}

/* Claims, which buries who had the place before, holds, and is killed anywhere. */
static int live_a_life(void *argument)
{
    struct membership me;
    (void)argument;
    while (claim(&me) == -EAGAIN) {
        sys_yield(); /* two that claim one place may both give up */
    }
    uint32_t *held = &shared->held[me.index];
    if (atomic_swap_acq_rel(held, me.generation)) {
        atomic_set_release(&shared->step, 98); /* the last owner was forgotten */
        return 3;
    }
    while (atomic_read_acquire(held) == me.generation) {
    }
    atomic_set_release(&shared->step, 99); /* buried alive */
    return 4;
}

/* Kills one of the children and starts another. */
static void next_life(pid_t *child, uint64_t *random)
{
    if (*child) {
        usleep((useconds_t)(harness_random(random) % 300));
        shared_kill(*child);
        shared_reap(*child);
    }
    *child = shared_fork(live_a_life, NULL);
}

TEST(nobody_is_buried_alive_and_nobody_is_forgotten)
{
    pid_t children[PROCESSES] = {0};
    uint64_t random = 5;
    begin();
    shared->uncounted = 1;
    for (uint32_t i = PLACES; i < MEMBERS_MAX; i++) {
        play_living(i);
    }
    for (int round = 0; round < ROUNDS || !atomic_read_relaxed(&shared->burials); round++) {
        next_life(&children[harness_random(&random) % PROCESSES], &random);
    }
    for (int i = 0; i < PROCESSES; i++) {
        if (children[i]) {
            shared_kill(children[i]);
            shared_reap(children[i]);
        }
    }
    CHECK(atomic_read_acquire(&shared->step) < 98);
    CHECK(atomic_read_relaxed(&shared->burials) > 0);
    for (uint32_t i = 0; i < PLACES; i++) {
        struct membership me;
        REQUIRE(member_claim(&me, &shared->table, 1 + i, bury, NULL) >= 0);
        CHECK_EQUAL(shared->held[me.index], 0);
        member_thread_leave();
        play_living(me.index);
    }
    end();
}

int main(void)
{
    RUN(who_claims_is_alive_until_he_leaves);
    RUN(a_killed_process_is_dead_before_it_is_reaped);
    RUN(a_process_that_exits_is_dead);
    RUN(an_image_that_has_called_exec_is_dead);
    RUN(what_tells_of_a_death_lies_in_shared_memory);
    RUN(a_process_that_loses_its_private_memory_before_it_dies_is_dead);
    RUN(places_of_the_living_are_not_taken);
    RUN(a_full_table_says_so);
    RUN(an_image_takes_the_place_of_the_one_before_it);
    RUN(a_place_is_buried_before_it_is_claimed_again);
    RUN(a_burial_is_taken_over_from_the_dead);
    RUN(a_member_lives_as_long_as_a_thread_of_it);
    RUN(a_late_thread_is_turned_away);
    RUN(nobody_is_buried_alive_and_nobody_is_forgotten);
    return harness_finish();
}
