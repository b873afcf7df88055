/* SPDX-License-Identifier: MIT */
/*
 * fork. A userfaultfd does not follow into the child (the event for it needs CAP_SYS_PTRACE): there, pages that are out
 * would read as zero, without an error. So the child must have a runtime of its own before anything
 * touches managed memory; and libc's fork does so at once, when it resets the locks of all FILEs and runs
 * the atfork handlers of allocators. Handlers of our own would come too late.
 *
 * Therefore the clone itself is taken over, inside libc's real fork, by a trap (syscall_trap.h):
 *
 *   fork() of ours             blocks all signals but SIGSYS, arms the trap, calls libc's fork
 *     prepare handlers         their system calls raise SIGSYS; syscall_trap.c makes them in their stead
 *     clone --SIGSYS-->        fork_perform, on the private stack:
 *       socketpair             for descriptors one way and the child's result the other way
 *       post `hold`            the root thread: region_fork_prepare, sends its descriptors, stands still
 *       clone                  the real one
 *         child                runtime_fork_child: stacks, root thread; it becomes a member, takes descriptors,
 *                              device and region over. Reports, and goes on into libc's child path: all memory is
 *                              there.
 *         parent               waits for the report: the child becomes a user of all that the parent has on the
 *                              device, which the parent must not change meanwhile. Then lets the root thread go on.
 *     parent or child handlers run free: the trap is off
 *   fork() of ours             restores SIGSYS and the signal mask
 *
 * A child that cannot have a runtime (no descriptors, no memory, no place in the session) ends at once, and fork answers
 * EAGAIN.
 *
 * Where there is no trap, fork answers ENOSYS: visibly nothing,
 * rather than a child that reads zeros. vfork, posix_spawn, system and popen share the parent's memory until
 * they exec, and need none of this. A fork by syscall(2), or by libc's clone(), needs no trap: fork_by_number and clone()
 * take it before it is made. What none of them sees is a clone by an instruction of the program's own: its child must
 * exec.
 *
 * While all stands still the kernel must not touch managed memory for the clone, for nobody would serve the fault. So
 * what it reads and writes through pointers (thread ids, a pidfd) lies here meanwhile (`aside`).
 */
#include "preload/fork.h"

#include <dlfcn.h>
#include <errno.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/futex.h"
#include "preload/descriptors.h"
#include "preload/mailbox.h"
#include "preload/private_stack.h"
#include "preload/runtime.h"
#include "preload/syscall_trap.h"
#include "preload/tree.h"

#define CHILD_FAILED 125

/* libc's. Written in the constructor. */
static struct {
    pid_t (*fork)(void);
    pid_t (*bare_fork)(void); /* _Fork */
    int (*daemon)(int, int);
    int (*forkpty)(int *, char *, const struct termios *, const struct winsize *);
    int (*clone)(int (*)(void *), void *, int, void *, ...);
} original;

void fork_find_originals(void)
{
    if (!original.fork) {
        original.bare_fork = dlsym(RTLD_NEXT, "_Fork");
        original.daemon = dlsym(RTLD_NEXT, "daemon");
        original.forkpty = dlsym(RTLD_NEXT, "forkpty");
        original.clone = dlsym(RTLD_NEXT, "clone");
        original.fork = dlsym(RTLD_NEXT, "fork");
    }
}

/* ---- The moment of the fork: root thread and forking thread */

enum { HOLD_ASKED, HOLD_STANDING, HOLD_OVER };

/* One fork at a time comes here: the private stack's lock is held. */
static struct {
    uint32_t phase; /* atomic, slept on */
    int error;      /* set before STANDING */
} hold;

struct hold_request {
    int thread; /* who forks, */
    int socket; /* and the number of its socket there */
};

static void set_phase(uint32_t phase)
{
    /* Release: what was done in this phase is seen by the other side. */
    atomic_set_release(&hold.phase, phase);
    futex_wake(&hold.phase, INT_MAX);
}

static void await_phase(uint32_t phase)
{
    uint32_t seen;
    while ((seen = atomic_read_acquire(&hold.phase)) != phase) {
        futex_wait(&hold.phase, seen, -1);
    }
}

