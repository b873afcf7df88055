/* SPDX-License-Identifier: MIT */
#include "zswap/shared.h"

#include <stddef.h>

#include "base/atomic.h"

static int numbers_init(struct numbers *n, struct memory *memory, uint32_t most, size_t slot_bytes,
                        size_t link)
{
    *n = (struct numbers){.most = most, .link = link};
    return sparse_init(&n->slots, memory, (uint64_t)most + 1, slot_bytes, ACCOUNT_TABLES);
}

static uint32_t *link_of(const struct numbers *n, uint32_t number)
{
    return (uint32_t *)(n->slots.slots + number * n->slots.slot_bytes + n->link);
}

static uint32_t take_number(struct numbers *n)
{
    uint32_t number = n->free;
    if (number) {
        n->free = *link_of(n, number);
    } else if (n->used < n->most && sparse_get_for_write(&n->slots, n->used + 1)) {
        number = ++n->used;
    }
    n->live += number != 0;
    return number;
}

static void give_number(struct numbers *n, uint32_t number)
{
    *link_of(n, number) = n->free;
    n->free = number;
    n->live--;
}

int shared_init(struct shared_tables *t, struct memory *memory)
{
    mutex_init(&t->lock, LOCK_RANK_LEAF);
    int error = numbers_init(&t->references, memory, REFERENCES_MAX, sizeof(uint32_t), 0);
    return error ? error
                 : numbers_init(&t->shared, memory, SHARED_MAX, sizeof(struct shared),
                                offsetof(struct shared, next));
}

void shared_destroy(struct shared_tables *t)
{
    sparse_destroy(&t->references.slots);
    sparse_destroy(&t->shared.slots);
}

uint32_t shared_make(struct shared_tables *t)
{
    SCOPED_LOCK(&t->lock);
    return take_number(&t->shared);
}

void shared_end(struct shared_tables *t, uint32_t number)
{
    SCOPED_LOCK(&t->lock);
    give_number(&t->shared, number);
}

bool shared_get(struct shared *s)
{
    uint32_t count = atomic_read_relaxed(&s->count);
    while (count) {
        /* Acquire: the word was published before the count. */
        if (atomic_cas_acquire(&s->count, &count, count + 1)) {
            return true;
        }
    }
    return false;
}

bool shared_put(struct shared *s)
{
    /* Release: this user is done with it. Acquire: so are the others. */
    return atomic_sub_acq_rel(&s->count, 1) == 0;
}

uint32_t reference_make(struct shared_tables *t, uint32_t shared)
{
    SCOPED_LOCK(&t->lock);
    uint32_t reference = take_number(&t->references);
    if (reference) {
        *link_of(&t->references, reference) = shared;
    }
    return reference;
}

uint32_t reference_end(struct shared_tables *t, uint32_t reference)
{
    SCOPED_LOCK(&t->lock);
    uint32_t shared = reference_target(t, reference);
    give_number(&t->references, reference);
    return shared;
}
