/* SPDX-License-Identifier: MIT */
/* robust: seccomp filters, of a thread and of all. */
#include "tests/e2e/robust.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Installs a filter that answers `action` to each of the system calls, and allows the others. seccomp's result. */
static long forbid(unsigned flags, uint32_t action, const int *numbers, size_t count)
{
    struct sock_filter filter[32];
    size_t n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)numbers[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

#define FORBID(flags, action, ...)                                                                           \
    ({                                                                                                       \
        static const int numbers_[] = {__VA_ARGS__};                                                         \
        forbid(flags, action, numbers_, sizeof numbers_ / sizeof numbers_[0]);                               \
    })

/* A filter of this thread: what the runtime needs is forbidden here, and in children. */
static void test_seccomp(void)
{
    begin();
    MUST(FORBID(0, SECCOMP_RET_ERRNO | EPERM, SYS_ioctl, SYS_madvise, SYS_mremap, SYS_pidfd_open,
                SYS_pwrite64) == 0);
    work_where_fork_may_fail();
}

/* ---- before Linux 6.9, where pidfd_open knows processes only; for the runtime's threads, too */

static void *fork_once(void *argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    must_end_well(pid);
    return argument;
}

static void test_fork_of_a_thread(void)
{
    begin();
    MUST(pthread_join(start(fork_once, 0), NULL) == 0);
    work_everywhere();
}

static void test_fork_of_a_thread_without_pidfd_thread(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_EXCL /* PIDFD_THREAD */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    execl("/proc/self/exe", "robust", "fork_of_a_thread", NULL);
    MUST(!"the program itself is there");
}

/* ---- */

static void test_seccomp_late(void)
{
    begin();
    MUST(FORBID(0, SECCOMP_RET_ERRNO | EPERM, SYS_preadv2, SYS_pread64) == 0); /* not needed to begin */
    work_where_fork_may_fail();
}

static void test_seccomp_kills(void)
{
    begin();
    MUST(FORBID(0, SECCOMP_RET_KILL_PROCESS, SYS_ioctl) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    if (pid > 0) {
        int status = status_of(pid);
        MUST(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS));
    }
    work();
}

/* What a fork is caught with is forbidden: by libc's own, which nobody can refuse, the child has its memory, or ends. */
static void test_seccomp_untrapped(void)
{
    begin();
    pid_t (*libc_fork)(void) = dlsym(dlopen("libc.so.6", RTLD_NOW), "fork");
    MUST(libc_fork);
    MUST(FORBID(0, SECCOMP_RET_ERRNO | EPERM, SYS_prctl) == 0);
    pid_t pid = libc_fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    int status = status_of(pid);
    MUST(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 125));
    work_where_fork_may_fail();
}

static volatile sig_atomic_t trapped;

static void note_trap(int number, siginfo_t *info, void *context)
{
    (void)context;
    MUST(number == SIGSYS && info->si_code == 1 && info->si_syscall == SYS_getppid);
    trapped = trapped + 1;
}

static void ask_for_parent(void)
{
    getppid();
}

