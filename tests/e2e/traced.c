/* SPDX-License-Identifier: MIT */
/*
 * traced PROGRAM [ARG...]: runs it, and looks at every system call of its runtime's threads (they are called uzswap...) while the
 * program says so, by signals to itself (TRACED_BEGIN, TRACED_END). A call that the table of calls (preload/filters.c) has not is a
 * failure: a filter that allows what is in the table must not break the runtime.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/filters.h"
#include "tests/e2e/traced.h"

#define NUMBERS 1024

static bool looking;
static long seen[NUMBERS];
static pid_t program;

static bool is_runtimes(pid_t tid)
{
    char path[64], name[16] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", (int)program, (int)tid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(name, sizeof name, file)) {
            name[0] = 0;
        }
        fclose(file);
    }
    return strncmp(name, "uzswap", 6) == 0;
}

static void look_at_call(pid_t tid)
{
    struct __ptrace_syscall_info info = {0};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0 &&
        info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr < NUMBERS) {
        seen[info.entry.nr]++;
    }
}

/* Stops all threads that there are: from then on the runtime's stop at each call. */
static void stop_all(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)program);
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        ptrace(PTRACE_INTERRUPT, atoi(e->d_name), 0, 0);
    }
    if (folder) {
        closedir(folder);
    }
}

/* The signal to go on with. */
static int look(pid_t tid, int status)
{
    int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
        look_at_call(tid);
        return 0;
    }
    if (signal == TRACED_BEGIN || signal == TRACED_END) {
        looking = signal == TRACED_BEGIN;
        stop_all();
        return 0;
    }
    return status >> 16 || signal == SIGTRAP ? 0 : signal; /* an event */
}

/* The program's status. */
static int trace(void)
{
    int status;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFSTOPPED(status)) {
            int signal = look(tid, status);
            ptrace(looking && is_runtimes(tid) ? PTRACE_SYSCALL : PTRACE_CONT, tid, 0, signal);
        } else if (tid == program) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
    return 126;
}

static int report(void)
{
    int unknown = 0, kinds = 0;
    for (int number = 0; number < NUMBERS; number++) {
        kinds += seen[number] != 0;
        if (seen[number]) {
            printf("# call %d: %ld times%s\n", number, seen[number],
                   filters_know(number) ? "" : ", NOT IN THE TABLE");
            unknown += !filters_know(number);
        }
    }
    if (kinds < 5) {
        printf("# hardly any calls were seen: does the runtime manage the program?\n");
    }
    return unknown || kinds < 5;
}

int main(int argc, char *argv[])
{
    int status;
    if (argc < 2) {
        fprintf(stderr, "usage: traced PROGRAM [ARG...]\n");
        return 2;
    }
    program = fork();
    if (program == 0) {
        raise(SIGSTOP);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    if (program < 0 || waitpid(program, &status, WUNTRACED) != program || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SEIZE, program, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)) {
        fprintf(stderr, "traced: %s: cannot be traced: %s\n", argv[1], strerror(errno));
        return 125;
    }
    kill(program, SIGCONT);
    int ended = trace();
    return ended ? ended : report();
}
