/* SPDX-License-Identifier: MIT */
/*
 * Explores scenarios and says what was found.
 *
 *     explore-lifecycles --lifecycle production --set pairs         all scenarios of a set (sets.h)
 *     explore-lifecycles --lifecycle baseline --scenario "pool: writeback | invalidate"
 *     ... --replay SEED       one schedule of a scenario, step by step
 *     ... --first             no further scenario after one with a violation
 *     ... --preemptions N     only schedules with at most so many
 *     ... --verbose, --json   a line a scenario; the result for a program
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/verify/sets.h"

#define KINDS_MAX 8

/* Which lifecycles this program holds; the last is the default. */
#ifndef LIFECYCLES
#define LIFECYCLES &lifecycle_baseline, &lifecycle_getput, &lifecycle_cas, &lifecycle_production
#endif
extern const struct lifecycle_ops lifecycle_whole;
static const struct lifecycle_ops *const lifecycles[] = {LIFECYCLES};

/* A violation's kind is its text up to the colon. */
struct kind {
    char name[40];
    uint64_t scenarios;
    char scenario[200], violation[200], seed[EXPLORE_SEED_MAX]; /* the first one's */
};

struct tally {
    const struct lifecycle_ops *lifecycle;
    const char *set;
    struct explore_options options;
    bool verbose, first_only;
    uint64_t scenarios, states, steps, bad;
    unsigned longest;
    double schedules, seconds;
    bool complete;
    struct kind kinds[KINDS_MAX];
    unsigned kinds_used;
};

/* ---- one scenario */

static void note_violation(struct tally *t, const struct scenario *s, const struct explore_report *r)
{
    struct kind kind = {.scenarios = 1};
    snprintf(kind.name, sizeof kind.name, "%.*s", (int)strcspn(r->violation, ":"), r->violation);
    t->bad++;
    for (unsigned i = 0; i < t->kinds_used; i++) {
        if (!strcmp(t->kinds[i].name, kind.name)) {
            t->kinds[i].scenarios++;
            return;
        }
    }
    if (t->kinds_used == KINDS_MAX) {
        return;
    }
    scenario_format(s, kind.scenario);
    memcpy(kind.violation, r->violation, sizeof kind.violation);
    memcpy(kind.seed, r->seed, sizeof kind.seed);
    t->kinds[t->kinds_used++] = kind;
}

static void explore_one(void *context, struct scenario *s)
{
    struct tally *t = context;
    s->lifecycle = t->lifecycle;
    if (!scenario_is_possible(s) || (t->first_only && t->bad)) {
        return;
    }
    struct explore_program program = scenario_program(s);
    struct explore_report r;
    explore_run(&program, &t->options, &r);
    t->scenarios++;
    t->states += r.states;
    t->steps += r.steps;
    t->schedules += r.schedules;
    t->seconds += r.seconds;
    t->longest = r.longest > t->longest ? r.longest : t->longest;
    t->complete &= r.complete || r.violations;
    if (r.violations) {
        note_violation(t, s, &r);
    }
    if (t->verbose) {
        char text[200];
        printf("# %s, %s: %.0f schedules, %llu states%s%s\n", t->lifecycle->name, scenario_format(s, text),
               r.schedules, (unsigned long long)r.states, r.violations ? ": " : "", r.violation);
    }
}

/* ---- what is printed */

static void print_text(const struct tally *t)
{
    printf("%-10s %-8s %5llu scenarios  %12.4g schedules  %10llu states  %6.1f s  ", t->lifecycle->name,
           t->set, (unsigned long long)t->scenarios, t->schedules, (unsigned long long)t->states, t->seconds);
    printf("%s%llu%s%s\n", t->bad ? "violations in " : "", (unsigned long long)t->bad,
           t->bad ? " scenarios" : " violations", t->complete ? "" : " (not complete)");
    for (unsigned i = 0; i < t->kinds_used; i++) {
        const struct kind *k = &t->kinds[i];
        printf("    %s, in %llu scenarios; first: %s\n        --scenario \"%s\" --replay %s\n", k->name,
               (unsigned long long)k->scenarios, k->violation, k->scenario, k->seed);
    }
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text >= 0 && *text < ' ' ? ' ' : *text);
    }
    putchar('"');
}

