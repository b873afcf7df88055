/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/seed.h"

#include <string.h>

static size_t run_length(const struct decision *d, size_t count)
{
    size_t length = 1;
    while (length < count && !d[length].is_choice && !d[length].is_start && d[length].thread == d[0].thread) {
        length++;
    }
    return length;
}

void seed_write(const struct decision *decisions, size_t count, char text[EXPLORE_SEED_MAX])
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0, length; i < count; i += length) {
        const struct decision *d = &decisions[i];
        char item[32];
        length = 1;
        if (d->is_start) {
            continue;
        }
        if (d->is_choice) {
            snprintf(item, sizeof item, "%sc%u", used ? "." : "", d->answer);
        } else {
            length = run_length(d, count - i);
            snprintf(item, sizeof item, "%s%ux%zu", used ? "." : "", d->thread, length);
        }
        if (used + strlen(item) >= EXPLORE_SEED_MAX) {
            text[0] = 0;
            return;
        }
        strcpy(text + used, item);
        used += strlen(item);
    }
}

/* A number of at most 9 digits; false if there is none. */
static bool read_number(const char **at, unsigned *value)
{
    unsigned digits = 0;
    for (*value = 0; **at >= '0' && **at <= '9'; ++*at) {
        *value = *value * 10 + (unsigned)(**at - '0');
        if (++digits > 9) {
            return false;
        }
    }
    return digits > 0;
}

enum seed_item seed_next(struct seed_reader *reader, unsigned *value)
{
    if (reader->left) {
        reader->left--;
        *value = reader->thread;
        return SEED_STEP;
    }
    const char **at = &reader->at;
    if (!**at) {
        return SEED_END;
    }
    enum seed_item item = SEED_CHOICE;
    if (**at == 'c') {
        ++*at;
        if (!read_number(at, value)) {
            return SEED_DAMAGED;
        }
    } else {
        item = SEED_STEP;
        if (!read_number(at, &reader->thread) || *(*at)++ != 'x' || !read_number(at, &reader->left) ||
            !reader->left) {
            return SEED_DAMAGED;
        }
        reader->left--;
        *value = reader->thread;
    }
    if (**at == '.' && (*at)[1]) {
        ++*at;
        return item;
    }
    return **at ? SEED_DAMAGED : item;
}