/* In the root thread: keeps everything still from here to the end of the fork. */
static long hold_still(void *argument)
{
    const struct hold_request *q = argument;
    int socket = descriptor_of_process(q->thread, q->socket);
    hold.error = socket < 0 ? socket : descriptors_send(socket, runtime.inherited_descriptors);
    if (socket >= 0) {
        sys_close(socket);
    }
    if (hold.error) {
        set_phase(HOLD_STANDING);
        await_phase(HOLD_OVER);
        return 0;
    }
    region_fork_prepare(runtime.arena.region);
    tree_fork_prepare();
    set_phase(HOLD_STANDING);
    await_phase(HOLD_OVER);
    region_fork_parent(runtime.arena.region);
    tree_fork_parent();
    return 0;
}

/* Where the program wants the clone's results; NULL = nowhere. */
struct results {
    pid_t *child_set, *child_clear; /* put in place by the child, when all its memory is there */
    pid_t *parent_tid;
    int *pidfd;
};

#define SET_TID_MOST 32

/* One fork at a time: the private stack's lock is held. */
static struct {
    int pidfd;
    pid_t set_tid[SET_TID_MOST];
} aside;

/* What a child by itself cannot have: the parent's descriptors, another thread pointer, another stack. */
#define FLAGS_NOT_SERVED (CLONE_FILES | CLONE_SETTLS | CLONE_THREAD | CLONE_SIGHAND)
/* Made by us instead, or (VFORK) not at all: a child with memory of its own may run beside its parent. */
#define FLAGS_OURS (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID | CLONE_VFORK)

static struct results results_of(uint64_t flags, uint64_t child_tid, uint64_t parent_tid, uint64_t pidfd)
{
    return (struct results){
        .child_set = flags & CLONE_CHILD_SETTID ? (pid_t *)(uintptr_t)child_tid : NULL,
        .child_clear = flags & CLONE_CHILD_CLEARTID ? (pid_t *)(uintptr_t)child_tid : NULL,
        .parent_tid = flags & CLONE_PARENT_SETTID ? (pid_t *)(uintptr_t)parent_tid : NULL,
        .pidfd = flags & CLONE_PIDFD ? (int *)(uintptr_t)pidfd : NULL,
    };
}

static int prepare_clone(long *a, struct results *results)
{
    uint64_t flags = (uint64_t)a[0];
    if ((flags & FLAGS_NOT_SERVED) || a[1]) {
        return -ENOSYS;
    }
    *results = results_of(flags, (uint64_t)a[3], (uint64_t)a[2], (uint64_t)a[2]);
    a[0] = (long)(flags & ~(uint64_t)FLAGS_OURS);
    a[2] = results->pidfd ? (long)&aside.pidfd : 0;
    return 0;
}

static int prepare_clone3(struct trapped_clone *q, struct results *results)
{
    struct clone_args *c = &q->clone3;
    if ((c->flags & FLAGS_NOT_SERVED) || c->stack) {
        return -ENOSYS;
    }
    if (c->set_tid_size > SET_TID_MOST) {
        return -EINVAL;
    }
    *results = results_of(c->flags, c->child_tid, c->parent_tid, c->pidfd);
    c->flags &= ~(uint64_t)FLAGS_OURS;
    c->pidfd = results->pidfd ? (uintptr_t)&aside.pidfd : 0;
    if (c->set_tid_size) {
        memcpy(aside.set_tid, (void *)(uintptr_t)c->set_tid, c->set_tid_size * sizeof(pid_t));
        c->set_tid = (uintptr_t)aside.set_tid;
    }
    q->arguments[0] = (long)c;
    q->arguments[1] = (long)min_size((size_t)q->arguments[1], sizeof *c);
    return 0;
}

/* Makes the clone's arguments such that it needs no managed memory. 0 or -errno. */
static int prepare(struct trapped_clone *q, struct results *results)
{
    *results = (struct results){0};
    aside.pidfd = -1;
    switch (q->number) {
    case SYS_clone:
        return prepare_clone(q->arguments, results);
    case SYS_clone3:
        return prepare_clone3(q, results);
    default:
        return 0;
    }
}

static void deliver(const struct results *results, pid_t pid)
{
    if (results->parent_tid) {
        *results->parent_tid = pid;
    }
    if (results->pidfd) {
        *results->pidfd = aside.pidfd;
    }
}

