/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/graph.h"
#include "tests/verify/explorer/grown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    struct graph_state *states;
    uint32_t count;
    size_t room;

    uint32_t *table; /* number + 1 of a state, at the first free place from its hash on */
    size_t table_size;

    struct graph_edge *edges;
    uint32_t *left; /* the states in the order in which their edges were set */
    uint32_t edges_count, left_count;
    size_t edges_room, left_room;
} graph;

/* The states and what belongs to them are numbered with 32 bits. */
static void *grown_numbered(void *array, size_t needed, size_t *room, size_t each)
{
    if (needed >= UINT32_MAX) {
        fprintf(stderr, "explorer: no memory for so many states\n");
        exit(1);
    }
    return grown(array, needed, room, each);
}

void graph_begin(void)
{
    graph.count = graph.edges_count = graph.left_count = 0;
}

void graph_end(void)
{
    free(graph.states);
    free(graph.table);
    free(graph.edges);
    free(graph.left);
    memset(&graph, 0, sizeof graph);
}

static uint32_t *place_of(struct hash hash)
{
    size_t i = hash.low & (graph.table_size - 1);
    for (; graph.table[i]; i = (i + 1) & (graph.table_size - 1)) {
        const struct hash *found = &graph.states[graph.table[i] - 1].hash;
        if (found->low == hash.low && found->high == hash.high) {
            break;
        }
    }
    return &graph.table[i];
}

static void grow_table(void)
{
    free(graph.table);
    graph.table_size = graph.table_size ? graph.table_size * 2 : 4096;
    graph.table = calloc(graph.table_size, sizeof graph.table[0]);
    if (!graph.table) {
        fprintf(stderr, "explorer: no memory for so many states\n");
        exit(1);
    }
    for (uint32_t i = 0; i < graph.count; i++) {
        *place_of(graph.states[i].hash) = i + 1;
    }
}

uint32_t graph_state_number(struct hash hash, bool *is_new)
{
    if (graph.count * (size_t)2 >= graph.table_size) {
        grow_table();
    }
    uint32_t *place = place_of(hash);
    *is_new = !*place;
    if (*is_new) {
        graph.states =
            grown_numbered(graph.states, (size_t)graph.count + 1, &graph.room, sizeof graph.states[0]);
        graph.states[graph.count] = (struct graph_state){.hash = hash};
        *place = ++graph.count;
    }
    return *place - 1;
}

struct graph_state *graph_state(uint32_t number)
{
    return &graph.states[number];
}

uint32_t graph_states(void)
{
    return graph.count;
}

void graph_set_edges(uint32_t state, const struct graph_edge *edges, size_t count)
{
    graph.edges =
        grown_numbered(graph.edges, graph.edges_count + count, &graph.edges_room, sizeof graph.edges[0]);
    graph.left =
        grown_numbered(graph.left, (size_t)graph.left_count + 1, &graph.left_room, sizeof graph.left[0]);
    graph.left[graph.left_count++] = state;
    graph.states[state].first_edge = graph.edges_count;
    graph.states[state].edges = (uint16_t)count;
    memcpy(graph.edges + graph.edges_count, edges, count * sizeof edges[0]);
    graph.edges_count += (uint32_t)count;
}

/* ---- livelocks */

/* States are left after those that they lead to, but for cycles: so few rounds suffice. */
static void spread_can_end(void)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < graph.left_count; i++) {
            struct graph_state *s = &graph.states[graph.left[i]];
            for (uint32_t e = s->first_edge; !s->can_end && e < s->first_edge + s->edges; e++) {
                s->can_end = graph.states[graph.edges[e].to].can_end;
                changed |= s->can_end;
            }
        }
    }
}

struct arrival {
    uint32_t from, edge;
};

/* The decisions that led from `from` to `to`. */
static struct decision *way_back(const struct arrival *arrivals, uint32_t from, uint32_t to, size_t *count)
{
    *count = 0;
    for (uint32_t at = to; at != from; at = arrivals[at].from) {
        ++*count;
    }
    struct decision *way = calloc(*count + 1, sizeof *way);
    size_t i = *count;
    for (uint32_t at = to; way && at != from; at = arrivals[at].from) {
        way[--i] = graph.edges[arrivals[at].edge].by;
    }
    return way;
}

static bool is_livelock(uint32_t state)
{
    return !graph.states[state].can_end;
}

/* Breadth first. */
static uint32_t nearest_livelock(uint32_t from, struct arrival *arrivals, uint32_t *queue)
{
    size_t begin = 0, end = 0;
    queue[end++] = from;
    arrivals[from].from = from;
    while (begin < end) {
        uint32_t at = queue[begin++];
        if (is_livelock(at)) {
            return at;
        }
        const struct graph_state *s = &graph.states[at];
        for (uint32_t e = s->first_edge; e < s->first_edge + s->edges; e++) {
            uint32_t to = graph.edges[e].to;
            if (arrivals[to].from == GRAPH_NONE) {
                arrivals[to] = (struct arrival){.from = at, .edge = e};
                queue[end++] = to;
            }
        }
    }
    return GRAPH_NONE;
}

uint32_t graph_find_livelock(uint32_t from, struct decision **way, size_t *count)
{
    spread_can_end();
    bool any = false;
    for (uint32_t i = 0; i < graph.count && !any; i++) {
        any = is_livelock(i);
    }
    if (!any) {
        return GRAPH_NONE;
    }
    struct arrival *arrivals = malloc(graph.count * sizeof *arrivals);
    uint32_t *queue = malloc(graph.count * sizeof *queue);
    if (!arrivals || !queue) {
        fprintf(stderr, "explorer: no memory for so many states\n");
        exit(1);
    }
    memset(arrivals, 0xff, graph.count * sizeof *arrivals);
    uint32_t found = nearest_livelock(from, arrivals, queue);
    *way = way_back(arrivals, from, found, count);
    free(arrivals);
    free(queue);
    return found;
}
