/* SPDX-License-Identifier: MIT */
/* What the files of `robust` share: memory that is larger than the budget, and work on it. */
#ifndef UZSWAP_TESTS_E2E_ROBUST_H
#define UZSWAP_TESTS_E2E_ROBUST_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)5632) /* 22 MiB: robust.sh gives 16 */
#define BYTES (PAGES * PAGE)
#define RW (PROT_READ | PROT_WRITE)
#define NOBODY 65534 /* a user */

/* A check: does not depend on streams, and may be used in signal handlers and children. */
#define MUST(condition) ((condition) ? (void)0 : stop_at(__FILE__, __LINE__, #condition))
void stop_at(const char *file, int line, const char *text);

extern char **environ;
extern char *memory;

uint64_t word_of(size_t page, size_t i);
size_t wrong_pages(void);
void *map(size_t bytes);

/* Maps the memory and fills it. */
void begin(void);

/* Pages go out and come back, and what they held is still there. Everywhere: here, in a child, and in a child of that. The
 * last: where a fork may be refused, but never silently wrong. */
void work(void);
void work_in_grandchild(void);
void work_everywhere(void);
void work_where_fork_may_fail(void);

int status_of(pid_t pid);
void must_end_well(pid_t pid);

/* A child runs `end`, and then has this status, as wait(2) tells it. */
#define EXITED(code) ((code) << 8)
void must_end_with(void (*end)(void), int expected);
void exec_and_wait(char *const arguments[], char *const environment[]);

/* A thread. */
pthread_t start(void *(*run)(void *), int argument);

/* Ends the thread. */
void *exit_by_number(void *status);

/* Not a test: robust.sh has it traced, to see what the runtime's threads call. */
void be_busy(void);

/* Nor this: robust.sh looks at its figures. */
void end_sandboxed(void);

/* Each list ends with NULL. */
struct robust_test {
    const char *name;
    void (*run)(void);
};
extern const struct robust_test robust_descriptors[], robust_identity[], robust_signals[], robust_forks[],
    robust_handles[], robust_exit[], robust_seccomp[];

#endif