static long raw(const struct trapped_clone *q)
{
    const long *a = q->arguments;
    return sys_call6(q->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The parent's descriptors may still wait in the socket: closed like that, it would lose the report. And the parent may
 * have been killed. */
static void report_to_parent(int socket, int error)
{
    char rest[16];
    while (sys_call6(SYS_recvfrom, socket, (long)rest, sizeof rest, MSG_DONTWAIT, 0, 0) > 0) {
    }
    sys_call6(SYS_sendto, socket, (long)&error, sizeof error, MSG_NOSIGNAL, 0, 0);
    sys_close(socket);
}

static long in_child(int socket, const struct results *results)
{
    int error = runtime_fork_child(socket);
    report_to_parent(socket, error);
    if (error) {
        sys_call3(SYS_exit_group, CHILD_FAILED, 0, 0);
    }
    if (results->child_clear) {
        sys_call3(SYS_set_tid_address, (long)results->child_clear, 0, 0);
    }
    if (results->child_set) {
        *results->child_set = sys_gettid();
    }
    return 0;
}

/* Waits until the child has its runtime, or has ended. The result of fork. */
static long in_parent(int socket, long pid)
{
    int error = 0;
    if (sys_read(socket, &error, sizeof error) == sizeof error && error) {
        sys_call6(SYS_wait4, pid, 0, __WALL, 0, 0, 0);
        return -EAGAIN;
    }
    return pid;
}

static long make_sockets(int sockets[2])
{
    const long type = SOCK_SEQPACKET | SOCK_CLOEXEC;
    long error = sys_call6(SYS_socketpair, AF_UNIX, type, 0, (long)sockets, 0, 0);
    if (error == -EMFILE) {
        struct rlimit limit;
        descriptors_raise_limit(true, &limit);
        error = sys_call6(SYS_socketpair, AF_UNIX, type, 0, (long)sockets, 0, 0);
        descriptors_restore_limit(&limit);
    }
    return error;
}

/* On the private stack, all signals blocked. */
static long fork_held(void *argument)
{
    struct trapped_clone *q = argument;
    struct results results;
    int sockets[2];
    long error = prepare(q, &results);
    if (error) {
        return error;
    }
    if (make_sockets(sockets)) {
        return -EAGAIN;
    }
    struct rlimit limit;
    descriptors_raise_limit(false, &limit);
    struct hold_request h = {.thread = sys_gettid(), .socket = sockets[1]};
    hold.phase = HOLD_ASKED;
    unsigned number = mailbox_post(hold_still, &h, sizeof h);
    await_phase(HOLD_STANDING);
    long pid = hold.error ? -EAGAIN : raw(q);
    if (pid == 0) {
        sys_close(sockets[1]);
        long result = in_child(sockets[0], &results);
        descriptors_restore_limit(&limit);
        return result;
    }
    sys_close(sockets[0]);
    if (pid > 0) {
        pid = in_parent(sockets[1], pid);
    }
    sys_close(sockets[1]);
    set_phase(HOLD_OVER);
    mailbox_wait(number, &h, sizeof h);
    descriptors_restore_limit(&limit);
    if (pid > 0) {
        deliver(&results, (pid_t)pid);
    } else if (aside.pidfd >= 0) {
        sys_close(aside.pidfd); /* of a child that could not be */
    }
    return pid;
}

/* Six registers and clone3's structure fit the private stack's argument. */
_Static_assert(sizeof(struct trapped_clone) <= PRIVATE_STACK_ARGUMENT_MAX,
               "the clone goes to the private stack");

long fork_perform(const struct trapped_clone *clone)
{
    return private_stack_call(fork_held, clone, sizeof *clone);
}

/* A fork that is seen before it is made. */
static long fork_untrapped(const struct trapped_clone *q)
{
    uint64_t all = ~0ull, mask;
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof mask, 0, 0);
    long result = fork_perform(q);
    if (result == 0) {
        trap_forget();
    }
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
    return result;
}

long fork_by_number(long number, long *arguments, bool *taken)
{
    struct trapped_clone q = {.number = number};
    memcpy(q.arguments, arguments, sizeof q.arguments);
    *taken = false;
    if (number == SYS_clone3) {
        if (!arguments[0] || (size_t)arguments[1] < CLONE_ARGS_SIZE_VER0 ||
            (size_t)arguments[1] > PAGE_BYTES) {
            return 0; /* the kernel says what is wrong */
        }
        memcpy(&q.clone3, (void *)arguments[0], min_size((size_t)arguments[1], sizeof q.clone3));
    }
    uint64_t flags = number == SYS_clone ? (uint64_t)arguments[0] : q.clone3.flags;
    *taken = (number == SYS_clone || number == SYS_clone3 || number == SYS_fork) && !(flags & CLONE_VM);
    return *taken ? fork_untrapped(&q) : 0;
}

/* ---- What the program calls */

#define EXPORT __attribute__((visibility("default")))

/* Once: a program may try again and again. */
static void say_no_fork(void)
{
    static uint32_t said;
    struct message m;
    if (!atomic_swap_acq_rel(&said, 1)) {
        message_set(&m,
                    "fork fails: this kernel (or a filter) has no Syscall User Dispatch, without which a "
                    "child cannot be "
                    "managed: use Linux 5.11 or later on x86-64",
                    NULL);
        message_write(&m);
    }
}

/* The original's result, trapped if the process is managed; -1 with errno if it has no trap. */
#define TRAPPED(call)                                                                                        \
    ({                                                                                                       \
        struct trapped trapped_;                                                                             \
        bool serves_ = runtime_serves_caller();                                                              \
        int error_ = serves_ ? trap_arm(&trapped_) : 0;                                                      \
        int result_ = -1;                                                                                    \
        if (error_) {                                                                                        \
            say_no_fork();                                                                                   \
            errno = -error_;                                                                                 \
        } else {                                                                                             \
            result_ = (call);                                                                                \
            if (serves_) {                                                                                   \
                int saved_ = errno;                                                                          \
                trap_disarm(&trapped_);                                                                      \
                errno = saved_;                                                                              \
            }                                                                                                \
        }                                                                                                    \
        result_;                                                                                             \
    })

EXPORT pid_t fork(void);
EXPORT pid_t __fork(void);
EXPORT pid_t _Fork(void);
EXPORT int daemon(int keep_folder, int keep_streams);
EXPORT int forkpty(int *master, char *name, const struct termios *settings, const struct winsize *size);
EXPORT int clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

pid_t fork(void)
{
    fork_find_originals();
    return TRAPPED(original.fork());
}

pid_t __fork(void)
{
    return fork();
}

pid_t _Fork(void)
{
    fork_find_originals();
    return TRAPPED(original.bare_fork ? original.bare_fork() : original.fork());
}

int daemon(int keep_folder, int keep_streams)
{
    fork_find_originals();
    return TRAPPED(original.daemon(keep_folder, keep_streams));
}

int forkpty(int *master, char *name, const struct termios *settings, const struct winsize *size)
{
    fork_find_originals();
    return TRAPPED(original.forkpty(master, name, settings, size));
}

/* clone() has a function for the child, and a stack that is this process's memory: the child forks as any other, and then
 * goes there. Its end is the process's: the runtime's threads would outlive an end of this one alone. */
int clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    va_list more;
    va_start(more, argument);
    pid_t *parent_tid = va_arg(more, pid_t *);
    void *tls = va_arg(more, void *);
    pid_t *child_tid = va_arg(more, pid_t *);
    va_end(more);
    fork_find_originals();
    if ((flags & CLONE_VM) || !runtime_serves_caller()) {
        return original.clone(function, stack, flags, argument, parent_tid, tls, child_tid);
    }
    if (!function || !stack) {
        errno = EINVAL;
        return -1;
    }
    bool taken;
    long pid =
        fork_by_number(SYS_clone, (long[6]){flags, 0, (long)parent_tid, (long)child_tid, (long)tls}, &taken);
    if (pid == 0) {
        char *top = (char *)((uintptr_t)stack & ~(uintptr_t)15);
        _exit((int)stack_switch(top, (long (*)(void *))(void *)function, argument));
    }
    errno = pid < 0 ? (int)-pid : errno;
    return pid < 0 ? -1 : (int)pid;
}
