/* SPDX-License-Identifier: MIT */
/*
 * Loads that wait for the device.
 *
 * They give the layout lock up meanwhile: a change of some other range (malloc gives pages back all the time) must
 * not wait for a disk, nor the faults that would queue behind that change. The page's slot stays held, so that
 * nobody else brings it in or takes it out; what may happen is that its range is changed. Whoever does that, with
 * the layout lock held exclusively, marks the loads under way in it as stale; what a stale load has read is
 * dropped, and the toucher comes again.
 *
 * A load under way counts as unfinished (region_fork_prepare waits for it), since it is inside the cache and the
 * device.
 */
#include <errno.h>

#include "region/internal.h"

static void begin(struct region *r, struct slow_load *load)
{
    SCOPED_LOCK(&r->slow_loads_lock);
    load->next = r->slow_loads;
    r->slow_loads = load;
}

static void end(struct region *r, struct slow_load *load)
{
    SCOPED_LOCK(&r->slow_loads_lock);
    struct slow_load **link = &r->slow_loads;
    while (*link != load) {
        link = &(*link)->next;
    }
    *link = load->next;
}

int slow_load(struct region *r, uint64_t page, void *buffer)
{
    struct slow_load load = {.page = page};
    begin(r, &load);
    /* Relaxed: read under the layout lock, which orders it. */
    atomic_add_relaxed(&r->pagein.unfinished, 1);
    rwlock_read_unlock(&r->layout);
    int error = zswap_load(r->zswap, page_entry(r, page), buffer);
    rwlock_read_lock(&r->layout);
    atomic_sub_acq_rel(&r->pagein.unfinished, 1);
    end(r, &load);
    return load.stale ? -ESTALE : error;
}

void slow_loads_forget(struct region *r, uint64_t first, uint64_t count)
{
    SCOPED_LOCK(&r->slow_loads_lock);
    for (struct slow_load *load = r->slow_loads; load; load = load->next) {
        load->stale |= load->page - first < count;
    }
}
