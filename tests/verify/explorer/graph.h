/* SPDX-License-Identifier: MIT */
/*
 * The states that were met and the steps between them. A state is known by its hash: 128 bits, so that even among 10^12
 * states two of one hash are not to be expected (10^-15), and nothing else of it is kept.
 */
#ifndef UZSWAP_TESTS_VERIFY_GRAPH_H
#define UZSWAP_TESTS_VERIFY_GRAPH_H

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/seed.h"

#define GRAPH_NONE UINT32_MAX

struct graph_state {
    struct hash hash;
    double schedules;    /* from here to an end; 0 while the search has not left it */
    uint32_t longest;    /* steps from here to an end */
    uint32_t first_edge; /* its edges lie one after the other, once the search has left it */
    uint16_t edges;
    bool on_path; /* the search stands on it or on what came of it */
    bool can_end; /* an end, or a violation, can be reached */
};

void graph_begin(void);
void graph_end(void);

/* The number of the state with this hash; *is_new tells whether it was added just now. Numbers count from 0. */
uint32_t graph_state_number(struct hash hash, bool *is_new);

/* Valid until the next state is added. */
struct graph_state *graph_state(uint32_t number);
uint32_t graph_states(void);

/* Sets the edges of a state that the search leaves. */
struct graph_edge {
    uint32_t to;
    struct decision by;
};
void graph_set_edges(uint32_t state, const struct graph_edge *edges, size_t count);

/*
 * After all edges are set: the state nearest to `from` from which no state of can_end can be reached, and the way to it,
 * *count decisions (for the caller to free). GRAPH_NONE if there is none.
 */
uint32_t graph_find_livelock(uint32_t from, struct decision **way, size_t *count);

#endif
