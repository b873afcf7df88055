/* SPDX-License-Identifier: MIT */
#include "base/size.h"
#include "harness.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

static void check_size(const char *text, size_t expected)
{
    size_t bytes = 0;
    int error = size_parse(text, 1000 * MIB, &bytes);
    if (error || bytes != expected) {
        harness_fail(__FILE__, __LINE__, "\"%s\" gave %d and %zu instead of %zu", text, error, bytes,
                     expected);
    }
}

static void check_refused(const char *text, int expected)
{
    size_t bytes = 12345;
    int error = size_parse(text, 1000 * MIB, &bytes);
    if (error != expected || bytes != 12345) {
        harness_fail(__FILE__, __LINE__, "\"%s\" gave %d and %zu instead of %d", text, error, bytes,
                     expected);
    }
}

TEST(plain_numbers_are_bytes)
{
    check_size("1", 1);
    check_size("4096", 4096);
    check_size("4096B", 4096);
    check_size("18446744073709551615", SIZE_MAX);
}

TEST(suffixes_are_powers_of_1024)
{
    check_size("3K", 3 * KIB);
    check_size("3M", 3 * MIB);
    check_size("3G", 3 * GIB);
    check_size("3T", 3 * TIB);
    check_size("3k", 3 * KIB);
    check_size("2MB", 2 * MIB);
    check_size("2GiB", 2 * GIB);
}

TEST(percentages_are_of_the_whole)
{
    check_size("100%", 1000 * MIB);
    check_size("50%", 500 * MIB);
    check_size("1%", 10 * MIB);
}

TEST(percentages_need_a_whole)
{
    size_t bytes;
    CHECK_EQUAL(size_parse("50%", 0, &bytes), -EINVAL);
}

TEST(what_is_no_size_is_refused)
{
    static const char *const texts[] = {"",   "K",    "G1",   "1X",  "1KK", "1 K",  "-1",  "+1", " 1",
                                        "1 ", "0x10", "1.5G", "1Ki", "1%%", "50%K", "1Bi", "%",  "1KiBs"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        check_refused(texts[i], -EINVAL);
    }
}

TEST(what_is_out_of_range_is_refused)
{
    static const char *const texts[] = {"0",    "0K",        "0%",           "101%",
                                        "999%", "16777216T", "17179869184G", "18446744073709551616"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        check_refused(texts[i], -ERANGE);
    }
}

static void check_text(size_t bytes, const char *expected)
{
    char text[16];
    if (strcmp(size_format(bytes, text), expected) != 0) {
        harness_fail(__FILE__, __LINE__, "%zu gave \"%s\" instead of \"%s\"", bytes, text, expected);
    }
}

TEST(sizes_are_written_with_their_unit)
{
    check_text(0, "0 B");
    check_text(1023, "1023 B");
    check_text(1024, "1 KiB");
    check_text(1536, "1.5 KiB");
    check_text(100 * MIB + 900 * KIB, "100 MiB");
    check_text(3 * GIB / 2, "1.5 GiB");
    check_text(2 * TIB, "2 TiB");
    check_text(SIZE_MAX, "16777215 TiB");
}

/* What is parsed and written is, to within the digits that are written, what it was. */
TEST(written_sizes_read_back)
{
    uint64_t state = 42;
    for (int i = 0; i < 20000; i++) {
        size_t bytes = harness_random(&state) >> (harness_random(&state) % 64), back = 0;
        char text[16], plain[16];
        size_format(bytes, text);
        size_t length = strcspn(text, ". ");
        memcpy(plain, text, length);
        strcpy(plain + length, strchr(text, ' ') + 1);
        if (strcmp(plain, "0B") == 0) {
            continue;
        }
        CHECK(size_parse(plain, 0, &back) == 0 && back <= bytes && bytes - back <= bytes / 2);
    }
}

int main(void)
{
    RUN(plain_numbers_are_bytes);
    RUN(suffixes_are_powers_of_1024);
    RUN(percentages_are_of_the_whole);
    RUN(percentages_need_a_whole);
    RUN(what_is_no_size_is_refused);
    RUN(what_is_out_of_range_is_refused);
    RUN(sizes_are_written_with_their_unit);
    RUN(written_sizes_read_back);
    return harness_finish();
}
