/* SPDX-License-Identifier: MIT */
#include "tests/verify/sets.h"

#include <string.h>

struct visitor {
    void (*explore)(void *context, struct scenario *s);
    void *context;
};

static void visit(const struct visitor *v, struct scenario s)
{
    v->explore(v->context, &s);
}

static void visit_text(const struct visitor *v, const char *text)
{
    struct scenario s = {0};
    if (scenario_parse(text, &s)) {
        visit(v, s);
    }
}

static void set_races(const struct visitor *v)
{
    visit_text(v, "pool: writeback | invalidate");
    visit_text(v, "pool: writeback | store load");
}

static void set_pairs(const struct visitor *v)
{
    for (unsigned start = 0; start < STARTS; start++) {
        for (uint8_t a = 0; a < VERBS; a++) {
            for (uint8_t b = a; b < VERBS; b++) {
                visit(v, (struct scenario){.start = (enum scenario_start)start,
                                           .keys = 1,
                                           .faults = WORLD_USUAL_FAULTS,
                                           .threads = 2,
                                           .steps = {{{a, 0}}, {{b, 0}}},
                                           .used = {1, 1}});
            }
        }
    }
    /* Links without words, which one leaves and another finds, take three. */
    visit_text(v, "empty: store | trim | area");
}

static void set_hang(const struct visitor *v)
{
    for (uint8_t a = 0; a < VERBS; a++) {
        for (uint8_t b = 0; b < VERBS; b++) {
            visit(v, (struct scenario){.start = START_POOL,
                                       .keys = 1,
                                       .faults = WORLD_DEVICE_HANGS,
                                       .threads = 2,
                                       .steps = {{{VERB_WRITEBACK, 0}}, {{a, 0}, {b, 0}}},
                                       .used = {1, 2}});
        }
    }
}

/* Each thread a verb of either entry, and one of the other, or of both. */
static void set_keys(const struct visitor *v)
{
    for (uint8_t a = 0; a < VERBS; a++) {
        for (uint8_t b = 0; b < VERBS * 2; b++) {
            visit(v, (struct scenario){.start = START_POOL,
                                       .keys = 2,
                                       .threads = 2,
                                       .steps = {{{a, 0}, {VERB_LOAD, 1}}, {{b / 2, b % 2}, {VERB_AREA, 0}}},
                                       .used = {2, 2}});
        }
    }
}

#define DOUBLES (VERBS * VERBS)

/* The `n`th pair of verbs of a thread. */
static void set_double_steps(struct scenario *s, unsigned thread, unsigned n)
{
    s->steps[thread][0].verb = (uint8_t)(n / VERBS);
    s->steps[thread][1].verb = (uint8_t)(n % VERBS);
    s->used[thread] = 2;
}

static void set_double(const struct visitor *v)
{
    for (unsigned start = START_POOL; start < STARTS; start++) {
        for (unsigned a = 0; a < DOUBLES; a++) {
            for (unsigned b = a; b < DOUBLES; b++) {
                struct scenario s = {.start = (enum scenario_start)start, .keys = 1, .threads = 2};
                set_double_steps(&s, 0, a);
                set_double_steps(&s, 1, b);
                visit(v, s);
            }
        }
    }
}

static void visit_triples(const struct visitor *v, enum scenario_start start, unsigned faults)
{
    for (uint8_t a = 0; a < VERBS; a++) {
        for (uint8_t b = a; b < VERBS; b++) {
            for (uint8_t c = b; c < VERBS; c++) {
                visit(v, (struct scenario){.start = start,
                                           .keys = 1,
                                           .faults = faults,
                                           .threads = 3,
                                           .steps = {{{a, 0}}, {{b, 0}}, {{c, 0}}},
                                           .used = {1, 1, 1}});
            }
        }
    }
}

static void set_triples(const struct visitor *v)
{
    for (unsigned start = START_POOL; start < STARTS; start++) {
        visit_triples(v, (enum scenario_start)start, WORLD_USUAL_FAULTS);
    }
}

static void set_trios(const struct visitor *v)
{
    visit_triples(v, START_POOL, 0);
    visit_triples(v, START_DEVICE, 0);
}

/* Where the second verb meets what the first has left. */
static void set_sixfold(const struct visitor *v)
{
    static const uint8_t doubles[] = {
        VERB_STORE * VERBS + VERB_LOAD,      VERB_STORE * VERBS + VERB_WRITEBACK,
        VERB_EXCLUSIVE * VERBS + VERB_STORE, VERB_WRITEBACK * VERBS + VERB_LOAD,
        VERB_MOVE * VERBS + VERB_INVALIDATE,
    };
    for (unsigned a = 0; a < ARRAY_LENGTH(doubles); a++) {
        for (unsigned b = a; b < ARRAY_LENGTH(doubles); b++) {
            for (unsigned c = b; c < ARRAY_LENGTH(doubles); c++) {
                struct scenario s = {.start = START_POOL, .keys = 1, .threads = 3};
                set_double_steps(&s, 0, doubles[a]);
                set_double_steps(&s, 1, doubles[b]);
                set_double_steps(&s, 2, doubles[c]);
                visit(v, s);
            }
        }
    }
}

