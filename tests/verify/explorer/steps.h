/* SPDX-License-Identifier: MIT */
/* The printed steps of a replay: one line an access, one a note. All of this does nothing while no stream is set. */
#ifndef UZSWAP_TESTS_VERIFY_STEPS_H
#define UZSWAP_TESTS_VERIFY_STEPS_H

#include <stdarg.h>

#include "tests/verify/explore.h"

/* NULL: no printing. Numbers begin anew. */
void steps_print_to(FILE *to);

/* Thread `thread` has been resumed before an access, told by steps_value, or else by steps_flush. */
void steps_begin(unsigned thread, const struct explore_place *place, const volatile void *address);
void steps_value(uint64_t before, uint64_t after);

/* Prints the line begun, if any. */
void steps_flush(void);

void steps_choice(unsigned thread, const char *what, unsigned answer, unsigned n);
void steps_note(unsigned thread, const char *format, va_list arguments);

/* Names of words. */
void steps_forget_names(void);
void steps_name(const volatile void *word, const char *format, va_list arguments);

#endif
