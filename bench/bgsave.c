/* SPDX-License-Identifier: MIT */
/*
 * The client of bench/bgsave.py: fills a Redis server, puts it under load while it saves itself, and knows which data is right.
 *
 *     bench-bgsave fill --socket PATH --keys N
 *     bench-bgsave load --socket PATH --keys N --journal FILE    (bgsave_load.c)
 *     bench-bgsave check --socket PATH --journal FILE [--save]   every key of the server, as of the end of the load; with
 *                                                                --save, as of one moment of BGSAVE's fork: for a server that
 *                                                                has read the dump
 *     bench-bgsave value KEY VERSION                             what the value is (redis_values.h)
 *
 * Each prints one JSON object, but `value`. Exit status 1 if data is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bgsave_load.h"
#include "bench/measure.h"
#include "bench/redis_connection.h"
#include "bench/redis_journal.h"
#include "bench/redis_values.h"

#define UNDER_WAY 40u /* requests at a time where latency does not matter */
#define COMPLAINTS_MOST 5

static const char usage[] = "usage: bench-bgsave fill|load|check|value ...: see bench/bgsave.c\n";

static struct redis redis;

/* ---- fill */

static void send_fill(uint32_t key)
{
    char name[KEY_MAX], value[VALUE_MAX];
    redis_begin(&redis, 3);
    redis_word(&redis, "SET", 3);
    redis_word(&redis, name, key_make(name, key));
    redis_word(&redis, value, value_make(value, key, 0));
}

static int fill(int argc, char **argv)
{
    const char *socket = NULL;
    unsigned keys = 0;
    const struct program_option options[] = {
        {"--socket", .text = &socket}, {"--keys", .number = &keys, .least = 1, .most = 1u << 30}, {0}};
    program_start(argc, argv, usage, options, 0, 0);
    if (!socket || !keys) {
        die("fill needs --socket and --keys");
    }
    redis_connect(&redis, socket);
    uint64_t start = now_ns();
    for (uint32_t asked = 0, answered = 0; answered < keys; answered++) {
        if (asked == answered) {
            for (uint32_t end = (uint32_t)min_size(keys, asked + UNDER_WAY); asked < end; asked++) {
                send_fill(asked);
            }
        }
        redis_take(&redis);
    }
    printf("{\"seconds\": %.3f}\n", (double)(now_ns() - start) / 1e9);
    return 0;
}

/* ---- load */

static int load(int argc, char **argv)
{
    struct load_options o = {
        .connections = 4, .set_percent = 20, .warm_up_ms = 1000, .before_ms = 4000, .after_ms = 4000};
    const struct program_option options[] = {
        {"--socket", .text = &o.socket},
        {"--keys", .number = &o.keys, .least = 1, .most = 1u << 30},
        {"--journal", .text = &o.journal},
        {"--connections", .number = &o.connections, .least = 1, .most = 64},
        {"--sets", .number = &o.set_percent, .least = 0, .most = 100},
        {"--warm-up", .number = &o.warm_up_ms, .least = 0, .most = 600000},
        {"--before", .number = &o.before_ms, .least = 1, .most = 600000},
        {"--after", .number = &o.after_ms, .least = 1, .most = 600000},
    };
    program_start(argc, argv, usage, options, 0, 0);
    if (!o.socket || !o.journal || o.keys < o.connections) {
        die("load needs --socket, --journal, and --keys for each connection");
    }
    return load_run(&o) ? 0 : 1;
}

/* ---- check */

struct check {
    struct journal journal;
    struct moment asked;
    struct moment moment; /* when all that has been seen was current */
    uint64_t missing, damaged, never_written, not_current, rewritten;
    unsigned complaints;
};

static void complain(struct check *c, uint32_t key, const char *what)
{
    if (c->complaints++ < COMPLAINTS_MOST) {
        fprintf(stderr, "bench-bgsave: key %u %s\n", key, what);
    }
}

static void check_answer(struct check *c, uint32_t key, const struct redis_answer *answer)
{
    uint32_t version;
    if (!answer->text) {
        c->missing++;
        complain(c, key, "is missing");
        return;
    }
    if (!value_read(answer->text, answer->bytes, key, &version)) {
        c->damaged++;
        complain(c, key, "is not what was ever written: its bytes are damaged");
        return;
    }
    c->rewritten += version != 0;
    switch (journal_judge(&c->journal, key, version, &c->asked, &c->moment)) {
    case JOURNAL_CURRENT:
        break;
    case JOURNAL_NOT_CURRENT:
        c->not_current++;
        complain(c, key, "has a version of another time");
        break;
    case JOURNAL_NEVER_WRITTEN:
        c->never_written++;
        complain(c, key, "has a version that was never written");
        break;
    }
}

static void check_all(struct check *c)
{
    uint32_t keys = c->journal.keys;
    for (uint32_t asked = 0, answered = 0; answered < keys; answered++) {
        if (asked == answered) {
            for (uint32_t end = (uint32_t)min_size(keys, asked + UNDER_WAY); asked < end; asked++) {
                char name[KEY_MAX];
                key_make(name, asked);
                redis_command(&redis, "GET", name);
            }
        }
        struct redis_answer answer = redis_take(&redis);
        check_answer(c, answered, &answer);
    }
}

static int check(int argc, char **argv)
{
    const char *socket = NULL, *journal = NULL;
    bool save = false;
    const struct program_option options[] = {
        {"--socket", .text = &socket}, {"--journal", .text = &journal}, {"--save", .flag = &save}, {0}};
    program_start(argc, argv, usage, options, 0, 0);
    if (!socket || !journal) {
        die("check needs --socket and --journal");
    }
    struct check c = {.moment = {0, JOURNAL_NEVER}};
    journal_load(&c.journal, journal);
    c.asked = save ? c.journal.save : c.journal.end;
    c.moment = c.asked;
    redis_connect(&redis, socket);
    check_all(&c);
    redis_command(&redis, "DBSIZE", NULL);
    long keys = strtol(redis_take(&redis).text, NULL, 10), surplus = keys + (long)c.missing - c.journal.keys;
    bool one_moment = c.moment.from <= c.moment.to;
    bool right = !c.missing && !c.damaged && !c.never_written && !c.not_current && !surplus && one_moment;
    printf("{\"right\": %s, \"keys\": %ld, \"rewritten\": %llu, \"missing\": %llu, \"surplus\": %ld, "
           "\"damaged\": %llu, "
           "\"never_written\": %llu, \"not_current\": %llu, \"one_moment\": %s}\n",
           right ? "true" : "false", keys, (unsigned long long)c.rewritten, (unsigned long long)c.missing,
           surplus, (unsigned long long)c.damaged, (unsigned long long)c.never_written,
           (unsigned long long)c.not_current, one_moment ? "true" : "false");
    journal_destroy(&c.journal);
    return right ? 0 : 1;
}

/* ---- value */

static int print_value(int argc, char **argv)
{
    char value[VALUE_MAX];
    const struct program_option none[] = {{0}};
    int first = program_start(argc, argv, usage, none, 2, 2);
    unsigned key = number_of("KEY", argv[first], 0, UINT32_MAX),
             version = number_of("VERSION", argv[first + 1], 0, UINT32_MAX);
    fwrite(value, 1, value_make(value, key, version), stdout);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int, char **);
    } verbs[] = {{"fill", fill}, {"load", load}, {"check", check}, {"value", print_value}};
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!strcmp(argv[1], verbs[i].name)) {
            return verbs[i].run(argc - 1, argv + 1);
        }
    }
    fputs(usage, argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
    return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 1;
}
