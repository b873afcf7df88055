/* SPDX-License-Identifier: MIT */
/*
 * What the model's pan and the C driver (transitions.c) share: one transition of a word, as both write it down, so that
 * check.py can compare the two sets line by line. And pan's choice of a configuration at run time.
 *
 * A transition is: which function; the word it decided on, abstracted to kind, WB, REF, holders; what it did (changed
 * the word to another with the same or another content; left it; found its object gone from it); what became of the
 * object swapped out or let go of; and what the function returned.
 */
#ifndef UZSWAP_TESTS_SPIN_RECORD_H
#define UZSWAP_TESTS_SPIN_RECORD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const record_functions[] = {
    "hold",          "unhold",          "replace",          "remove_held",
    "remove_filled", "begin_writeback", "finish_writeback", "abort_writeback",
    "move"};
enum record_deed { RECORD_SAME, RECORD_OTHER, RECORD_STAYS, RECORD_GONE };
static const char *const record_deeds[] = {"same", "other", "stays", "gone"};
/* KEPT: the object stays as it is. FREED: by this call. From RECORD_LEFT on: an orphan, with so many holders left. */
enum record_object { RECORD_KEPT, RECORD_FREED, RECORD_LEFT };
enum record_result { RECORD_VOID, RECORD_ZERO, RECORD_HELD, RECORD_SEEN, RECORD_TRUE, RECORD_FALSE };
static const char *const record_results[] = {"-", "0", "held", "seen", "true", "false"};

#define RECORD_WORD_BITS 6
static unsigned char record_table[1u << 24];

/* kind:2, WB, REF, holders:2, as in entry_word.h with names and values left out. */
static unsigned record_word(unsigned word)
{
    return (word & 3) == 3 ? 3 : word & 63;
}

__attribute__((unused)) static void record(unsigned function, unsigned from, unsigned to, unsigned deed,
                                           unsigned object, unsigned result)
{
    if (deed == RECORD_GONE) {
        from = to = 0; /* whatever is there now: it is not looked at */
    }
    record_table[function << 20 | record_word(from) << 14 | record_word(to) << 8 | deed << 6 | object << 3 |
                 result] = 1;
}

static const char *record_name(unsigned word, char text[24])
{
    static const char *const kinds[] = {"EMPTY", "POOL", "DEVICE", "FILLED"};
    if ((word & 63) == 4) {
        return "FROZEN";
    }
    snprintf(text, 24, "%s%s%s", kinds[word & 3], word & 4 ? "+WB" : "", word & 8 ? "+REF" : "");
    if ((word & 3) == 1 || (word & 3) == 2) {
        snprintf(text + strlen(text), 24 - strlen(text), ":%u", word >> 4 & 3);
    }
    return text;
}

__attribute__((unused)) static void record_print(void)
{
    for (unsigned i = 0; i < sizeof record_table; i++) {
        if (!record_table[i]) {
            continue;
        }
        char from[24], to[24], object[16] = "kept";
        unsigned deed = i >> 6 & 3, what = i >> 3 & 7;
        if (what == RECORD_FREED) {
            strcpy(object, "freed");
        } else if (what >= RECORD_LEFT) {
            snprintf(object, sizeof object, "orphan:%u", (what - RECORD_LEFT) & 7);
        }
        printf("transition: %s %s %s %s %s %s\n", record_functions[i >> 20],
               deed == RECORD_GONE ? "*" : record_name(i >> 14 & 63, from),
               deed == RECORD_GONE ? "*" : record_name(i >> 8 & 63, to), record_deeds[deed], object,
               record_results[i & 7]);
    }
}

#ifdef PAN
/*
 * The configuration, from the environment.
 *   SPIN_VERBS    a verb's number (verbs.pml) for each actor, one digit each; 0: any
 *   SPIN_ANY      which "any" are (all)
 *   SPIN_ROUNDS   how many verbs an actor does, all but the first of "any" (1; 0: without end)
 *   SPIN_PHANTOMS the first entry is held, in every way it can be
 *   SPIN_HOLDERS  the most loads that may hold a word (3)
 *   SPIN_LOADS    0: the device answers loads. One that it never answers keeps its hold, and with the most
 *                 holds taken, other loads of that copy on the device wait for it, as G5 allows.
 */
static int chosen_actors, chosen_rounds = 1, chosen_phantoms, chosen_holders = 3, chosen_loads_hang = 1,
                          chosen_verb[4], chosen_any[10];

__attribute__((constructor)) static void choose(void)
{
    const char *verbs = getenv("SPIN_VERBS"), *rounds = getenv("SPIN_ROUNDS");
    for (chosen_actors = 0; verbs && chosen_actors < 3 && verbs[chosen_actors]; chosen_actors++) {
        chosen_verb[chosen_actors] = verbs[chosen_actors] - '0';
    }
    const char *any = getenv("SPIN_ANY");
    for (int i = 0; i < 10; i++) {
        chosen_any[i] = !any || strchr(any, '0' + i);
    }
    chosen_rounds = rounds ? atoi(rounds) : 1;
    chosen_holders = getenv("SPIN_HOLDERS") ? atoi(getenv("SPIN_HOLDERS")) : 3;
    chosen_loads_hang = !getenv("SPIN_LOADS") || atoi(getenv("SPIN_LOADS"));
    chosen_phantoms = getenv("SPIN_PHANTOMS") != NULL;
}

__attribute__((destructor)) static void print_all(void)
{
    record_print();
}

static void broken(unsigned guarantee, const char *what)
{
    printf("broken: G%u %s\n", guarantee, what);
}
#endif

#endif
