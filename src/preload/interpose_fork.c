/* SPDX-License-Identifier: MIT */
/* fork and its relatives, as the program calls them: libc's own, trapped (syscall_trap.h), or for clone() none at all. */
#include <dlfcn.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>

#include "preload/fork.h"
#include "preload/interpose.h"
#include "preload/private_stack.h"
#include "preload/syscall_trap.h"

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
EXPORT int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...) __THROW
    __attribute__((alias("clone")));

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
