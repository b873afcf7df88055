/* SPDX-License-Identifier: MIT */
/*
 * Is a zsmalloc whole? Everything that is kept twice is derived again from the owners and the records.
 *
 * First each chain by itself: which slots are live, and whether the list of free slots names exactly the others.
 * Then each class: its rings have only chains that belong there, and as many as belong there; a chain whose `prev`
 * is the chain before it is in one ring, once. Last the source.
 */
#include <stdio.h>

#include "pool/zsmalloc.h"

struct tally {
    uint64_t pages, used; /* of the class's chains */
    uint64_t listed;      /* chains that belong in a group */
};

struct findings {
    struct tally classes[ZS_CLASSES_MAX];
    uint64_t chains, pages; /* that classes have */
    bool good;
};

#define MISMATCH(f, chain, format, ...)                                                                      \
    ((f)->good = false, (void)fprintf(stderr, "zsmalloc: chain %u: " format "\n", chain, ##__VA_ARGS__))

static void check_free_list(const struct zs *z, uint32_t chain, unsigned expected, struct findings *f)
{
    const struct zs_chain *record = zs_chain(z, chain);
    const uint8_t *owners = zs_owners(z, &z->shapes[record->class], chain);
    unsigned count = 0;
    for (unsigned link = record->free; link; count++) {
        uint64_t value = link <= record->reached ? zs_owner_get(owners, link - 1) : ZS_LIVE;
        if (value & ZS_LIVE || count == expected) {
            MISMATCH(f, chain, "slot %u does not belong on the list of free ones", link - 1);
            return;
        }
        link = (unsigned)value;
    }
    if (count != expected) {
        MISMATCH(f, chain, "lists %u free slots and has %u", count, expected);
    }
}

static void check_taken(const struct zs *z, uint32_t chain, struct findings *f)
{
    const struct zs_chain *record = zs_chain(z, chain);
    if (record->class >= z->class_count) {
        MISMATCH(f, chain, "is of class %u of %u", record->class, z->class_count);
        return;
    }
    const struct zs_shape *shape = &z->shapes[record->class];
    if (record->reached > shape->slots || record->pages < zs_pages_for(shape, record->reached) ||
        record->pages > shape->pages) {
        MISMATCH(f, chain, "has %u pages for %u of %u slots", record->pages, record->reached, shape->slots);
        return;
    }
    unsigned live = 0;
    for (unsigned slot = 0; slot < record->reached; slot++) {
        live += (zs_owner_get(zs_owners(z, shape, chain), slot) & ZS_LIVE) != 0;
    }
    if (!live || live != record->used) {
        MISMATCH(f, chain, "has %u live slots, counted as %u", live, record->used);
    }
    check_free_list(z, chain, record->reached - live, f);
    bool listed = zs_group_of(shape, record->used) < ZS_GROUPS;
    if (!listed && (record->next || record->prev)) {
        MISMATCH(f, chain, "is full and linked to %u and %u", record->prev, record->next);
    }
    struct tally *tally = &f->classes[record->class];
    tally->pages += record->pages;
    tally->used += live;
    tally->listed += listed;
    f->chains++;
    f->pages += record->pages;
}

static void check_chain(const struct zs *z, uint32_t chain, struct findings *f)
{
    const struct zs_chain *record = sparse_get(&z->chains, chain);
    if (!record && zs_source_is_free(z, chain)) {
        return; /* given back: zero */
    }
    if (!record) {
        MISMATCH(f, chain, "has no record");
    } else if (zs_source_is_taken(z, chain)) {
        check_taken(z, chain, f);
    } else if (record->next || record->prev || record->used || record->reached || record->free ||
               record->class) {
        MISMATCH(f, chain, "is no class's, and its record is in use");
    } else if (record->pages && zs_source_is_free(z, chain)) {
        MISMATCH(f, chain, "is free and has %u pages", record->pages);
    }
}

/* How many chains the group has, as far as its ring can be followed. */
static uint64_t check_group(const struct zs *z, unsigned class, unsigned group, struct findings *f)
{
    const struct zs_class *c = &z->classes[class];
    uint32_t head = c->groups[group], chain = head;
    if ((head != 0) != (c->groups_filled >> group & 1)) {
        MISMATCH(f, head, "heads group %u of class %u, and its bit says otherwise", group, class);
    }
    uint64_t count = 0;
    while (chain) {
        const struct zs_chain *record = zs_source_has(z, chain) ? sparse_get(&z->chains, chain) : NULL;
        if (!record || !zs_source_is_taken(z, chain) || record->class != class ||
            zs_group_of(&z->shapes[class], record->used) != group) {
            MISMATCH(f, chain, "is in group %u of class %u and does not belong there", group, class);
            break;
        }
        uint32_t next = zs_source_has(z, record->next) ? record->next : 0;
        if (!next || zs_chain(z, next)->prev != chain) {
            MISMATCH(f, chain, "is in group %u of class %u before %u, which says otherwise", group, class,
                     record->next);
            break;
        }
        count++;
        chain = next == head ? 0 : next;
    }
    return count;
}

static void check_class(struct zs *z, unsigned class, struct findings *f)
{
    struct zs_class *c = &z->classes[class];
    const struct tally *tally = &f->classes[class];
    uint64_t listed = 0;
    for (unsigned group = 0; group < ZS_GROUPS; group++) {
        listed += check_group(z, class, group, f);
    }
    if (listed != tally->listed || c->pages != tally->pages || c->used != tally->used || c->isolated) {
        fprintf(stderr,
                "zsmalloc: class %u: %lu chains in groups of %lu, %u pages of %lu, %u live slots of %lu, "
                "chain %u isolated\n",
                class, (unsigned long)listed, (unsigned long)tally->listed, c->pages,
                (unsigned long)tally->pages, c->used, (unsigned long)tally->used, c->isolated);
        f->good = false;
    }
}

bool zs_consistent(struct pool *pool)
{
    struct zs *z = zs_of(pool);
    struct findings f = {.good = true};
    SCOPED_LOCK(&z->source.lock);
    for (int kind = 0; kind < ZS_KINDS; kind++) {
        const struct zs_range *range = &z->source.ranges[kind];
        for (uint32_t i = 0; i < range->high_water; i++) {
            check_chain(z, range->first + i, &f);
        }
    }
    for (unsigned class = 0; class < z->class_count; class ++) {
        check_class(z, class, &f);
    }
    return zs_source_consistent(z, f.pages, f.chains) && f.good;
}
