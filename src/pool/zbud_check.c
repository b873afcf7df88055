/* SPDX-License-Identifier: MIT */
/*
 * Is a zbud whole? Everything that is kept twice is derived again from the records and compared.
 *
 * First each record by itself; then each list: only pages that belong there, links that agree both ways. A page
 * whose `prev` is the page before it can be on one list, once. So when the lists together have as many pages as there
 * are records that should be listed, they are the same pages.
 */
#include <stdio.h>

#include "pool/zbud.h"

struct findings {
    uint64_t taken;  /* pages with a buddy */
    uint64_t listed; /* of them, those that belong on a list */
    bool good;
};

#define MISMATCH(f, page, format, ...)                                                                       \
    ((f)->good = false, (void)fprintf(stderr, "zbud: page %u: " format "\n", page, ##__VA_ARGS__))

static void check_record(const struct zbud *z, uint32_t page, struct findings *f)
{
    const struct zbud_page *record = sparse_get(&z->records, page);
    if (!record) {
        MISMATCH(f, page, "has no record");
        return;
    }
    unsigned first = record->chunks[ZBUD_FIRST], last = record->chunks[ZBUD_LAST];
    if (first + last > ZBUD_CHUNKS || last == ZBUD_CHUNKS) {
        MISMATCH(f, page, "buddies of %u and %u chunks", first, last);
    }
    bool has_buddy = first || last;
    if (has_buddy != page_source_is_taken(&z->source, page)) {
        MISMATCH(f, page, "buddies of %u and %u chunks, but the page is %s", first, last,
                 has_buddy ? "not taken" : "taken");
    }
    if (!zbud_list_of(record) && (record->next || record->prev)) {
        MISMATCH(f, page, "belongs on no list and is linked to %u and %u", record->prev, record->next);
    }
    for (int buddy = ZBUD_FIRST; buddy <= ZBUD_LAST; buddy++) {
        if (!record->chunks[buddy] && record->owners[buddy]) {
            MISMATCH(f, page, "buddy %d is gone and has owner %lx", buddy,
                     (unsigned long)record->owners[buddy]);
        }
    }
    f->taken += has_buddy;
    f->listed += zbud_list_of(record) != 0;
}

/* How many pages are on list `n`, as far as it can be followed. */
static uint64_t check_list(const struct zbud *z, unsigned n, struct findings *f)
{
    if ((z->lists[n] != 0) != (z->lists_filled >> n & 1)) {
        MISMATCH(f, z->lists[n], "heads list %u, and its bit says otherwise", n);
    }
    uint64_t count = 0;
    uint32_t before = 0;
    for (uint32_t page = z->lists[n]; page;) {
        const struct zbud_page *record = page <= z->source.high_water ? sparse_get(&z->records, page) : NULL;
        if (!record || zbud_list_of(record) != n) {
            MISMATCH(f, page, "is on list %u and does not belong there", n);
            break;
        }
        if (record->prev != before) {
            MISMATCH(f, page, "is on list %u behind %u and says %u", n, before, record->prev);
            break;
        }
        count++;
        before = page;
        page = record->next;
    }
    return count;
}

bool zbud_consistent(struct pool *pool)
{
    struct zbud *z = zbud_of(pool);
    struct findings f = {.good = true};
    SCOPED_LOCK(&z->lock);
    for (uint32_t page = 1; page <= z->source.high_water; page++) {
        check_record(z, page, &f);
    }
    uint64_t on_lists = 0;
    for (unsigned n = 0; n < ZBUD_CHUNKS; n++) {
        on_lists += check_list(z, n, &f);
    }
    if (on_lists != f.listed) {
        fprintf(stderr, "zbud: %lu pages on lists, and %lu should be\n", (unsigned long)on_lists,
                (unsigned long)f.listed);
        f.good = false;
    }
    return page_source_consistent(&z->source, f.taken) && f.good;
}