static void print_json(const struct tally *t)
{
    printf("{\"lifecycle\": \"%s\", \"set\": \"%s\", \"scenarios\": %llu, \"schedules\": %.17g, \"states\": "
           "%llu, "
           "\"steps\": %llu, \"longest\": %u, \"seconds\": %.3f, \"complete\": %s, \"bad\": %llu, "
           "\"violations\": [",
           t->lifecycle->name, t->set, (unsigned long long)t->scenarios, t->schedules,
           (unsigned long long)t->states, (unsigned long long)t->steps, t->longest, t->seconds,
           t->complete ? "true" : "false", (unsigned long long)t->bad);
    for (unsigned i = 0; i < t->kinds_used; i++) {
        const struct kind *k = &t->kinds[i];
        printf("%s{\"kind\": ", i ? ", " : "");
        print_json_text(k->name);
        printf(", \"scenarios\": %llu, \"scenario\": ", (unsigned long long)k->scenarios);
        print_json_text(k->scenario);
        printf(", \"violation\": ");
        print_json_text(k->violation);
        printf(", \"seed\": ");
        print_json_text(k->seed);
        printf("}");
    }
    printf("]}\n");
    fflush(stdout);
}

/* ---- arguments */

static const struct lifecycle_ops *lifecycle_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(lifecycles); i++) {
        if (!strcmp(lifecycles[i]->name, name)) {
            return lifecycles[i];
        }
    }
    fprintf(stderr, "explore-lifecycles: no lifecycle '%s': baseline, getput, cas or production\n", name);
    exit(2);
}

static int replay(const struct lifecycle_ops *lifecycle, const char *text, const char *seed)
{
    struct scenario s = {.lifecycle = lifecycle};
    char violation[200];
    if (!scenario_parse(text, &s) || !scenario_is_possible(&s)) {
        fprintf(stderr, "explore-lifecycles: no scenario: %s\n", text);
        return 2;
    }
    struct explore_program program = scenario_program(&s);
    printf("%s, %s\n", lifecycle->name, text);
    if (explore_replay(&program, seed, stdout, violation)) {
        fprintf(stderr, "explore-lifecycles: the seed '%s' does not fit this scenario\n", seed);
        return 2;
    }
    printf("%s\n", *violation ? violation : "nothing wrong with this schedule");
    return *violation ? 1 : 0;
}

static void run(struct tally *t, const char *scenario)
{
    struct scenario s = {.lifecycle = t->lifecycle};
    bool known = scenario ? scenario_parse(scenario, &s) : sets_run(t->set, explore_one, t);
    if (!known) {
        fprintf(stderr, "explore-lifecycles: no such %s: '%s' (tests/verify/%s tells which there are)\n",
                scenario ? "scenario" : "set", scenario ? scenario : t->set,
                scenario ? "scenario.h" : "sets.h");
        exit(2);
    }
    if (scenario) {
        t->set = "one";
        explore_one(t, &s);
    }
}

struct arguments {
    struct tally tally;
    const char *scenario, *seed;
    bool json;
};

static void parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"lifecycle", required_argument, NULL, 'l'},
                                            {"set", required_argument, NULL, 's'},
                                            {"scenario", required_argument, NULL, 'c'},
                                            {"replay", required_argument, NULL, 'r'},
                                            {"preemptions", required_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"first", no_argument, NULL, 'f'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            a->tally.lifecycle = lifecycle_by_name(optarg);
            break;
        case 's':
            a->tally.set = optarg;
            break;
        case 'c':
            a->scenario = optarg;
            break;
        case 'r':
            a->seed = optarg;
            break;
        case 'p':
            a->tally.options.max_preemptions = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'j':
            a->json = true;
            break;
        case 'v':
            a->tally.verbose = true;
            break;
        case 'f':
            a->tally.first_only = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct arguments a = {.tally = {.lifecycle = lifecycles[ARRAY_LENGTH(lifecycles) - 1],
                                    .set = "pairs",
                                    .options = {.max_preemptions = UINT32_MAX},
                                    .complete = true}};
    parse_arguments(argc, argv, &a);
    if (a.seed) {
        return replay(a.tally.lifecycle, a.scenario ? a.scenario : "", a.seed);
    }
    run(&a.tally, a.scenario);
    (a.json ? print_json : print_text)(&a.tally);
    return a.tally.bad || !a.tally.complete ? 1 : 0;
}
