/* SPDX-License-Identifier: MIT */
#include "base/size.h"

#include <errno.h>
#include <string.h>

static const char units[] = "KMGT";

/* The power of 1024 that `suffix` names, -1 if it names none. */
static int unit_power(const char *suffix)
{
    if (!*suffix) {
        return 0;
    }
    if (strcmp(suffix, "B") == 0) {
        return 0;
    }
    char letter = *suffix >= 'a' && *suffix <= 'z' ? (char)(*suffix - 'a' + 'A') : *suffix;
    const char *unit = strchr(units, letter);
    if (!unit || !letter) {
        return -1;
    }
    if (suffix[1] && strcmp(suffix + 1, "B") != 0 && strcmp(suffix + 1, "iB") != 0) {
        return -1;
    }
    return (int)(unit - units) + 1;
}

static int parse_digits(const char **text, uint64_t *value)
{
    const char *p = *text;
    uint64_t n = 0;
    if (*p < '0' || *p > '9') {
        return -EINVAL;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) {
            return -ERANGE;
        }
    }
    *text = p;
    *value = n;
    return 0;
}

int size_parse(const char *text, size_t whole, size_t *bytes)
{
    uint64_t n;
    int error = parse_digits(&text, &n);
    if (error) {
        return error;
    }
    if (strcmp(text, "%") == 0) {
        if (!whole) {
            return -EINVAL;
        }
        if (n == 0 || n > 100) {
            return -ERANGE;
        }
        *bytes = whole / 100 * n;
        return 0;
    }
    int power = unit_power(text);
    if (power < 0) {
        return -EINVAL;
    }
    uint64_t result;
    if (n == 0 || __builtin_mul_overflow(n, 1ull << (10 * power), &result)) {
        return -ERANGE;
    }
    *bytes = result;
    return 0;
}

static char *append_number(char *p, uint64_t n)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    while (count) {
        *p++ = digits[--count];
    }
    return p;
}

char *size_format(size_t bytes, char text[16])
{
    int power = 0;
    while (power < 4 && bytes >> (10 * (power + 1))) {
        power++;
    }
    uint64_t unit = 1ull << (10 * power);
    char *p = append_number(text, bytes / unit);
    uint64_t tenth = bytes % unit * 10 / unit;
    if (power && bytes / unit < 100 && tenth) {
        *p++ = '.';
        *p++ = (char)('0' + tenth);
    }
    *p++ = ' ';
    if (power) {
        *p++ = units[power - 1];
        *p++ = 'i';
    }
    *p++ = 'B';
    *p = 0;
    return text;
}
