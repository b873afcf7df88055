/* SPDX-License-Identifier: MIT */
#include "bench/redis_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/program.h"

#define PATIENCE_SECONDS 120

void redis_connect(struct redis *r, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    if (strlen(path) >= sizeof address.sun_path) {
        die("%s: too long for the name of a socket", path);
    }
    strcpy(address.sun_path, path);
    r->out = r->begin = r->end = 0;
    r->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->socket < 0 || connect(r->socket, (struct sockaddr *)&address, sizeof address) ||
        setsockopt(r->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience)) {
        die("%s: %s", path, strerror(errno));
    }
}

void redis_close(struct redis *r)
{
    close(r->socket);
}

/* ---- commands */

void redis_flush(struct redis *r)
{
    for (size_t sent = 0; sent < r->out;) {
        ssize_t n = send(r->socket, r->to + sent, r->out - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            die("the server has gone: %s", strerror(errno));
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    r->out = 0;
}

static void put(struct redis *r, const char *text, size_t bytes)
{
    if (bytes > sizeof r->to - r->out) {
        redis_flush(r);
    }
    if (bytes > sizeof r->to) {
        die("a word of %zu bytes is too long", bytes);
    }
    memcpy(r->to + r->out, text, bytes);
    r->out += bytes;
}

static void put_head(struct redis *r, char kind, size_t n)
{
    char head[32];
    put(r, head, (size_t)snprintf(head, sizeof head, "%c%zu\r\n", kind, n));
}

void redis_begin(struct redis *r, unsigned words)
{
    put_head(r, '*', words);
}

void redis_word(struct redis *r, const char *word, size_t bytes)
{
    put_head(r, '$', bytes);
    put(r, word, bytes);
    put(r, "\r\n", 2);
}

void redis_command(struct redis *r, const char *word, const char *argument)
{
    redis_begin(r, argument ? 2 : 1);
    redis_word(r, word, strlen(word));
    if (argument) {
        redis_word(r, argument, strlen(argument));
    }
}

/* ---- answers */

/* Waits for more bytes of the answer that begins at r->begin. */
static void receive(struct redis *r)
{
    memmove(r->from, r->from + r->begin, r->end - r->begin);
    r->end -= r->begin;
    r->begin = 0;
    if (r->end == sizeof r->from) {
        die("an answer of more than %u bytes", REDIS_BUFFER);
    }
    ssize_t n = recv(r->socket, r->from + r->end, sizeof r->from - r->end, 0);
    if (n == 0) {
        die("the server has gone");
    }
    if (n < 0 && errno != EINTR) {
        die(errno == EAGAIN ? "no answer within %d s" : "the server has gone", PATIENCE_SECONDS);
    }
    r->end += n > 0 ? (size_t)n : 0;
}

/* The first line that is not taken yet, without its end. */
static char *take_line(struct redis *r, size_t *bytes)
{
    char *end;
    while (!(end = memmem(r->from + r->begin, r->end - r->begin, "\r\n", 2))) {
        receive(r);
    }
    char *line = r->from + r->begin;
    *bytes = (size_t)(end - line);
    *end = 0;
    r->begin += *bytes + 2;
    return line;
}

static struct redis_answer take_bulk(struct redis *r, long bytes)
{
    if (bytes < 0) {
        return (struct redis_answer){.kind = '$'};
    }
    while (r->end - r->begin < (size_t)bytes + 2) {
        receive(r);
    }
    char *text = r->from + r->begin;
    text[bytes] = 0;
    r->begin += (size_t)bytes + 2;
    return (struct redis_answer){.kind = '$', .text = text, .bytes = (size_t)bytes};
}

struct redis_answer redis_take(struct redis *r)
{
    size_t bytes;
    redis_flush(r);
    char *line = take_line(r, &bytes), kind = line[0];
    if (kind == '$') {
        return take_bulk(r, strtol(line + 1, NULL, 10));
    }
    if (kind != '+' && kind != ':') {
        die("the server answers: %s", line);
    }
    return (struct redis_answer){.kind = kind, .text = line + 1, .bytes = bytes - 1};
}
