/* SPDX-License-Identifier: MIT */
/*
 * No signal handler is installed: every signal is blocked and taken from the queue by sigwaitinfo, so that the
 * program inherits the dispositions that uzswap was started with, and no signal comes at a bad moment.
 *
 * Who gets a signal
 *   sent to uzswap by a process     passed on
 *   an alarm set before exec        passed on: a fork does not inherit it
 *   sent by the terminal            not passed on: it went to the whole foreground group, the program in it. But a
 *                                   hang-up goes to the session's leader alone, so if that is us, it is passed on
 *   sent by the program itself      not passed on: it meant its parent
 * A process that signals the whole group (kill -TERM -GROUP) reaches the program twice; uzswap cannot tell.
 *
 * Children: whoever is process 1 of a container, or was made a reaper, gets the orphans of the whole tree. They are waited
 * for, and their statuses mean nothing to us.
 *
 * A SIGKILL to uzswap cannot be passed on: the kernel does it in our place (PR_SET_PDEATHSIG). It is for those who want an
 * end of the program, and know our pid only.
 *
 * Descriptors: all but standard error and those that are needed later are closed once the program runs. Whoever waits
 * for the end of a pipe that the program holds must not wait for us.
 */
#include "cli/supervise.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

/* How the process was before: what the program shall find. */
struct inherited {
    sigset_t mask;
    struct sigaction child_action;
};

struct supervisor {
    pid_t program;
    bool stopped;
    bool ended;
    int status;
};

/* Faults of our own must kill us, not wait in a queue. */
static void block_signals(struct inherited *inherited)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&all, faults[i]);
    }
    sigprocmask(SIG_SETMASK, &all, &inherited->mask);
    /* If it was ignored, waitpid would find nobody. */
    struct sigaction wanted = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &wanted, &inherited->child_action);
}

/* As execvp: a file that is no program the kernel knows is a script for sh. */
static void exec_program(const struct launch *launch)
{
    execve(launch->path, launch->argv, environ);
    if (errno != ENOEXEC) {
        return;
    }
    size_t count = 0;
    while (launch->argv[count]) {
        count++;
    }
    char **argv = calloc(count + 2, sizeof *argv);
    if (argv) {
        argv[0] = (char *)"/bin/sh";
        argv[1] = (char *)launch->path;
        memcpy(argv + 2, launch->argv + 1, count * sizeof *argv);
        execve(argv[0], argv, environ);
    }
}

/* By the pipe to it, as pids mean nothing across name spaces: in a new one the parent's is 0. */
static bool has_parent(int to_parent)
{
    struct pollfd end = {.fd = to_parent, .events = POLLOUT};
    return poll(&end, 1, 0) < 1 || !(end.revents & POLLERR);
}

static _Noreturn void become_program(const struct launch *launch, const struct inherited *inherited,
                                     int report)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (!has_parent(report)) {
        _exit(EXIT_FAILED); /* killed before the kernel knew that we would like to hear of it */
    }
    sigaction(SIGCHLD, &inherited->child_action, NULL);
    sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
    exec_program(launch);
    int error = -errno;
    if (write(report, &error, sizeof error) < 0) {
        _exit(EXIT_FAILED);
    }
    _exit(EXIT_NOT_FOUND);
}

/* Starts the program; what exec answered, 0 if all is well, goes to *exec_error. The pid or -errno. */
static pid_t start(const struct launch *launch, const struct inherited *inherited, int *exec_error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        return -errno;
    }
    int from_child = above_standard_streams(ends[0]), to_parent = above_standard_streams(ends[1]);
    pid_t pid = from_child < 0 || to_parent < 0 ? -1 : fork();
    if (pid == 0) {
        close(from_child); /* so that the parent has the only one */
        become_program(launch, inherited, to_parent);
    }
    int error = pid < 0 ? -errno : 0;
    close(to_parent);
    ssize_t got;
    do {
        got = read(from_child, exec_error, sizeof *exec_error);
    } while (got < 0 && errno == EINTR);
    if (got != sizeof *exec_error) {
        *exec_error = 0;
    }
    close(from_child);
    return error ? error : pid;
}

static bool is_kept(const struct launch *launch, int fd)
{
    bool kept = fd == STDERR_FILENO;
    for (size_t i = 0; i < launch->keep_count; i++) {
        kept |= fd == launch->keep[i];
    }
    return kept;
}

