/* SPDX-License-Identifier: MIT */
/* Touches in order are recognised, several streams at once, both ways; others are not. */
#include "region/streams.h"
#include "tests/harness.h"

/* Faults on every page of [first, first + pages) that the windows so far have not brought in. How many faults. */
static unsigned walk(struct streams *s, uint64_t first, unsigned pages, int direction)
{
    unsigned faults = 0;
    for (unsigned i = 0; i < pages;) {
        struct stream_window window = streams_fault(s, direction > 0 ? first + i : first - i);
        i += window.count > 1 && window.direction != direction ? 1 : window.count;
        faults++;
    }
    return faults;
}

TEST(touches_in_order_fault_once_a_window)
{
    struct streams s = {0};
    unsigned faults = walk(&s, 1000, 1600, 1);
    CHECK(faults < 1600 / STREAM_WINDOW_MAX + 10);
}

TEST(downwards_as_well)
{
    struct streams s = {0};
    unsigned faults = walk(&s, 5000, 1600, -1);
    CHECK(faults < 1600 / STREAM_WINDOW_MAX + 10);
}

TEST(two_interleaved_streams_are_both_recognised)
{
    struct streams s = {0};
    uint64_t a = 10000, b = 90000;
    struct stream_window window = {0};
    for (int i = 0; i < 8; i++) {
        window = streams_fault(&s, a);
        a += window.count;
        window = streams_fault(&s, b);
        b += window.count;
    }
    CHECK_EQUAL(window.count, STREAM_WINDOW_MAX);
    CHECK_EQUAL(streams_fault(&s, a).count, STREAM_WINDOW_MAX);
}

TEST(a_few_pages_that_are_there_already_do_not_end_a_stream)
{
    struct streams s = {0};
    uint64_t page = 500;
    for (int i = 0; i < 6; i++) {
        page += streams_fault(&s, page).count;
    }
    CHECK_EQUAL(streams_fault(&s, page + STREAM_SKIP).count, STREAM_WINDOW_MAX);
    CHECK_EQUAL(streams_fault(&s, page + 100).count, 1);
}

TEST(scattered_touches_bring_in_one_page_each)
{
    struct streams s = {0};
    uint64_t state = 7;
    unsigned more = 0;
    for (int i = 0; i < 100000; i++) {
        more += streams_fault(&s, harness_random(&state) % (1u << 30)).count > 1;
    }
    CHECK(more < 10);
}

TEST(the_first_pages_are_no_stream_of_an_unused_entry)
{
    struct streams s = {0};
    CHECK_EQUAL(streams_fault(&s, 0).count, 1);
    struct streams t = {0};
    CHECK_EQUAL(streams_fault(&t, 1).count, 1);
}

int main(void)
{
    RUN(touches_in_order_fault_once_a_window);
    RUN(downwards_as_well);
    RUN(two_interleaved_streams_are_both_recognised);
    RUN(a_few_pages_that_are_there_already_do_not_end_a_stream);
    RUN(scattered_touches_bring_in_one_page_each);
    RUN(the_first_pages_are_no_stream_of_an_unused_entry);
    return harness_finish();
}
