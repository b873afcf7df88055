/* SPDX-License-Identifier: MIT */
/* A connection to a Redis server's Unix socket. One thread uses it. Whatever goes wrong ends the program with a message. */
#ifndef UZSWAP_BENCH_REDIS_CONNECTION_H
#define UZSWAP_BENCH_REDIS_CONNECTION_H

#include "base/types.h"

#define REDIS_BUFFER 65536u

struct redis {
    int socket;
    size_t out;        /* bytes of `to` that are not sent yet */
    size_t begin, end; /* of `from`, what is not taken yet */
    char to[REDIS_BUFFER], from[REDIS_BUFFER];
};

/* An answer without its frame. `text` ends with 0, and lasts until the next is taken; NULL for nil. */
struct redis_answer {
    char kind; /* '+', ':' or '$' */
    char *text;
    size_t bytes;
};

void redis_connect(struct redis *r, const char *path);
void redis_close(struct redis *r);

/* A command: its words one by one. It is sent when the next answer is taken, or when there is no more room for it. */
void redis_begin(struct redis *r, unsigned words);
void redis_word(struct redis *r, const char *word, size_t bytes);

/* A command of one or two words, the second NULL if there is none. */
void redis_command(struct redis *r, const char *word, const char *argument);

/* Sends what is not sent yet. */
void redis_flush(struct redis *r);

/* The answer to the oldest command that has none yet. An error of the server ends the program. */
struct redis_answer redis_take(struct redis *r);

#endif
