/* SPDX-License-Identifier: MIT */
/* robust: forks that pass by libc's. */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int says[2], goes[2]; /* pipes, each of one test */

static void raw_child(long pid)
{
    if (pid == 0) {
        work_in_grandchild();
        _exit(0);
    }
    must_end_well((pid_t)pid);
    work();
}

static void test_raw_fork(void)
{
    begin();
    raw_child(syscall(SYS_fork));
    raw_child(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
    pid_t in_child = 0, in_parent = 0;
    long pid = syscall(SYS_clone, SIGCHLD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, NULL, &in_parent,
                       &in_child, 0);
    if (pid == 0) {
        MUST(in_child == getpid());
    } else {
        MUST(in_parent == pid && in_child == 0);
    }
    raw_child(pid);
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    raw_child(syscall(SYS_clone3, &arguments, sizeof arguments));
    arguments.flags = CLONE_NEWPID;
    pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    MUST(pid != 0 || getpid() == 1);
    raw_child(pid);
}

/* Whose results go nowhere. */
static void must_fail_with(int error, struct clone_args arguments)
{
    MUST(syscall(SYS_clone3, &arguments, sizeof arguments) == -1 && errno == error);
}

static void test_bad_clone_pointers(void)
{
    begin();
    MUST(syscall(SYS_clone3, 16, sizeof(struct clone_args)) == -1 && errno == EFAULT);
    must_fail_with(EFAULT, (struct clone_args){.exit_signal = SIGCHLD, .flags = CLONE_PIDFD, .pidfd = 16});
    must_fail_with(EFAULT, (struct clone_args){.exit_signal = SIGCHLD, .set_tid = 16, .set_tid_size = 1});
    must_fail_with(EINVAL, (struct clone_args){.exit_signal = SIGCHLD, .set_tid_size = 1});
    MUST(syscall(SYS_clone, SIGCHLD | CLONE_PIDFD, NULL, 16, NULL, 0) == -1 && errno == EFAULT);
    /* The structure ends where nothing is mapped. */
    char *at = map(2 * PAGE);
    MUST(munmap(at + PAGE, PAGE) == 0);
    MUST(syscall(SYS_clone3, at + PAGE - 16, sizeof(struct clone_args)) == -1 && errno == EFAULT);
    /* Thread ids that cannot be written are not. */
    const unsigned long all = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    raw_child(syscall(SYS_clone, SIGCHLD | all, NULL, 16, 16, 0));
    struct clone_args arguments = {.exit_signal = SIGCHLD, .flags = all, .parent_tid = 16, .child_tid = 16};
    raw_child(syscall(SYS_clone3, &arguments, sizeof arguments));
}

/* libc's other name of clone. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static int cloned(void *argument)
{
    MUST(argument == memory);
    work();
    return 7;
}

/* What the kernel is to say of a child goes to managed memory, whether that is out or shared since a fork. */
static void test_clone_results_in_memory(void)
{
    begin();
    pid_t *results = map(PAGE);
    for (int i = 0; i < 3; i++) {
        results[0] = results[1] = results[2] = -1;
        work();
        long pid = syscall(SYS_clone, SIGCHLD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, 0, &results[0],
                           &results[1], 0);
        if (pid == 0) {
            MUST(results[1] == getpid());
            work();
            _exit(0);
        }
        MUST(pid > 0 && results[0] == pid && results[1] == -1);
        must_end_well((pid_t)pid);
        work();
        pid = syscall(SYS_clone, SIGCHLD | CLONE_PIDFD, 0, &results[2], 0, 0);
        if (pid == 0) {
            _exit(0);
        }
        MUST(pid > 0 && results[2] >= 0 && close(results[2]) == 0);
        must_end_well((pid_t)pid);
    }
}

static void test_clone_wrapper(void)
{
    begin();
    char *stack = map(64 * PAGE);
    int pid = clone(cloned, stack + 64 * PAGE, SIGCHLD, memory);
    MUST(pid > 0);
    int status = status_of(pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pid = __clone(cloned, stack + 64 * PAGE, SIGCHLD, memory);
    MUST(pid > 0);
    status = status_of(pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pid = clone(cloned, stack + 64 * PAGE, SIGCHLD | CLONE_NEWPID, memory);
    MUST(pid > 0);
    status = status_of(pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    work_everywhere();
}

/* A process that unmaps all it has ends by a fault, and its tracer sees that. */
static void test_unmap_all(void)
{
    begin();
    pid_t pid = fork();
    if (pid == 0) {
        MUST(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        munmap(NULL, ((size_t)1 << 47) - PAGE);
        _exit(0);
    }
    int status = status_of(pid);
    MUST(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    MUST(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
    status = status_of(pid);
    if (WIFSTOPPED(status)) {
        MUST(WSTOPSIG(status) == SIGSEGV && kill(pid, SIGKILL) == 0);
        status_of(pid);
    } else {
        MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV); /* a thread of the runtime met it first */
    }
    work_everywhere();
}

/* ---- CLONE_VFORK without CLONE_VM: the parent waits until the child ends, or execs */

static volatile int *ended; /* shared */

static int end_late(void *nothing)
{
    (void)nothing;
    usleep(200 * 1000);
    *ended = 1;
    return 0;
}

/* cat ends when the pipe is closed, which the parent does later. */
static int exec_late(void *nothing)
{
    (void)nothing;
    MUST(dup2(goes[0], STDIN_FILENO) == STDIN_FILENO && close(goes[1]) == 0);
    end_late(NULL);
    execl("/bin/cat", "cat", NULL);
    return 1;
}

static void vfork_by_clone(int (*run)(void *))
{
    *ended = 0;
    pid_t pid = clone(run, (char *)map(64 * PAGE) + 64 * PAGE, CLONE_VFORK | SIGCHLD, NULL);
    MUST(pid > 0 && *ended);
    if (run == exec_late) {
        MUST(close(goes[1]) == 0);
    }
    must_end_well(pid);
}

static void test_clone_vfork(void)
{
    begin();
    ended = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(ended != MAP_FAILED && pipe(goes) == 0);
    vfork_by_clone(end_late);
    vfork_by_clone(exec_late);
    struct clone_args arguments = {.exit_signal = SIGCHLD, .flags = CLONE_VFORK};
    *ended = 0;
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) {
        end_late(NULL);
        _exit(0);
    }
    MUST(*ended);
    must_end_well((pid_t)pid);
    work_everywhere();
}

/* ---- a child by vfork that goes on after its parent, whose memory it has */

static void *end_process(void *nothing)
{
    char byte;
    MUST(read(goes[0], &byte, 1) == 1);
    _exit(0);
    return nothing;
}

/* It may get no memory any more, but does not wait for ever. */
static void be_orphan(pid_t parent)
{
    pid_t self = getpid();
    if (write(says[1], &self, sizeof self) != sizeof self || write(goes[1], "", 1) != 1) {
        _exit(1);
    }
    while (getppid() == parent) {
        usleep(1000);
    }
    void *at = mmap(NULL, BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory, PAGE);
    _exit(write(says[1], &at, sizeof at) != sizeof at);
}

static void leave_orphan(void)
{
    pid_t parent = getpid();
    start(end_process, 0);
    if (vfork() == 0) {
        be_orphan(parent);
    }
}

static void test_vfork_orphan(void)
{
    pid_t orphan;
    void *at;
    begin();
    MUST(pipe(says) == 0 && pipe(goes) == 0);
    must_end_with(leave_orphan, EXITED(0));
    MUST(read(says[0], &orphan, sizeof orphan) == sizeof orphan);
    int said = poll(&(struct pollfd){.fd = says[0], .events = POLLIN}, 1, 60 * 1000);
    if (said != 1) {
        kill(orphan, SIGKILL);
    }
    MUST(said == 1 && read(says[0], &at, sizeof at) == sizeof at);
    work();
}

/* ---- forks that fail, beside children of another thread that touch what is not there, and have all descriptors until they end */

static volatile bool enough;

static void *vfork_and_touch(void *argument)
{
    volatile char *fresh = map(BYTES);
    for (size_t page = 0; !enough; page++) {
        pid_t pid = vfork();
        if (pid == 0) {
            fresh[page % PAGES * PAGE] = 1;
            _exit(0);
        }
        must_end_well(pid);
    }
    return argument;
}

static void test_forks_fail_beside_vfork(void)
{
    begin();
    pthread_t thread = start(vfork_and_touch, 0);
    for (int i = 0; i < 500; i++) {
        MUST(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EINVAL);
    }
    enough = true;
    MUST(pthread_join(thread, NULL) == 0);
    work_everywhere();
}

const struct robust_test robust_forks[] = {
    {"raw_fork", test_raw_fork},
    {"bad_clone_pointers", test_bad_clone_pointers},
    {"clone_results_in_memory", test_clone_results_in_memory},
    {"clone_wrapper", test_clone_wrapper},
    {"unmap_all", test_unmap_all},
    {"clone_vfork", test_clone_vfork},
    {"vfork_orphan", test_vfork_orphan},
    {"forks_fail_beside_vfork", test_forks_fail_beside_vfork},
    {NULL, NULL},
};
