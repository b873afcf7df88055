/* SPDX-License-Identifier: MIT */
/* The table that forgets: what it finds was noted, and most of what was noted is found. */
#include "zswap/fingerprints.h"
#include "tests/harness.h"

#define PAGES_MAX 100000

static struct account account;
static struct memory memory = {.account = &account};
static struct fingerprints f;

static void set_up(void)
{
    account = (struct account){0};
    REQUIRE(fingerprints_init(&f, &memory, PAGES_MAX) == 0);
}

static void tear_down(void)
{
    fingerprints_destroy(&f);
    CHECK_EQUAL(account_total(&account), 0);
}

static uint64_t hash_of(uint64_t i)
{
    uint64_t seed = i + 1;
    harness_random(&seed);
    return harness_random(&seed);
}

/* How many of 0 .. n - 1 are found, each as its own owner. */
static uint64_t count_found(uint64_t n)
{
    uint64_t found = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t owner;
        bool is_there = fingerprints_find(&f, hash_of(i), &owner);
        CHECK(!is_there || owner == i);
        found += is_there && owner == i;
    }
    return found;
}

TEST(what_was_noted_is_found)
{
    uint64_t owner;
    set_up();
    CHECK(!fingerprints_find(&f, hash_of(1), &owner));
    fingerprints_note(&f, hash_of(1), 77);
    CHECK(fingerprints_find(&f, hash_of(1), &owner));
    CHECK_EQUAL(owner, 77);
    CHECK(!fingerprints_find(&f, hash_of(2), &owner));
    tear_down();
}

TEST(the_largest_owner_fits)
{
    uint64_t owner, largest = (1ull << FINGERPRINT_OWNER_BITS) - 1;
    set_up();
    fingerprints_note(&f, UINT64_MAX, largest);
    CHECK(fingerprints_find(&f, UINT64_MAX, &owner));
    CHECK_EQUAL(owner, largest);
    tear_down();
}

TEST(the_newest_owner_of_a_hash_is_found)
{
    uint64_t owner;
    set_up();
    for (uint64_t i = 0; i < 20; i++) {
        fingerprints_note(&f, hash_of(1), i);
    }
    CHECK(fingerprints_find(&f, hash_of(1), &owner));
    CHECK_EQUAL(owner, 19);
    /* and took the place of the older ones: others have room in the bucket */
    for (uint64_t i = 1; i < 8; i++) {
        fingerprints_note(&f, hash_of(1) ^ i << 20, 100 + i);
    }
    for (uint64_t i = 0; i < 8; i++) {
        CHECK(fingerprints_find(&f, hash_of(1) ^ i << 20, &owner));
        CHECK_EQUAL(owner, i ? 100 + i : 19);
    }
    tear_down();
}

TEST(a_full_bucket_forgets_one_for_the_next)
{
    uint64_t owner, found = 0;
    set_up();
    for (uint64_t i = 0; i < 9; i++) {
        fingerprints_note(&f, i << 20, i + 1);
    }
    for (uint64_t i = 0; i < 9; i++) {
        found += fingerprints_find(&f, i << 20, &owner);
    }
    CHECK_EQUAL(found, 8);
    CHECK(fingerprints_find(&f, 8ull << 20, &owner));
    tear_down();
}

TEST(it_grows_with_the_pages_and_keeps_what_it_knows)
{
    set_up();
    for (uint64_t i = 0; i < PAGES_MAX; i++) {
        fingerprints_grow(&f, i);
        fingerprints_note(&f, hash_of(i), i);
    }
    uint64_t found = count_found(PAGES_MAX);
    printf("# %llu of %d found, in %zu bytes\n", (unsigned long long)found, PAGES_MAX,
           account_total(&account));
    CHECK(found > PAGES_MAX / 100 * 95); /* the others' bucket was full */
    CHECK(account_total(&account) < PAGES_MAX * 24);
    tear_down();
}

TEST(it_grows_to_its_bound_only)
{
    set_up();
    uint32_t most = f.bucket_bits_max;
    for (uint64_t i = 0; i < 100; i++) {
        fingerprints_grow(&f, UINT64_MAX / 8);
    }
    CHECK_EQUAL(f.bucket_bits, most);
    fingerprints_note(&f, UINT64_MAX, 1);
    uint64_t owner;
    CHECK(fingerprints_find(&f, UINT64_MAX, &owner));
    tear_down();
}

TEST(without_memory_nothing_is_noted)
{
    uint64_t owner;
    set_up();
    memory.fail_countdown = 1;
    fingerprints_note(&f, hash_of(1), 1);
    CHECK_EQUAL(memory.fail_countdown, 0);
    CHECK(!fingerprints_find(&f, hash_of(1), &owner));
    fingerprints_note(&f, hash_of(1), 1);
    CHECK(fingerprints_find(&f, hash_of(1), &owner));
    tear_down();
}

int main(void)
{
    RUN(what_was_noted_is_found);
    RUN(the_largest_owner_fits);
    RUN(the_newest_owner_of_a_hash_is_found);
    RUN(a_full_bucket_forgets_one_for_the_next);
    RUN(it_grows_with_the_pages_and_keeps_what_it_knows);
    RUN(it_grows_to_its_bound_only);
    RUN(without_memory_nothing_is_noted);
    return harness_finish();
}
