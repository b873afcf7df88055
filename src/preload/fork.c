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
 * they exec, and need none of this. A fork by syscall(2), past libc, is not seen: its child must exec.
 */
#include "preload/fork.h"

#include <dlfcn.h>
#include <errno.h>
#include <pty.h>
#include <sched.h>
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
} original;

void fork_find_originals(void)
{
    if (!original.fork) {
        original.bare_fork = dlsym(RTLD_NEXT, "_Fork");
        original.daemon = dlsym(RTLD_NEXT, "daemon");
        original.forkpty = dlsym(RTLD_NEXT, "forkpty");
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

/* The child's thread id is put in place by us, when all memory is there; the kernel's own write to it would come
 * earlier. */
struct child_tid {
    pid_t *set, *clear;
};

static struct child_tid take_child_tid(struct trapped_clone *q)
{
    struct child_tid tid = {0};
    uint64_t flags = 0;
    pid_t *at = NULL;
    if (q->number == SYS_clone) {
        flags = (uint64_t)q->arguments[0];
        at = (pid_t *)q->arguments[3];
        q->arguments[0] &= ~(long)(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
    } else if (q->number == SYS_clone3) {
        flags = q->clone3.flags;
        at = (pid_t *)(uintptr_t)q->clone3.child_tid;
        q->clone3.flags &= ~(uint64_t)(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
        q->arguments[0] = (long)&q->clone3;
    }
    tid.set = flags & CLONE_CHILD_SETTID ? at : NULL;
    tid.clear = flags & CLONE_CHILD_CLEARTID ? at : NULL;
    return tid;
}

static long raw(const struct trapped_clone *q)
{
    const long *a = q->arguments;
    return sys_call6(q->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long in_child(int socket, struct child_tid tid)
{
    int error = runtime_fork_child(socket);
    sys_write(socket, &error, sizeof error);
    sys_close(socket);
    if (error) {
        sys_call3(SYS_exit_group, CHILD_FAILED, 0, 0);
    }
    if (tid.clear) {
        sys_call3(SYS_set_tid_address, (long)tid.clear, 0, 0);
    }
    if (tid.set) {
        *tid.set = sys_gettid();
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

/* On the private stack, all signals blocked. */
static long fork_held(void *argument)
{
    struct trapped_clone *q = argument;
    int sockets[2];
    long error = sys_call6(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)sockets, 0, 0);
    if (error) {
        return -EAGAIN;
    }
    struct child_tid tid = take_child_tid(q);
    struct hold_request h = {.thread = sys_gettid(), .socket = sockets[1]};
    hold.phase = HOLD_ASKED;
    unsigned number = mailbox_post(hold_still, &h, sizeof h);
    await_phase(HOLD_STANDING);
    long pid = hold.error ? -EAGAIN : raw(q);
    if (pid == 0) {
        sys_close(sockets[1]);
        return in_child(sockets[0], tid);
    }
    sys_close(sockets[0]);
    if (pid > 0) {
        pid = in_parent(sockets[1], pid);
    }
    sys_close(sockets[1]);
    set_phase(HOLD_OVER);
    mailbox_wait(number, &h, sizeof h);
    return pid;
}

/* Six registers and clone3's structure fit the private stack's argument. */
_Static_assert(sizeof(struct trapped_clone) <= PRIVATE_STACK_ARGUMENT_MAX,
               "the clone goes to the private stack");

long fork_perform(const struct trapped_clone *clone)
{
    return private_stack_call(fork_held, clone, sizeof *clone);
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
