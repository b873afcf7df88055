/* SPDX-License-Identifier: MIT */
/*
 * The content of a test page, derived from its number and version, so that any byte of it can be checked at any time
 * without a copy.
 *
 *     stamp 0          at byte 0     \
 *     stamp 1, 2, 3    at 1024, ...   } page number << 24 | version: tells whose page it is, and how old
 *     all other bytes  text or noise, from the page's number and version / PAGE_REWRITE
 *
 * So a new version changes four words, and each 16th the whole page. The text looks like the log of a server; LZ4
 * makes 2.8 : 1 of it.
 */
#ifndef UZSWAP_TESTS_PAGE_CONTENT_H
#define UZSWAP_TESTS_PAGE_CONTENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CONTENT_PAGE 4096
#define CONTENT_WORDS (CONTENT_PAGE / 8)
#define CONTENT_STAMPS 4
#define STAMP_WORD(i) ((size_t)(i) * (CONTENT_WORDS / CONTENT_STAMPS))
#define VERSION_BITS 24
#define PAGE_REWRITE 16
#define CORPUS_BYTES (1u << 20)

/* Static, not malloc'ed: the yardstick is not to be made of what it measures. */
static char content_corpus[CORPUS_BYTES + CONTENT_PAGE];

static inline uint64_t content_mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static inline uint64_t content_stamp(uint64_t page, uint32_t version)
{
    return page << VERSION_BITS | version;
}

static inline void content_init(void)
{
    static const char *const paths[] = {"/",        "/index.html",     "/api/v1/users",   "/api/v1/orders",
                                        "/health",  "/static/app.css", "/static/main.js", "/login",
                                        "/metrics", "/api/v2/search",  "/img/logo.png",   "/cart/checkout"};
    static const char *const agents[] = {"curl/7.88.1", "Mozilla/5.0 (X11; Linux x86_64)",
                                         "Go-http-client/1.1", "python-requests/2.28"};
    uint64_t seed = 1;
    size_t at = 0;
    while (at < sizeof content_corpus - 1) {
        uint64_t r = content_mix(seed++);
        int n = snprintf(content_corpus + at, sizeof content_corpus - at,
                         "2024-03-%02u %02u:%02u:%02u 10.0.0.%u GET %s?id=%u 200 %u \"%s\" %ums\n",
                         (unsigned)(1 + at * 28 / sizeof content_corpus), (unsigned)(at >> 15) % 24,
                         (unsigned)(at >> 10) % 60, (unsigned)(at >> 7) % 60, (unsigned)(r >> 12) % 64,
                         paths[(r >> 20) % 12], (unsigned)(r >> 24) % 1000, (unsigned)(r >> 41) % 400 * 8,
                         agents[(r >> 56) % 4], (unsigned)(r >> 60));
        at += (size_t)n < sizeof content_corpus - at ? (size_t)n : sizeof content_corpus - at;
    }
}

/* Writes the page's whole content to `to`. */
static inline void content_make(uint64_t *to, uint64_t page, uint32_t version, bool incompressible)
{
    uint64_t seed = content_mix(page * 1000003 + version / PAGE_REWRITE + 1);
    if (incompressible) {
        for (size_t i = 0; i < CONTENT_WORDS; i++) {
            to[i] = content_mix(seed + i);
        }
    } else {
        memcpy(to, content_corpus + seed % CORPUS_BYTES, CONTENT_PAGE);
    }
    for (int i = 0; i < CONTENT_STAMPS; i++) {
        to[STAMP_WORD(i)] = content_stamp(page, version);
    }
}

/* How many bytes of the page are wrong. */
static inline uint64_t content_wrong_bytes(const uint64_t *found, uint64_t page, uint32_t version,
                                           bool incompressible)
{
    uint64_t expected[CONTENT_WORDS];
    uint64_t wrong = 0;
    content_make(expected, page, version, incompressible);
    if (memcmp(found, expected, CONTENT_PAGE) != 0) {
        const char *a = (const char *)found, *b = (const char *)expected;
        for (size_t i = 0; i < CONTENT_PAGE; i++) {
            wrong += a[i] != b[i];
        }
    }
    return wrong;
}

#endif
