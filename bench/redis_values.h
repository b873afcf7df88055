/* SPDX-License-Identifier: MIT */
/*
 * What the keys of a Redis server hold: records as web applications keep them, of 600 to 1,500 bytes, which lz4 makes about half
 * as long. Each says of which key and version it is, and all of its bytes follow from these: so whoever reads one knows whether
 * it is whole, and when it was written.
 */
#ifndef UZSWAP_BENCH_REDIS_VALUES_H
#define UZSWAP_BENCH_REDIS_VALUES_H

#include "base/types.h"

#define KEY_MAX 32
#define VALUE_MAX 1600

/* Both return the length; the key ends with 0. */
size_t key_make(char to[KEY_MAX], uint32_t key);
size_t value_make(char to[VALUE_MAX], uint32_t key, uint32_t version);

/* Whether this is a value of the key, whole, and of which version. */
bool value_read(const char *value, size_t bytes, uint32_t key, uint32_t *version);

#endif
