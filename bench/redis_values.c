/* SPDX-License-Identifier: MIT */
#include "bench/redis_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"

#define VALUE_LEAST 600
#define VALUE_SPREAD 900

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
    return x ^ x >> 29;
}

size_t key_make(char to[KEY_MAX], uint32_t key)
{
    return (size_t)snprintf(to, KEY_MAX, "user:%08u", key);
}

/* One of some hundred words of two to five syllables. As in a language, the first ones are used most. */
static size_t put_word(char *to, uint64_t *random)
{
    static const char syllables[32][3] = {"an", "be", "co", "da", "el", "fi", "go", "ha", "in", "jo", "ka",
                                          "le", "mi", "no", "or", "pa", "qu", "re", "si", "ta", "un", "ve",
                                          "wi", "xe", "yo", "za", "st", "ch", "er", "ou", "ai", "th"};
    uint64_t r = random_number(random);
    uint64_t number = (r & 31) * (r >> 5 & 7), rest = mix(number + 1);
    size_t bytes = 0;
    for (uint64_t n = 2 + (rest & 3); n; n--) {
        rest >>= 5;
        memcpy(to + bytes, syllables[rest & 31], 2);
        bytes += 2;
    }
    return bytes;
}

static size_t put_words(char *to, unsigned n, char between, uint64_t *random)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        bytes += put_word(to + bytes, random);
        to[bytes++] = between;
    }
    return bytes - 1;
}

static const char *flag(uint64_t bits)
{
    return bits & 1 ? "true" : "false";
}

#define PUT(...) at += (size_t)snprintf(to + at, VALUE_MAX - at, __VA_ARGS__)

size_t value_make(char to[VALUE_MAX], uint32_t key, uint32_t version)
{
    uint64_t random = mix((uint64_t)key << 32 | version) | 1;
    size_t bytes = VALUE_LEAST + mix(key) % VALUE_SPREAD, at = 0;
    PUT("{\"id\":\"%08u\",\"version\":\"%010u\",\"name\":\"", key, version);
    at += put_words(to + at, 2, ' ', &random);
    PUT("\",\"mail\":\"");
    at += put_words(to + at, 2, '.', &random);
    uint64_t r = random_number(&random);
    PUT("@example.org\",\"created\":\"20%02u-%02u-%02uT%02u:%02u:00Z\",\"settings\":{\"language\":\"%s\","
        "\"theme\":\"%s\","
        "\"newsletter\":%s,\"notifications\":{\"mail\":%s,\"mobile\":%s},\"two_factor\":%s},\"visits\":[",
        (unsigned)(r % 25), (unsigned)(r >> 8) % 12 + 1, (unsigned)(r >> 16) % 28 + 1,
        (unsigned)(r >> 24) % 24, (unsigned)(r >> 32) % 60, r & 1 << 5 ? "en" : "de",
        r & 1 << 6 ? "light" : "dark", flag(r >> 12), flag(r >> 13), flag(r >> 14), flag(r >> 15));
    for (int i = 0; i < 4; i++) {
        PUT("%s%llu", i ? "," : "", (unsigned long long)random_number(&random) % 100000);
    }
    PUT("],\"address\":{\"street\":\"");
    at += put_words(to + at, 2, ' ', &random);
    PUT(" %llu\",\"city\":\"", (unsigned long long)r % 200);
    at += put_words(to + at, 1, ' ', &random);
    PUT("\",\"country\":\"");
    at += put_words(to + at, 1, ' ', &random);
    PUT("\"},\"text\":\"");
    while (at < bytes) {
        at += put_word(to + at, &random);
        to[at++] = ' ';
    }
    memcpy(to + bytes - 2, "\"}", 2);
    return bytes;
}

bool value_read(const char *value, size_t bytes, uint32_t key, uint32_t *version)
{
    static const char before[] = "{\"id\":\"00000000\",\"version\":\"";
    char whole[VALUE_MAX];
    if (bytes < VALUE_LEAST) {
        return false;
    }
    *version = (uint32_t)strtoul(value + sizeof before - 1, NULL, 10);
    return value_make(whole, key, *version) == bytes && !memcmp(whole, value, bytes);
}
