/* SPDX-License-Identifier: MIT */
/* A schedule as a list of decisions, and its text (explore_replay in explore.h). A start is forced and needs no decision. */
#ifndef UZSWAP_TESTS_VERIFY_SEED_H
#define UZSWAP_TESTS_VERIFY_SEED_H

#include "tests/verify/explore.h"

struct decision {
    uint8_t thread;
    uint8_t answer;
    bool is_start, is_choice;
};

/* The text of `count` decisions; "" if it does not fit. */
void seed_write(const struct decision *decisions, size_t count, char text[EXPLORE_SEED_MAX]);

/* Reads a text step by step. */
struct seed_reader {
    const char *at;
    unsigned thread, left; /* of the run of steps that was begun */
};

enum seed_item { SEED_END, SEED_STEP, SEED_CHOICE, SEED_DAMAGED };

/* The next decision: SEED_STEP sets *value to the thread, SEED_CHOICE to the answer. */
enum seed_item seed_next(struct seed_reader *reader, unsigned *value);

#endif
