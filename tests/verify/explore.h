/* SPDX-License-Identifier: MIT */
/*
 * The interleaving explorer: runs real C code in every order that its threads can take.
 *
 * The code under exploration is compiled against tests/verify/shim/, where each atomic operation and each lock first calls
 * explore_point(): there the thread stops, and the explorer decides who goes on. All memory that the code changes, the
 * threads' stacks among it, lies in one arena of fixed address. So a state of the program is the arena's bytes. The
 * explorer saves a state before it tries one thread, and restores it to try the next; a state that was met before, by
 * whatever schedule, is not continued twice. This is what Spin does with a model, done to the program itself.
 *
 * Reduction. A thread stops only before operations that do not commute with those of others (Lipton, "Reduction: a
 * method of proving properties of parallel programs", 1975): not before an unlock (a left mover), not at counters that
 * nobody reads while threads run (both movers), not at plain memory. Merging equal states does the rest: the number
 * of schedules covered is counted exactly, as the number of paths from the first state to the last ones.
 *
 * What is found: a failed check (explore_fail, from the code or from `check_end`), a deadlock (nobody can go on), a livelock
 * (a state from which no end can be reached, however fair the scheduler). Sequentially consistent memory is
 * assumed; weaker orders are checked elsewhere (relacy/). A wild access and a loop without a point are found too, by signals. A
 * program that does not do the same twice is told so ("not repeatable").
 *
 * What cannot be explored: code with state outside the arena (static variables, malloc, files), code that gives up after a
 * bounded number of retries (explore_yield waits as long as it takes), and anything in a sanitizer's build, as no
 * sanitizer can follow stacks that are saved and restored.
 */
#ifndef UZSWAP_TESTS_VERIFY_EXPLORE_H
#define UZSWAP_TESTS_VERIFY_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPLORE_THREADS_MAX 4

struct explore_program {
    const char *name;
    unsigned threads;
    /* Makes the first state: runs once a run, alone, with memory of explore_alloc. */
    void (*set_up)(void *context);
    /* What thread `number` does. */
    void (*thread)(void *context, unsigned number);
    /* Looks at an end state (every thread has ended, or hangs in explore_hang): explore_fail if it is bad. Runs
     * on the explorer's own stack; may change the arena, all is restored. May call code that has points. May be NULL. */
    void (*check_end)(void *context);
    void *context;
};

/* All zero but max_preemptions = UINT32_MAX: every schedule, up to the first violation. */
struct explore_options {
    /* Of one schedule; UINT32_MAX = any number. A preemption is a switch away from a thread that could go on, unless it
     * is at explore_yield. */
    unsigned max_preemptions;
    uint64_t max_states; /* gives up (report.complete = false) beyond; 0 = no limit */
    bool no_merging;     /* continues every schedule to its end, to test the explorer itself */
    bool no_simplify;    /* reports the violation found first, not one with as few preemptions as possible */
    unsigned stop_after; /* violations; 0 = 1 */
    /* Called for each change of a watched word (explore_watch); for what compares the code with a model of it. May call
     * explore_fail. */
    void (*on_change)(void *context, const char *function, uint64_t before, uint64_t after);
};

#define EXPLORE_SEED_MAX 1000
#define EXPLORE_SCHEDULES_MAX 1e300

struct explore_report {
    uint64_t states; /* distinct; with bounded preemptions: times who ran last and the preemptions used */
    uint64_t steps;  /* executed */
    /* Covered; EXPLORE_SCHEDULES_MAX if more. Exact unless there are cycles, which count as not gone round. */
    double schedules;
    uint64_t ends;               /* distinct end states */
    unsigned longest;            /* steps of the longest schedule */
    uint64_t violations;         /* found before it stopped */
    bool complete;               /* every state was reached (as far as max_preemptions allows) */
    char violation[200];         /* what the first one is */
    char seed[EXPLORE_SEED_MAX]; /* the schedule that leads to it, for explore_replay */
    double seconds;
};

/* NULL if this build can explore, else why not: the reason for a skip. */
const char *explore_unavailable(void);

/* Explores all. Not reentrant: one at a time in a process. `options` may be NULL. */
void explore_run(const struct explore_program *program, const struct explore_options *options,
                 struct explore_report *report);

/*
 * Runs one schedule and prints each step: thread, place in the source, what it does. 0, or -EINVAL if the seed does not
 * fit the program. `violation` (may be NULL) gets what was found, "" if nothing. A seed may end before the program does.
 *
 * A seed is a list of decisions with dots between them: "0x12" thread 0 takes 12 steps, "c1" the choice that has come up
 * is answered 1. A step reaches from a point to the thread's next.
 */
int explore_replay(const struct explore_program *program, const char *seed, FILE *to, char violation[200]);

/* ---- for the code under exploration */

/* Memory in the arena, zeroed, 16-aligned; never freed. Only in set_up. */
void *explore_alloc(size_t bytes);

/* True between explore_run's start of the threads and their end, on a thread's stack. Points are only points then. */
bool explore_is_running(void);

/* The number of the running thread; EXPLORE_THREADS_MAX in set_up, in check_end and outside. */
unsigned explore_thread(void);

enum explore_kind { EXPLORE_READ, EXPLORE_WRITE, EXPLORE_UPDATE, EXPLORE_LOCK, EXPLORE_NOTE };

struct explore_place {
    const char *file, *function, *what; /* what: the text of the access, e.g. "cas lc->word" */
    int line;
};

/* A scheduling point: about to access *address (1, 2, 4 or 8 bytes; size 0 = not a word). */
void explore_point(enum explore_kind kind, const volatile void *address, size_t size,
                   const struct explore_place *place);

/* Called after the access, if it was of a word: for explore_yield, the printed steps and on_change. */
void explore_accessed(const volatile void *address, size_t size, const struct explore_place *place);

/* Waits until *lock is 0; then the caller goes on alone, and sets it without another point. */
void explore_lock(const volatile uint32_t *lock, const struct explore_place *place);

/* The spin-wait of a retry loop (cpu_relax, sys_yield). If all that the thread did since it last came here was to read one
 * word, waits until that has another value. Else a point like any other. */
void explore_yield(const struct explore_place *place);

/* One of 0 .. n - 1, each tried: what the world answers. n is at most 250. No scheduling point. */
unsigned explore_choose(unsigned n, const char *what);

/* Stops for ever: a device that never answers. The others must be able to end all the same. */
_Noreturn void explore_hang(const char *where);

/* The schedule at hand is bad. Does not return, neither to a thread nor to check_end or set_up. */
_Noreturn void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line for the printed steps ("store of 2 begins"). No scheduling point. */
void explore_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Changes of this word are told to on_change: those by atomic operations. Only in set_up. */
void explore_watch(const uint64_t *word);

/* Words of which one thread knows alone, or that all threads change alike: accesses there are no scheduling points. Only in
 * set_up. */
void explore_quiet(const volatile void *from, size_t bytes);

/* What the printed steps call this word. Only in set_up. */
void explore_name(const volatile void *word, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
