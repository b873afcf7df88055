/* SPDX-License-Identifier: MIT */
/*
 * Life of the runtime in one process:
 *
 *   start    by the library's constructor, or by the first memory call if that comes earlier (allocators call mmap
 *            from other libraries' constructors). The calling thread reads the environment, opens the
 *            session and starts the root thread; the root thread becomes a member of the session and builds the
 *            layers (layers.c), while the caller waits. Memory that was mapped before stays unmanaged.
 *   running  the root thread serves the mailbox, copies figures to the session, and says the few warnings there are.
 *   fork     the child's only thread does the same as at the start, but the root thread takes over copies of the
 *            layers instead of building them (fork.c).
 *   end      nothing is taken down: the kernel does it. The last figures are copied. exec is an end, too; the new image
 *            starts from its environment.
 *
 * The root thread shares no descriptor table with the program (descriptors.h says why).
 */
#include "preload/runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/lock.h"
#include "base/size.h"
#include "preload/descriptors.h"
#include "preload/filters.h"
#include "preload/fork.h"
#include "preload/last_thread.h"
#include "preload/mailbox.h"
#include "preload/syscall_trap.h"
#include "preload/tree.h"

#define EXIT_FAILED 125 /* as `uzswap run`: uzswap itself failed */
#define HOUSEKEEPING_MS 100
#define START_LOOK_MS 100 /* how often to look whether the root thread has come to its end before it served */
#define SERVED_A_CLOCK 16
#define OVER_BUDGET_SHARE 32 /* one in so many bytes too many is worth a warning */

struct runtime runtime = {.userfaultfd_device = -1};

/* What the starting thread hands to the root thread, and gets back. */
struct start {
    const struct run_options *options; /* NULL: in a forked child */
    int socket;                        /* in a forked child: the descriptors come from here */
    bool keep_socket;
    bool is_descendant; /* a program that `uzswap run` started, or a child of it, has exec'ed this one */
    uint32_t done;      /* 1 once `error` is set; atomic, slept on */
    int error;
    struct message message;
};

static struct start start; /* one start at a time; not on a stack that may be managed */

/* A few pages too many for a moment are nothing to worry anybody with. */
static void warn_over_budget(void)
{
    uint64_t over = runtime.process->over_budget_bytes;
    char excess[16], budget[16];
    struct message m;
    size_t most = (size_t)runtime.memory.account->most;
    if (over < most / OVER_BUDGET_SHARE || atomic_swap_acq_rel(&runtime.session->warned, 1)) {
        return;
    }
    message_set(
        &m, "the budget of ", size_format(most, budget), " cannot be held (", size_format(over, excess),
        " above it): pages are pinned, or the swap device is full or missing. The program goes on.", NULL);
    message_write_to_program(&m);
}

static void warn_lost(void)
{
    static bool said;
    struct message m;
    if (!atomic_read_relaxed(&runtime.pages_lost) || said) {
        return;
    }
    said = true;
    message_set(&m, "a page could not be read back; the program gets SIGBUS where it touches it.", NULL);
    message_write_to_program(&m);
}

static void housekeep(void)
{
    zswap_bury_dead(runtime.cache.zswap);
    zswap_rest(runtime.cache.zswap, false);
    runtime_thread_charge_stacks();
    figures_publish();
    warn_over_budget();
    warn_lost();
    last_thread_look(clock_ms());
}

__attribute__((noreturn)) static void root_loop(void)
{
    const uint32_t *news = tree_news();
    /* Acquire, here and below: what the news are about is seen. */
    uint32_t seen = atomic_read_acquire(news);
    uint64_t now = clock_ms(), next = now + HOUSEKEEPING_MS;
    tree_balance(now);
    for (unsigned served = 0;; served++) {
        uint64_t wake = min_size(min_size(next, tree_due()), last_thread_due());
        bool any = mailbox_serve((int)(wake > now ? wake - now : 0), news, seen);
        /* The clock costs as much as a small request: not each time while they come fast. */
        if (!any || served % SERVED_A_CLOCK == 0) {
            now = clock_ms();
        }
        if (now >= next) {
            housekeep();
            next = now + HOUSEKEEPING_MS;
        }
        if (now >= last_thread_due()) {
            last_thread_look(now);
        }
        uint32_t current = atomic_read_acquire(news);
        if (now >= tree_due() || current != seen) {
            seen = current;
            tree_balance(now);
        }
    }
}