static void set_fours(const struct visitor *v)
{
    for (uint8_t a = 0; a < VERBS; a++) {
        for (uint8_t b = a; b < VERBS; b++) {
            for (uint8_t c = b; c < VERBS; c++) {
                for (uint8_t d = c; d < VERBS; d++) {
                    if (a == VERB_AREA || b == VERB_AREA || c == VERB_AREA || d == VERB_AREA) {
                        continue; /* of one entry: as invalidate */
                    }
                    visit(v, (struct scenario){.start = START_POOL,
                                               .keys = 1,
                                               .threads = 4,
                                               .steps = {{{a, 0}}, {{b, 0}}, {{c, 0}}, {{d, 0}}},
                                               .used = {1, 1, 1, 1}});
                }
            }
        }
    }
}

/* Every verb of either entry. */
static const struct scenario_step alike_steps[] = {
    {VERB_STORE, 0},     {VERB_STORE, 1},     {VERB_LOAD, 0},       {VERB_LOAD, 1},
    {VERB_EXCLUSIVE, 0}, {VERB_EXCLUSIVE, 1}, {VERB_INVALIDATE, 0}, {VERB_INVALIDATE, 1},
    {VERB_AREA, 0},      {VERB_WRITEBACK, 0}, {VERB_MOVE, 0},
};
#define ALIKE_STEPS ARRAY_LENGTH(alike_steps)

static const enum scenario_start alike_starts[] = {START_EMPTY, START_FIRST, START_POOL};

static void set_alike(const struct visitor *v)
{
    /* The number of a shared object comes back while another store looks at it; a copy leaves, and comes back. */
    static const char *const texts[] = {"alike: pool: store | area store store.1 invalidate",
                                        "alike: first: store.1 | store writeback",
                                        "alike: empty: store invalidate | store.1 load.1"};
    for (unsigned start = 0; start < ARRAY_LENGTH(alike_starts); start++) {
        for (unsigned a = 0; a < ALIKE_STEPS; a++) {
            for (unsigned b = a; b < ALIKE_STEPS; b++) {
                visit(v, (struct scenario){.start = alike_starts[start],
                                           .keys = 2,
                                           .alike = true,
                                           .faults = WORLD_USUAL_FAULTS,
                                           .threads = 2,
                                           .steps = {{alike_steps[a]}, {alike_steps[b]}},
                                           .used = {1, 1}});
            }
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        visit_text(v, texts[i]);
    }
}

static void set_alike_many(const struct visitor *v)
{
    /* Entry 1 is as good as entry 0. */
    static const struct scenario_step steps[] = {
        {VERB_STORE, 0},      {VERB_STORE, 1}, {VERB_LOAD, 0},      {VERB_EXCLUSIVE, 0},
        {VERB_INVALIDATE, 0}, {VERB_AREA, 0},  {VERB_WRITEBACK, 0}, {VERB_MOVE, 0},
    };
    for (unsigned start = 1; start < ARRAY_LENGTH(alike_starts); start++) {
        for (unsigned a = 0; a < ARRAY_LENGTH(steps); a++) {
            for (unsigned b = a; b < ARRAY_LENGTH(steps); b++) {
                for (unsigned c = b; c < ARRAY_LENGTH(steps); c++) {
                    visit(v, (struct scenario){.start = alike_starts[start],
                                               .keys = 2,
                                               .alike = true,
                                               .threads = 3,
                                               .steps = {{steps[a]}, {steps[b]}, {steps[c]}},
                                               .used = {1, 1, 1}});
                }
            }
        }
    }
}

static void set_overflow(const struct visitor *v)
{
    static const char *const texts[] = {"pool: load | load",
                                        "device: load | load | load",
                                        "pool: load | load | store",
                                        "pool: load | exclusive | writeback",
                                        "pool: load load | load | move",
                                        "device: load | exclusive | invalidate",
                                        "pool: load | load | store store",
                                        "pool: load | exclusive | store invalidate"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        visit_text(v, texts[i]);
    }
}

static const struct {
    const char *name;
    void (*run)(const struct visitor *);
} sets[] = {{"races", set_races}, {"pairs", set_pairs},           {"hang", set_hang},
            {"keys", set_keys},   {"double", set_double},         {"triples", set_triples},
            {"trios", set_trios}, {"sixfold", set_sixfold},       {"fours", set_fours},
            {"alike", set_alike}, {"alike-many", set_alike_many}, {"overflow", set_overflow}};

bool sets_run(const char *name, void (*explore)(void *context, struct scenario *s), void *context)
{
    for (size_t i = 0; i < ARRAY_LENGTH(sets); i++) {
        if (!strcmp(sets[i].name, name)) {
            sets[i].run(&(struct visitor){explore, context});
            return true;
        }
    }
    return false;
}
