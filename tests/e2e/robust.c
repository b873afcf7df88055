/* SPDX-License-Identifier: MIT */
/*
 * What programs do to their own process, one behaviour a sub-command: `robust NAME` exits with 0 if all memory is as it
 * was written afterwards, in the process and in its children, and the behaviour is the kernel's. It knows nothing of
 * uzswap, and must pass without it. Many of them have no streams left to say anything: the status is then the
 * line (modulo 200, plus 2) of the check that failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)5632) /* 22 MiB: robust.sh gives 16 */
#define BYTES (PAGES * PAGE)
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

/* A check: does not depend on streams, and may be used in signal handlers and children. */
#define MUST(condition) ((condition) ? (void)0 : stop_at(__LINE__, #condition))

static void stop_at(int line, const char *text)
{
    int error = errno;
    dprintf(STDERR_FILENO, "robust: line %d: not true: %s (errno %d)\n", line, text, error);
    _exit(line % 200 + 2);
}

/* ---- memory that is larger than the budget */

static char *memory;
static uint64_t version; /* of what is in it */

static uint64_t word_of(size_t page, size_t i)
{
    uint64_t key = version << 32 | page;
    return i % 2 ? (key + i) * 0x9e3779b97f4a7c15ull : key;
}

static void write_all(void)
{
    version++;
    for (size_t page = 0; page < PAGES; page++) {
        uint64_t *words = (uint64_t *)(memory + page * PAGE);
        for (size_t i = 0; i < PAGE / 8; i++) {
            words[i] = word_of(page, i);
        }
    }
}

static size_t wrong_pages(void)
{
    size_t wrong = 0;
    for (size_t page = 0; page < PAGES; page++) {
        const uint64_t *words = (const uint64_t *)(memory + page * PAGE);
        size_t i = 0;
        while (i < PAGE / 8 && words[i] == word_of(page, i)) {
            i++;
        }
        wrong += i < PAGE / 8;
    }
    return wrong;
}

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, RW, ANONYMOUS, -1, 0);
    MUST(at != MAP_FAILED);
    return at;
}

static void begin(void)
{
    memory = map(BYTES);
    write_all();
}

/* Pages go out and come back, and what they held is still there. */
static void work(void)
{
    MUST(wrong_pages() == 0);
    write_all();
    MUST(wrong_pages() == 0);
}

static int status_of(pid_t pid)
{
    int status = -1;
    MUST(waitpid(pid, &status, __WALL) == pid);
    return status;
}

static void must_end_well(pid_t pid)
{
    MUST(pid > 0);
    int status = status_of(pid);
    if (status) {
        dprintf(STDERR_FILENO, "robust: the child's status is %#x\n", status);
    }
    MUST(status == 0);
}

static void work_in_grandchild(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

/* Here, in a child, and in a child of that. */
static void work_everywhere(void)
{
    work();
    pid_t pid = fork();
    if (pid == 0) {
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

/* As work_everywhere, where a fork may be refused, but never silently wrong. */
static void work_where_fork_may_fail(void)
{
    work();
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    if (pid < 0) {
        MUST(errno == EAGAIN || errno == ENOMEM || errno == ENOSYS);
    } else {
        must_end_well(pid);
    }
    work();
}

extern char **environ;

static void exec_and_wait(char *const arguments[], char *const environment[])
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        execve(arguments[0], arguments, environment);
        _exit(127);
    }
    must_end_well(pid);
}

/* ---- descriptors */

static void close_range_all(void)
{
    MUST(close_range(3, ~0u, 0) == 0);
}

static void close_range_from_zero(void)
{
    MUST(close_range(0, ~0u, 0) == 0);
}

static void close_range_unshare(void)
{
    MUST(close_range(3, ~0u, CLOSE_RANGE_UNSHARE) == 0);
}

static void close_range_cloexec(void)
{
    MUST(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0);
}

static void close_loop(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        close(fd);
    }
}

static void dup2_over_all(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 3; fd < 1024; fd++) {
        dup2(null, fd);
    }
}

