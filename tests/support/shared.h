/* SPDX-License-Identifier: MIT */
/* For tests of what processes share: memory, children that stop where they are told to, and killing them. */
#ifndef UZSWAP_TESTS_SUPPORT_SHARED_H
#define UZSWAP_TESTS_SUPPORT_SHARED_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "tests/harness.h"

/* Memory that this process and its children share; zero. */
__attribute__((unused)) static void *shared_memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

/* Waits until another process has made the word `value`. */
__attribute__((unused)) static void shared_await(const uint32_t *word, uint32_t value)
{
    while (atomic_read_acquire(word) != value) {
        sys_yield();
    }
}

/* Runs `run` in a child, which ends with its result. */
__attribute__((unused)) static pid_t shared_fork(int (*run)(void *), void *argument)
{
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        int result = run(argument);
        fflush(stdout);
        _exit(result ? result : harness_failures != 0);
    }
    return child;
}

__attribute__((unused)) static void shared_wait(pid_t child)
{
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
}

/* Kills a child, and waits until it is a zombie: dead and not reaped. */
__attribute__((unused)) static void shared_kill(pid_t child)
{
    siginfo_t info;
    kill(child, SIGKILL);
    REQUIRE(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
}

__attribute__((unused)) static void shared_reap(pid_t child)
{
    waitpid(child, NULL, 0);
}

#endif
