/* SPDX-License-Identifier: MIT */
/* A region whose forks share pages by the books of base/lending.h: of its pages, 128 .. 191 are in the pool. */
#ifndef UZSWAP_TESTS_UNIT_REGION_LENT_FIXTURE_H
#define UZSWAP_TESTS_UNIT_REGION_LENT_FIXTURE_H

#include <fcntl.h>

#include "base/lending.h"
#include "base/session.h"
#include "tests/unit/region_fork_fixture.h"

static struct lending lending;

static inline void read_pagemap(const void *at, unsigned n, uint64_t entries[64])
{
    int fd = open("/proc/self/pagemap", O_RDONLY);
    REQUIRE(pread(fd, entries, n * 8, (off_t)((uintptr_t)at / PAGE_BYTES * 8)) == (ssize_t)(n * 8));
    close(fd);
}

static inline uint64_t shared_by_pagemap(const void *at, unsigned n)
{
    uint64_t entries[64], shared = 0;
    read_pagemap(at, n, entries);
    for (unsigned i = 0; i < n; i++) {
        shared |= (uint64_t)(entries[i] >> 63 == 0 || !(entries[i] >> 56 & 1)) << i;
    }
    return shared;
}

static inline uint64_t protected_by_pagemap(const void *at, unsigned n)
{
    uint64_t entries[64], protected = 0;
    read_pagemap(at, n, entries);
    for (unsigned i = 0; i < n; i++) {
        protected |= (entries[i] >> 63 & entries[i] >> 57 & 1) << i;
    }
    return protected;
}

static inline bool no_more(void *context, size_t limit)
{
    (void)context;
    (void)limit;
    return false;
}

static inline size_t not_over(void *context)
{
    (void)context;
    return 0;
}

static const struct region_budget lending_budget = {.more = no_more, .wait = no_more, .over = not_over};

static inline bool all_live(const struct session *session, uint32_t place)
{
    (void)session;
    (void)place;
    return true;
}

static struct session *session;
static size_t lent;

static inline void lend_all(struct fixture *f)
{
    lent = region_lend(f->region, NULL, 0);
}

/* The child's account as preload/tree.c makes it. */
static inline void borrow_all(struct fixture *f)
{
    struct account *account = &session->processes[1].account;
    account_copy(account, &f->account);
    account_give_credit(account, lent);
    f->memory.account = f->region->account = account;
    lending = (struct lending){
        .lives = all_live, .shared = shared_by_pagemap, .write_protected = protected_by_pagemap};
    lending_join(&lending, session, 1, 1, 0);
}

static inline void begin_to_lend(struct fixture *f)
{
    struct fixture_options o = roomy;
    REQUIRE(session_create_private(&session) == 0);
    session->places = 2;
    lending = (struct lending){.lives = all_live,
                               .shared = shared_by_pagemap,
                               .write_protected = protected_by_pagemap,
                               .account = &f->account};
    o.lending = &lending;
    o.shares = &lending_budget;
    fixture_open(f, o);
    fixture_fill(f, 0, PAGES, 1);
    fixture_to(f, 128, 64, PLACE_POOL);
    lending.session = session;
    atomic_set_relaxed(&lending.lends, 1);
}

static inline pid_t fork_lending(struct fixture *f)
{
    pid_t child = fork_around(f, lend_all, borrow_all);
    if (child) {
        region_fork_parent(f->region);
    }
    return child;
}

static inline void end_lending(struct fixture *f)
{
    account_end_debt(&f->account, SIZE_MAX / 2);
    atomic_set_relaxed(&lending.lends, 0);
    fixture_close(f);
    session_close(session);
}

#endif
