/* SPDX-License-Identifier: MIT */
/*
 * The shapes of zsmalloc's chains: for each size, how many pages and slots lose least.
 *
 *   |owners, 5 bytes a slot| slot 0 | slot 1 | ... | slot n - 1 |  |
 *   0                    start                                      pages
 *
 * Of all lengths from 9 to 16 pages the one is taken that loses the smallest part to the owners and to the rest at
 * the end. Sizes of which equally many fit into equally many pages share a class, whose slots are the largest of
 * them.
 *
 * Why 16. The longer a chain, the less is lost at its end, and the more of it is empty while the class has few
 * objects. Payload of the pool in percent (bench-density synthetic: sizes from 64 to 3500, mean 1500), after
 * filling | after churn | after compaction:
 *
 *   pages at most      4                   8                   16                  32
 *    16 MiB       94.1 88.4 94.1      96.4 84.4 96.5      96.7 77.8 96.7      96.4 75.2 96.2
 *    64 MiB       94.7 91.3 94.7      97.5 90.8 97.5      98.2 87.4 98.2      98.4 85.4 98.3
 *   256 MiB       94.8 93.4 94.8      97.8 94.9 97.8      98.6 93.7 98.6      98.9 92.7 98.9
 *
 * Small slots are all in chains of 16 pages, which lose hardly more than 0.1 % at their ends (zsmalloc_huge.c).
 *
 * Never less than 9 pages, so that the address space that chains take, 16 pages each, is never twice what they may
 * hold. (A length of up to 8 is no better than its double.)
 *
 * Raw pages would lose one page in 16 to their owners. They have them in a table of their own.
 */
#include "pool/zsmalloc.h"

/* How many slots of `bytes` fit behind their owners. */
static unsigned slots_in(unsigned pages, unsigned bytes)
{
    size_t room = (size_t)pages << PAGE_SHIFT;
    size_t slots = room / (bytes + ZS_OWNER_BYTES);
    while (round_up(slots * ZS_OWNER_BYTES, ZS_UNIT_BYTES) + slots * bytes > room) {
        slots--;
    }
    return (unsigned)slots;
}

static struct zs_shape best_shape(unsigned bytes)
{
    struct zs_shape best = {.slot_bytes = (uint16_t)bytes, .pages = 1};
    unsigned shortest = bytes <= ZS_SMALL_BYTES ? ZS_CHAIN_PAGES : ZS_CHAIN_PAGES_MIN;
    for (unsigned pages = shortest; pages <= ZS_CHAIN_PAGES; pages++) {
        unsigned slots = slots_in(pages, bytes);
        if (slots * best.pages > best.slots * pages) { /* more a page */
            best.pages = (uint8_t)pages;
            best.slots = (uint16_t)slots;
        }
    }
    best.start = (uint16_t)round_up(best.slots * ZS_OWNER_BYTES, ZS_UNIT_BYTES);
    return best;
}

static struct zs_shape raw_shape(void)
{
    return (struct zs_shape){
        .slot_bytes = PAGE_BYTES, .pages = ZS_RAW_SLOTS, .slots = ZS_RAW_SLOTS, .owners_outside = true};
}

/* Rounded up, the inverse is exact for all units of a chain; rounded down, the scale keeps the fullest chain in the
 * last group. */
static void add_factors(struct zs_shape *shape)
{
    uint32_t units = shape->slot_bytes >> ZS_UNIT_SHIFT;
    shape->inverse = ((1u << ZS_INVERSE_SHIFT) + units - 1) / units;
    shape->group_scale = (ZS_GROUPS << 16) / shape->slots;
}

unsigned zs_make_shapes(struct zs_shape shapes[ZS_CLASSES_MAX], uint8_t class_of_units[ZS_UNITS_MAX])
{
    unsigned count = 0;
    for (unsigned units = ZS_UNITS_MAX; units > 0; units--) {
        struct zs_shape shape = units == ZS_UNITS_MAX ? raw_shape() : best_shape(units << ZS_UNIT_SHIFT);
        struct zs_shape *last = &shapes[count - !!count];
        if (!count || shape.pages != last->pages || shape.slots != last->slots) {
            add_factors(&shape);
            shapes[count++] = shape;
        }
        class_of_units[units - 1] = (uint8_t)(count - 1);
    }
    return count;
}