/* SIGSYS of a filter reaches the program's handler, also inside fork and in the child. */
static void test_seccomp_traps(void)
{
    begin();
    struct sigaction action = {.sa_sigaction = note_trap, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSYS, &action, NULL) == 0);
    MUST(pthread_atfork(ask_for_parent, ask_for_parent, ask_for_parent) == 0);
    MUST(FORBID(0, SECCOMP_RET_TRAP, SYS_getppid) == 0);
    getppid();
    MUST(trapped == 1);
    pid_t pid = fork();
    MUST(trapped == 3);
    if (pid == 0) {
        getppid();
        MUST(trapped == 4);
        work();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

static void test_seccomp_all_threads(void)
{
    begin();
    MUST(FORBID(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_ERRNO | EACCES, SYS_execve, SYS_ptrace) == 0);
    work_everywhere();
    MUST(execl("/bin/true", "true", NULL) == -1 && errno == EACCES);
}

/* Either it is in force, or it is refused: then the result is a thread that did not follow. */
static void test_seccomp_all_threads_refused(void)
{
    begin();
    long result = FORBID(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_ERRNO | EACCES, SYS_mremap, SYS_ptrace);
    MUST(result >= 0);
    MUST((mremap(memory, BYTES, BYTES, 0) == MAP_FAILED) == (result == 0));
    work_where_fork_may_fail();
}

/* What the runtime can do without is refused from the start; no page has come from the device yet, for which it may want more
 * threads. */
static void test_seccomp_all_threads_dispensable(void)
{
    MUST(FORBID(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_ERRNO | EPERM, SYS_futex_waitv, SYS_set_robust_list,
                SYS_io_uring_enter, SYS_getrusage, SYS_get_robust_list, SYS_pidfd_open) == 0);
    MUST(syscall(SYS_get_robust_list, 0, NULL, NULL) == -1 && errno == EPERM);
    begin();
    work_where_fork_may_fail();
}

static void test_seccomp_all_threads_no_threads(void)
{
    MUST(FORBID(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_ERRNO | EPERM, SYS_clone, SYS_clone3) == 0);
    begin();
    work();
    work();
}

/* What can be done without may not kill either: refused, or it does not matter. */
static void test_seccomp_all_threads_killing(void)
{
    begin();
    MUST(FORBID(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_KILL_PROCESS, SYS_futex_waitv, SYS_io_uring_enter,
                SYS_get_robust_list) >= 0);
    work();
    usleep(300 * 1000);
    work();
}

/* A child's first runtime thread is killed: no child, or one that works. */
static void test_seccomp_kills_thread(void)
{
    begin();
    MUST(FORBID(0, SECCOMP_RET_KILL_THREAD, SYS_futex_waitv, SYS_get_robust_list) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    MUST(pid > 0 ? status_of(pid) == 0 : errno == EAGAIN);
    work();
}

/* ---- threads that the kernel kills one by one: the process ends as its last one did */

static void killed_alone(void)
{
    MUST(FORBID(0, SECCOMP_RET_KILL_THREAD, SYS_getppid) == 0);
    getppid();
}

static void ignore(int number)
{
    (void)number;
}

static void killed_alone_in_spite_of_a_handler(void)
{
    sigset_t all;
    MUST(signal(SIGSYS, ignore) != SIG_ERR);
    MUST(sigfillset(&all) == 0 && sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    killed_alone();
}

static void killed_after_others(void)
{
    MUST(pthread_join(start(exit_by_number, 5), NULL) == 0);
    killed_alone();
}

static bool leader_is_dead(void)
{
    char text[512];
    int fd = open("/proc/self/stat", O_RDONLY);
    ssize_t bytes = read(fd, text, sizeof text - 1);
    MUST(bytes > 0 && close(fd) == 0);
    text[bytes] = 0;
    return strncmp(strrchr(text, ')'), ") Z", 3) == 0;
}

static void *outlive_leader(void *argument)
{
    while (!leader_is_dead()) {
        usleep(1000);
    }
    work();
    return exit_by_number(argument);
}

static void killed_before_others(void)
{
    start(outlive_leader, 5);
    killed_alone();
}

static void test_seccomp_kills_last_thread(void)
{
    begin();
    must_end_with(killed_before_others, EXITED(5));
    struct rlimit none = {0, 0};
    MUST(setrlimit(RLIMIT_CORE, &none) == 0);
    must_end_with(killed_alone, SIGSYS);
    must_end_with(killed_alone_in_spite_of_a_handler, SIGSYS);
    must_end_with(killed_after_others, SIGSYS);
    work();
}

/* ---- sandboxes in which nothing is allowed but to end */

static long install_by_prctl(const struct sock_fprog *program)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0);
}

static long install_by_number(const struct sock_fprog *program)
{
    return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0);
}

static long install_by_seccomp(const struct sock_fprog *program)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
}

