/* SPDX-License-Identifier: MIT */
/* What a program of bench/ is called with, and how it fails. */
#ifndef UZSWAP_BENCH_PROGRAM_H
#define UZSWAP_BENCH_PROGRAM_H

#include "base/types.h"

/* Ends the program. The message names the thing and its value, and says what is wrong with it, or what to do. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `text` as a decimal number; ends the program with a message about `what` if it is none, or below `least` or above `most`. */
unsigned number_of(const char *what, const char *text, unsigned least, unsigned most);

/* Has one of `number`, `text` and `flag`: where its value goes. */
struct program_option {
    const char *name; /* with its dashes */
    unsigned *number;
    unsigned least, most; /* of the number */
    const char **text;
    bool *flag;
};

/* Takes the options, of which the last has no name, and --help, which prints `usage`. Returns the number of the first argument
 * behind them; from `least` to `most` are there. */
int program_start(int argc, char **argv, const char *usage, const struct program_option *options, int least,
                  int most);

#endif
