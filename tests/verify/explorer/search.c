/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/search.h"

#include <stdlib.h>
#include <string.h>

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/graph.h"
#include "tests/verify/explorer/grown.h"
#include "tests/verify/explorer/seed.h"
#include "tests/verify/explorer/threads.h"

#define NOBODY EXPLORE_THREADS_MAX

/* A state on the path that the search stands on. */
struct frame {
    uint32_t state;
    struct decision by; /* which led to it */
    uint8_t last;       /* who ran last, or NOBODY */
    bool last_can_go_on;
    unsigned preemptions;

    /* What is to be tried: the threads in `order`, or the answers to a choice. */
    uint16_t next, count;
    uint8_t order[EXPLORE_THREADS_MAX];

    double schedules;
    uint32_t longest;
    size_t first_edge; /* among the open edges */
};

static struct {
    const struct search_limits *limits;
    struct explore_report *report;
    unsigned preemptions; /* of the violation reported */
    bool stopped;

    struct frame *path;
    size_t depth, path_room;

    struct graph_edge *edges; /* of the states on the path */
    size_t edges_count, edges_room;
} s;

static bool is_bounded(void)
{
    return s.limits->max_preemptions != UINT32_MAX;
}

/* ---- violations */

/* Writes the seed of the path, with `last` at its end unless it is NULL. */
static void write_seed(const struct decision *last)
{
    struct decision *decisions = calloc(s.depth + 1, sizeof *decisions);
    size_t count = 0;
    for (size_t i = 1; decisions && i < s.depth; i++) {
        decisions[count++] = s.path[i].by;
    }
    if (decisions && last) {
        decisions[count++] = *last;
    }
    seed_write(decisions, count, s.report->seed);
    free(decisions);
}

static void note_violation(const char *message, const struct decision *last, unsigned preemptions)
{
    if (!s.report->violations++) {
        snprintf(s.report->violation, sizeof s.report->violation, "%s", message);
        write_seed(last);
        s.preemptions = preemptions;
    }
    s.stopped |= s.report->violations >= s.limits->stop_after;
}

static void note_deadlock(const struct decision *last, unsigned preemptions)
{
    char message[sizeof s.report->violation] = "deadlock: ";
    threads_describe(message, sizeof message);
    note_violation(message, last, preemptions);
}

/* ---- the path */

/* Finds what can be done in the state the arena is in. */
static void list_steps(struct frame *f)
{
    int forced = threads_forced();
    if (forced >= 0) {
        const struct thread *t = thread_at((unsigned)forced);
        f->order[0] = (uint8_t)forced;
        f->count = t->status == THREAD_CHOOSE ? t->alternatives : 1;
        return;
    }
    f->last_can_go_on = f->last != NOBODY && thread_can_go_on(f->last);
    if (f->last_can_go_on) {
        f->order[f->count++] = f->last;
        f->last_can_go_on =
            thread_at(f->last)->status != THREAD_YIELD; /* to leave it then is no preemption */
    }
    if (f->last_can_go_on && f->preemptions >= s.limits->max_preemptions) {
        return;
    }
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        if (i != f->last && thread_can_go_on(i)) {
            f->order[f->count++] = (uint8_t)i;
        }
    }
}

static void push(const struct frame *f)
{
    s.path = grown(s.path, s.depth + 1, &s.path_room, sizeof s.path[0]);
    s.path[s.depth++] = *f;
    graph_state(f->state)->on_path = true;
}

/* The step that the frame takes next. */
static struct decision next_step(struct frame *f)
{
    unsigned n = f->next++;
    const struct thread *t = thread_at(f->order[0]);
    if (t->status == THREAD_CHOOSE || t->status == THREAD_START) {
        return (struct decision){.thread = f->order[0],
                                 .answer = (uint8_t)n,
                                 .is_start = t->status == THREAD_START,
                                 .is_choice = t->status == THREAD_CHOOSE};
    }
    return (struct decision){.thread = f->order[n]};
}

static void add_edge(uint32_t to, struct decision by)
{
    s.edges = grown(s.edges, s.edges_count + 1, &s.edges_room, sizeof s.edges[0]);
    s.edges[s.edges_count++] = (struct graph_edge){.to = to, .by = by};
}

/* Adds what lies beyond a step to the frame the step was taken from. */
static void add_schedules(struct frame *f, double schedules, uint32_t longest, struct decision by)
{
    f->schedules += schedules;
    if (f->schedules > EXPLORE_SCHEDULES_MAX) {
        f->schedules = EXPLORE_SCHEDULES_MAX;
    }
    longest += !by.is_start;
    f->longest = longest > f->longest ? longest : f->longest;
}

