/* SPDX-License-Identifier: MIT */
/* What deduplication has won, and whether its counts are right: a naive recount. */
#include <stdio.h>

#include "zswap/dedup.h"

static uint64_t tables_bytes(uint64_t references, uint64_t objects)
{
    return references * sizeof(uint32_t) + objects * sizeof(struct shared);
}

void dedup_stats(struct zswap *z, struct zswap_stats *stats)
{
    struct shared_tables *t = &z->dedup->tables;
    uint64_t not_stored = counter_sum(z, COUNTER_NOT_STORED);
    mutex_lock(&t->lock);
    uint64_t cost = tables_bytes(t->references.live, t->shared.live);
    stats->shared_objects = t->shared.live;
    mutex_unlock(&t->lock);
    stats->deduplicated_bytes = not_stored > cost ? not_stored - cost : 0;
}

static bool equal(const char *what, uint64_t number, uint64_t counted, uint64_t found)
{
    if (counted != found) {
        fprintf(stderr, "dedup: %s %llu: counted %llu, found %llu\n", what, (unsigned long long)number,
                (unsigned long long)counted, (unsigned long long)found);
    }
    return counted == found;
}

static bool is_live(const struct shared *s)
{
    return s->count || s->word;
}

void dedup_survey_begin(struct zswap *z, struct dedup_survey *s)
{
    struct shared_tables *t = &z->dedup->tables;
    *s = (struct dedup_survey){.good = true};
    for (uint32_t i = 1; i <= t->shared.used; i++) {
        struct shared *shared = shared_at(t, i);
        if (is_live(shared)) {
            shared->next = 0;
        }
    }
}

void dedup_survey_reference(struct zswap *z, uint64_t reference, struct dedup_survey *s)
{
    struct shared_tables *t = &z->dedup->tables;
    uint32_t number = entry_name(reference) && entry_name(reference) <= t->references.used
                          ? reference_target(t, entry_name(reference))
                          : 0;
    struct shared *shared = number && number <= t->shared.used ? shared_at(t, number) : NULL;
    if (!shared || !is_live(shared)) {
        fprintf(stderr, "dedup: reference %llu refers to nothing\n",
                (unsigned long long)entry_name(reference));
        s->good = false;
        return;
    }
    shared->next++;
    s->references++;
    s->bytes += entry_bytes(shared->word);
}

static bool check_live(const struct shared *shared, uint32_t number)
{
    if (entry_kind(shared->word) != ENTRY_POOL || entry_holders(shared->word) ||
        entry_is_reference(shared->word)) {
        fprintf(stderr, "dedup: shared object %u is held, or none: word %llx\n", number,
                (unsigned long long)shared->word);
        return false;
    }
    return equal("users of shared object", number, shared->count, shared->next);
}

/* How many numbers are in the chain of free ones, as far as there are that many. */
static uint64_t count_free(const struct numbers *n)
{
    uint64_t count = 0;
    for (uint32_t i = n->free; i && count <= n->used; count++) {
        i = *(const uint32_t *)(n->slots.slots + i * n->slots.slot_bytes + n->link);
    }
    return count;
}

bool dedup_survey_end(struct zswap *z, struct dedup_survey *s)
{
    struct shared_tables *t = &z->dedup->tables;
    for (uint32_t i = 1; i <= t->shared.used; i++) {
        const struct shared *shared = shared_at(t, i);
        if (is_live(shared)) {
            s->good &= check_live(shared, i);
            s->objects++;
            s->object_bytes += entry_bytes(shared->word);
            s->incompressible += entry_bytes(shared->word) == PAGE_BYTES;
        }
    }
    s->good &= equal("shared objects", 0, t->shared.live, s->objects);
    s->good &= equal("free shared objects", 0, t->shared.used - t->shared.live, count_free(&t->shared));
    s->good &= equal("references", 0, t->references.live, s->references);
    s->good &=
        equal("free references", 0, t->references.used - t->references.live, count_free(&t->references));
    s->good &= equal("bytes not stored", 0, counter_sum(z, COUNTER_NOT_STORED), s->bytes - s->object_bytes);
    s->good &= equal("entries that share", 0, counter_sum(z, COUNTER_DEDUPLICATED), s->references);
    return s->good;
}
