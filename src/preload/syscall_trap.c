/* SPDX-License-Identifier: MIT */
/*
 * Syscall User Dispatch (Linux 5.11, x86-64; Documentation/admin-guide/syscall-user-dispatch.rst): while a thread's
 * selector says so, each of its system calls raises SIGSYS, but for those made by one range of code. That
 * range is this library's text, so that our handler can make calls, and return: through a restorer of our own.
 *
 * The handler makes each call in the program's stead, and gives a clone that does not share memory to fork.c.
 *
 * libc's fork may block SIGSYS, too, which would be fatal at its next system call; and a change of the mask made
 * inside a handler ends with the handler. So changes of the mask are made in the interrupted context, without
 * SIGSYS.
 *
 * SIGSYS's disposition is the process's: it is ours while at least one thread is inside, and signals that are not ours
 * (a seccomp filter's) go where they would have gone.
 *
 * Why not elsewhere: without the dispatch (another architecture, an older kernel, a filter) there is no way to come
 * between libc's clone and what libc does next. trap_arm then says so.
 */
#include "preload/syscall_trap.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include "base/lock.h"
#include "base/sys.h"
#include "preload/clone.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#define SYSCALL_DISPATCH_FILTER_ALLOW 0
#define SYSCALL_DISPATCH_FILTER_BLOCK 1
#endif
#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2
#endif

#define SIGSET_BYTES 8
#define SIGNAL_BIT(n) (1ull << ((n)-1))

#if defined(__x86_64__)

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
#define KERNEL_SA_RESTORER 0x04000000

/* Where system calls are allowed while the dispatch is armed: this library's text. Written once at the start. */
static char *text;
static size_t text_bytes;

/* The kernel reads it at each system call of an armed thread. */
static __thread volatile char selector __attribute__((tls_model("initial-exec")));

/* From trap_arm to the clone, or where there is none to trap_disarm. */
static __thread bool is_armed __attribute__((tls_model("initial-exec")));

/* How many threads are inside trapped calls, and what SIGSYS did before the first. */
static struct {
    struct mutex lock; /* covers the fields, and the change of SIGSYS's disposition */
    unsigned users;
    struct kernel_sigaction old;
} trap = {.lock = MUTEX_INIT(LOCK_RANK_LEAF)};

void uzswap_return_from_signal(void);
__asm__(".text\n"
        ".hidden uzswap_return_from_signal\n"
        ".globl uzswap_return_from_signal\n"
        ".type uzswap_return_from_signal,@function\n"
        "uzswap_return_from_signal:\n"
        "    movq $15, %rax\n" /* rt_sigreturn; the bytes that debuggers know */
        "    syscall\n"
        ".size uzswap_return_from_signal, . - uzswap_return_from_signal\n");

static long dispatch(int on)
{
    selector = on ? SYSCALL_DISPATCH_FILTER_BLOCK : SYSCALL_DISPATCH_FILTER_ALLOW;
    return on ? sys_call6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (long)text,
                          (long)text_bytes, (long)&selector, 0)
              : sys_call6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0, 0);
}

static int find_text(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes, (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        char *at = (char *)(info->dlpi_addr + p->p_vaddr);
        char *inside = (char *)uzswap_return_from_signal;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && inside >= at && inside < at + p->p_memsz) {
            text = at;
            text_bytes = p->p_memsz;
            return 1;
        }
    }
    return 0;
}

void trap_init(void)
{
    if (!text) {
        dl_iterate_phdr(find_text, NULL);
    }
}

/* A change of the mask inside a handler ends with the handler: make it in the context that goes on. */
static long change_mask(ucontext_t *context, const long *a)
{
    uint64_t mask, set;
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    if (a[3] != SIGSET_BYTES) {
        return -EINVAL;
    }
    if (a[2]) {
        memcpy((void *)a[2], &mask, sizeof mask);
    }
    if (!a[1]) {
        return 0;
    }
    memcpy(&set, (void *)a[1], sizeof set);
    switch (a[0]) {
    case SIG_BLOCK:
        mask |= set;
        break;
    case SIG_UNBLOCK:
        mask &= ~set;
        break;
    case SIG_SETMASK:
        mask = set;
        break;
    default:
        return -EINVAL;
    }
    mask &= ~SIGNAL_BIT(SIGSYS);
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    return 0;
}

static bool is_clone(long number)
{
    return number == SYS_clone || number == SYS_clone3 || number == SYS_fork || number == SYS_vfork;
}

