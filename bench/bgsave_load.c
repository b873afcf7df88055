/* SPDX-License-Identifier: MIT */
/*
 * Each connection has a thread, and at most one request under way: it sends the next when it has the answer (a closed
 * loop), so a server that is faster has more to do. A connection writes only keys of its own (number modulo connections), and
 * reads them: so it knows what each must be. Latency is from before the request is written to the socket to when its answer is there
 * as a whole; making and checking values is not in it.
 *
 * Phases: one to warm up, which does not count, before, during, after. A request of which any part is in the time of BGSAVE belongs to
 * that: it is from before BGSAVE is sent to when the server says that it is done, asked every ASK_MS.
 */
#include "bench/bgsave_load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "bench/measure.h"
#include "bench/redis_connection.h"
#include "bench/redis_journal.h"
#include "bench/redis_values.h"
#include "tests/e2e/histogram.h"

#define ASK_MS 10
#define SAVE_SECONDS_MOST 300

enum phase { WARM_UP, BEFORE, DURING, AFTER, OVER };
static const char *const phase_names[OVER] = {"warm_up", "before", "during", "after"};

/* Written by the thread that controls the load. Relaxed: a request at a border may be counted on either side. */
static uint32_t phase;

struct connection {
    const struct load_options *options;
    unsigned number;
    struct redis redis;
    uint32_t *versions; /* of its own keys, one after the other */
    uint32_t own_keys;
    uint64_t random;
    struct journal journal;
    struct histogram latency[OVER];
    uint64_t wrong; /* values */
    pthread_t thread;
};

static void count_latency(struct connection *c, uint32_t phase_sent, uint64_t ns)
{
    uint32_t phase_now = atomic_read_relaxed(&phase);
    bool met_save = phase_sent != phase_now && phase_now != OVER && phase_sent != WARM_UP;
    histogram_add(&c->latency[met_save ? DURING : phase_sent], ns);
}

static void set(struct connection *c, uint32_t key, uint32_t *version)
{
    char name[KEY_MAX], value[VALUE_MAX];
    size_t name_bytes = key_make(name, key), bytes = value_make(value, key, *version + 1);
    struct journal_write *w = journal_add(&c->journal, key, ++*version);
    uint32_t phase_sent = atomic_read_relaxed(&phase);
    redis_begin(&c->redis, 3);
    redis_word(&c->redis, "SET", 3);
    redis_word(&c->redis, name, name_bytes);
    redis_word(&c->redis, value, bytes);
    w->sent = now_ns();
    struct redis_answer answer = redis_take(&c->redis);
    w->answered = now_ns();
    count_latency(c, phase_sent, w->answered - w->sent);
    if (answer.kind != '+') {
        die("SET %s is answered by %s", name, answer.text);
    }
}

static void get(struct connection *c, uint32_t key, uint32_t version)
{
    char name[KEY_MAX];
    key_make(name, key);
    uint32_t phase_sent = atomic_read_relaxed(&phase), version_read;
    redis_command(&c->redis, "GET", name);
    uint64_t sent = now_ns();
    struct redis_answer answer = redis_take(&c->redis);
    count_latency(c, phase_sent, now_ns() - sent);
    bool right =
        answer.text && value_read(answer.text, answer.bytes, key, &version_read) && version_read == version;
    if (!right && !c->wrong++) {
        fprintf(stderr, "bench-bgsave: GET %s should be version %u, and is %.60s\n", name, version,
                answer.text ? answer.text : "nothing");
    }
}

static void *run_connection(void *argument)
{
    struct connection *c = argument;
    while (atomic_read_relaxed(&phase) != OVER) {
        uint32_t own = (uint32_t)(random_number(&c->random) % c->own_keys);
        uint32_t key = own * c->options->connections + c->number;
        if (random_number(&c->random) % 100 < c->options->set_percent) {
            set(c, key, &c->versions[own]);
        } else {
            get(c, key, c->versions[own]);
        }
    }
    return NULL;
}

static void start_connection(struct connection *c, const struct load_options *options, unsigned number)
{
    c->options = options;
    c->number = number;
    c->own_keys = (options->keys - number + options->connections - 1) / options->connections;
    c->versions = calloc(c->own_keys, sizeof c->versions[0]);
    c->random = number + 1;
    journal_create(&c->journal, options->keys);
    redis_connect(&c->redis, options->socket);
    if (!c->versions || pthread_create(&c->thread, NULL, run_connection, c)) {
        die("cannot start connection %u", number);
    }
}

static void end_connection(struct connection *c)
{
    redis_close(&c->redis);
    journal_destroy(&c->journal);
    free(c->versions);
}

/* ---- control */

static void wait_ms(unsigned ms)
{
    usleep(ms * 1000);
}

/* A figure of INFO. `section` keeps the answer short. */
static long info(struct redis *r, const char *section, const char *name)
{
    redis_command(r, "INFO", section);
    struct redis_answer answer = redis_take(r);
    char *at = answer.text ? strstr(answer.text, name) : NULL;
    if (!at) {
        die("INFO %s does not say %s", section, name);
    }
    return strtol(at + strlen(name) + 1, NULL, 10);
}

