/* SPDX-License-Identifier: MIT */
/* robust: signals at any moment, with handlers that leave by longjmp, touch memory that is out, and stop processes. */
#include "tests/e2e/robust.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static void test_all_blocked(void)
{
    sigset_t all;
    begin();
    sigfillset(&all);
    MUST(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    work_everywhere();
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms = alarms + 1;
}

static void start_alarms(void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct itimerval often = {{0, 1000}, {0, 1000}};
    MUST(sigaction(SIGALRM, &action, NULL) == 0);
    MUST(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void stop_alarms(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    MUST(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void test_alarms(void)
{
    begin();
    start_alarms(count_alarm, SA_RESTART);
    work_everywhere();
    for (int i = 0; i < 2000; i++) {
        MUST(munmap(map(64 * PAGE), 64 * PAGE) == 0);
    }
    stop_alarms();
    MUST(alarms > 10);
}

/* The handler's stack is out when the signal comes; the handler touches pages that are out. */
static volatile size_t touched;

static void touch_pages(int number)
{
    (void)number;
    volatile char frames[16 * PAGE];
    for (size_t i = 0; i < 16; i++) {
        frames[i * PAGE] = (char)i;
    }
    MUST(frames[15 * PAGE] == 15);
    const uint64_t *word = (const uint64_t *)(memory + touched++ * 7919 % PAGES * PAGE);
    MUST(*word == word_of((size_t)((const char *)word - memory) / PAGE, 0));
}

static void test_sigaltstack(void)
{
    begin();
    stack_t stack = {.ss_sp = map(64 * PAGE), .ss_size = 64 * PAGE};
    MUST(sigaltstack(&stack, NULL) == 0);
    struct sigaction action = {.sa_handler = touch_pages, .sa_flags = SA_ONSTACK};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        MUST(wrong_pages() == 0);
        MUST(raise(SIGUSR1) == 0);
    }
    MUST(touched == 20);
    work_everywhere();
}

/* Leaves calls for memory by longjmp, again and again: more often than there are requests at once. */
static sigjmp_buf away;
static volatile sig_atomic_t may_jump;

static void jump_away(int number)
{
    (void)number;
    if (may_jump) {
        may_jump = 0;
        siglongjmp(away, 1);
    }
}

static void test_longjmp(void)
{
    volatile int jumps = 0;
    begin();
    start_alarms(jump_away, 0);
    if (sigsetjmp(away, 1)) {
        jumps = jumps + 1;
    }
    while (jumps < 200) {
        may_jump = 1;
        MUST(munmap(map(64 * PAGE), 64 * PAGE) == 0);
        may_jump = 0;
    }
    stop_alarms();
    work_everywhere();
}

/* As garbage collectors do: a page's protection says whether it was written. */
static volatile int barriers;
static char *volatile expected_address;

static void open_page(int number, siginfo_t *info, void *context)
{
    (void)context;
    MUST(number == SIGSEGV && info->si_code == SEGV_ACCERR && (char *)info->si_addr == expected_address);
    barriers = barriers + 1;
    MUST(mprotect((void *)((uintptr_t)info->si_addr & ~(PAGE - 1)), PAGE, RW) == 0);
}

static void test_write_barrier(void)
{
    begin();
    struct sigaction action = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSEGV, &action, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        MUST(mprotect(memory, BYTES, round == 1 ? PROT_NONE : PROT_READ) == 0);
        for (size_t page = 0; page < PAGES; page += 16) {
            expected_address = memory + page * PAGE + 24;
            uint64_t word = word_of(page, 3);
            *(volatile uint64_t *)expected_address = word;
        }
        MUST(mprotect(memory, BYTES, RW) == 0);
        MUST(wrong_pages() == 0);
    }
    MUST(barriers == 3 * (int)(PAGES / 16));
    work_everywhere();
}

static void *work_until_cancelled(void *argument)
{
    (void)argument;
    MUST(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    for (;;) {
        MUST(munmap(map(64 * PAGE), 64 * PAGE) == 0);
    }
    return NULL;
}

static void test_cancel(void)
{
    begin();
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        void *result;
        MUST(pthread_create(&thread, NULL, work_until_cancelled, NULL) == 0);
        usleep(1000);
        MUST(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    work_everywhere();
}

/* Each signal to the process is taken by a thread of the program: which is this one. */
static pid_t taker;
static volatile sig_atomic_t taken;

static void take(int number)
{
    (void)number;
    MUST((pid_t)syscall(SYS_gettid) == taker);
    taken = taken + 1;
}

static void test_who_takes_signals(void)
{
    begin();
    taker = (pid_t)syscall(SYS_gettid);
    for (int number = 1; number < 65; number++) {
        struct sigaction action = {.sa_handler = take};
        sigaction(number, &action, NULL);
    }
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int sent = 0;
    for (int number = 1; number < 65; number++) {
        if (number != SIGKILL && number != SIGSTOP && (number < 32 || number > 33)) {
            MUST(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
            MUST(sigqueue(getpid(), number, (union sigval){.sival_int = 1}) == 0);
            usleep(100);
            MUST(taken == sent++);
            MUST(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
            MUST(taken == sent);
        }
    }
    taker = 0;
    for (int number = 1; number < 65; number++) {
        signal(number, SIG_DFL);
    }
    work_everywhere();
}

static void test_stop_and_continue(void)
{
    begin();
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 3; i++) {
            work();
        }
        _exit(0);
    }
    for (int i = 0; i < 20; i++) {
        kill(pid, SIGSTOP);
        usleep(5000);
        kill(pid, SIGCONT);
        usleep(5000);
    }
    must_end_well(pid);
    work();
}

const struct robust_test robust_signals[] = {
    {"all_blocked", test_all_blocked},
    {"alarms", test_alarms},
    {"sigaltstack", test_sigaltstack},
    {"longjmp", test_longjmp},
    {"write_barrier", test_write_barrier},
    {"cancel", test_cancel},
    {"who_takes_signals", test_who_takes_signals},
    {"stop_and_continue", test_stop_and_continue},
    {NULL, NULL},
};
