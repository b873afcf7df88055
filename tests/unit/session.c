/* SPDX-License-Identifier: MIT */
#include "base/session.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* Numbers that no process has. */
#define DEAD 5000000u

static struct session *session;
static int session_fd;

static void new_session(void)
{
    session_fd = session_create(&session);
    REQUIRE(session_fd >= 3);
}

static void end_session(void)
{
    member_thread_leave();
    session_close(session);
    close(session_fd);
}

static struct session_process sum_now(void)
{
    struct session_process sum;
    session_sum(session, &sum);
    return sum;
}

/* The slot of a living process: the calling thread is its thread 0. */
static struct session_process *claim(struct session *in, uint32_t pid)
{
    struct membership self;
    int index = session_claim(in, pid, &self);
    return index >= 0 ? &in->processes[index] : NULL;
}

/* The slot of a process that is dead as soon as it has it. */
static struct session_process *claim_dead(uint32_t pid)
{
    struct session_process *slot = claim(session, pid);
    member_thread_leave();
    return slot;
}

static void open_path(char path[64])
{
    snprintf(path, 64, "/proc/self/fd/%d", session_fd);
}

TEST(a_session_opens_by_its_path)
{
    char path[64];
    struct session *other;
    new_session();
    open_path(path);
    REQUIRE(session_open(path, &other) == 0);
    struct session_process *slot = claim(other, (uint32_t)getpid());
    REQUIRE(slot);
    atomic_set_relaxed(&slot->faults, 7);
    CHECK_EQUAL(sum_now().faults, 7);
    member_thread_leave();
    session_close(other);
    end_session();
}

TEST(what_is_no_session_is_refused)
{
    struct session *other;
    CHECK_EQUAL(session_open("/proc/self/fd/9999", &other), -ENOENT);
    CHECK_EQUAL(session_open("/dev/null", &other), -EPROTO);
    char path[] = "/tmp/uzswap-session-XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0 && ftruncate(fd, sizeof *session) == 0);
    CHECK_EQUAL(session_open(path, &other), -EPROTO);
    close(fd);
    unlink(path);
}

TEST(another_version_is_refused)
{
    char path[64];
    struct session *other;
    new_session();
    open_path(path);
    session->version++;
    CHECK_EQUAL(session_open(path, &other), -EPROTO);
    end_session();
}

/* A program must not be able to shrink the file under uzswap. */
TEST(the_file_keeps_its_size)
{
    new_session();
    CHECK(ftruncate(session_fd, 0) == -1);
    CHECK(ftruncate(session_fd, 1 << 20) == -1);
    CHECK(fcntl(session_fd, F_GETFD) & FD_CLOEXEC);
    end_session();
}

TEST(each_process_has_its_own_slot)
{
    new_session();
    struct session_process *a = claim_dead(DEAD + 1), *b = claim_dead(DEAD + 2);
    CHECK(a && b && a != b);
    CHECK_EQUAL(a->pid, DEAD + 1);
    CHECK_EQUAL(session->processes_total, 2);
    end_session();
}

TEST(an_exec_keeps_the_slot_and_its_figures_count_on)
{
    new_session();
    struct session_process *slot = claim_dead(DEAD);
    slot->faults = 10;
    slot->stored_pages = 5;
    slot->managed = 1;
    account_charge(&slot->account, ACCOUNT_POOL, 4096);
    CHECK(claim(session, DEAD) == slot);
    CHECK_EQUAL(session->processes_total, 1);
    CHECK_EQUAL(slot->faults, 0);
    CHECK_EQUAL(slot->managed, 0);
    CHECK_EQUAL(account_total(&slot->account), 0);
    slot->faults = 1;
    struct session_process sum = sum_now();
    CHECK_EQUAL(sum.faults, 11);
    CHECK_EQUAL(sum.account.peak, 4096);
    CHECK_EQUAL(sum.managed, 1);
    end_session();
}

TEST(levels_are_those_of_the_largest_process)
{
    new_session();
    struct session_process *small = claim_dead(DEAD + 1), *large = claim_dead(DEAD + 2);
    account_charge(&small->account, ACCOUNT_POOL, 1000);
    account_charge(&large->account, ACCOUNT_RESIDENT, 9000);
    small->stored_pages = 1;
    large->stored_pages = 2;
    small->written_back_pages = 10;
    large->written_back_pages = 20;
    struct session_process sum = sum_now();
    CHECK_EQUAL(sum.stored_pages, 2);
    CHECK_EQUAL(sum.written_back_pages, 30);
    CHECK_EQUAL(sum.account.peak, 9000);
    CHECK_EQUAL(account_bytes(&sum.account, ACCOUNT_RESIDENT), 9000);
    CHECK_EQUAL(account_bytes(&sum.account, ACCOUNT_POOL), 0);
    end_session();
}

static struct session_process *play_living(uint32_t index, uint64_t family, uint64_t device_bytes)
{
    struct session_process *slot = &session->processes[index];
    session->members.members[index].threads[0] = 1;
    slot->managed = 1;
    slot->stored_pages = 1;
    slot->device_family = family;
    slot->device_bytes = device_bytes;
    return slot;
}

