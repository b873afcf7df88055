/* SPDX-License-Identifier: MIT */
/*
 * The signals of a run: the first write to a page of the arena (arena.h), and code that goes wrong for good, by a wild
 * access or a loop without a point. The latter two become failures of the schedule at hand (on x86-64; elsewhere they
 * end the program).
 */
#ifndef UZSWAP_TESTS_VERIFY_SIGNALS_H
#define UZSWAP_TESTS_VERIFY_SIGNALS_H

void signals_begin(void);
void signals_end(void);

#endif
