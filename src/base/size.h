/* SPDX-License-Identifier: MIT */
/* Sizes as people write them: 4096, 512K, 2G, 75%. */
#ifndef UZSWAP_BASE_SIZE_H
#define UZSWAP_BASE_SIZE_H

#include "base/types.h"

/*
 * Reads SIZE: digits, then nothing or one of K M G T (powers of 1024, either case, an optional "iB" or
 * "B" behind it), or '%', a share of `whole` (0 if percentages make no sense here). 0 and *bytes set;
 * -EINVAL if `text` is no size, -ERANGE if it is zero, above 100 % or does not fit.
 */
int size_parse(const char *text, size_t whole, size_t *bytes);

/* Writes `bytes` as "1.5 GiB", "12 KiB", "17 B" to `text` and returns `text`. No stdio, no locale. */
char *size_format(size_t bytes, char text[16]);

#endif