static void report(struct start *s, int error)
{
    s->error = error;
    /* Release: the error and the layers are seen with it. */
    atomic_set_release(&s->done, 1);
    futex_wake(&s->done, 1);
}

/* Makes this process a member of the session. The root thread is its thread 0: while it lives, so does the member. */
static int join_session(void)
{
    runtime.pid = (uint32_t)sys_call3(SYS_getpid, 0, 0, 0);
    int index = session_claim(runtime.session, runtime.pid, &runtime.self);
    if (index < 0) {
        return index;
    }
    runtime.process = &runtime.session->processes[index];
    runtime_thread_set_member(&runtime.self);
    tree_join((uint32_t)index);
    return 0;
}

/* As join_session; where there is no place, in a session of this process's own. */
static int join_some_session(struct message *message)
{
    int error = join_session();
    if (error == -EAGAIN) {
        session_close(runtime.session);
        error = session_create_private(&runtime.session);
        error = error ? error : join_session();
    }
    if (error) {
        message_set(message, "no place in the session: ", strerrordesc_np(-error), NULL);
    }
    return error;
}

__attribute__((noreturn)) static void serve(struct start *s)
{
    tree_settle();
    mailbox_set_server(&runtime.self);
    atomic_set_relaxed(&runtime.process->device_family, runtime.device_family);
    atomic_set_relaxed(&runtime.process->managed, 1);
    figures_publish();
    report(s, 0);
    root_loop();
}

static void root_main(void *argument)
{
    struct start *s = argument;
    int error = join_some_session(&s->message);
    error = error ? error : layers_build(s->options, &s->message);
    if (!error) {
        runtime.device_family = member_name(&runtime.self);
        serve(s);
    }
    report(s, error);
}

static void root_main_of_child(void *argument)
{
    struct start *s = argument;
    int error = join_session();
    error = error ? error : descriptors_receive(s->socket, s->keep_socket);
    error = error ? error : layers_fork_child();
    if (!error) {
        figures_inherit();
        tree_fork_child_settled();
        serve(s);
    }
    report(s, error);
}

/* Starts the root thread and waits until it serves. */
static int start_root(void (*run)(void *))
{
    start.done = 0;
    int error = runtime_thread_start_private(&runtime.root, run, &start, "uzswap");
    if (error) {
        return error;
    }
    /* Acquire: see report. */
    while (!atomic_read_acquire(&start.done)) {
        futex_wait(&start.done, 0, START_LOOK_MS);
        /* A seccomp filter may have killed it. Looked at in this order, as it ends after a report of failure. */
        if (runtime_thread_has_ended(&runtime.root) && !atomic_read_acquire(&start.done)) {
            return -EPERM;
        }
    }
    return start.error;
}

#ifdef LOCK_CHECKS
/* The default prints to descriptor 2, which is none in our threads. */
static void stop_at_violation(const char *text)
{
    struct message m;
    message_set(&m, text, NULL);
    message_write_to_program(&m);
    __builtin_trap();
}
#endif

static int start_with(const struct run_options *options)
{
#ifdef LOCK_CHECKS
    lock_violation = stop_at_violation;
#endif
    const char *path = getenv(SESSION_ENVIRONMENT);
    bool is_watched = path && !session_open(path, &runtime.session);
    int error = 0;
    if (!is_watched) {
        error = session_create_private(&runtime.session); /* nobody watches; that is no reason not to run */
    }
    /* Relaxed: a count. A session that cannot be opened any more (another user, no /proc) had its first program. */
    start.is_descendant = path && (!is_watched || atomic_read_relaxed(&runtime.session->processes_total));
    tree_begin(options->memory);
    runtime_thread_init(&runtime.memory);
    trap_init();
    start.options = options;
    error = error ? error : fork_register_handlers();
    error = error ? error : start_root(root_main);
    if (error && !start.message.length) {
        message_set(&start.message, "the runtime's thread cannot be started: ", strerrordesc_np(-error),
                    NULL);
    }
    return error;
}

