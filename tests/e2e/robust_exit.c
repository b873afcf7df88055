/* SPDX-License-Identifier: MIT */
/* robust: how threads, and with the last of them the process, end. */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void *exit_by_number(void *argument)
{
    syscall(SYS_exit, (int)(intptr_t)argument);
    return NULL;
}

/* The thread ends; with the last one the process. */
static void test_exit_of_threads(void)
{
    begin();
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, exit_by_number, NULL) == 0);
    MUST(pthread_join(thread, NULL) == 0);
    work();
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            work();
            i ? exit_by_number((void *)5) : pthread_exit(NULL);
        }
        int status = status_of(pid);
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == (i ? 5 : 0));
    }
    work_everywhere();
}

#define MANY_THREADS 32
static pthread_barrier_t barrier;

static void *exit_with_others(void *argument)
{
    pthread_barrier_wait(&barrier);
    return exit_by_number(argument);
}

static void exit_all_at_once(void)
{
    MUST(pthread_barrier_init(&barrier, NULL, MANY_THREADS) == 0);
    for (int i = 1; i < MANY_THREADS; i++) {
        start(exit_with_others, 5);
    }
    exit_with_others((void *)5);
}

static void exit_two_at_once(void)
{
    MUST(pthread_barrier_init(&barrier, NULL, 2) == 0);
    start(exit_with_others, 5);
    exit_with_others((void *)5);
}

static void test_exit_of_threads_at_once(void)
{
    begin();
    for (int i = 0; i < 10; i++) {
        must_end_with(exit_two_at_once, EXITED(5));
    }
    must_end_with(exit_all_at_once, EXITED(5));
    work_everywhere();
}

/* The leader ends now. */
static void *work_without_leader(void *argument)
{
    usleep(100 * 1000);
    work();
    return argument;
}

static void *work_and_exit(void *argument)
{
    return exit_by_number(work_without_leader(argument));
}

static void leader_first(void)
{
    start(work_and_exit, 5);
    exit_by_number(NULL);
}

/* libc counts the leader still, so the last thread to return is not its last. */
static void leader_first_then_return(void)
{
    start(work_without_leader, 0);
    exit_by_number(NULL);
}

static void leader_first_by_pthread_exit(void)
{
    start(work_and_exit, 5);
    pthread_exit(NULL);
}

static void leader_first_all_by_pthread_exit(void)
{
    for (int i = 0; i < 3; i++) {
        start(exit_by_number, 0);
    }
    start(work_without_leader, 0);
    pthread_exit(NULL);
}

#if defined(__x86_64__)
static void *exit_by_instruction(void *argument)
{
    __asm__ volatile("syscall" : : "a"(SYS_exit), "D"(argument) : "rcx", "r11", "memory");
    return NULL;
}
#else
#define exit_by_instruction exit_by_number
#endif

static void all_by_instruction(void)
{
    start(exit_by_instruction, 0);
    exit_by_instruction(NULL);
}

static void leader_last_by_instruction(void)
{
    MUST(pthread_join(start(exit_by_number, 5), NULL) == 0);
    exit_by_instruction((void *)6);
}

static void end_in_many_ways(void)
{
    must_end_with(leader_first, EXITED(5));
    must_end_with(leader_first_then_return, EXITED(0));
    must_end_with(leader_first_by_pthread_exit, EXITED(5));
    must_end_with(leader_first_all_by_pthread_exit, EXITED(0));
    must_end_with(all_by_instruction, EXITED(0));
    must_end_with(exit_two_at_once, EXITED(5));
}

static void test_exit_of_leader_first(void)
{
    begin();
    end_in_many_ways();
    must_end_with(leader_last_by_instruction, EXITED(6));
    work_everywhere();
}

static void *leave_by_pthread_exit(void *argument)
{
    pthread_exit(argument);
}

/* /proc is out of sight, or numbers threads otherwise. */
static void test_exit_of_threads_elsewhere(void)
{
    char folder[] = "/tmp/robust-XXXXXX";
    begin();
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, leave_by_pthread_exit, NULL) ==
         0); /* libc loads a library for the first */
    MUST(pthread_join(thread, NULL) == 0);
    MUST(mkdtemp(folder) && chdir(folder) == 0 && rmdir(folder) == 0);
    for (int chrooted = 0; chrooted < 2; chrooted++) {
        pid_t pid = fork();
        if (pid == 0) {
            MUST(chrooted ? chroot(".") == 0 : unshare(CLONE_NEWPID) == 0);
            pid_t child = fork();
            if (child == 0) {
                end_in_many_ways();
                _exit(0);
            }
            must_end_well(child);
            _exit(0);
        }
        must_end_well(pid);
    }
    work_everywhere();
}

const struct robust_test robust_exit[] = {
    {"exit_of_threads", test_exit_of_threads},
    {"exit_of_threads_at_once", test_exit_of_threads_at_once},
    {"exit_of_leader_first", test_exit_of_leader_first},
    {"exit_of_threads_elsewhere", test_exit_of_threads_elsewhere},
    {NULL, NULL},
};
