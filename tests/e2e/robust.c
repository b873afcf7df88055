/* SPDX-License-Identifier: MIT */
/*
 * What programs do to their own process, one behaviour a sub-command: `robust NAME` exits with 0 if all memory is as it
 * was written afterwards, in the process and in its children, and the behaviour is the kernel's. It knows nothing of
 * uzswap, and must pass without it. Many of them have no streams left to say anything: the status is then the
 * line (modulo 200, plus 2) of the check that failed, in the file of its subject.
 */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void stop_at(const char *file, int line, const char *text)
{
    int error = errno;
    dprintf(STDERR_FILENO, "robust: %s:%d: not true: %s (errno %d)\n", file, line, text, error);
    _exit(line % 200 + 2);
}

char *memory;
static uint64_t version; /* of what is in it */

uint64_t word_of(size_t page, size_t i)
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

size_t wrong_pages(void)
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

void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(at != MAP_FAILED);
    return at;
}

void begin(void)
{
    memory = map(BYTES);
    write_all();
}

void work(void)
{
    MUST(wrong_pages() == 0);
    write_all();
    MUST(wrong_pages() == 0);
}

int status_of(pid_t pid)
{
    int status = -1;
    MUST(waitpid(pid, &status, __WALL) == pid);
    return status;
}

pthread_t start(void *(*run)(void *), int argument)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, run, (void *)(intptr_t)argument) == 0);
    return thread;
}

void must_end_with(void (*end)(void), int expected)
{
    pid_t pid = fork();
    if (pid == 0) {
        end();
        _exit(1);
    }
    int status = status_of(pid);
    if (status != expected) {
        dprintf(STDERR_FILENO, "robust: the child's status is %#x, not %#x\n", status, expected);
    }
    MUST(status == expected);
}

void must_end_well(pid_t pid)
{
    MUST(pid > 0);
    int status = status_of(pid);
    if (status) {
        dprintf(STDERR_FILENO, "robust: the child's status is %#x\n", status);
    }
    MUST(status == 0);
}

void work_in_grandchild(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

void work_everywhere(void)
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

void work_where_fork_may_fail(void)
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

void exec_and_wait(char *const arguments[], char *const environment[])
{
    pid_t pid = fork();
    if (pid == 0) {
        work();
        execve(arguments[0], arguments, environment);
        _exit(127);
    }
    must_end_well(pid);
}

/* Not a test: robust.sh kills it. */
static void wait_to_be_killed(void)
{
    begin();
    printf("%d\n", (int)getpid());
    fflush(stdout);
    pause();
}

static const struct robust_test *const lists[] = {
    robust_descriptors, robust_identity, robust_signals, robust_forks,
    robust_handles,     robust_exit,     robust_seccomp,
};

/* Prints the names of all if `name` is NULL. Was there such a test? */
static bool run(const char *name)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const struct robust_test *test = lists[i]; test->name; test++) {
            if (!name) {
                puts(test->name);
            } else if (!strcmp(name, test->name)) {
                test->run();
                return true;
            }
        }
    }
    return !name;
}

int main(int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (name && !strcmp(name, "wait")) {
        wait_to_be_killed();
    }
    if (name && !strcmp(name, "busy")) {
        be_busy();
        return 0;
    }
    if (name && !strcmp(name, "sandboxed")) {
        end_sandboxed();
    }
    return run(name) ? 0 : 2;
}
