/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/threads.h"

#define STUCK_SECONDS 1 /* of processor time in one step, which takes microseconds */

static struct sigaction old_segv, old_bus, old_fpe, old_ill, old_timer;
static stack_t old_stack;
static char signal_stack[64 << 10] __attribute__((aligned(16)));
static uint64_t steps_at_tick;
static unsigned ticks;

/* Makes the interrupted code fail, once the handler returns: on a thread's stack from the top, since the thread may have
 * overflowed it and is never resumed. */
static bool crash_on_return(void *context)
{
#if defined(__x86_64__)
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t sp = explore_is_running() ? (uintptr_t)arena_stack_top(explore_thread())
                                        : (uintptr_t)registers[REG_RSP] - 256;
    registers[REG_RSP] = (greg_t)((sp & ~(uintptr_t)15) - 72);
    registers[REG_RIP] = (greg_t)(uintptr_t)threads_crash;
    return true;
#else
    (void)context;
    return false;
#endif
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    if (number == SIGSEGV && arena_write_fault(info->si_addr)) {
        return;
    }
    if (number == SIGSEGV || number == SIGBUS) {
        threads_set_crash("wild access to address %p", info->si_addr);
    } else {
        threads_set_crash("signal %d", number);
    }
    if (!threads_may_fail() || !crash_on_return(context)) {
        signal(number, SIG_DFL); /* the explorer's own fault: let it happen again */
    }
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    if (threads_steps() != steps_at_tick || !explore_is_running()) {
        steps_at_tick = threads_steps();
        ticks = 0;
    } else if (++ticks >= STUCK_SECONDS * 2) {
        threads_set_crash("thread %u runs on without ever coming to a point", explore_thread());
        if (!crash_on_return(context)) {
            abort();
        }
        ticks = 0;
    }
}

void signals_begin(void)
{
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    sigaltstack(&stack, &old_stack);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &old_segv);
    sigaction(SIGBUS, &action, &old_bus);
    sigaction(SIGFPE, &action, &old_fpe);
    sigaction(SIGILL, &action, &old_ill);
    action.sa_sigaction = on_tick;
    action.sa_flags |= SA_RESTART;
    sigaction(SIGVTALRM, &action, &old_timer);
    ticks = 0;
    const struct itimerval half_second = {.it_interval.tv_usec = 500000, .it_value.tv_usec = 500000};
    setitimer(ITIMER_VIRTUAL, &half_second, NULL);
}

void signals_end(void)
{
    const struct itimerval none = {0};
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    sigaction(SIGVTALRM, &old_timer, NULL);
    sigaction(SIGILL, &old_ill, NULL);
    sigaction(SIGFPE, &old_fpe, NULL);
    sigaction(SIGBUS, &old_bus, NULL);
    sigaction(SIGSEGV, &old_segv, NULL);
    sigaltstack(&old_stack, NULL);
}
