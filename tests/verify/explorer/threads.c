/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/steps.h"
#include "tests/verify/explorer/switch.h"

#define NOBODY EXPLORE_THREADS_MAX
#define SEEN_OTHER 255
#define CHOICES_MAX 250
#define WATCHED_MAX 32
#define QUIET_MAX 16
#define YIELDS_ALONE_MAX 10000

_Static_assert(sizeof(struct thread) * EXPLORE_THREADS_MAX <= ARENA_CONTROL_BYTES, "the control blocks fit");

/* Nothing here outlives a step, but for what set_up leaves: it is no part of the state. */
static struct {
    const struct explore_program *program;
    void (*on_change)(void *context, const char *function, uint64_t before, uint64_t after);
    const uint64_t *watched[WATCHED_MAX];
    unsigned watched_count;
    struct {
        const volatile char *from, *to;
    } quiet[QUIET_MAX];
    unsigned quiet_count;

    unsigned current; /* the running thread, or NOBODY */
    char *explorer;   /* the explorer's stack pointer while a thread runs */
    unsigned answer;  /* to the choice at which the thread is resumed */
    uint64_t before;  /* the word's value as the thread was resumed */

    bool on_own_stack; /* in set_up or check_end */
    jmp_buf leave;     /* both, by explore_fail */
    unsigned yields_alone;

    bool failed;
    char failure[200];
    char crash[100];
    uint64_t steps;
} run = {.current = NOBODY};

/* ---- the explorer's side */

static struct thread *thread_mutable(unsigned number)
{
    return (struct thread *)arena_control() + number;
}

const struct thread *thread_at(unsigned number)
{
    return thread_mutable(number);
}

static void stop(void)
{
    switch_stack(arena_stack_low(run.current), &run.explorer);
}

/* The first frame of every thread. */
static void thread_main(void)
{
    run.program->thread(run.program->context, run.current);
    *thread_mutable(run.current) = (struct thread){.status = THREAD_ENDED};
    stop();
    abort();
}

/* Calls set_up or check_end, which explore_fail may leave. */
static bool call_alone(void (*function)(void *context))
{
    run.failed = false;
    run.yields_alone = 0;
    run.on_own_stack = true;
    if (!_setjmp(run.leave)) {
        function(run.program->context);
    }
    run.on_own_stack = false;
    return !run.failed;
}

bool threads_begin(const struct explore_program *program, const struct explore_options *options)
{
    run.program = program;
    run.on_change = options ? options->on_change : NULL;
    run.watched_count = 0;
    run.quiet_count = 0;
    steps_forget_names();
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        *thread_mutable(i) = (struct thread){.status = i < program->threads ? THREAD_START : THREAD_ENDED};
    }
    if (!call_alone(program->set_up)) {
        return false;
    }
    for (unsigned i = 0; i < program->threads; i++) {
        *arena_stack_low(i) = switch_prepare(arena_stack_top(i), ARENA_STACK_BYTES, thread_main);
    }
    return true;
}

void threads_end(void)
{
    run.program = NULL;
}

bool threads_step(unsigned number, unsigned answer)
{
    arena_scrub_stack(number);
    run.steps++;
    run.failed = false;
    run.answer = answer;
    run.current = number;
    switch_stack(&run.explorer, arena_stack_low(number));
    run.current = NOBODY;
    steps_flush();
    if (thread_at(number)->status == THREAD_ENDED) {
        *arena_stack_low(number) = arena_stack_top(number);
    }
    return !run.failed;
}

bool threads_check_end(void)
{
    return !run.program->check_end || call_alone(run.program->check_end);
}

static uint64_t load(const volatile void *address, size_t size)
{
    switch (size) {
    case 1:
        return *(const volatile uint8_t *)address;
    case 2:
        return *(const volatile uint16_t *)address;
    case 4:
        return *(const volatile uint32_t *)address;
    case 8:
        return *(const volatile uint64_t *)address;
    default:
        return 0;
    }
}

bool thread_can_go_on(unsigned number)
{
    const struct thread *t = thread_at(number);
    switch ((enum thread_status)t->status) {
    case THREAD_LOCK:
        return !*t->lock;
    case THREAD_YIELD:
        return !t->seen || load(t->seen, t->seen_size) != t->seen_value;
    case THREAD_HANGS:
    case THREAD_ENDED:
        return false;
    default:
        return true;
    }
}

int threads_forced(void)
{
    for (unsigned i = 0; i < run.program->threads; i++) {
        if (thread_at(i)->status == THREAD_START || thread_at(i)->status == THREAD_CHOOSE) {
            return (int)i;
        }
    }
    return -1;
}

bool threads_are_done(void)
{
    for (unsigned i = 0; i < run.program->threads; i++) {
        if (thread_at(i)->status != THREAD_ENDED && thread_at(i)->status != THREAD_HANGS) {
            return false;
        }
    }
    return true;
}

const char *threads_failure(void)
{
    return run.failure;
}

uint64_t threads_steps(void)
{
    return run.steps;
}

void threads_describe(char *text, size_t bytes)
{
    const char *separator = "";
    for (unsigned i = 0; i < run.program->threads; i++) {
        const struct thread *t = thread_at(i);
        size_t used = strlen(text);
        if (t->status == THREAD_ENDED) {
            continue;
        }
        if (t->status == THREAD_HANGS) {
            snprintf(text + used, bytes - used, "%sthread %u hangs in %s", separator, i, t->what);
        } else if (t->place) {
            const char *slash = strrchr(t->place->file, '/');
            snprintf(text + used, bytes - used, "%sthread %u waits at %s:%d %s (%s)", separator, i,
                     slash ? slash + 1 : t->place->file, t->place->line, t->place->function, t->place->what);
        }
        separator = "; ";
    }
}

