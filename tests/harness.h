/* SPDX-License-Identifier: MIT */
/*
 * The frame of every test program: named test functions, one a behaviour, reported as TAP.
 *
 *     TEST(load_of_unknown_entry_says_not_here) { CHECK(zswap_load(...) == -ENOENT); }
 *     int main(void) { RUN(load_of_unknown_entry_says_not_here); return harness_finish(); }
 *
 * CHECK may be used from any thread. It says what failed and goes on; REQUIRE ends the program. A test that the
 * machine cannot run says SKIP with the reason.
 */
#ifndef UZSWAP_TESTS_HARNESS_H
#define UZSWAP_TESTS_HARNESS_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"

/* Is this program built with a sanitizer that replaces the allocator and watches threads? */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HARNESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define HARNESS_SANITIZED 1
#endif
#endif
#ifndef HARNESS_SANITIZED
#define HARNESS_SANITIZED 0
#endif

static uint32_t harness_failures; /* of the running test; atomic */
static const char *harness_skip_reason;
static int harness_tests, harness_failed;

#define TEST(name) static void name(void)

__attribute__((format(printf, 3, 4), unused)) static void harness_fail(const char *file, int line,
                                                                       const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* Relaxed: a count, read after the threads were joined. */
    if (atomic_add_relaxed(&harness_failures, 1) <= 20) {
        printf("# %s:%d: %s\n", file, line, text);
        fflush(stdout);
    }
}

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            harness_fail(__FILE__, __LINE__, "not true: %s", #condition);                                    \
        }                                                                                                    \
    } while (0)

#define CHECK_EQUAL(found, expected)                                                                         \
    do {                                                                                                     \
        long long found_ = (long long)(found), expected_ = (long long)(expected);                            \
        if (found_ != expected_) {                                                                           \
            harness_fail(__FILE__, __LINE__, "%s is %lld and not %s (%lld)", #found, found_, #expected,      \
                         expected_);                                                                         \
        }                                                                                                    \
    } while (0)

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            harness_fail(__FILE__, __LINE__, "cannot go on, not true: %s", #condition);                      \
            printf("not ok - stopped\n");                                                                    \
            fflush(stdout);                                                                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* Ends the running test function as skipped. */
#define SKIP(reason)                                                                                         \
    do {                                                                                                     \
        harness_skip_reason = (reason);                                                                      \
        return;                                                                                              \
    } while (0)

__attribute__((unused)) static void harness_run(const char *name, void (*test)(void))
{
    harness_failures = 0;
    harness_skip_reason = NULL;
    test();
    harness_tests++;
    if (harness_failures) {
        harness_failed++;
        printf("not ok %d - %s\n", harness_tests, name);
    } else if (harness_skip_reason) {
        printf("ok %d - %s # SKIP %s\n", harness_tests, name, harness_skip_reason);
    } else {
        printf("ok %d - %s\n", harness_tests, name);
    }
    fflush(stdout);
}

#define RUN(test) harness_run(#test, test)

__attribute__((unused)) static int harness_finish(void)
{
    printf("1..%d\n", harness_tests);
    return harness_failed ? 1 : 0;
}

/* A small fast generator (xorshift64*), so that a seed replays a run. `state` is never 0. */
__attribute__((unused)) static uint64_t harness_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull;
}

#endif