static void close_all_but_kept(const struct launch *launch)
{
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(folder) && !is_kept(launch, fd)) {
            close(fd);
        }
    }
    closedir(folder);
}

/* The shell sees uzswap stop as the program did, and takes the terminal back. */
static void stop_like_program(int signal)
{
    struct sigaction action;
    sigset_t only;
    sigaction(signal, NULL, &action);
    if (action.sa_handler == SIG_IGN) {
        signal = SIGSTOP;
    }
    sigemptyset(&only);
    sigaddset(&only, signal);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* here we stop, and here we go on */
    sigprocmask(SIG_BLOCK, &only, NULL);
}

/* Takes what waitpid has to say about the program, if anything. Orphans that have come to us are let go. */
static bool take_change(struct supervisor *s)
{
    int status;
    pid_t child;
    do {
        child = s->ended ? 0 : waitpid(-1, &status, WUNTRACED | WCONTINUED | WNOHANG);
    } while (child > 0 && child != s->program);
    if (child != s->program) {
        return false;
    }
    s->stopped = WIFSTOPPED(status);
    s->ended = WIFEXITED(status) || WIFSIGNALED(status);
    s->status = status;
    return true;
}

/*
 * After a stop: a shell that continues the job continues the whole group, and then the program must not be told
 * twice. One who continued us alone meant the program as well.
 */
static void go_on_with_program(struct supervisor *s)
{
    const struct timespec at_once = {0}, a_moment = {.tv_nsec = 1000 * 1000};
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGCONT);
    sigtimedwait(&only, NULL, &at_once);
    for (int i = 0; i < 20; i++) {
        if (take_change(s)) {
            return;
        }
        nanosleep(&a_moment, NULL);
    }
    kill(s->program, SIGCONT);
}

static void note_changes(struct supervisor *s)
{
    while (take_change(s)) {
        while (s->stopped) {
            stop_like_program(WSTOPSIG(s->status));
            s->stopped = false;
            go_on_with_program(s);
        }
    }
}

static bool is_from_terminal(const siginfo_t *info)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGHUP, SIGCONT};
    for (size_t i = 0; info->si_code == SI_KERNEL && i < sizeof signals / sizeof signals[0]; i++) {
        if (info->si_signo == signals[i]) {
            return true;
        }
    }
    return false;
}

static bool is_for_program(const struct supervisor *s, const siginfo_t *info)
{
    if (is_from_terminal(info)) {
        return (info->si_signo == SIGHUP || info->si_signo == SIGCONT) && getsid(0) == getpid();
    }
    /* One of our own would be a broken pipe. */
    return info->si_code > 0 || (info->si_pid != getpid() && info->si_pid != s->program);
}

static void pass_on(const struct supervisor *s, const siginfo_t *info)
{
    if (info->si_code == SI_QUEUE) {
        sigqueue(s->program, info->si_signo, info->si_value);
    } else {
        kill(s->program, info->si_signo);
    }
}

static void wait_for_end(struct supervisor *s)
{
    sigset_t all;
    sigfillset(&all);
    note_changes(s);
    while (!s->ended) {
        siginfo_t info;
        int signal = sigwaitinfo(&all, &info);
        note_changes(s); /* whatever it was: so that the pid is still the program's */
        if (signal > 0 && signal != SIGCHLD && !s->ended && is_for_program(s, &info)) {
            pass_on(s, &info);
        }
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int supervise(const struct launch *launch, struct ending *ending)
{
    struct inherited inherited;
    struct supervisor s = {0};
    *ending = (struct ending){0};
    block_signals(&inherited);
    double begin = now();
    s.program = start(launch, &inherited, &ending->exec_error);
    if (s.program < 0) {
        return (int)s.program;
    }
    close_all_but_kept(launch);
    wait_for_end(&s);
    ending->status = s.status;
    ending->wall_seconds = now() - begin;
    return 0;
}

static void die_by(int signal)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    struct rlimit none = {0, 0};
    sigset_t only;
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the limit does not hold where cores go to a pipe */
    sigaction(signal, &action, NULL);
    raise(signal);
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

void end_like(int status)
{
    if (WIFSIGNALED(status)) {
        die_by(WTERMSIG(status));
        _exit(128 + WTERMSIG(status)); /* process 1 of a container does not die by signals of its own */
    }
    _exit(WEXITSTATUS(status));
}
