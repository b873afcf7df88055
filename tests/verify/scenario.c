/* SPDX-License-Identifier: MIT */
#include "tests/verify/scenario.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const verb_names[VERBS] = {"store", "load",      "exclusive", "invalidate",
                                              "area",  "writeback", "move",      "trim"};
static const char *const start_names[STARTS_ALL] = {"empty", "pool", "loaded", "device", "filled", "first"};

const char *scenario_verb_name(enum scenario_verb verb)
{
    return verb < VERBS ? verb_names[verb] : "?";
}

/* ---- text */

char *scenario_format(const struct scenario *s, char text[200])
{
    size_t at = (size_t)snprintf(text, 200, "%s%s%s%s:",
                                 s->alike      ? "alike: "
                                 : s->keys > 1 ? "two keys: "
                                               : "",
                                 s->faults & WORLD_DEVICE_HANGS ? "hang: " : "",
                                 s->faults & WORLD_USUAL_FAULTS ? "faults: " : "", start_names[s->start]);
    for (unsigned t = 0; t < s->threads; t++) {
        at += (size_t)snprintf(text + at, 200 - at, "%s", t ? " |" : "");
        for (unsigned i = 0; i < s->used[t]; i++) {
            at += (size_t)snprintf(text + at, 200 - at, " %s%s", verb_names[s->steps[t][i].verb],
                                   s->steps[t][i].key ? ".1" : "");
        }
    }
    return text;
}

static bool begins_with(const char **text, const char *what)
{
    size_t n = strlen(what);
    bool yes = !strncmp(*text, what, n);
    *text += yes ? n : 0;
    return yes;
}

static int index_of(const char *word, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(word, names[i])) {
            return i;
        }
    }
    return -1;
}

static bool parse_step(struct scenario *s, char *word)
{
    unsigned t = s->threads - 1;
    char *dot = strchr(word, '.');
    if (dot) {
        *dot = 0;
        if (strcmp(dot + 1, "1") || s->keys < 2) {
            return false;
        }
    }
    int verb = index_of(word, verb_names, VERBS);
    if (verb < 0 || s->used[t] == SCENARIO_VERBS_MAX) {
        return false;
    }
    s->steps[t][s->used[t]++] = (struct scenario_step){.verb = (uint8_t)verb, .key = dot != NULL};
    return true;
}

bool scenario_parse(const char *text, struct scenario *s)
{
    char copy[200], *rest;
    *s = (struct scenario){.lifecycle = s->lifecycle, .keys = 1, .threads = 1};
    s->alike = begins_with(&text, "alike: ");
    s->keys += s->alike || begins_with(&text, "two keys: ");
    s->faults |= begins_with(&text, "hang: ") ? WORLD_DEVICE_HANGS : 0;
    s->faults |= begins_with(&text, "faults: ") ? WORLD_USUAL_FAULTS : 0;
    if (strlen(text) >= sizeof copy) {
        return false;
    }
    strcpy(copy, text);
    char *word = strtok_r(copy, ":", &rest);
    int start = word ? index_of(word, start_names, STARTS_ALL) : -1;
    if (start < 0) {
        return false;
    }
    s->start = (enum scenario_start)start;
    while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
        if (!strcmp(word, "|")) {
            if (!s->used[s->threads - 1] || ++s->threads > EXPLORE_THREADS_MAX) {
                return false;
            }
        } else if (!parse_step(s, word)) {
            return false;
        }
    }
    return s->used[s->threads - 1] > 0;
}

