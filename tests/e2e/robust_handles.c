/* SPDX-License-Identifier: MIT */
/* robust: libc's functions found by a handle of libc, or by a library that is bound to libc first. */
#include "tests/e2e/robust.h"

#include <dlfcn.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef pid_t fork_function(void);

static void *find_in(void *library, const char *name)
{
    MUST(library);
    void *function = dlsym(library, name);
    MUST(function);
    return function;
}

static void *find(const char *name)
{
    return find_in(dlopen("libc.so.6", RTLD_NOW), name);
}

/* What a fork may not change. */
struct signals {
    sigset_t mask;
    struct sigaction on_sigsys;
};

static struct signals signals_now(void)
{
    struct signals s;
    memset(&s, 0, sizeof s);
    MUST(pthread_sigmask(SIG_SETMASK, NULL, &s.mask) == 0);
    MUST(sigaction(SIGSYS, NULL, &s.on_sigsys) == 0);
    return s;
}

static bool are_now(const struct signals *s)
{
    struct signals now = signals_now();
    return !memcmp(&now.mask, &s->mask, sizeof now.mask) &&
           now.on_sigsys.sa_handler == s->on_sigsys.sa_handler;
}

static void test_fork_by_handle(void)
{
    fork_function *libc_fork = find("fork");
    begin();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    struct signals before = signals_now();
    pid_t pid = libc_fork();
    if (pid == 0) {
        MUST(are_now(&before));
        MUST(wrong_pages() == 0);
        work_in_grandchild();
        pid = libc_fork();
        if (pid == 0) {
            work();
            _exit(0);
        }
        must_end_well(pid);
        _exit(0);
    }
    MUST(are_now(&before));
    must_end_well(pid);
    work_everywhere();
}

/* Handlers find the memory, and the thread's signals. */
static struct signals signals_at_fork;
static int handlers_called;

static void look_around(void)
{
    MUST(are_now(&signals_at_fork));
    MUST(wrong_pages() == 0);
    handlers_called++;
}

