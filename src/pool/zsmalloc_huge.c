/* SPDX-License-Identifier: MIT */
/*
 * Huge pages under chains of small objects.
 *
 *   block   |chain|chain|chain| ... |chain|    2 MiB: 32 chains of 16 pages, no gaps between them
 *
 * Each access to one of millions of small objects misses the TLB. With huge pages under them, a load at random of 64 M pages
 * that compress to 37 bytes costs 1.1 times what it does at 64 K, without 1.5 to 1.6 times (bench-scale).
 *
 * A huge page holds memory for all of its chains. So a block is made one once the last of its chains has all its pages, charged:
 * then nothing more is resident, or charged, than before. And it is made small pages again before any of them goes
 * back: the kernel does free part of a huge page, but keeps the memory until it wants some.
 *
 *          last chain full                 a chain goes back           no chain is full any more
 *   small -----------------> (ripe) huge ---------------------> broken --------------------------> small
 *
 * A block is collapsed once in a life, so each is paid for by 2 MiB of stores, whatever goes and comes at its edges.
 *
 * Why only under small objects: to collapse takes half a millisecond and more, to break 0.2. That is a tenth of a microsecond
 * at most for each of the 8000 objects and more of a block here, and 600 ns for each of the 1100 of a block of usual ones,
 * which as a rule are loaded once (docs/pools.md). And chains of 9 to 16 pages lie in 16 pages' addresses each, with gaps, where a huge page would have
 * memory that nobody counts.
 *
 * Lock: `huge_lock`, while a block is collapsed or broken; so nobody gives pages back in between. Who makes a chain
 * full takes none, being inside a class's: it only leaves word.
 *
 * Limits. Memory that a fork shares is not split as long as both processes have it. Of two blocks that ripen at the
 * same time, one may stay small.
 */
#include <stdio.h>

#include "pool/zsmalloc.h"

/* A block's word: how many of its chains have all their pages, and was it collapsed since there was last none? */
#define COLLAPSED (1u << 8)

/* Blocks are known by the numbers of their first chains, multiples of ZS_BLOCK_CHAINS. */
static uint32_t block_of(uint32_t chain)
{
    return chain / ZS_BLOCK_CHAINS * ZS_BLOCK_CHAINS;
}

static uint32_t index_of(const struct zs *z, uint32_t block)
{
    return (block - z->source.ranges[ZS_SMALL].first) / ZS_BLOCK_CHAINS;
}

static uint32_t *word_of(const struct zs *z, uint32_t block)
{
    return (uint32_t *)z->blocks.slots + index_of(z, block);
}

bool zs_huge_prepare(struct zs *z, uint32_t chain)
{
    return sparse_get_for_write(&z->blocks, index_of(z, block_of(chain))) != NULL;
}

/* Relaxed here and below: who acts on the count looks again under the lock; pages of a block that are not touched yet
 * read as zero, collapsed or not. */
void zs_huge_chain_full(struct zs *z, uint32_t chain)
{
    uint32_t block = block_of(chain);
    if (atomic_add_relaxed(word_of(z, block), 1) == ZS_BLOCK_CHAINS) {
        atomic_set_relaxed(&z->source.ripe_block, block);
    }
}

void zs_huge_collapse(struct zs *z)
{
    struct zs_source *source = &z->source;
    SCOPED_LOCK(&source->huge_lock);
    uint32_t block = atomic_swap_acq_rel(&source->ripe_block, 0);
    if (block && atomic_read_relaxed(word_of(z, block)) == ZS_BLOCK_CHAINS) {
        inherited_end(&source->inherited, zs_chain_address(z, block), ZS_BLOCK_BYTES);
        memory_collapse(zs_chain_address(z, block), ZS_BLOCK_BYTES);
        atomic_add_relaxed(word_of(z, block), COLLAPSED);
    }
}

/* Chains first .. end - 1 of the block. */
static void break_block(struct zs *z, uint32_t block, uint32_t first, uint32_t end)
{
    mutex_assert_held(&z->source.huge_lock);
    uint32_t *word = word_of(z, block), full = 0;
    for (uint32_t chain = first; chain < end; chain++) {
        full += zs_chain(z, chain)->pages == ZS_CHAIN_PAGES;
    }
    if (!full) {
        return;
    }
    bool is_huge = atomic_read_relaxed(word) == (COLLAPSED | ZS_BLOCK_CHAINS);
    if (is_huge) {
        memory_split(zs_chain_address(z, first), (size_t)(end - first) * ZS_CHAIN_BYTES);
    }
    uint32_t none = COLLAPSED;
    if (atomic_sub_relaxed(word, full) == none) {
        atomic_cas_relaxed(word, &none, 0); /* a new life, unless somebody has filled a chain meanwhile */
    }
}

void zs_huge_break(struct zs *z, uint32_t first, uint32_t chains)
{
    SCOPED_LOCK(&z->source.huge_lock);
    for (uint32_t chain = first, end; chain < first + chains; chain = end) {
        uint32_t block = block_of(chain);
        end = (uint32_t)min_size(first + chains, block + ZS_BLOCK_CHAINS);
        break_block(z, block, chain, end);
    }
}

bool zs_huge_consistent(const struct zs *z)
{
    const struct zs_range *range = &z->source.ranges[ZS_SMALL];
    mutex_assert_held(&z->source.lock);
    bool good = true;
    for (uint32_t i = 0; i < range->high_water; i += ZS_BLOCK_CHAINS) {
        uint32_t full = 0, block = range->first + i;
        for (uint32_t j = i; j < i + ZS_BLOCK_CHAINS && j < range->high_water; j++) {
            const struct zs_chain *record = sparse_get(&z->chains, range->first + j);
            full += record && record->pages == ZS_CHAIN_PAGES;
        }
        const uint32_t *word = sparse_get(&z->blocks, index_of(z, block));
        if (!word || (*word & ~COLLAPSED) != full || *word == COLLAPSED) {
            fprintf(stderr, "zsmalloc: block %u has %u full chains, and says %#x\n", block, full,
                    word ? *word : 0);
            good = false;
        }
    }
    return good;
}
