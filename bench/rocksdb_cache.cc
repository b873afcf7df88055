/* SPDX-License-Identifier: MIT */
/*
 * As RocksDB itself uses it: 16-byte keys, default options, LZ4.
 *
 * What Insert does in RocksDB 7.8. A key that is new leaves a placeholder, without the value: a block must leave the primary cache
 * twice before it is compressed. Only the second Insert copies the value out (saveto_cb), compresses it, and copies the result
 * into memory of its length. Lookup decompresses into memory of its own, from which create_cb makes the value; here that is one more
 * copy of a page. With advise_erase it would drop the entry.
 */
#include "bench/rocksdb_cache.h"

#include <rocksdb/secondary_cache.h>
#include <rocksdb/version.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t page_bytes = 4096;

size_t size_of_page(void *)
{
    return page_bytes;
}

rocksdb::Status save_page(void *page, size_t from, size_t length, void *to)
{
    memcpy(to, static_cast<const char *>(page) + from, length);
    return rocksdb::Status::OK();
}

/* The value is the caller's page. */
void forget_page(const rocksdb::Slice &, void *)
{
}

const rocksdb::Cache::CacheItemHelper helper(size_of_page, save_page, forget_page);

struct key {
    uint64_t words[2];

    explicit key(uint64_t number) : words{number, 0}
    {
    }

    rocksdb::Slice slice() const
    {
        return rocksdb::Slice(reinterpret_cast<const char *>(words), sizeof words);
    }
};

} // namespace

struct rocksdb_cache {
    std::shared_ptr<rocksdb::SecondaryCache> cache;
};

rocksdb_cache *rocksdb_cache_create(size_t bytes)
{
    rocksdb::CompressedSecondaryCacheOptions options;
    options.capacity = bytes;
    return new rocksdb_cache{rocksdb::NewCompressedSecondaryCache(options)};
}

void rocksdb_cache_destroy(rocksdb_cache *cache)
{
    delete cache;
}

void rocksdb_cache_store(rocksdb_cache *cache, uint64_t number, const void *page)
{
    if (!cache->cache->Insert(key(number).slice(), const_cast<void *>(page), &helper).ok()) {
        fprintf(stderr, "rocksdb_cache: an insert failed\n");
        exit(1);
    }
}

bool rocksdb_cache_load(rocksdb_cache *cache, uint64_t number, void *page)
{
    bool kept;
    auto create = [page](const void *from, size_t bytes, void **value, size_t *charge) {
        if (bytes != page_bytes) {
            return rocksdb::Status::Corruption();
        }
        memcpy(page, from, bytes);
        *value = page;
        *charge = bytes;
        return rocksdb::Status::OK();
    };
    auto result = cache->cache->Lookup(key(number).slice(), create, true, false, kept);
    return result && result->Value();
}

const char *rocksdb_cache_version()
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
    return text;
}
