/* SPDX-License-Identifier: MIT */
/* One schedule, from the first state. The caller rewinds the arena. */
#ifndef UZSWAP_TESTS_VERIFY_REPLAY_H
#define UZSWAP_TESTS_VERIFY_REPLAY_H

#include "tests/verify/explore.h"

/* Takes the steps that the seed tells. 0; 1 if the last one failed; -EINVAL. */
int replay_follow(const char *seed);

/* What is wrong with the state to which the seed led; "" if nothing. Ends the printing of steps, and looks for a livelock:
 * the state at hand becomes the reference. */
void replay_judge(char violation[200]);

#endif
