/* SPDX-License-Identifier: MIT */
/* A line for a person, put together without stdio or malloc, and written to standard error in one piece. */
#ifndef UZSWAP_PRELOAD_MESSAGE_H
#define UZSWAP_PRELOAD_MESSAGE_H

#include "base/types.h"

struct message {
    size_t length;
    char text[1000];
};

/* "uzswap: ", then the parts up to NULL. What does not fit is cut. */
void message_set(struct message *m, const char *part, ...) __attribute__((sentinel));

/* Writes it and a newline to the caller's descriptor 2. */
void message_write(const struct message *m);

/* The same from a runtime thread, to the program's descriptor 2. Says nothing if that would block. */
void message_write_to_program(const struct message *m);

#endif
