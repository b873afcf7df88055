/* SPDX-License-Identifier: MIT */
/* A region that is forked as preload/ forks it, and children that end when they have looked. */
#ifndef UZSWAP_TESTS_UNIT_REGION_FORK_FIXTURE_H
#define UZSWAP_TESTS_UNIT_REGION_FORK_FIXTURE_H

#include <sys/wait.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PER_PLACE 48u
#define PAGES (4 * PER_PLACE)

#if defined(SYS_THREAD_SANITIZER)
/* A child that starts threads is what this is about. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

__attribute__((unused)) static const struct fixture_options roomy = {
    .bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_FILE, .family = true};

/* Forks as preload/ does: the child is the region's before it does anything else, and the parent stands still until
 * then. `lend` is called before, and `borrow` in the child. */
static inline pid_t fork_around(struct fixture *f, void (*lend)(struct fixture *f),
                                void (*borrow)(struct fixture *f))
{
    int done[2];
    char byte;
    REQUIRE(!pipe(done));
    fflush(stdout);
    region_fork_prepare(f->region);
    lend(f);
    pid_t child = fork();
    REQUIRE(child >= 0);
    close(done[child ? 1 : 0]);
    if (child) {
        CHECK(read(done[0], &byte, 1) == 1);
        close(done[0]);
        return child;
    }
    borrow(f);
    members_join(members_self.table);
    int error = zswap_fork_child(f->zswap);
    if (!error) {
        error = region_fork_child(f->region, -1);
    }
    if (error) {
        printf("# the child's region: error %d\n", error);
        fflush(stdout);
        _exit(3);
    }
    REQUIRE(write(done[1], "x", 1) == 1);
    close(done[1]);
    return 0;
}

static inline void child_exit(struct fixture *f)
{
    CHECK(region_consistent(f->region));
    fflush(stdout);
    _exit(harness_failures ? 1 : 0);
}

static inline void wait_for_child(pid_t child)
{
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
