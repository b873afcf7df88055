/* SPDX-License-Identifier: MIT */
/*
 * What this process need not pay for, as other processes map the same pages since a fork.
 *
 * The accounts of parent and child both have every page that the fork has shared. The kernel knows better: a page that n
 * processes map counts 1/n in Pss. So
 *
 *     credit = Anonymous - Pss_Anon          of /proc/self/smaps_rollup
 *
 * and a process uses what its account says less its credit. A child starts with all of it as credit: the parent
 * pays. A scan walks the page tables, so it is made at most 1/20 of the time, and ever less often while nothing
 * changes; in between, each minor fault may have copied a page, and costs a page of credit.
 *
 * Without /proc nothing is known, and both pay. All calls: in the root thread.
 */
#ifndef UZSWAP_PRELOAD_CREDIT_H
#define UZSWAP_PRELOAD_CREDIT_H

#include "base/account.h"
#include "base/types.h"

/* In a forked child, before others see its account: all of it is credit. Descriptors are not there yet. */
void credit_fork_child(struct account *account);

/* After a fork, in parent and child: there may be credit. The child's first scan is the later one: in between the two
 * pay for too little; the other way about, both would evict what one of them need not. */
void credit_expect(const struct account *account, bool is_child, uint64_t now_ms);

/* Other processes came or went. */
void credit_doubt(void);

/* Brings the account's credit up to date. In how many milliseconds that is due again; -1 if there is none. */
int credit_update(struct account *account, uint64_t now_ms);

/* Of the `n` <= 64 pages from `at` on, those that other processes map, too; one bit a page. From any thread. */
uint64_t credit_shared_pages(const void *at, unsigned n);

#endif
