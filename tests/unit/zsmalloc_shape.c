/* SPDX-License-Identifier: MIT */
/* The shapes of zsmalloc's chains: every size has a class that fits it, and none loses much. */
#include "tests/unit/zsmalloc_fixture.h"

#define ROOM (64 << 20)

static struct fixture f; /* large */

TEST(every_size_fits_the_slots_of_its_class)
{
    set_up(&f, ROOM);
    for (size_t bytes = 1; bytes <= PAGE_BYTES; bytes++) {
        const struct zs_shape *shape = shape_of(&f, bytes);
        CHECK(bytes <= shape->slot_bytes);
        CHECK_EQUAL(shape->slot_bytes % ZS_UNIT_BYTES, 0);
    }
    tear_down(&f);
}

TEST(slots_and_their_owners_lie_side_by_side_in_the_chain)
{
    set_up(&f, ROOM);
    for (unsigned class = 0; class < f.z->class_count; class ++) {
        const struct zs_shape *shape = &f.z->shapes[class];
        CHECK(shape->owners_outside || shape->start >= shape->slots * ZS_OWNER_BYTES);
        CHECK(shape->start + shape->slots * shape->slot_bytes <= shape->pages * (int)PAGE_BYTES);
        CHECK(shape->pages >= ZS_CHAIN_PAGES_MIN && shape->pages <= ZS_CHAIN_PAGES);
        CHECK_EQUAL(zs_pages_for(shape, shape->slots), shape->pages);
        for (unsigned slot = 0; slot < shape->slots; slot++) {
            CHECK_EQUAL(zs_handle_slot(shape, zs_handle(shape, 5, slot)), slot);
            CHECK(zs_group_of(shape, slot) < ZS_GROUPS);
        }
        CHECK_EQUAL(zs_group_of(shape, 0), 0);
        CHECK_EQUAL(zs_group_of(shape, shape->slots - 1u), ZS_GROUPS - 1);
        CHECK_EQUAL(zs_group_of(shape, shape->slots), ZS_GROUPS);
    }
    tear_down(&f);
}

TEST(classes_fall_in_size_and_no_two_are_alike)
{
    set_up(&f, ROOM);
    CHECK_EQUAL(f.z->shapes[0].slot_bytes, PAGE_BYTES);
    for (unsigned class = 1; class < f.z->class_count; class ++) {
        const struct zs_shape *shape = &f.z->shapes[class];
        CHECK(shape->slot_bytes < shape[-1].slot_bytes);
        CHECK(shape->slots != shape[-1].slots || shape->pages != shape[-1].pages);
    }
    CHECK_EQUAL(f.z->class_of_units[0], f.z->class_count - 1);
    tear_down(&f);
}

TEST(full_chains_lose_little)
{
    set_up(&f, ROOM);
    double lost = 0;
    unsigned sizes = 0;
    for (size_t bytes = 256; bytes <= PAGE_BYTES - 64; bytes += ZS_UNIT_BYTES, sizes++) {
        const struct zs_shape *shape = shape_of(&f, bytes);
        double loss = 1 - (double)(shape->slots * bytes) / (double)(shape->pages * PAGE_BYTES);
        CHECK(loss < 0.06);
        lost += loss;
    }
    CHECK(lost / sizes < 0.015);
    CHECK_EQUAL(shape_of(&f, PAGE_BYTES)->slots, shape_of(&f, PAGE_BYTES)->pages);
    tear_down(&f);
}

int main(void)
{
    RUN(every_size_fits_the_slots_of_its_class);
    RUN(slots_and_their_owners_lie_side_by_side_in_the_chain);
    RUN(classes_fall_in_size_and_no_two_are_alike);
    RUN(full_chains_lose_little);
    return harness_finish();
}
