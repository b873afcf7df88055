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
 * take it before it is made. libc's fork that is found past our symbol is trapped by its handlers (fork_handlers.c). What none of
 * them sees is a clone by an instruction of the program's own, or in a libc function that calls no handlers and is found past our
 * symbol: its child must exec.
 *
 * With CLONE_VFORK (and no CLONE_VM) the parent's thread then waits for the end of the child's root thread: exec, or exit.
 *
 * clone.c makes the clone's arguments such that the kernel needs no managed memory for it; interpose_fork.c has what the
 * program calls.
 */
#include "preload/fork.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/futex.h"
#include "preload/clone.h"
#include "preload/descriptors.h"
#include "preload/mailbox.h"
#include "preload/private_stack.h"
#include "preload/runtime.h"
#include "preload/syscall_trap.h"
#include "preload/tree.h"

enum { HOLD_ASKED, HOLD_STANDING, HOLD_MADE, HOLD_REPORTED, HOLD_OVER };

/* One fork at a time comes here: the private stack's lock is held. */
static struct {
    uint32_t phase; /* atomic, slept on */
    int error;      /* set before STANDING; then the child's, before REPORTED */
    long pid;       /* what the clone answers; set before MADE */
} hold;

struct hold_request {
    int process, thread; /* who forks, */
    int socket;          /* and the number of its socket there */
    const char *thread_pointer;
};

static void set_phase(uint32_t phase)
{
    /* Release: what was done in this phase is seen by the other side. */
    atomic_set_release(&hold.phase, phase);
    futex_wake(&hold.phase, INT_MAX);
}

/* That, or a later one. */
static void await_phase(uint32_t phase)
{
    uint32_t seen;
    while ((seen = atomic_read_acquire(&hold.phase)) < phase) {
        futex_wait(&hold.phase, seen, -1);
    }
}

/* Waits until the child has its runtime, or has ended: that the socket's other end is closed tells it only where no other child of
 * this process has a copy until its exec (vfork), which may wait for us. By the root thread's own descriptor: other threads of the
 * program may close theirs meanwhile. 0 if it has its runtime. */
static int take_report(int socket, long child)
{
    int error = 0;
    long pidfd = sys_call3(SYS_pidfd_open, child, 0, 0), n = 0;
    struct pollfd ready[2] = {{.fd = socket, .events = POLLIN}, {.fd = (int)pidfd, .events = POLLIN}};
    while (pidfd >= 0 && sys_call6(SYS_ppoll, (long)ready, 2, 0, 0, 0, 0) <= 0) {
    }
    if (pidfd < 0 || ready[0].revents) {
        n = sys_read(socket, &error, sizeof error);
    }
    if (pidfd >= 0) {
        sys_close((int)pidfd);
    }
    return n == sizeof error ? error : -EIO;
}

