/* SPDX-License-Identifier: MIT */
/* This process's part of the budget of its process tree (base/budget.h), and the region that has to keep to it. */
#ifndef UZSWAP_PRELOAD_TREE_H
#define UZSWAP_PRELOAD_TREE_H

#include "region/region.h"

extern const struct region_budget tree_budget;

/* All below: in the root thread. */

/* Once this process has its slot of the session: moves its account there, and takes what a process needs to start. */
void tree_join(uint32_t place);

/* Once the layers are there: takes what they use. */
void tree_settle(void);

/* Gives and takes its fair share. Due at tree_due(), a time of base/clock.h, or sooner if *tree_news() is no longer what
 * it was before the last call. */
void tree_balance(uint64_t now_ms);
uint64_t tree_due(void);
const uint32_t *tree_news(void);

/* At a fork, with the region at rest: keeps the account for the child. */
void tree_fork_prepare(void);

/* After it, in the parent. */
void tree_fork_parent(void);

/* In the child: before anything is charged there, and once it has its layers. */
void tree_fork_child(void);
void tree_fork_child_settled(void);

#endif