static long perform(ucontext_t *context, struct trapped_clone *q)
{
    if (q->number == SYS_rt_sigprocmask) {
        return change_mask(context, q->arguments);
    }
    if (!is_clone(q->number) || !clone_read(q)) {
        return clone_make(q);
    }
    if (!clone_is_fork(q)) {
        return -EAGAIN; /* a thread, made by an atfork handler: it would come back on this handler's stack */
    }
    dispatch(0);
    is_armed = false; /* a fork in an atfork handler is another one */
    return fork_perform(q);
}

/* A SIGSYS that is not ours: what it would have done. */
static void forward(int number, siginfo_t *info, void *context)
{
    void *handler = trap.old.handler;
    if (handler == (void *)SIG_IGN) {
        return;
    }
    if (handler == (void *)SIG_DFL) {
        sys_call6(SYS_rt_sigaction, SIGSYS, (long)&trap.old, 0, SIGSET_BYTES, 0, 0);
        sys_call3(SYS_tgkill, sys_call3(SYS_getpid, 0, 0, 0), sys_gettid(), SIGSYS);
        return; /* it is delivered when the handler returns */
    }
    ((void (*)(int, siginfo_t *, void *))handler)(number, info, context);
}

static void on_sigsys(int number, siginfo_t *info, void *argument)
{
    if (info->si_code != SYS_USER_DISPATCH) {
        forward(number, info, argument);
        return;
    }
    ucontext_t *context = argument;
    greg_t *g = context->uc_mcontext.gregs;
    struct trapped_clone q = {
        .number = g[REG_RAX],
        .arguments = {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]},
    };
    g[REG_RAX] = perform(context, &q);
}

static void take_sigsys(void)
{
    SCOPED_LOCK(&trap.lock);
    if (trap.users++) {
        return;
    }
    struct kernel_sigaction ours = {.handler = (void *)on_sigsys,
                                    .flags = SA_SIGINFO | SA_NODEFER | KERNEL_SA_RESTORER,
                                    .restorer = uzswap_return_from_signal,
                                    .mask = ~SIGNAL_BIT(SIGSYS)};
    sys_call6(SYS_rt_sigaction, SIGSYS, (long)&ours, (long)&trap.old, SIGSET_BYTES, 0, 0);
}

static void give_sigsys_back(void)
{
    SCOPED_LOCK(&trap.lock);
    if (--trap.users == 0) {
        sys_call6(SYS_rt_sigaction, SIGSYS, (long)&trap.old, 0, SIGSET_BYTES, 0, 0);
    }
}

/* In the child no other thread forks. */
static void trap_fork_child(void)
{
    trap.users = 1;
    mutex_init(&trap.lock, LOCK_RANK_LEAF);
}

void trap_forget(void)
{
    struct kernel_sigaction now = {0};
    is_armed = false;
    mutex_init(&trap.lock, LOCK_RANK_LEAF);
    trap.users = 0;
    sys_call6(SYS_rt_sigaction, SIGSYS, 0, (long)&now, SIGSET_BYTES, 0, 0);
    if (now.handler == (void *)on_sigsys) {
        sys_call6(SYS_rt_sigaction, SIGSYS, (long)&trap.old, 0, SIGSET_BYTES, 0, 0);
    }
}

int trap_arm(struct trapped *t)
{
    uint64_t all = ~SIGNAL_BIT(SIGSYS);
    t->pid = (pid_t)sys_call3(SYS_getpid, 0, 0, 0);
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&t->mask, SIGSET_BYTES, 0, 0);
    take_sigsys();
    if (dispatch(1) == 0) {
        is_armed = true;
        return 0;
    }
    give_sigsys_back();
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&t->mask, 0, SIGSET_BYTES, 0, 0);
    return -ENOSYS;
}

bool trap_is_armed(void)
{
    return is_armed;
}

void trap_disarm(const struct trapped *t)
{
    dispatch(0);
    is_armed = false;
    if (t->pid != (pid_t)sys_call3(SYS_getpid, 0, 0, 0)) {
        trap_fork_child();
    }
    give_sigsys_back();
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&t->mask, 0, SIGSET_BYTES, 0, 0);
}

#else /* no Syscall User Dispatch */

void trap_init(void)
{
}

int trap_arm(struct trapped *t)
{
    (void)t;
    return -ENOSYS;
}

bool trap_is_armed(void)
{
    return false;
}

void trap_disarm(const struct trapped *t)
{
    (void)t;
}

void trap_forget(void)
{
}

#endif
