/* SPDX-License-Identifier: MIT */
/* This process's part of the budget of its process tree (base/budget.h), and the region that has to keep to it. */
#ifndef UZSWAP_PRELOAD_TREE_H
#define UZSWAP_PRELOAD_TREE_H

#include "region/region.h"

extern const struct region_budget tree_budget;

/* All below: in the root thread. */

/* Before all else: the account that it has until then. */
void tree_begin(size_t budget);

/* Once this process has its slot of the session: moves its account there, and takes what a process needs to start. */
void tree_join(uint32_t place);

/* Once the layers are there: takes what they use. */
void tree_settle(void);

/* Gives and takes its fair share. Due at tree_due(), a time of base/clock.h, or sooner if *tree_news() is no longer what
 * it was before the last call. */
void tree_balance(uint64_t now_ms);
uint64_t tree_due(void);
const uint32_t *tree_news(void);

/* Before a fork, while the region works: makes room for the child to start in. */
void tree_fork_make_room(void);

/* At it, with the region at rest: lends what the child will share, and keeps the account for it. The kernel may write to
 * what is around `thread_pointer` meanwhile. */
void tree_fork_prepare(const char *thread_pointer);

/* After it, in the parent. */
void tree_fork_parent(void);

/* In the child: before anything is charged there, and once it has its layers. */
void tree_fork_child(void);
void tree_fork_child_settled(void);

#endif
