/* SPDX-License-Identifier: MIT */
/* Pages of one repeated word: which are recognised, and which words fit an entry. */
#include "zswap/same_filled.h"

#include "tests/harness.h"
#include "zswap/entry_word.h"

static uint64_t page[PAGE_BYTES / 8];

static void fill(uint64_t value)
{
    for (size_t i = 0; i < ARRAY_LENGTH(page); i++) {
        page[i] = value;
    }
}

TEST(a_page_of_one_word_is_recognised)
{
    const uint64_t values[] = {0, 1, UINT64_MAX, 0x123456789abcdef0, 0x8000000000000000};
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        uint64_t value = ~values[i];
        fill(values[i]);
        CHECK(same_filled(page, &value));
        CHECK(value == values[i]);
    }
}

TEST(one_other_bit_anywhere_is_seen)
{
    fill(0x4141414141414141);
    for (size_t bit = 0; bit < PAGE_BYTES * 8; bit++) {
        uint64_t value;
        ((unsigned char *)page)[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(!same_filled(page, &value));
        ((unsigned char *)page)[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

TEST(expand_is_the_inverse)
{
    uint64_t value;
    same_filled_expand(page, 0xfedcba9876543210);
    CHECK(same_filled(page, &value));
    CHECK(value == 0xfedcba9876543210);
}

/* Encodes and decodes to itself, if it is said to fit. */
static bool fits(uint64_t value)
{
    uint64_t word = same_filled_encode(value);
    if (word) {
        CHECK_EQUAL(entry_kind(word), ENTRY_FILLED);
        CHECK(entry_content(word) == word);
        CHECK(same_filled_decode(word) == value);
    }
    return word != 0;
}

TEST(words_of_61_bits_fit_with_their_sign)
{
    CHECK(fits(0));
    CHECK(fits(UINT64_MAX));
    CHECK(fits((1ull << 60) - 1));
    CHECK(fits((uint64_t) - (1ll << 60)));
    for (int bit = 0; bit < 60; bit++) {
        CHECK(fits(1ull << bit));
        CHECK(fits(~(1ull << bit)));
    }
}

TEST(words_that_repeat_32_bits_fit)
{
    for (uint64_t i = 0; i < 256; i++) {
        CHECK(fits(i * 0x0101010101010101)); /* every memset */
        CHECK(fits(i * 0x9e3779b1 % UINT32_MAX * 0x100000001));
    }
}

TEST(other_wide_words_do_not_fit)
{
    CHECK(!fits(1ull << 60));
    CHECK(!fits((uint64_t) - (1ll << 60) - 1));
    CHECK(!fits(0x91a2b3c4d5e6f780));
}

TEST(what_is_said_to_fit_comes_back)
{
    uint64_t seed = 11;
    for (int i = 0; i < 100000; i++) {
        fits(harness_random(&seed) >> harness_random(&seed) % 8);
    }
}

int main(void)
{
    RUN(a_page_of_one_word_is_recognised);
    RUN(one_other_bit_anywhere_is_seen);
    RUN(expand_is_the_inverse);
    RUN(words_of_61_bits_fit_with_their_sign);
    RUN(words_that_repeat_32_bits_fit);
    RUN(other_wide_words_do_not_fit);
    RUN(what_is_said_to_fit_comes_back);
    return harness_finish();
}
