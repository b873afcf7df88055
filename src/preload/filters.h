/* SPDX-License-Identifier: MIT */
/*
 * seccomp filters of the program, and the runtime's threads.
 *
 *   filter of one thread        ours have none of it; but those of a child that it forks do: the child looks whether all
 *                               calls go through (filters_allow_us), and the fork fails cleanly if not
 *   filter for all threads      (SECCOMP_FILTER_FLAG_TSYNC) would be ours, too. If it lets our calls through, it is
 *                               installed. If not, faults could not be served any more: it is refused, as
 *                               the kernel refuses where a thread cannot follow
 *
 * Some calls are dispensable: where they are refused with an error something else is done. But not where they kill.
 *
 * A thread that has a filter may be killed for a call that the program would not have made itself. Where the program asks us for
 * memory it knows by the manual what that takes; but to end is allowed with two calls, and strict mode knows one. So from the
 * first filter on the program's threads end without a call of ours: they leave figures and status where the root thread, or
 * who reads the session, finds them.
 *
 * So a filter that is installed plainly is no sandbox for the whole process: our threads are outside.
 *
 * Why not leave our threads out, or let our calls through by a filter of our own before the program's: whoever has
 * taken the program over could have our threads, or our code, make the calls that the filter was to forbid.
 */
#ifndef UZSWAP_PRELOAD_FILTERS_H
#define UZSWAP_PRELOAD_FILTERS_H

#include <linux/filter.h>

#include "base/types.h"

/* Do the calls that runtime threads make go through in the calling thread? NULL, or the name of one that does not. A filter
 * that kills, kills. */
const char *filters_allow_us(void);

/* Would `program` allow them? NULL, or the name of one that it would not. */
const char *filters_would_allow_us(const struct sock_fprog *program);

/* Is the number one of those that runtime threads call? */
bool filters_know(long number);

/* seccomp(2) and prctl(2), as the program makes them by number. The kernel's result. */
long filters_install(unsigned operation, unsigned flags, void *argument);
long filters_prctl(int option, const unsigned long arguments[4]);

/* Has the program installed a filter, or entered strict mode, in this image of it? Of all threads that it concerns, some may be
 * killed for any system call of ours. */
bool filters_are_installed(void);

#endif