/* Each process of a family says what the family has there. */
TEST(a_device_that_processes_share_counts_once)
{
    new_session();
    play_living(3, 1, 1000);
    play_living(4, 2, 10);
    struct session_process *third = play_living(7, 1, 1001); /* a moment later */
    play_living(9, 0, 0);
    CHECK_EQUAL(sum_now().device_bytes, 1010);
    CHECK_EQUAL(sum_now().stored_pages, 4);
    session->members.members[3].threads[0] = 0;
    CHECK_EQUAL(sum_now().device_bytes, 1011);
    third->managed = 0;
    CHECK_EQUAL(sum_now().device_bytes, 10);
    end_session();
}

/* More processes than slots, one after the other: none of their figures is lost. */
TEST(slots_of_the_dead_are_used_again)
{
    enum { PROCESSES = 3 * SESSION_PROCESSES };
    new_session();
    for (uint32_t i = 0; i < PROCESSES; i++) {
        struct session_process *slot = claim_dead(DEAD + i);
        REQUIRE(slot && slot->faults == 0);
        atomic_set_relaxed(&slot->faults, 1);
        atomic_set_relaxed(&slot->managed, 1);
        account_charge(&slot->account, ACCOUNT_POOL, i == 700 ? 7000 : 10);
        atomic_set_relaxed(&slot->stored_pages, i);
    }
    struct session_process sum = sum_now();
    CHECK_EQUAL(sum.faults, PROCESSES);
    CHECK_EQUAL(sum.managed, PROCESSES);
    CHECK_EQUAL(sum.account.peak, 7000);
    CHECK_EQUAL(sum.stored_pages, 700);
    CHECK_EQUAL(session->processes_total, PROCESSES);
    end_session();
}

TEST(slots_of_the_living_are_not_taken)
{
    new_session();
    for (size_t i = 0; i < SESSION_PROCESSES; i++) {
        session->members.members[i].threads[0] = 1;
    }
    CHECK(claim(session, DEAD) == NULL);
    session->members.members[77].threads[0] = 0;
    CHECK(claim(session, DEAD) == &session->processes[77]);
    end_session();
}

enum { THREADS = 4, ROUNDS = 400 };

static void *claim_often(void *argument)
{
    uint32_t first = DEAD + 1000 * (uint32_t)(uintptr_t)argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct session_process *slot = claim_dead(first + i);
        if (slot) {
            atomic_add_relaxed(&slot->faults, 1);
            atomic_add_relaxed(&slot->managed, 1);
            account_charge(&slot->account, ACCOUNT_POOL, 10);
        }
    }
    return NULL;
}

/* Here "dead" processes still run, so that a slot may be taken from under one that counts: no figure is lost anyway. */
TEST(claims_side_by_side_lose_nothing)
{
    pthread_t threads[THREADS];
    new_session();
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, claim_often, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct session_process sum = sum_now();
    CHECK_EQUAL(session->processes_total, THREADS * ROUNDS);
    CHECK_EQUAL(sum.faults, THREADS * ROUNDS);
    CHECK_EQUAL(sum.managed, THREADS * ROUNDS);
    end_session();
}

TEST(forked_children_claim_for_themselves)
{
    enum { CHILDREN = 8 };
    char path[64];
    new_session();
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), session_fd);
    struct session_process *own = claim(session, (uint32_t)getpid());
    atomic_set_relaxed(&own->faults, 100);
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            struct session *seen;
            struct session_process *slot = session_open(path, &seen) ? NULL : claim(seen, (uint32_t)getpid());
            if (slot) {
                atomic_set_relaxed(&slot->faults, 1);
            }
            _exit(slot == NULL);
        }
    }
    for (int status; wait(&status) > 0;) {
        CHECK_EQUAL(status, 0);
    }
    CHECK_EQUAL(sum_now().faults, 100 + CHILDREN);
    CHECK_EQUAL(session->processes_total, 1 + CHILDREN);
    end_session();
}

TEST(alive_or_dead)
{
    new_session();
    CHECK(!session_is_alive(session, 0));
    CHECK(claim(session, DEAD) == &session->processes[0]);
    CHECK(session_is_alive(session, 0));
    member_thread_leave();
    CHECK(!session_is_alive(session, 0));
    end_session();
}

TEST(a_session_without_a_path_is_for_whom_one_forks)
{
    REQUIRE(session_create_private(&session) == 0);
    REQUIRE(claim(session, (uint32_t)getpid()));
    pid_t child = fork();
    if (child == 0) {
        struct session_process *slot = claim(session, (uint32_t)getpid());
        atomic_set_relaxed(&slot->faults, 5);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK_EQUAL(sum_now().faults, 5);
    member_thread_leave();
    session_close(session);
}

int main(void)
{
    RUN(a_session_opens_by_its_path);
    RUN(what_is_no_session_is_refused);
    RUN(another_version_is_refused);
    RUN(the_file_keeps_its_size);
    RUN(each_process_has_its_own_slot);
    RUN(an_exec_keeps_the_slot_and_its_figures_count_on);
    RUN(levels_are_those_of_the_largest_process);
    RUN(a_device_that_processes_share_counts_once);
    RUN(slots_of_the_dead_are_used_again);
    RUN(slots_of_the_living_are_not_taken);
    RUN(claims_side_by_side_lose_nothing);
    RUN(forked_children_claim_for_themselves);
    RUN(alive_or_dead);
    RUN(a_session_without_a_path_is_for_whom_one_forks);
    return harness_finish();
}