static void pop(void)
{
    struct frame f = s.path[--s.depth];
    struct graph_state *state = graph_state(f.state);
    state->on_path = false;
    state->schedules = f.schedules;
    state->longest = f.longest;
    if (!s.stopped && s.limits->merging && !is_bounded()) {
        graph_set_edges(f.state, s.edges + f.first_edge, s.edges_count - f.first_edge);
    }
    s.edges_count = f.first_edge;
    if (s.depth) {
        arena_undo();
        add_schedules(&s.path[s.depth - 1], f.schedules, f.longest, f.by);
    } else {
        s.report->schedules = f.schedules;
        s.report->longest = f.longest;
    }
}

/* ---- steps */

/* The search has come to a state that it does not continue: an end or a deadlock. */
static void come_to_end(const struct frame *f, bool is_new)
{
    bool done = threads_are_done();
    graph_state(f->state)->schedules = 1;
    graph_state(f->state)->can_end = true;
    if (!done) {
        note_deadlock(&f->by, f->preemptions);
    } else {
        s.report->ends += is_new;
        if (!threads_check_end()) {
            note_violation(threads_failure(), &f->by, f->preemptions);
        }
    }
}

static struct hash key_of(const struct frame *f, struct hash hash)
{
    if (is_bounded()) {
        hash.low += (f->last + 1 + f->preemptions * 8ull) * 0x9e3779b97f4a7c15ull;
    }
    return hash;
}

/* Looks at the state that a step led to; goes on from there if it is new, and else takes the step back. */
static void arrive(struct frame *to)
{
    struct frame *from = &s.path[s.depth - 1];
    bool is_new;
    to->state = graph_state_number(key_of(to, arena_look()), &is_new);
    struct graph_state *state = graph_state(to->state);
    add_edge(to->state, to->by);
    if (state->on_path) {
        arena_rewind(true);
        return;
    }
    if (!is_new && s.limits->merging) {
        add_schedules(from, state->schedules, state->longest, to->by);
        arena_rewind(true);
        return;
    }
    to->first_edge = s.edges_count;
    list_steps(to);
    if (to->count) {
        arena_keep();
        push(to);
        return;
    }
    come_to_end(to, is_new);
    add_schedules(from, 1, 0, to->by);
    arena_rewind(false);
}

static void take_step(void)
{
    struct frame *from = &s.path[s.depth - 1];
    struct decision by = next_step(from);
    struct frame to = {.by = by, .last = from->last, .preemptions = from->preemptions};
    if (!by.is_start && !by.is_choice) {
        to.preemptions += by.thread != from->last && from->last_can_go_on;
        to.last = by.thread;
    }
    s.report->steps++;
    if (threads_step(by.thread, by.answer)) {
        arrive(&to);
        return;
    }
    note_violation(threads_failure(), &by, to.preemptions);
    graph_state(from->state)->can_end = true;
    add_schedules(from, 1, 0, by);
    arena_rewind(false);
}

static void begin(void)
{
    bool is_new;
    struct frame first = {.by.is_start = true, .last = NOBODY};
    first.state = graph_state_number(key_of(&first, arena_look()), &is_new);
    list_steps(&first);
    push(&first);
    if (!first.count) {
        come_to_end(&first, is_new);
        s.path[0].schedules = 1;
        arena_rewind(false);
    }
}

/* ---- livelocks */

static void look_for_livelock(uint32_t first)
{
    struct decision *way = NULL;
    size_t count;
    if (graph_find_livelock(first, &way, &count) == GRAPH_NONE || !way) {
        return;
    }
    char message[sizeof s.report->violation] = "livelock: from here on no end can be reached: ";
    for (size_t i = 0; i < count; i++) {
        threads_step(way[i].thread, way[i].answer);
    }
    threads_describe(message, sizeof message);
    arena_rewind(false);
    note_violation(message, NULL, 0);
    if (s.report->violations == 1) {
        seed_write(way, count, s.report->seed);
    }
    free(way);
}

void search(const struct search_limits *limits, struct explore_report *report, unsigned *preemptions)
{
    memset(&s, 0, sizeof s);
    s.limits = limits;
    s.report = report;
    graph_begin();
    begin();
    uint32_t first = s.path[0].state;
    while (s.depth) {
        s.stopped |= limits->max_states && graph_states() > limits->max_states;
        if (s.stopped || s.path[s.depth - 1].next == s.path[s.depth - 1].count) {
            pop();
        } else {
            take_step();
        }
    }
    report->states = graph_states();
    report->complete = !s.stopped;
    if (report->complete && limits->merging && !is_bounded()) {
        look_for_livelock(first);
    }
    graph_end();
    free(s.path);
    free(s.edges);
    *preemptions = s.preemptions;
}