/* The programs that this one starts will not try, nor say again what stands in the way. */
static void forget_environment(void)
{
    static const char name[] = "UZSWAP_MEMORY=";
    char **to = environ;
    for (char **from = environ; *from; from++) {
        if (strncmp(*from, name, sizeof name - 1) != 0) {
            *to++ = *from;
        }
    }
    *to = NULL;
}

/*
 * The program runs on without us, or not at all. Not at all is for the one that the user started: he can choose. A
 * program of which it consists further down (run as another user, within narrower limits) must work as it does
 * without us.
 */
static void give_up(const struct run_options *options)
{
    if (start.is_descendant) {
        forget_environment();
        if (runtime.session) {
            atomic_add_relaxed(&runtime.session->unmanaged, 1);
        }
        if (options->quiet) {
            return;
        }
    }
    message_write(&start.message);
    if (!options->force && !start.is_descendant) {
        sys_call3(SYS_exit_group, EXIT_FAILED, 0, 0);
    }
    message_set(&start.message, start.is_descendant ? "" : "--force: ", program_invocation_short_name,
                " runs unmanaged", start.is_descendant ? ", and so do the programs that it starts" : "",
                NULL);
    message_write(&start.message);
}

static enum runtime_state start_from_environment(void)
{
    struct run_options options;
    struct run_options_error why = {0};
    if (!getenv("UZSWAP_MEMORY")) {
        return RUNTIME_OFF;
    }
    int error = run_options_from_environment(&options, environ, &why);
    if (error) {
        message_set(&start.message, why.text, NULL);
    } else {
        error = start_with(&options);
    }
    if (error) {
        give_up(&options);
        return RUNTIME_OFF;
    }
    return RUNTIME_ON;
}

void runtime_start(void)
{
    uint32_t undecided = RUNTIME_UNDECIDED;
    if (!environ || !atomic_cas_acq_rel(&runtime.state, &undecided, RUNTIME_STARTING)) {
        return; /* too early for the environment; or another thread, or a call of our own */
    }
    int saved = errno;
    /* Release: see runtime_serves_caller. */
    atomic_set_release(&runtime.state, start_from_environment());
    errno = saved;
}

static long publish(void *argument)
{
    (void)argument;
    figures_publish();
    return 0;
}

bool runtime_answers_caller(void)
{
    return atomic_read_acquire(&runtime.state) == RUNTIME_ON && !runtime_thread_is_self() &&
           (uint32_t)sys_call3(SYS_getpid, 0, 0, 0) == runtime.pid;
}

/* The figures are the same whoever shares this memory; but the place in the session may be another's already. */
static bool may_publish_counts(void)
{
    return atomic_read_acquire(&runtime.state) == RUNTIME_ON && !runtime_thread_is_self() &&
           mailbox_is_served();
}

void runtime_publish_figures(void)
{
    char nothing = 0;
    if (filters_are_installed()) {
        if (may_publish_counts()) {
            figures_publish_counts();
        }
    } else if (runtime_answers_caller()) {
        mailbox_call(publish, &nothing, sizeof nothing);
    }
}

int runtime_fork_child(int socket, bool keep)
{
    mailbox_fork_child();
    tree_fork_child();
    last_thread_fork_child();
    runtime_thread_fork_child();
    start.socket = socket;
    start.keep_socket = keep;
    return start_root(root_main_of_child);
}

__attribute__((constructor(101))) static void construct(void)
{
    runtime_start();
    fork_find_originals();
}

__attribute__((destructor(101))) static void destruct(void)
{
    runtime_publish_figures();
}
