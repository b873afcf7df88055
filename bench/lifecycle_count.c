/* SPDX-License-Identifier: MIT */
/*
 * What each verb of each lifecycle costs in atomic operations and locks, by one thread: exact, the same on every machine.
 * The substrate's own are not counted. Prints JSON.
 */
#include <stdio.h>

#include "base/atomic.h"
#include "bench/program.h"
#include "tests/lifecycles/memory_substrate.h"

struct counting counting;

static const struct lifecycle_ops *const lifecycles[] = {&lifecycle_baseline, &lifecycle_getput,
                                                         &lifecycle_cas, &lifecycle_production};

enum start { EMPTY, POOL, DEVICE };

static void do_store(const struct lifecycle_ops *ops, struct cache *cache)
{
    ops->store(cache, 0, 2);
}

static void do_load(const struct lifecycle_ops *ops, struct cache *cache)
{
    uint64_t version;
    ops->load(cache, 0, &version);
}

static void do_exclusive(const struct lifecycle_ops *ops, struct cache *cache)
{
    uint64_t version;
    ops->load_exclusive(cache, 0, &version);
}

static void do_invalidate(const struct lifecycle_ops *ops, struct cache *cache)
{
    ops->invalidate(cache, 0);
}

static void do_writeback(const struct lifecycle_ops *ops, struct cache *cache)
{
    ops->writeback(cache, 0);
}

static const struct {
    const char *name;
    enum start start;
    void (*run)(const struct lifecycle_ops *ops, struct cache *cache);
} verbs[] = {
    {"store", EMPTY, do_store},
    {"store over an older one", POOL, do_store},
    {"load", POOL, do_load},
    {"load from the device", DEVICE, do_load},
    {"exclusive load", POOL, do_exclusive},
    {"invalidate", POOL, do_invalidate},
    {"writeback", POOL, do_writeback},
};

static struct counting count(const struct lifecycle_ops *ops, size_t verb)
{
    struct memory_options options = {.keys = 1, .object_bytes = 8};
    struct substrate *substrate = memory_substrate_create(&options);
    struct cache *cache;
    if (!substrate || ops->create(&cache, substrate, 1)) {
        die("no memory");
    }
    if (verbs[verb].start != EMPTY) {
        ops->store(cache, 0, 1);
    }
    if (verbs[verb].start == DEVICE) {
        ops->writeback(cache, 0);
    }
    counting = (struct counting){0};
    verbs[verb].run(ops, cache);
    struct counting counted = counting;
    memory_substrate_destroy(substrate);
    return counted;
}

static const char usage[] =
    "bench-lifecycle-count\n"
    "The atomic operations and locks of each verb of each lifecycle, as JSON. There are no options.\n";

int main(int argc, char **argv)
{
    program_start(argc, argv, usage, (struct program_option[]){{0}}, 0, 0);
    const char *separator = "[";
    for (size_t i = 0; i < ARRAY_LENGTH(lifecycles); i++) {
        for (size_t verb = 0; verb < ARRAY_LENGTH(verbs); verb++) {
            struct counting c = count(lifecycles[i], verb);
            printf("%s{\"lifecycle\": \"%s\", \"verb\": \"%s\", \"reads\": %llu, \"writes\": %llu, "
                   "\"updates\": %llu, \"locks\": %llu}",
                   separator, lifecycles[i]->name, verbs[verb].name, (unsigned long long)c.reads,
                   (unsigned long long)c.writes, (unsigned long long)c.updates, (unsigned long long)c.locks);
            separator = ",\n ";
        }
    }
    printf("]\n");
    return 0;
}