static bool last_save_is_good(struct redis *r)
{
    redis_command(r, "INFO", "persistence");
    struct redis_answer answer = redis_take(r);
    return answer.text && strstr(answer.text, "rdb_last_bgsave_status:ok");
}

/* In nanoseconds each. */
struct save {
    struct moment moment; /* BGSAVE: sent, answered */
    uint64_t done;
};

static void wait_for_save(struct redis *r, struct save *save)
{
    while (info(r, "persistence", "rdb_bgsave_in_progress")) {
        if (now_ns() - save->moment.from > SAVE_SECONDS_MOST * 1000000000ull) {
            die("BGSAVE is not done within %d s", SAVE_SECONDS_MOST);
        }
        wait_ms(ASK_MS);
    }
    save->done = now_ns();
    if (!last_save_is_good(r)) {
        die("BGSAVE has failed");
    }
}

/* Carries the phases out. `begun` gets when each began. */
static struct save control(struct redis *r, const struct load_options *options, uint64_t begun[OVER + 1])
{
    struct save save;
    begun[WARM_UP] = now_ns();
    wait_ms(options->warm_up_ms);
    begun[BEFORE] = now_ns();
    atomic_set_relaxed(&phase, BEFORE);
    wait_ms(options->before_ms);

    atomic_set_relaxed(&phase, DURING);
    begun[DURING] = save.moment.from = now_ns();
    redis_command(r, "BGSAVE", NULL);
    redis_take(r);
    save.moment.to = now_ns();
    wait_for_save(r, &save);
    begun[AFTER] = save.done;
    atomic_set_relaxed(&phase, AFTER);

    wait_ms(options->after_ms);
    begun[OVER] = now_ns();
    atomic_set_relaxed(&phase, OVER);
    return save;
}

/* ---- figures */

static void print_phase(const struct histogram *h, enum phase p, const uint64_t begun[OVER + 1])
{
    double seconds = (double)(begun[p + 1] - begun[p]) / 1e9;
    printf("\"%s\": {\"requests\": %llu, \"seconds\": %.3f, \"rate\": %.0f, \"mean_ns\": %llu, \"p50_ns\": "
           "%llu, "
           "\"p99_ns\": %llu, \"p999_ns\": %llu, \"max_ns\": %llu}, ",
           phase_names[p], (unsigned long long)h->count, seconds, (double)h->count / seconds,
           (unsigned long long)histogram_mean(h), (unsigned long long)histogram_percentile(h, 50),
           (unsigned long long)histogram_percentile(h, 99), (unsigned long long)histogram_percentile(h, 99.9),
           (unsigned long long)h->max);
}

static uint64_t print_connections(struct connection *connections, unsigned n, const uint64_t begun[OVER + 1])
{
    static struct histogram all[OVER];
    uint64_t wrong = 0;
    for (unsigned i = 0; i < n; i++) {
        wrong += connections[i].wrong;
        for (enum phase p = WARM_UP; p < OVER; p++) {
            histogram_merge(&all[p], &connections[i].latency[p]);
        }
    }
    for (enum phase p = WARM_UP; p < OVER; p++) {
        print_phase(&all[p], p, begun);
    }
    return wrong;
}

static void store_journal(struct connection *connections, const struct load_options *options,
                          const struct save *save)
{
    struct journal journal;
    journal_create(&journal, options->keys);
    journal.save = save->moment;
    for (unsigned i = 0; i < options->connections; i++) {
        journal_append(&journal, &connections[i].journal);
    }
    journal.end = (struct moment){now_ns(), now_ns()};
    journal_store(&journal, options->journal);
    journal_destroy(&journal);
}

bool load_run(const struct load_options *options)
{
    uint64_t begun[OVER + 1];
    static struct redis redis;
    struct connection *connections = calloc(options->connections, sizeof *connections);
    if (!connections) {
        die("no memory for %u connections", options->connections);
    }
    redis_connect(&redis, options->socket);
    for (unsigned i = 0; i < options->connections; i++) {
        start_connection(&connections[i], options, i);
    }
    struct save save = control(&redis, options, begun);
    for (unsigned i = 0; i < options->connections; i++) {
        pthread_join(connections[i].thread, NULL);
    }
    store_journal(connections, options, &save);
    printf("{");
    uint64_t wrong = print_connections(connections, options->connections, begun);
    printf("\"save_seconds\": %.3f, \"bgsave_answer_ns\": %llu, \"fork_us\": %ld, \"wrong_values\": %llu}\n",
           (double)(save.done - save.moment.from) / 1e9,
           (unsigned long long)(save.moment.to - save.moment.from), info(&redis, "stats", "latest_fork_usec"),
           (unsigned long long)wrong);
    redis_close(&redis);
    for (unsigned i = 0; i < options->connections; i++) {
        end_connection(&connections[i]);
    }
    free(connections);
    return !wrong;
}
