/* SPDX-License-Identifier: MIT */
#include "swap/record.h"

#include "swap/device.h"
#include "swap/swap_map.h"
#include "tests/harness.h"
#include "tests/support/guarded.h"

static const struct swap_entry entry = {.type = 3, .offset = 0x123456};
static const uint64_t first_slot = 777;

/* A sealed record of `bytes` bytes of payload, the guard right behind its last slot. */
static char *make_record(struct guarded buffer, size_t bytes)
{
    uint64_t random = bytes + 1;
    size_t whole = record_slots(bytes) * SLOT_BYTES;
    char *record = guarded_end(buffer, whole);
    for (size_t i = 0; i < whole; i++) {
        record[i] = (char)harness_random(&random);
    }
    record_seal(record, bytes, entry, first_slot);
    return record;
}

static struct guarded make_buffer(void)
{
    struct guarded buffer = guarded_map(2 * PAGE_BYTES);
    REQUIRE(buffer.start);
    return buffer;
}

TEST(slots_cover_header_and_payload)
{
    CHECK_EQUAL(record_slots(1), 1);
    CHECK_EQUAL(record_slots(SLOT_BYTES - RECORD_HEADER_BYTES), 1);
    CHECK_EQUAL(record_slots(SLOT_BYTES - RECORD_HEADER_BYTES + 1), 2);
    CHECK_EQUAL(record_slots(PAGE_BYTES - RECORD_HEADER_BYTES), 8);
    CHECK_EQUAL(record_slots(PAGE_BYTES), SWAP_OBJECT_SLOTS_MAX);
}

TEST(record_of_any_length_opens)
{
    struct guarded buffer = make_buffer();
    for (size_t bytes = 1; bytes <= PAGE_BYTES; bytes++) {
        char *record = make_record(buffer, bytes);
        const char *payload = record_open(record, bytes, entry, first_slot);
        CHECK(payload == record + RECORD_HEADER_BYTES);
    }
    guarded_unmap(buffer);
}

TEST(seal_keeps_the_payload_and_zeroes_the_rest)
{
    struct guarded buffer = make_buffer();
    for (size_t bytes = 1; bytes <= PAGE_BYTES; bytes += 97) {
        char *record = make_record(buffer, bytes);
        uint64_t random = bytes + 1;
        bool kept = true, zeroed = true;
        for (size_t i = 0; i < record_slots(bytes) * SLOT_BYTES; i++) {
            char was = (char)harness_random(&random);
            if (i >= RECORD_HEADER_BYTES + bytes) {
                zeroed = zeroed && record[i] == 0;
            } else if (i >= RECORD_HEADER_BYTES) {
                kept = kept && record[i] == was;
            }
        }
        CHECK(kept);
        CHECK(zeroed);
        CHECK(memcmp(record + 10, (char[6]){0}, 6) == 0); /* nothing uninitialised goes to the device */
    }
    guarded_unmap(buffer);
}

TEST(record_of_another_page_or_place_or_length_is_refused)
{
    struct guarded buffer = make_buffer();
    char *record = make_record(buffer, 1000);
    CHECK(record_open(record, 1000, entry, first_slot));
    CHECK(!record_open(record, 1000, (struct swap_entry){entry.type + 1, entry.offset}, first_slot));
    CHECK(!record_open(record, 1000, (struct swap_entry){entry.type, entry.offset + 1}, first_slot));
    CHECK(!record_open(record, 1000, (struct swap_entry){entry.type, first_slot}, entry.offset));
    CHECK(!record_open(record, 1000, entry, first_slot + 1));
    CHECK(!record_open(record, 999, entry, first_slot));
    CHECK(!record_open(record, 1001, entry, first_slot));
    CHECK(!record_open(record, 1000 + 65536, entry, first_slot));
    guarded_unmap(buffer);
}

TEST(older_record_of_the_same_page_and_place_is_another_record)
{
    /* Same names: only its content tells it apart, so its sum differs. */
    struct guarded buffer = make_buffer();
    char *record = make_record(buffer, 64);
    char old[RECORD_HEADER_BYTES];
    memcpy(old, record, sizeof old);
    record[RECORD_HEADER_BYTES] ^= 1;
    record_seal(record, 64, entry, first_slot);
    CHECK(memcmp(old, record, sizeof old) != 0);
    guarded_unmap(buffer);
}

TEST(every_flipped_bit_is_noticed)
{
    struct guarded buffer = make_buffer();
    static const size_t lengths[] = {1, 17, 300, 1500, PAGE_BYTES};
    for (size_t k = 0; k < ARRAY_LENGTH(lengths); k++) {
        size_t bytes = lengths[k];
        char *record = make_record(buffer, bytes);
        size_t step = bytes > 1000 ? 7 : 1;
        for (size_t bit = 0; bit < 8 * (RECORD_HEADER_BYTES + bytes); bit += step) {
            record[bit / 8] ^= (char)(1 << bit % 8);
            CHECK(!record_open(record, bytes, entry, first_slot));
            record[bit / 8] ^= (char)(1 << bit % 8);
        }
        CHECK(record_open(record, bytes, entry, first_slot));
    }
    guarded_unmap(buffer);
}

TEST(slots_that_were_never_written_hold_no_record)
{
    struct guarded buffer = make_buffer();
    for (size_t bytes = 0; bytes <= PAGE_BYTES; bytes += 64) {
        CHECK(!record_open(guarded_end(buffer, record_slots(bytes) * SLOT_BYTES), bytes, entry, first_slot));
    }
    guarded_unmap(buffer);
}

TEST(page_sum_tells_pages_and_places_apart)
{
    struct guarded buffer = guarded_map(PAGE_BYTES);
    REQUIRE(buffer.start);
    uint64_t sum = record_page_sum(buffer.start, entry, first_slot);
    CHECK(sum != 0);
    CHECK(sum == record_page_sum(buffer.start, entry, first_slot));
    CHECK(sum != record_page_sum(buffer.start, entry, first_slot + 1));
    CHECK(sum !=
          record_page_sum(buffer.start, (struct swap_entry){entry.type, entry.offset + 1}, first_slot));
    CHECK(sum !=
          record_page_sum(buffer.start, (struct swap_entry){entry.type + 1, entry.offset}, first_slot));
    for (size_t bit = 0; bit < 8 * PAGE_BYTES; bit += 11) {
        buffer.start[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(sum != record_page_sum(buffer.start, entry, first_slot));
        buffer.start[bit / 8] ^= (char)(1 << bit % 8);
    }
    guarded_unmap(buffer);
}

int main(void)
{
    RUN(slots_cover_header_and_payload);
    RUN(record_of_any_length_opens);
    RUN(seal_keeps_the_payload_and_zeroes_the_rest);
    RUN(record_of_another_page_or_place_or_length_is_refused);
    RUN(older_record_of_the_same_page_and_place_is_another_record);
    RUN(every_flipped_bit_is_noticed);
    RUN(slots_that_were_never_written_hold_no_record);
    RUN(page_sum_tells_pages_and_places_apart);
    return harness_finish();
}