static void test_fork_by_handle_with_handlers(void)
{
    fork_function *libc_fork = find("fork");
    begin();
    signals_at_fork = signals_now();
    MUST(pthread_atfork(look_around, look_around, look_around) == 0);
    pid_t pid = libc_fork();
    MUST(handlers_called == 2);
    if (pid == 0) {
        work();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

/* Forks in handlers of others. */
static struct {
    fork_function *outer, *inner;
    int place; /* before the fork, in the parent, in the child */
    bool nested;
} nest;

static void fork_in_handler(int place)
{
    if (place != nest.place || nest.nested) {
        return;
    }
    nest.nested = true;
    pid_t pid = nest.inner();
    if (pid == 0) {
        _exit(wrong_pages() ? 1 : 0);
    }
    must_end_well(pid);
    nest.nested = false;
}

static void fork_before(void)
{
    fork_in_handler(0);
}

static void fork_in_parent(void)
{
    fork_in_handler(1);
}

static void fork_in_child(void)
{
    fork_in_handler(2);
}

static void test_forks_in_handlers(void)
{
    fork_function *by[] = {fork, find("fork")};
    begin();
    struct signals before = signals_now();
    MUST(pthread_atfork(fork_before, fork_in_parent, fork_in_child) == 0);
    for (int i = 0; i < 12; i++) {
        nest.outer = by[i % 2];
        nest.inner = by[i / 2 % 2];
        nest.place = i / 4;
        pid_t pid = nest.outer();
        if (pid == 0) {
            MUST(are_now(&before));
            _exit(wrong_pages() ? 1 : 0);
        }
        must_end_well(pid);
        MUST(are_now(&before));
    }
    nest.place = -1;
    work_everywhere();
}

static void test_others_by_handle(void)
{
    int (*libc_forkpty)(int *, char *, const struct termios *, const struct winsize *) = find("forkpty");
    int (*libc_daemon)(int, int) = find("daemon");
    begin();
    int master = -1, result[2];
    char byte = 0;
    pid_t pid = libc_forkpty(&master, NULL, NULL, NULL);
    if (pid == 0) {
        work();
        _exit(0);
    }
    must_end_well(pid);
    work();
    MUST(pipe(result) == 0);
    pid = fork();
    if (pid == 0) {
        MUST(libc_daemon(0, 0) == 0);
        work();
        _exit(write(result[1], "o", 1) != 1);
    }
    must_end_well(pid);
    MUST(close(result[1]) == 0);
    MUST(read(result[0], &byte, 1) == 1 && byte == 'o');
    work();
}

static void *fork_by_handle_often(void *libc_fork)
{
    for (int i = 0; i < 4; i++) {
        pid_t pid = ((fork_function *)libc_fork)();
        if (pid == 0) {
            MUST(wrong_pages() == 0);
            _exit(0);
        }
        must_end_well(pid);
    }
    return NULL;
}

static void test_fork_by_handle_in_threads(void)
{
    fork_function *libc_fork = find("fork");
    pthread_t threads[3];
    begin();
    struct signals before = signals_now();
    for (int i = 0; i < 3; i++) {
        MUST(pthread_create(&threads[i], NULL, fork_by_handle_often, (void *)libc_fork) == 0);
    }
    for (int i = 0; i < 3; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    MUST(are_now(&before));
    work_everywhere();
}

/* Found by the name alone: it lies beside the program, whose RUNPATH says so. */
#define BOUND_LIBRARY "libbound_library.so"

/* What one side has taken, the other may give back. */
static void work_with(void *library)
{
    fork_function *bound_fork = find_in(library, "bound_fork");
    char *(*bound_text)(void) = find_in(library, "bound_text");
    void (*bound_free)(char *) = find_in(library, "bound_free");
    void *(*bound_map)(size_t) = find_in(library, "bound_map");
    begin();
    pid_t pid = bound_fork();
    if (pid == 0) {
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    for (int i = 0; i < 1000; i++) {
        free(bound_text());
        bound_free(strdup("text"));
    }
    MUST(munmap(memory, BYTES) == 0);
    memory = bound_map(BYTES);
    MUST(memory != MAP_FAILED && memory[0] == 0);
    MUST(munmap(memory, BYTES) == 0);
    begin();
    work_everywhere();
}

static void test_deep_binding(void)
{
    work_with(dlopen(BOUND_LIBRARY, RTLD_NOW | RTLD_DEEPBIND));
}

static void test_deep_binding_in_base(void)
{
    work_with(dlmopen(LM_ID_BASE, BOUND_LIBRARY, RTLD_NOW | RTLD_DEEPBIND));
}

/* There it has a libc of its own. */
static void test_deep_binding_elsewhere(void)
{
    void *library = dlmopen(LM_ID_NEWLM, BOUND_LIBRARY, RTLD_NOW | RTLD_DEEPBIND);
    char *(*bound_text)(void) = find_in(library, "bound_text");
    void (*bound_free)(char *) = find_in(library, "bound_free");
    Lmid_t space = LM_ID_BASE;
    begin();
    MUST(dlinfo(library, RTLD_DI_LMID, &space) == 0 && space != LM_ID_BASE);
    char *text = bound_text();
    MUST(!strcmp(text, "text"));
    bound_free(text);
    work_everywhere();
}

const struct robust_test robust_handles[] = {
    {"fork_by_handle", test_fork_by_handle},
    {"fork_by_handle_with_handlers", test_fork_by_handle_with_handlers},
    {"forks_in_handlers", test_forks_in_handlers},
    {"others_by_handle", test_others_by_handle},
    {"fork_by_handle_in_threads", test_fork_by_handle_in_threads},
    {"deep_binding", test_deep_binding},
    {"deep_binding_in_base", test_deep_binding_in_base},
    {"deep_binding_elsewhere", test_deep_binding_elsewhere},
    {NULL, NULL},
};