bool scenario_is_possible(const struct scenario *s)
{
    if ((s->start == START_FILLED && !s->lifecycle->fills) || (s->alike && !s->lifecycle->shares)) {
        return false;
    }
    for (unsigned t = 0; t < s->threads; t++) {
        for (unsigned i = 0; i < s->used[t]; i++) {
            uint8_t verb = s->steps[t][i].verb;
            if ((verb == VERB_MOVE && !s->lifecycle->move) || (verb == VERB_TRIM && !s->lifecycle->trim)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- verbs, recorded */

static void do_store(struct scenario *s, unsigned key, uint64_t version)
{
    unsigned event = world_begin(s->world, key);
    explore_note("store of version %llu begins", (unsigned long long)version);
    int error = s->lifecycle->store(s->cache, key, version);
    explore_note("store ends: %s", error ? "no memory" : "done");
    if (error && error != -ENOMEM) {
        explore_fail("store answers %d", error);
    }
    world_end(s->world, event, error ? HISTORY_STORE_FAIL : HISTORY_STORE, version);
}

static void do_load(struct scenario *s, unsigned key, bool exclusive)
{
    uint64_t version = 0;
    unsigned event = world_begin(s->world, key);
    explore_note("%s begins", exclusive ? "exclusive load" : "load");
    int error = (exclusive ? s->lifecycle->load_exclusive : s->lifecycle->load)(s->cache, key, &version);
    explore_note("%s ends: %s, version %llu", exclusive ? "exclusive load" : "load",
                 error == -ENOENT ? "not here"
                 : error          ? "failed"
                                  : "done",
                 (unsigned long long)(error ? 0 : version));
    bool may_fail = error == -EIO && s->world->faults & WORLD_DEVICE_ERROR;
    if (error && error != -ENOENT && !may_fail) {
        explore_fail("load answers %d", error);
    }
    world_end(s->world, event,
              may_fail    ? HISTORY_NOTHING
              : exclusive ? HISTORY_EXCLUSIVE
                          : HISTORY_LOAD,
              error ? 0 : version);
}

static void do_invalidate(struct scenario *s, unsigned key)
{
    unsigned event = world_begin(s->world, key);
    explore_note("invalidate begins");
    s->lifecycle->invalidate(s->cache, key);
    explore_note("invalidate ends");
    world_end(s->world, event, HISTORY_INVALIDATE, 0);
}

static void do_invalidate_area(struct scenario *s)
{
    unsigned event[WORLD_KEYS_MAX];
    for (unsigned key = 0; key < s->keys; key++) {
        event[key] = world_begin(s->world, key);
    }
    explore_note("invalidate area begins");
    s->lifecycle->invalidate_area(s->cache);
    explore_note("invalidate area ends");
    for (unsigned key = 0; key < s->keys; key++) {
        world_end(s->world, event[key], HISTORY_INVALIDATE, 0);
    }
}

static unsigned verbs_of(const struct scenario *s)
{
    unsigned verbs = 0;
    for (unsigned t = 0; t < s->threads; t++) {
        verbs += s->used[t];
    }
    return verbs;
}

static void do_verb(struct scenario *s, enum scenario_verb verb, unsigned key, uint64_t version)
{
    /* It begins when its turn comes, not when the one before it ends; so an old answer of one thread to what another has
     * done before shows too. More would have too many states for it. */
    if (s->threads <= 3 && verbs_of(s) <= 4) {
        WORLD_POINT(EXPLORE_NOTE, "next verb");
    }
    switch (verb) {
    case VERB_STORE:
        do_store(s, key, version);
        break;
    case VERB_LOAD:
    case VERB_EXCLUSIVE:
        do_load(s, key, verb == VERB_EXCLUSIVE);
        break;
    case VERB_INVALIDATE:
        do_invalidate(s, key);
        break;
    case VERB_AREA:
        do_invalidate_area(s);
        break;
    case VERB_WRITEBACK:
        explore_note("writeback begins");
        explore_note("writeback ends: %s",
                     s->lifecycle->writeback(s->cache, key) ? "on the device" : "given up");
        break;
    case VERB_MOVE:
        explore_note("compaction begins");
        explore_note("compaction ends: %s", s->lifecycle->move(s->cache, key) ? "moved" : "given up");
        break;
    case VERB_TRIM:
        explore_note("trim begins");
        s->lifecycle->trim(s->cache);
        explore_note("trim ends");
        break;
    case VERBS:
        break;
    }
}

/* ---- the program */

static void set_up(void *context)
{
    struct scenario *s = context;
    s->world = world_create(s->keys, s->lifecycle->home_slots, s->faults);
    s->world->alike = s->alike;
    if (s->lifecycle->create(&s->cache, &s->world->base, s->keys)) {
        explore_fail("create fails");
        return;
    }
    unsigned stored = s->start == START_EMPTY ? 0 : s->start == START_FIRST ? 1 : s->keys;
    for (unsigned key = 0; key < stored; key++) {
        do_store(s, key, s->start == START_FILLED ? VERSION_FILLED + key : s->alike ? 1 : 1 + key);
        if (s->start == START_LOADED) {
            do_load(s, key, false);
        }
        if (s->start == START_DEVICE && !s->lifecycle->writeback(s->cache, key)) {
            explore_fail("the first writeback fails");
        }
    }
}

static void run_thread(void *context, unsigned number)
{
    struct scenario *s = context;
    for (unsigned i = 0; i < s->used[number]; i++) {
        const struct scenario_step *step = &s->steps[number][i];
        uint64_t version = 10 * (number + 1) + i;
        if (s->alike && step->verb == VERB_STORE) {
            version = 1 + explore_choose(2, "store: a page like the first, or another");
        }
        do_verb(s, (enum scenario_verb)step->verb, step->key, version);
    }
}

/* A last load of each entry goes into the record; then all that was given out must be known, and come back. */
static void check_end(void *context)
{
    struct scenario *s = context;
    unsigned objects, slots;
    if (s->world->hangs) { /* who hangs holds an object, rightly */
        world_check_record(s->world);
        return;
    }
    s->lifecycle->survey(s->cache, &objects, &slots);
    world_check_leaks(s->world, objects, slots);
    for (unsigned key = 0; key < s->keys; key++) {
        do_load(s, key, false);
    }
    world_check_record(s->world);
    s->lifecycle->invalidate_area(s->cache);
    world_check_leaks(s->world, 0, 0);
}

struct explore_program scenario_program(struct scenario *s)
{
    return (struct explore_program){.name = s->lifecycle->name,
                                    .threads = s->threads,
                                    .set_up = set_up,
                                    .thread = run_thread,
                                    .check_end = check_end,
                                    .context = s};
}
