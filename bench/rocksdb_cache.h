/* SPDX-License-Identifier: MIT */
/* RocksDB's CompressedSecondaryCache with LZ4, as a cache of pages, for programs in C. Each function stops the program if it fails. */
#ifndef UZSWAP_BENCH_ROCKSDB_CACHE_H
#define UZSWAP_BENCH_ROCKSDB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rocksdb_cache;

/* `bytes`: its capacity, which it compares with its own count of values and records. */
struct rocksdb_cache *rocksdb_cache_create(size_t bytes);
void rocksdb_cache_destroy(struct rocksdb_cache *cache);

/* Of a key that it does not know, it keeps no more than the key. */
void rocksdb_cache_store(struct rocksdb_cache *cache, uint64_t key, const void *page);

/* False if the page is not there. It stays. */
bool rocksdb_cache_load(struct rocksdb_cache *cache, uint64_t key, void *page);

/* "7.8.3" */
const char *rocksdb_cache_version(void);

#ifdef __cplusplus
}
#endif

#endif
