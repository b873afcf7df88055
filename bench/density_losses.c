/* SPDX-License-Identifier: MIT */
/*
 * Where zsmalloc's memory goes that holds no payload, from its own counts:
 *
 *   rounding   sizes are rounded up to those of their classes
 *   owners     5 bytes an object
 *   ends       of full chains
 *   unfilled   slots without an object, in chains that are not full
 *   reserve    empty chains that are kept
 */
#include <stdio.h>

#include "density.h"
#include "pool/zsmalloc.h"

struct losses {
    size_t slots, owners, full, classes;
};

/* As if every object lay in a full chain: `full` bytes in all. */
static void add_class(struct losses *l, const struct zs_shape *shape, const struct zs_class *class)
{
    size_t used = atomic_read_relaxed(&class->used);
    l->slots += used * shape->slot_bytes;
    l->owners += shape->owners_outside ? 0 : used * ZS_OWNER_BYTES;
    l->full += used * shape->pages * PAGE_BYTES / shape->slots;
    l->classes += (size_t)atomic_read_relaxed(&class->pages) * PAGE_BYTES;
}

void print_losses(struct bench *b)
{
    struct losses l = {0};
    if (b->ops != &pool_zsmalloc) {
        return;
    }
    const struct zs *z = zs_of(b->pool);
    for (unsigned i = 0; i < z->class_count; i++) {
        add_class(&l, &z->shapes[i], &z->classes[i]);
    }
    printf(" \"losses\": {\"rounding\": %zu, \"owners\": %zu, \"ends\": %zu, \"unfilled\": %zu, \"reserve\": "
           "%zu},\n",
           l.slots - b->payload, l.owners, l.full - l.slots - l.owners, l.classes - l.full,
           b->ops->total_size(b->pool) - l.classes);
}