/* ---- the threads' side */

bool explore_is_running(void)
{
    return run.current != NOBODY;
}

unsigned explore_thread(void)
{
    return run.current;
}

void *explore_alloc(size_t bytes)
{
    void *at = arena_alloc(bytes);
    if (!at) {
        explore_fail("explore_alloc: the arena is full, or this is not set_up");
    }
    return at;
}

void explore_watch(const uint64_t *word)
{
    if (run.watched_count == WATCHED_MAX) {
        explore_fail("explore_watch: too many words");
    }
    run.watched[run.watched_count++] = word;
}

void explore_quiet(const volatile void *from, size_t bytes)
{
    if (run.quiet_count == QUIET_MAX) {
        explore_fail("explore_quiet: too many ranges");
    }
    run.quiet[run.quiet_count].from = from;
    run.quiet[run.quiet_count++].to = (const volatile char *)from + bytes;
}

static bool is_quiet(const volatile char *address)
{
    for (unsigned i = 0; i < run.quiet_count; i++) {
        if (address >= run.quiet[i].from && address < run.quiet[i].to) {
            return true;
        }
    }
    return false;
}

void explore_name(const volatile void *word, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    steps_name(word, format, arguments);
    va_end(arguments);
}

void explore_fail(const char *format, ...)
{
    char text[sizeof run.failure];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!threads_may_fail()) {
        fprintf(stderr, "explorer: %s\n", text);
        abort();
    }
    memcpy(run.failure, text, sizeof text);
    run.failed = true;
    if (explore_is_running()) {
        stop();
        abort();
    }
    _longjmp(run.leave, 1);
}

void explore_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    steps_note(run.current, format, arguments);
    va_end(arguments);
}

/* It did something since it last yielded of which it cannot be told what it would wait for. */
static void forget_seen(struct thread *t)
{
    t->seen = NULL;
    t->seen_value = 0;
    t->seen_size = SEEN_OTHER;
}

static void note_seen(struct thread *t, const volatile void *address, size_t size, uint64_t value)
{
    if (t->seen_size && t->seen != address) {
        forget_seen(t);
    } else {
        t->seen = address;
        t->seen_value = value;
        t->seen_size = (uint8_t)size;
    }
}

void explore_point(enum explore_kind kind, const volatile void *address, size_t size,
                   const struct explore_place *place)
{
    if (!explore_is_running()) {
        return;
    }
    if (size && is_quiet(address)) {
        run.before = load(address, size);
        return;
    }
    struct thread *t = thread_mutable(run.current);
    t->status = THREAD_POINT;
    t->place = place;
    stop();
    run.before = load(address, size);
    steps_begin(run.current, place, size ? address : NULL);
    if (!size) {
        steps_flush();
        if (kind != EXPLORE_NOTE) {
            forget_seen(t);
        }
    }
}

static void tell_change(const volatile void *address, const struct explore_place *place, uint64_t after)
{
    for (unsigned i = 0; run.on_change && i < run.watched_count; i++) {
        if (run.watched[i] == address) {
            run.on_change(run.program->context, place->function, run.before, after);
        }
    }
}

void explore_accessed(const volatile void *address, size_t size, const struct explore_place *place)
{
    if (!explore_is_running()) {
        return;
    }
    struct thread *t = thread_mutable(run.current);
    uint64_t after = load(address, size);
    steps_value(run.before, after);
    if (after != run.before) {
        forget_seen(t);
        tell_change(address, place, after);
    } else {
        note_seen(t, address, size, after);
    }
}

void explore_lock(const volatile uint32_t *lock, const struct explore_place *place)
{
    if (!explore_is_running()) {
        if (*lock && run.on_own_stack) {
            explore_fail("%s waits for a lock that is never released (%s)", place->function, place->what);
        }
        return;
    }
    struct thread *t = thread_mutable(run.current);
    t->status = THREAD_LOCK;
    t->lock = lock;
    t->place = place;
    stop();
    t->lock = NULL;
    forget_seen(t);
    steps_begin(run.current, place, lock);
    steps_flush();
}

void explore_yield(const struct explore_place *place)
{
    if (!explore_is_running()) {
        if (run.on_own_stack && ++run.yields_alone > YIELDS_ALONE_MAX) {
            explore_fail("%s waits for ever, with no thread running (%s)", place->function, place->what);
        }
        return;
    }
    struct thread *t = thread_mutable(run.current);
    t->status = THREAD_YIELD;
    t->place = place;
    stop();
    t->seen = NULL;
    t->seen_value = 0;
    t->seen_size = 0;
    steps_begin(run.current, place, NULL);
    steps_flush();
}

unsigned explore_choose(unsigned n, const char *what)
{
    if (!n || n > CHOICES_MAX || !explore_is_running()) {
        explore_fail("explore_choose: %u alternatives, or not on a thread", n);
    }
    struct thread *t = thread_mutable(run.current);
    t->status = THREAD_CHOOSE;
    t->alternatives = (uint8_t)n;
    t->what = what;
    t->place = NULL;
    stop();
    t->alternatives = 0;
    t->what = NULL;
    forget_seen(t);
    steps_choice(run.current, what, run.answer, n);
    return run.answer;
}

void explore_hang(const char *where)
{
    if (!explore_is_running()) {
        explore_fail("%s hangs, and no thread is running", where);
    }
    *thread_mutable(run.current) = (struct thread){.status = THREAD_HANGS, .what = where};
    stop();
    abort();
}

bool threads_may_fail(void)
{
    return explore_is_running() || run.on_own_stack;
}

void threads_set_crash(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run.crash, sizeof run.crash, format, arguments);
    va_end(arguments);
}

void threads_crash(void)
{
    explore_fail("%s", run.crash);
}