/* In the root thread: keeps everything still from here to the end of the fork. */
static long hold_still(void *argument)
{
    const struct hold_request *q = argument;
    int socket = descriptor_of_thread(q->process, q->thread, q->socket);
    hold.error = socket < 0 ? socket : descriptors_send(socket, runtime.inherited_descriptors);
    bool good = !hold.error;
    if (good) {
        tree_fork_make_room();
        region_fork_prepare(runtime.arena.region);
        tree_fork_prepare(q->thread_pointer);
    }
    set_phase(HOLD_STANDING);
    await_phase(HOLD_MADE);
    if (hold.pid > 0) {
        hold.error = take_report(socket, hold.pid);
    }
    if (socket >= 0) {
        sys_close(socket);
    }
    set_phase(HOLD_REPORTED);
    await_phase(HOLD_OVER);
    if (good) {
        region_fork_parent(runtime.arena.region);
        tree_fork_parent();
    }
    return 0;
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

static long in_child(int socket, bool is_vfork, const struct clone_results *results)
{
    int error = runtime_fork_child(socket, is_vfork);
    report_to_parent(socket, error);
    if (error) {
        sys_call3(SYS_exit_group, FORK_CHILD_FAILED, 0, 0);
    }
    clone_deliver_to_child(results);
    return 0;
}

/* The result of fork. */
static long in_parent(long pid)
{
    hold.pid = pid;
    set_phase(HOLD_MADE);
    await_phase(HOLD_REPORTED);
    if (pid > 0 && hold.error) {
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
        struct raised_limit limit = descriptors_raise_limit(true);
        error = sys_call6(SYS_socketpair, AF_UNIX, type, 0, (long)sockets, 0, 0);
        descriptors_restore_limit(&limit);
    }
    return error;
}

struct fork_call {
    struct trapped_clone clone;
    int *vforked; /* CLONE_VFORK: for the socket whose other end the child has; NULL = it does not count */
};

/* On the private stack, all signals blocked. */
static long fork_held(void *argument)
{
    struct fork_call *call = argument;
    struct trapped_clone *q = &call->clone;
    struct clone_results results;
    bool is_vfork = call->vforked && clone_is_vfork(q);
    int sockets[2];
    long error = mailbox_is_served() ? clone_prepare(q, &results) : -EAGAIN;
    if (error) {
        return error;
    }
    if (make_sockets(sockets)) {
        return -EAGAIN;
    }
    struct raised_limit limit = descriptors_raise_limit(false);
    struct hold_request h = {.process = (int)sys_call3(SYS_getpid, 0, 0, 0),
                             .thread = sys_gettid(),
                             .socket = sockets[1],
                             .thread_pointer = __builtin_thread_pointer()};
    hold.phase = HOLD_ASKED;
    unsigned number = mailbox_post(hold_still, &h, sizeof h);
    await_phase(HOLD_STANDING);
    long pid = hold.error ? -EAGAIN : clone_make(q);
    if (pid == 0) {
        sys_close(sockets[1]);
        long result = in_child(sockets[0], is_vfork, &results);
        descriptors_restore_limit(&limit);
        return result;
    }
    sys_close(sockets[0]);
    pid = in_parent(pid);
    if (!is_vfork || pid < 0) {
        sys_close(sockets[1]);
    }
    set_phase(HOLD_OVER);
    mailbox_wait(number, &h, sizeof h);
    descriptors_restore_limit(&limit);
    if (is_vfork && pid > 0) {
        *call->vforked = sockets[1];
    }
    clone_deliver_to_parent(&results, pid);
    return pid;
}

/* Six registers and clone3's structure fit the private stack's argument. */
_Static_assert(sizeof(struct fork_call) <= PRIVATE_STACK_ARGUMENT_MAX, "the clone goes to the private stack");

long fork_perform(const struct trapped_clone *clone)
{
    struct fork_call call = {.clone = *clone};
    return private_stack_call(fork_held, &call, sizeof call);
}

/* The child's root thread has the other end, and with an exec, too, it ends. No memory is shared, so other forks go on. Another
 * thread may close the socket meanwhile, and the number become another file's: nothing is taken from that, and it stays. */
static void await_exec_or_end(int socket)
{
    char nothing;
    struct stat before = {0}, now = {0};
    sys_call3(SYS_fstat, socket, (long)&before, 0);
    while (sys_call6(SYS_recvfrom, socket, (long)&nothing, sizeof nothing, MSG_PEEK, 0, 0) == -EINTR) {
    }
    if (!sys_call3(SYS_fstat, socket, (long)&now, 0) && now.st_dev == before.st_dev &&
        now.st_ino == before.st_ino) {
        sys_close(socket);
    }
}

/* A fork that is seen before it is made. */
static long fork_untrapped(const struct trapped_clone *q)
{
    uint64_t all = ~0ull, mask;
    int vforked = -1;
    struct fork_call call = {.clone = *q, .vforked = &vforked};
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof mask, 0, 0);
    long result = private_stack_call(fork_held, &call, sizeof call);
    if (result == 0) {
        trap_forget();
    } else if (vforked >= 0) {
        await_exec_or_end(vforked);
    }
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
    return result;
}

long fork_by_number(long number, long *arguments, bool *taken)
{
    struct trapped_clone q = {.number = number};
    memcpy(q.arguments, arguments, sizeof q.arguments);
    *taken = clone_read(&q) && clone_is_fork(&q);
    return *taken ? fork_untrapped(&q) : 0;
}