static void closing(void (*close_all)(void))
{
    begin();
    pid_t pid = fork(); /* the child closes, too, before its parent did */
    if (pid == 0) {
        close_all();
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    close_all();
    work_everywhere();
    close_all();
    work_everywhere();
}

static void test_close_range(void)
{
    closing(close_range_all);
}

static void test_close_range_from_zero(void)
{
    closing(close_range_from_zero);
}

static void test_close_range_unshare(void)
{
    closing(close_range_unshare);
}

static void test_close_range_cloexec(void)
{
    closing(close_range_cloexec);
}

static void test_close_loop(void)
{
    closing(close_loop);
}

static void test_dup2(void)
{
    closing(dup2_over_all);
}

/* As a classic daemon begins: its ancestor adopts it here, to hear how it ended. */
static void test_daemon(void)
{
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    begin();
    pid_t pid = fork();
    if (pid == 0) {
        MUST(setsid() > 0);
        pid_t daemon = fork();
        MUST(daemon >= 0);
        if (daemon) {
            _exit(0);
        }
        MUST(chdir("/") == 0);
        close_loop();
        for (int i = 0; i < 3; i++) {
            work_in_grandchild();
            usleep(150 * 1000);
        }
        _exit(0);
    }
    must_end_well(pid);
    int status;
    MUST(wait(&status) > 0 && status == 0);
}

/* ---- limits, set while it runs */

static void limit(int resource, rlim_t value)
{
    struct rlimit l = {value, value};
    MUST(setrlimit((__rlimit_resource_t)resource, &l) == 0);
}

static void limited(int resource, rlim_t value)
{
    begin();
    limit(resource, value);
    work_where_fork_may_fail();
}

static void test_limit_nofile(void)
{
    limited(RLIMIT_NOFILE, 3);
}

static void test_limit_nofile_20(void)
{
    begin();
    limit(RLIMIT_NOFILE, 20);
    work_everywhere();
}

static void test_no_descriptor_left(void)
{
    begin();
    struct rlimit l = {64, 4096};
    MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    MUST(errno == EMFILE);
    work_everywhere();
    MUST(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == 64);
}

static uint32_t setter_stops; /* atomic */

/* Nobody else sets the limit: each value stays until the next. */
static void *set_limit_often(void *argument)
{
    struct rlimit l, now;
    (void)argument;
    MUST(getrlimit(RLIMIT_NOFILE, &l) == 0);
    rlim_t least = l.rlim_cur - 50;
    for (unsigned i = 0; !__atomic_load_n(&setter_stops, __ATOMIC_ACQUIRE); i++) {
        l.rlim_cur = least + i % 50;
        MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
        usleep(100);
        MUST(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == l.rlim_cur);
    }
    return NULL;
}

static void test_limit_set_while_it_forks(void)
{
    pthread_t setter;
    begin();
    MUST(pthread_create(&setter, NULL, set_limit_often, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        must_end_well(pid);
    }
    __atomic_store_n(&setter_stops, 1, __ATOMIC_RELEASE);
    MUST(pthread_join(setter, NULL) == 0);
    work();
}

static void test_limit_as(void)
{
    begin();
    limit(RLIMIT_AS, (rlim_t)1 << 30);
    work_everywhere();
    exec_and_wait((char *[]){"/bin/sh", "-c", "/bin/true; exec /bin/true", NULL}, environ);
}

static void test_limit_as_of_all(void)
{
    begin();
    limit(RLIMIT_AS, PAGE);
    work_where_fork_may_fail();
}

static void test_limit_data(void)
{
    limited(RLIMIT_DATA, (rlim_t)1 << 20);
}

static void test_limit_stack(void)
{
    begin();
    limit(RLIMIT_STACK, 64 << 10);
    work_everywhere();
}

static void test_limit_fsize(void)
{
    begin();
    limit(RLIMIT_FSIZE, 0);
    work_where_fork_may_fail();
}

static void test_limit_core(void)
{
    begin();
    limit(RLIMIT_CORE, 0);
    work_everywhere();
}

static void test_limit_memlock(void)
{
    begin();
    limit(RLIMIT_MEMLOCK, 0);
    work_everywhere();
}

#define NOBODY 65534

static void test_limit_nproc(void)
{
    begin();
    limit(RLIMIT_NPROC, 1);
    MUST(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    work_where_fork_may_fail();
}

/* ---- identity, privileges, name spaces */

static void test_setuid(void)
{
    begin();
    MUST(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    work_everywhere();
}

static void test_capset(void)
{
    begin();
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    MUST(syscall(SYS_capset, &header, none) == 0);
    work_everywhere();
}

static void test_chroot(void)
{
    char folder[] = "/tmp/robust-XXXXXX";
    begin();
    MUST(mkdtemp(folder) && chdir(folder) == 0 && rmdir(folder) == 0 && chroot(".") == 0);
    work_everywhere();
}

static void test_prctl(void)
{
    begin();
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
    MUST(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
    MUST(prctl(PR_SET_NAME, "renamed") == 0);
    MUST(prctl(PR_SET_TIMERSLACK, 1000000) == 0);
    work_everywhere();
}

static void test_unshare(void)
{
    begin();
    MUST(unshare(CLONE_FILES | CLONE_FS | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) == 0);
    work_everywhere();
}

static void test_new_pid_space(void)
{
    begin();
    MUST(unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        MUST(getpid() == 1);
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

static void test_new_user_space(void)
{
    begin();
    if (unshare(CLONE_NEWUSER)) {
        MUST(errno == EPERM || errno == EINVAL ||
             errno == ENOSPC); /* an only thread may; we cannot have that */
        pid_t pid = fork();
        if (pid == 0) {
            work();
            _exit(0);
        }
        must_end_well(pid);
    }
    work_everywhere();
}

/* ---- signals */

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

/* ---- forks that pass by libc's */

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

static int cloned(void *argument)
{
    MUST(argument == memory);
    work();
    return 7;
}

static void test_clone_wrapper(void)
{
    begin();
    char *stack = map(64 * PAGE);
    int pid = clone(cloned, stack + 64 * PAGE, SIGCHLD, memory);
    MUST(pid > 0);
    int status = status_of(pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pid = clone(cloned, stack + 64 * PAGE, SIGCHLD | CLONE_NEWPID, memory);
    MUST(pid > 0);
    status = status_of(pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    work_everywhere();
}

/* ---- seccomp */

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

/* ---- ends */

static void *exit_by_number(void *argument)
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

/* ---- exec */

static void test_empty_environment(void)
{
    begin();
    exec_and_wait((char *[]){"/bin/true", NULL}, (char *[]){NULL});
    exec_and_wait((char *[]){"/proc/self/exe", "setuid", NULL}, (char *[]){NULL});
    exec_and_wait((char *[]){"/bin/sh", "-c", "env -i /bin/sh -c 'true; /bin/true'", NULL}, environ);
    MUST(clearenv() == 0);
    work_everywhere();
}

/* A user who may not open /dev/userfaultfd execs. */
static void test_exec_after_setuid(void)
{
    begin();
    MUST(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    exec_and_wait((char *[]){"/bin/sh", "-c", "/bin/true; /bin/true", NULL}, environ);
    work_everywhere();
}

/* Not a test: robust.sh kills it. */
static void wait_to_be_killed(void)
{
    begin();
    printf("%d\n", (int)getpid());
    fflush(stdout);
    pause();
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"close_range", test_close_range},
    {"close_range_from_zero", test_close_range_from_zero},
    {"close_range_unshare", test_close_range_unshare},
    {"close_range_cloexec", test_close_range_cloexec},
    {"close_loop", test_close_loop},
    {"dup2", test_dup2},
    {"daemon", test_daemon},
    {"limit_nofile", test_limit_nofile},
    {"limit_nofile_20", test_limit_nofile_20},
    {"no_descriptor_left", test_no_descriptor_left},
    {"limit_set_while_it_forks", test_limit_set_while_it_forks},
    {"limit_as", test_limit_as},
    {"limit_as_of_all", test_limit_as_of_all},
    {"limit_data", test_limit_data},
    {"limit_stack", test_limit_stack},
    {"limit_fsize", test_limit_fsize},
    {"limit_core", test_limit_core},
    {"limit_memlock", test_limit_memlock},
    {"limit_nproc", test_limit_nproc},
    {"setuid", test_setuid},
    {"capset", test_capset},
    {"chroot", test_chroot},
    {"prctl", test_prctl},
    {"unshare", test_unshare},
    {"new_pid_space", test_new_pid_space},
    {"new_user_space", test_new_user_space},
    {"all_blocked", test_all_blocked},
    {"alarms", test_alarms},
    {"sigaltstack", test_sigaltstack},
    {"longjmp", test_longjmp},
    {"write_barrier", test_write_barrier},
    {"cancel", test_cancel},
    {"who_takes_signals", test_who_takes_signals},
    {"stop_and_continue", test_stop_and_continue},
    {"raw_fork", test_raw_fork},
    {"bad_clone_pointers", test_bad_clone_pointers},
    {"clone_wrapper", test_clone_wrapper},
    {"seccomp", test_seccomp},
    {"seccomp_late", test_seccomp_late},
    {"seccomp_kills", test_seccomp_kills},
    {"seccomp_traps", test_seccomp_traps},
    {"seccomp_all_threads", test_seccomp_all_threads},
    {"seccomp_all_threads_refused", test_seccomp_all_threads_refused},
    {"exit_of_threads", test_exit_of_threads},
    {"empty_environment", test_empty_environment},
    {"exec_after_setuid", test_exec_after_setuid},
};

int main(int argc, char *argv[])
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (argc < 2) {
            puts(tests[i].name);
        } else if (!strcmp(argv[1], tests[i].name)) {
            tests[i].run();
            return 0;
        }
    }
    if (argc > 1 && !strcmp(argv[1], "wait")) {
        wait_to_be_killed();
    }
    return argc < 2 ? 0 : 2;
}
