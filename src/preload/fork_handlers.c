/* SPDX-License-Identifier: MIT */
/*
 * Forks by libc that the program makes past our symbols: libc's fork, daemon or forkpty by a handle (dlsym of
 * dlopen("libc.so.6"), Python's ctypes). libc calls handlers for each, so ours do what fork() of ours does:
 *
 *   prepare handlers   of the program
 *   ours               arms the trap (fork.c)
 *   those before ours  and libc's own preparations: trapped
 *   clone              fork_perform
 *   those before ours
 *   ours               disarms it, in parent and child
 *   handlers           of the program
 *
 * Ours are registered when the runtime starts; before them come those of libraries that need no memory until then.
 *
 * A handler cannot refuse. Where there is no trap, the child ends here, which is the first that can be done about it: nobody
 * would bring its memory in. So does one of a thread that was inside libc's fork as the runtime started.
 *
 * libc's _Fork and clone by a handle call no handlers; nobody sees them.
 */
#include "preload/fork.h"

#include "base/sys.h"
#include "preload/runtime.h"
#include "preload/syscall_trap.h"

/* From our prepare handler to the others. */
static __thread struct {
    bool is_ours; /* armed here */
    struct trapped trapped;
} around __attribute__((tls_model("initial-exec")));

static void prepare(void)
{
    if (!trap_is_armed()) {
        around.is_ours = runtime_serves_caller() && !trap_arm(&around.trapped);
    }
}

static void disarm(void)
{
    if (around.is_ours) {
        around.is_ours = false;
        trap_disarm(&around.trapped);
    }
}

__attribute__((noreturn)) static void end_child(void)
{
    struct message m;
    message_set(
        &m,
        "a child whose fork was not seen cannot be managed, and ends: this kernel (or a filter) has no "
        "Syscall User Dispatch (Linux 5.11, x86-64), or it was forked as the runtime started",
        NULL);
    message_write(&m);
    for (;;) {
        sys_call3(SYS_exit_group, FORK_CHILD_FAILED, 0, 0);
    }
}

static void in_child(void)
{
    if (runtime_serves_caller() && !runtime_answers_caller()) {
        end_child();
    }
    disarm();
}

/* libc's, under pthread_atfork, which names the library that handlers go with: ours would be gone when libraries end. */
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *library);

int fork_register_handlers(void)
{
    return -__register_atfork(prepare, disarm, in_child, NULL);
}
