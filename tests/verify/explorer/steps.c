/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/steps.h"

#include <inttypes.h>
#include <string.h>

#define NAMES_MAX 64

static struct {
    FILE *to;
    unsigned count;

    bool is_open, has_value;
    unsigned thread;
    const struct explore_place *place;
    const volatile void *address;
    uint64_t before, after;
} steps;

static struct {
    const volatile void *word;
    char text[32];
} names[NAMES_MAX];
static unsigned names_count;

void steps_forget_names(void)
{
    names_count = 0;
}

void steps_name(const volatile void *word, const char *format, va_list arguments)
{
    if (names_count < NAMES_MAX) {
        names[names_count].word = word;
        vsnprintf(names[names_count++].text, sizeof names[0].text, format, arguments);
    }
}

static const char *name_of(const volatile void *word)
{
    for (unsigned i = 0; i < names_count; i++) {
        if (names[i].word == word) {
            return names[i].text;
        }
    }
    return NULL;
}

void steps_print_to(FILE *to)
{
    steps.to = to;
    steps.count = 0;
    steps.is_open = false;
}

void steps_begin(unsigned thread, const struct explore_place *place, const volatile void *address)
{
    steps_flush();
    steps.is_open = true;
    steps.has_value = false;
    steps.thread = thread;
    steps.place = place;
    steps.address = address;
}

void steps_value(uint64_t before, uint64_t after)
{
    if (steps.is_open) {
        steps.has_value = true;
        steps.before = before;
        steps.after = after;
        steps_flush();
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "cas &lc->word" is a cas of lc->word, "cas word" one of *word; a name given to the word is better than both. */
static void print_what(const char *what)
{
    const char *space = strchr(what, ' ');
    const char *name = steps.has_value || steps.address ? name_of(steps.address) : NULL;
    if (!space) {
        fprintf(steps.to, "%s", what);
    } else if (name) {
        fprintf(steps.to, "%.*s [%s]", (int)(space - what), what, name);
    } else if (space[1] == '&') {
        fprintf(steps.to, "%.*s %s", (int)(space - what), what, space + 2);
    } else if (steps.has_value) {
        fprintf(steps.to, "%.*s *%s", (int)(space - what), what, space + 1);
    } else {
        fprintf(steps.to, "%s", what);
    }
}

void steps_flush(void)
{
    if (!steps.to || !steps.is_open) {
        return;
    }
    steps.is_open = false;
    const struct explore_place *place = steps.place;
    fprintf(steps.to, "%4u  T%u  %s:%d %s  ", ++steps.count, steps.thread, base_name(place->file),
            place->line, place->function);
    print_what(place->what);
    if (steps.has_value && steps.before != steps.after) {
        fprintf(steps.to, ": 0x%" PRIx64 " -> 0x%" PRIx64, steps.before, steps.after);
    } else if (steps.has_value) {
        fprintf(steps.to, ": 0x%" PRIx64, steps.after);
    }
    fprintf(steps.to, "\n");
}

void steps_choice(unsigned thread, const char *what, unsigned answer, unsigned n)
{
    steps_flush();
    if (steps.to) {
        fprintf(steps.to, "%4u  T%u  %s: answer %u of %u\n", ++steps.count, thread, what, answer, n);
    }
}

void steps_note(unsigned thread, const char *format, va_list arguments)
{
    if (!steps.to) {
        return;
    }
    steps_flush();
    if (thread < EXPLORE_THREADS_MAX) {
        fprintf(steps.to, "      T%u  ", thread);
    } else {
        fprintf(steps.to, "          ");
    }
    vfprintf(steps.to, format, arguments);
    fprintf(steps.to, "\n");
}