static void exit_group_by_number(int status)
{
    syscall(SYS_exit_group, status);
}

static void exit_last_thread(int status)
{
    syscall(SYS_exit, status);
}

static struct {
    long (*install)(const struct sock_fprog *program);
    void (*end)(int status);
    uint32_t action;
} sandbox;

static void enter_sandbox(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, sandbox.action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(sandbox.install(&program) == 0);
}

static void end_in_sandbox(void)
{
    enter_sandbox();
    work();
    sandbox.end(7);
}

static void *exit_in_sandbox(void *argument)
{
    enter_sandbox();
    return exit_by_number(argument);
}

static void end_after_a_thread_in_sandbox(void)
{
    MUST(pthread_join(start(exit_in_sandbox, 5), NULL) == 0);
    exit_last_thread(6);
}

static void test_seccomp_sandbox(void)
{
    static long (*const installs[])(const struct sock_fprog *) = {install_by_prctl, install_by_number,
                                                                  install_by_seccomp};
    static void (*const ends[])(int) = {exit, _exit, exit_group_by_number, exit_last_thread};
    begin();
    for (size_t i = 0; i < sizeof installs / sizeof installs[0]; i++) {
        for (size_t j = 0; j < sizeof ends / sizeof ends[0]; j++) {
            sandbox.install = installs[i];
            sandbox.end = ends[j];
            sandbox.action = j % 2 ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_KILL_THREAD;
            must_end_with(end_in_sandbox, EXITED(7));
        }
    }
    must_end_with(end_after_a_thread_in_sandbox, EXITED(6));
    work();
}

static void enter_strict_mode(void)
{
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0);
}

static void end_in_strict_mode(void)
{
    enter_strict_mode();
    work();
    exit_last_thread(7);
}

static void end_in_strict_mode_by_seccomp(void)
{
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL) == 0);
    exit_last_thread(8);
}

/* As libc ends a process: by a call that strict mode has not. */
static void die_in_strict_mode(void)
{
    enter_strict_mode();
    _exit(7);
}

static void test_seccomp_strict(void)
{
    begin();
    must_end_with(end_in_strict_mode, EXITED(7));
    must_end_with(end_in_strict_mode_by_seccomp, EXITED(8));
    must_end_with(die_in_strict_mode, SIGKILL);
    work();
}

/* Its memory is touched for the first time when no call is allowed any more; in an order that makes each page a fault. */
#define STRIDE 1237
void end_sandboxed(void)
{
    sandbox.install = install_by_prctl;
    sandbox.action = SECCOMP_RET_KILL_PROCESS;
    char *at = map(BYTES);
    enter_sandbox();
    for (size_t i = 0; i < PAGES; i++) {
        at[i * STRIDE % PAGES * PAGE] = 1;
    }
    exit(0);
}

const struct robust_test robust_seccomp[] = {
    {"seccomp", test_seccomp},
    {"seccomp_late", test_seccomp_late},
    {"fork_of_a_thread", test_fork_of_a_thread},
    {"fork_of_a_thread_without_pidfd_thread", test_fork_of_a_thread_without_pidfd_thread},
    {"seccomp_kills", test_seccomp_kills},
    {"seccomp_untrapped", test_seccomp_untrapped},
    {"seccomp_traps", test_seccomp_traps},
    {"seccomp_all_threads", test_seccomp_all_threads},
    {"seccomp_all_threads_refused", test_seccomp_all_threads_refused},
    {"seccomp_all_threads_dispensable", test_seccomp_all_threads_dispensable},
    {"seccomp_all_threads_no_threads", test_seccomp_all_threads_no_threads},
    {"seccomp_all_threads_killing", test_seccomp_all_threads_killing},
    {"seccomp_kills_thread", test_seccomp_kills_thread},
    {"seccomp_kills_last_thread", test_seccomp_kills_last_thread},
    {"seccomp_sandbox", test_seccomp_sandbox},
    {"seccomp_strict", test_seccomp_strict},
    {NULL, NULL},
};
