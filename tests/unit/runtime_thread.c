/* SPDX-License-Identifier: MIT */
#include "preload/runtime_thread.h"

#include "tests/harness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

/* A sanitizer wants to know of every thread before it runs its code. */
#define NEEDS_PLAIN_BUILD()                                                                                  \
    do {                                                                                                     \
        if (HARNESS_SANITIZED) {                                                                             \
            SKIP("sanitizers know only libc's threads");                                                     \
        }                                                                                                    \
    } while (0)

static struct account account;
static struct memory memory = {.account = &account};

static __thread uint64_t zero_at_first __attribute__((tls_model("initial-exec")));
static __thread uint64_t set_at_first __attribute__((tls_model("initial-exec"))) = 12345;

struct look {
    uint64_t zero, set, signals;
    int tid, number;
    bool is_runtime, runs_elsewhere;
    unsigned cpu, kernel_cpu;
    char name[16];
};

static void look(void *argument)
{
    struct look *l = argument;
    l->zero = zero_at_first++;
    l->set = set_at_first++;
    l->tid = sys_gettid();
    l->is_runtime = runtime_thread_is_self();
    sys_call3(SYS_prctl, PR_GET_NAME, (long)l->name, 0);
    sys_call6(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&l->signals, 8, 0, 0);
    l->cpu = (unsigned)sched_getcpu();
    sys_call3(SYS_getcpu, (long)&l->kernel_cpu, 0, 0);
}

TEST(a_thread_has_its_own_tls_name_and_mask)
{
    NEEDS_PLAIN_BUILD();
    struct thread t;
    for (int round = 0; round < 3; round++) {
        struct look l = {0};
        REQUIRE(thread_ops_runtime.start(&t, look, &l, "test-thread-long-name") == 0);
        thread_ops_runtime.join(&t);
        CHECK_EQUAL(l.zero, 0);
        CHECK_EQUAL(l.set, 12345);
        CHECK(l.is_runtime);
        CHECK(l.tid != sys_gettid());
        CHECK(strcmp(l.name, "test-thread-lon") == 0);
        CHECK_EQUAL(l.signals | 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1), -1);
        CHECK(l.cpu == l.kernel_cpu || l.cpu < 4096);
    }
    CHECK(!runtime_thread_is_self());
    CHECK_EQUAL(zero_at_first, 0);
    CHECK_EQUAL(account_total(&account), 0);
}

struct deep {
    uint32_t deep, over; /* atomic */
};

static void go_deep(void *argument)
{
    struct deep *d = argument;
    char bytes[80 << 10];
    volatile char *at = bytes;
    __asm__ volatile("" : "+r"(at)); /* clang would keep those bytes alone */
    for (size_t i = 0; i < sizeof bytes; i += PAGE_BYTES) {
        at[i] = 1;
    }
    atomic_set_release(&d->deep, 1);
    while (!atomic_read_acquire(&d->over)) {
        sys_yield();
    }
}

TEST(of_a_stack_what_is_touched_is_charged)
{
    NEEDS_PLAIN_BUILD();
    struct deep d = {0};
    struct thread t;
    REQUIRE(thread_ops_runtime.start(&t, go_deep, &d, "deep") == 0);
    CHECK(account_total(&account) < 64 << 10);
    while (!atomic_read_acquire(&d.deep)) {
        sys_yield();
    }
    runtime_thread_charge_stacks();
    CHECK(account_total(&account) >= 80 << 10);
    atomic_set_release(&d.over, 1);
    thread_ops_runtime.join(&t);
    CHECK_EQUAL(account_total(&account), 0);
}

static uint64_t total; /* atomic */

static void add_many(void *argument)
{
    for (int i = 0; i < 100000; i++) {
        atomic_add_relaxed(&total, *(uint64_t *)argument);
    }
}

TEST(as_many_threads_as_there_may_be_and_not_one_more)
{
    NEEDS_PLAIN_BUILD();
    struct thread threads[RUNTIME_THREADS + 1];
    uint64_t one = 1;
    for (int round = 0; round < 2; round++) {
        total = 0;
        for (int i = 0; i < RUNTIME_THREADS; i++) {
            REQUIRE(thread_ops_runtime.start(&threads[i], add_many, &one, "many") == 0);
        }
        CHECK_EQUAL(thread_ops_runtime.start(&threads[RUNTIME_THREADS], add_many, &one, "many"), -EAGAIN);
        for (int i = 0; i < RUNTIME_THREADS; i++) {
            thread_ops_runtime.join(&threads[i]);
        }
        CHECK_EQUAL(total, 100000 * RUNTIME_THREADS);
        CHECK_EQUAL(account_total(&account), 0);
    }
}

static void close_descriptor(void *argument)
{
    sys_close(*(int *)argument);
}

TEST(a_private_thread_has_its_own_descriptors)
{
    NEEDS_PLAIN_BUILD();
    struct thread t;
    int fd = open("/dev/null", O_RDONLY);
    REQUIRE(fd >= 0);
    REQUIRE(runtime_thread_start_private(&t, close_descriptor, &fd, "private") == 0);
    thread_ops_runtime.join(&t);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    REQUIRE(thread_ops_runtime.start(&t, close_descriptor, &fd, "shared") == 0);
    thread_ops_runtime.join(&t);
    CHECK(fcntl(fd, F_GETFD) < 0);
}

TEST(without_memory_no_thread_is_started)
{
    NEEDS_PLAIN_BUILD();
    struct thread t;
    struct look l = {0};
    memory.fail_countdown = 1;
    CHECK_EQUAL(thread_ops_runtime.start(&t, look, &l, "none"), -ENOMEM);
    memory.fail_countdown = 0;
    CHECK_EQUAL(account_total(&account), 0);
}

static uint32_t stop; /* atomic */

static void wait_for_stop(void *argument)
{
    (void)argument;
    while (!atomic_read_acquire(&stop)) {
        sys_yield();
    }
}

TEST(a_forked_child_can_have_threads_of_its_own)
{
    NEEDS_PLAIN_BUILD();
    struct thread old, new;
    REQUIRE(thread_ops_runtime.start(&old, wait_for_stop, NULL, "old") == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        struct look l = {0};
        size_t stacks = account_total(&account);
        runtime_thread_fork_child();
        bool good = thread_ops_runtime.start(&new, look, &l, "new") == 0;
        good = good && account_total(&account) == stacks; /* it has the old one's stack */
        if (good) {
            thread_ops_runtime.join(&new);
        }
        _exit(good && l.is_runtime && l.set == 12345 ? 0 : 1);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    atomic_set_release(&stop, 1);
    thread_ops_runtime.join(&old);
}

int main(void)
{
    runtime_thread_init(&memory);
    RUN(a_thread_has_its_own_tls_name_and_mask);
    RUN(of_a_stack_what_is_touched_is_charged);
    RUN(as_many_threads_as_there_may_be_and_not_one_more);
    RUN(a_private_thread_has_its_own_descriptors);
    RUN(without_memory_no_thread_is_started);
    RUN(a_forked_child_can_have_threads_of_its_own);
    return harness_finish();
}
