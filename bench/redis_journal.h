/* SPDX-License-Identifier: MIT */
/*
 * What was written to a server, and when: so that it is known which value of a key may be seen at which time.
 *
 * Version 0 of each key is there from the beginning; version n + 1 of a key is written by who wrote version n, after that was
 * answered. A version was *current*, for all that can be known from outside, from when it was sent at the earliest to when the
 * next was answered at the latest:
 *
 *            sent   answered
 *     v 1     |--------|
 *     v 2                      |-----------|
 *     1 may be current from here ...   ... to here
 *
 * What is saved by a fork is the state at one moment. So a dump is right if there is one moment, between the sending of BGSAVE and
 * its answer, at which all values in it were current. That also finds a page that was written after the fork, or came from before it.
 */
#ifndef UZSWAP_BENCH_REDIS_JOURNAL_H
#define UZSWAP_BENCH_REDIS_JOURNAL_H

#include "base/types.h"

#define JOURNAL_NEVER UINT64_MAX

/* Times are of one clock, in nanoseconds. */
struct journal_write {
    uint32_t key, version;
    uint64_t sent, answered;
};

struct moment {
    uint64_t from, to;
};

struct journal {
    uint32_t keys;
    struct moment save; /* BGSAVE: sent, answered */
    struct moment end;  /* after the last answer */
    struct journal_write *writes;
    size_t count, room;
    size_t *first; /* by key, once sorted: where its writes begin; one more at the end */
};

void journal_create(struct journal *j, uint32_t keys);
void journal_destroy(struct journal *j);

/* A write that is about to be sent. The pointer lasts until the next is added. */
struct journal_write *journal_add(struct journal *j, uint32_t key, uint32_t version);

/* All of another's writes. */
void journal_append(struct journal *j, const struct journal *from);

void journal_store(const struct journal *j, const char *path);
void journal_load(struct journal *j, const char *path);

/* Before journal_judge. False if the versions of a key are not 1, 2, 3 ... */
bool journal_sort(struct journal *j);

enum journal_answer { JOURNAL_CURRENT, JOURNAL_NOT_CURRENT, JOURNAL_NEVER_WRITTEN };

/* Whether the version was current at some time of `asked`. If so, what is left of `moment` is when it was, too; none if from > to. */
enum journal_answer journal_judge(const struct journal *j, uint32_t key, uint32_t version,
                                  const struct moment *asked, struct moment *moment);

#endif
