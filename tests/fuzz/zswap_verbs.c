/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any sequence of verbs, by one thread, held against a naive model after each of them.
 *
 * The model is one version for each entry, or none. What a verb may answer follows from the model and, where something was
 * made to fail, from whether that could have come in its way: a device error only if the entry is on the device and a read was
 * planned to fail; no memory only if a request was refused during the verb; no space only if the pool is near its limit.
 *
 *   byte 0      mode of writeback, of the device, compressor, whether it deduplicates, whether making the cache runs out of memory.
 *               If it deduplicates, all entries take turns with a few pages of each kind
 *   then        verbs: |what|, and as many bytes as it needs
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/faulty_device.h"
#include "tests/support/pages.h"
#include "tests/support/ram_device.h"
#include "tests/support/restless.h"
#include "tests/support/versioned.h"
#include "zswap/zswap.h"

#undef REQUIRE
#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not true: %s (verb %u)\n", __FILE__, __LINE__, #condition,               \
                    (unsigned)run.verbs);                                                                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#define KEYS 8
#define VERBS_MAX 400
#define DEVICE_BYTES (256 << 10)
#define FIRST_LIMIT ((size_t)64 << 10)
#define ACCEPT_PERCENT 90

/* Two areas, the first with several pages of index. */
static const struct swap_entry entries[KEYS] = {{1, 0},   {1, 1}, {1, 511}, {1, 512},
                                                {1, 599}, {3, 0}, {3, 7},   {3, 39}};
static const struct {
    uint32_t type;
    uint64_t pages;
} areas[2] = {{1, 600}, {3, 40}};

static const char *const codecs[] = {"lz4", "zstd:-5", "deflate:1", "lz4:16"};

struct model {
    uint64_t version; /* 0 = not here */
    unsigned kind;    /* of its page */
};

static struct {
    struct zswap *zswap;
    struct swap_device *device;
    struct model model[KEYS];
    bool area_exists[2];
    uint64_t verbs, version;
    size_t limit;
    enum zswap_writeback mode;
    bool deduplicates;
    bool reads_fail, reads_flip, device_damaged; /* from now on, perhaps */
    bool refused;                                /* during this verb, a request for memory */
    const uint8_t *data;
    size_t size;
} run;

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_cache *swap_cache;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct swap_cache_token token;
    REQUIRE(swap_cache_create(&swap_cache, &memory, 64) == 0);
    /* Its table is charged when it is first used, and outlives the runs. */
    REQUIRE(swap_cache_acquire(swap_cache, (struct swap_entry){0}, SWAP_CACHE_EVICT, &token) ==
            SWAP_CACHE_NEW);
    REQUIRE(swap_cache_release(swap_cache, token));
    return 0;
}

static uint8_t take(void)
{
    if (!run.size) {
        return 0;
    }
    run.size--;
    return *run.data++;
}

/* ---- pages */

/* Four kinds that name their version, and those of pages.h, of which the version is the seed. */
#define KINDS (4 + PAGE_KINDS)

static void make(uint64_t *page, unsigned key, struct model m)
{
    if (run.deduplicates) {
        key = 0;
        m.version = 1 + m.version % 3;
    }
    uint64_t seed = m.version * KEYS + key + 1;
    if (m.kind < 4) {
        version_fill(page, version_make(key, 0, m.version, (enum versioned_kind)m.kind));
    } else {
        make_page(page, (enum page_kind)(m.kind - 4), &seed);
    }
}

static bool is_page(const uint64_t *page, unsigned key, struct model m)
{
    uint64_t expected[PAGE_BYTES / 8];
    make(expected, key, m);
    return memcmp(page, expected, PAGE_BYTES) == 0;
}

/* ---- verbs */

static bool has_area(unsigned key)
{
    return run.area_exists[entries[key].type != areas[0].type];
}

static unsigned take_key(void)
{
    return take() % KEYS;
}

static void store(void)
{
    unsigned key = take_key();
    uint64_t page[PAGE_BYTES / 8];
    struct model m = {.version = ++run.version, .kind = take() % KINDS};
    struct zswap_stats before, after;
    make(page, key, m);
    zswap_get_stats(run.zswap, &before);
    int64_t countdown = memory.fail_countdown;
    int error = zswap_store(run.zswap, entries[key], page);
    bool refused = countdown > 0 && memory.fail_countdown == 0;
    zswap_get_stats(run.zswap, &after);
    REQUIRE((error == -EINVAL) == !has_area(key));
    REQUIRE(error != -ENOMEM || refused);
    REQUIRE(error != -EIO || refused);
    if (error == -ENOSPC) {
        REQUIRE(before.pool_total_size > run.limit / 100 * ACCEPT_PERCENT);
        REQUIRE(after.reject_reclaim_fail == before.reject_reclaim_fail + 1);
    }
    REQUIRE(!error || error == -EINVAL || error == -ENOMEM || error == -EIO || error == -ENOSPC);
    if (!error && run.model[key].version) {
        REQUIRE(after.duplicate_entry == before.duplicate_entry + 1);
    }
    run.model[key] = error ? (struct model){0} : m;
}

/* What a load that read or tried to read the entry may say. */
static void check_load(unsigned key, int error, const uint64_t *page, enum zswap_place place, bool refused)
{
    if (!has_area(key)) {
        REQUIRE(error == -EINVAL);
        return;
    }
    if (!run.model[key].version) {
        REQUIRE(error == -ENOENT);
        return;
    }
    switch (error) {
    case 0:
        REQUIRE(is_page(page, key, run.model[key]));
        break;
    case -EIO:
        REQUIRE(place == ZSWAP_ON_DEVICE && run.reads_fail);
        break;
    case -EBADMSG:
        REQUIRE(place == ZSWAP_ON_DEVICE && (run.reads_flip || run.device_damaged));
        break;
    default:
        REQUIRE(error == -ENOMEM && refused);
    }
}

static void load(void)
{
    unsigned key = take_key();
    uint64_t page[PAGE_BYTES / 8];
    enum zswap_place place = zswap_find(run.zswap, entries[key]);
    uint64_t reads = faulty_count(run.device, SWAP_READ);
    int64_t countdown = memory.fail_countdown;
    int error = zswap_load(run.zswap, entries[key], page);
    check_load(key, error, page, place, countdown > 0 && memory.fail_countdown == 0);
    REQUIRE(faulty_count(run.device, SWAP_READ) == reads + (place == ZSWAP_ON_DEVICE));
}

static void load_at_once(void)
{
    unsigned key = take_key();
    uint64_t page[PAGE_BYTES / 8];
    enum zswap_place place = zswap_find(run.zswap, entries[key]);
    int64_t countdown = memory.fail_countdown;
    int error = zswap_load_at_once(run.zswap, entries[key], page);
    if (place == ZSWAP_ON_DEVICE) {
        REQUIRE(error == -EAGAIN);
    } else {
        check_load(key, error, page, place, countdown > 0 && memory.fail_countdown == 0);
    }
}

static void load_exclusive(void)
{
    unsigned key = take_key();
    uint64_t page[PAGE_BYTES / 8];
    enum zswap_place place = zswap_find(run.zswap, entries[key]);
    int64_t countdown = memory.fail_countdown;
    int error = zswap_load_exclusive(run.zswap, entries[key], page);
    check_load(key, error, page, place, countdown > 0 && memory.fail_countdown == 0);
    if (!error) {
        run.model[key].version = 0;
    }
}

static void invalidate(void)
{
    unsigned key = take_key();
    REQUIRE(zswap_invalidate(run.zswap, entries[key]) == (run.model[key].version != 0));
    run.model[key].version = 0;
}

/* What the model has in a range; it goes. */
static uint64_t model_remove(uint32_t type, uint64_t first, uint64_t end)
{
    uint64_t n = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        if (entries[key].type == type && entries[key].offset >= first && entries[key].offset < end) {
            n += run.model[key].version != 0;
            run.model[key].version = 0;
        }
    }
    return n;
}

static void invalidate_range(void)
{
    uint32_t type = areas[take() % 2].type;
    uint64_t first = (uint64_t)take() * 4, pages = (uint64_t)take() * 8;
    uint64_t expected = model_remove(type, first, first + pages);
    REQUIRE(zswap_invalidate_range(run.zswap, type, first, pages) == expected);
}

static void invalidate_area(void)
{
    uint32_t type = areas[take() % 2].type;
    REQUIRE(zswap_invalidate_area(run.zswap, type) == model_remove(type, 0, UINT64_MAX));
}

static void writeback(void)
{
    size_t started = zswap_writeback(run.zswap, (size_t)take() << take() % 12);
    REQUIRE(!started || run.mode != ZSWAP_WRITEBACK_OFF);
}

static void reap_all(void)
{
    faulty_let_go(run.device);
    zswap_writeback_reap(run.zswap, true);
    REQUIRE(!zswap_writeback_in_flight(run.zswap));
}

/* An area goes, with all that is in it, or comes. */
static void turn_area(void)
{
    unsigned i = take() % 2;
    if (run.area_exists[i]) {
        faulty_let_go(run.device); /* it waits for its own writes */
        zswap_area_destroy(run.zswap, areas[i].type);
        model_remove(areas[i].type, 0, UINT64_MAX);
        run.area_exists[i] = false;
        return;
    }
    int64_t countdown = memory.fail_countdown;
    int error = zswap_area_create(run.zswap, areas[i].type, areas[i].pages);
    REQUIRE(!error || (error == -ENOMEM && countdown > 0 && memory.fail_countdown == 0));
    run.area_exists[i] = !error;
}

static void set_codec(void)
{
    struct codec codec;
    REQUIRE(codec_parse(codecs[take() % ARRAY_LENGTH(codecs)], &codec) == 0);
    zswap_set_codec(run.zswap, &codec);
}

static void set_limit(void)
{
    run.limit = (size_t)1 << take() % 22;
    zswap_set_max_pool_bytes(run.zswap, run.limit);
    REQUIRE(zswap_max_pool_bytes(run.zswap) == run.limit);
}

static void disturb_device(void)
{
    uint64_t n = 1 + take() % 8;
    switch (take() % 10) {
    case 0:
        faulty_fail_nth(run.device, SWAP_WRITE, n, -EIO);
        break;
    case 1:
        faulty_fail_all(run.device, SWAP_WRITE, n < 5 ? -EIO : 0);
        break;
    case 2:
        faulty_fail_nth(run.device, SWAP_READ, n, -EIO);
        run.reads_fail = true;
        break;
    case 3:
        faulty_tear_nth_write(run.device, n, -EIO);
        break;
    case 4:
        faulty_flip_nth_read(run.device, n);
        run.reads_flip = true;
        break;
    case 5:
        faulty_set_capacity(run.device, n < 7 ? n * 4096 : UINT64_MAX);
        break;
    case 6:
        ram_device_bytes(faulty_inner(run.device))[take() << 4 | take() >> 4] ^= (unsigned char)n;
        run.device_damaged = true;
        break;
    case 7:
        faulty_hold(run.device, SWAP_WRITE, true);
        break;
    case 8:
        faulty_let_go_one(run.device);
        break;
    default:
        faulty_let_go(run.device);
    }
}

static void one_verb(void)
{
    uint8_t what = take();
    switch (what % 24) {
    case 0 ... 5:
        store();
        break;
    case 6:
    case 7:
        load();
        break;
    case 8:
        load_at_once();
        break;
    case 9:
    case 10:
        load_exclusive();
        break;
    case 11:
        invalidate();
        break;
    case 12:
        invalidate_range();
        break;
    case 13:
        invalidate_area();
        break;
    case 14:
    case 15:
        writeback();
        break;
    case 16:
        zswap_writeback_reap(run.zswap, false);
        break;
    case 17:
        reap_all();
        break;
    case 18:
        turn_area();
        break;
    case 19:
        set_codec();
        break;
    case 20:
        set_limit();
        break;
    case 21:
        zswap_trim(run.zswap);
        break;
    case 22:
        memory.fail_countdown = take() % 16;
        break;
    default:
        disturb_device();
    }
}

/* ---- after each verb, and at the end */

static void check_model(void)
{
    struct zswap_stats stats;
    uint64_t here = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        enum zswap_place place = zswap_find(run.zswap, entries[key]);
        REQUIRE((place != ZSWAP_NOWHERE) == (run.model[key].version != 0));
        REQUIRE(place != ZSWAP_ON_DEVICE || run.mode != ZSWAP_WRITEBACK_OFF);
        here += place != ZSWAP_NOWHERE;
    }
    zswap_get_stats(run.zswap, &stats);
    REQUIRE(stats.stored_pages + stats.device_pages == here);
    uint64_t objects =
        stats.stored_pages - stats.same_filled_pages - stats.deduplicated_pages + stats.shared_objects;
    REQUIRE(restless_objects() >= objects);
    REQUIRE(restless_misuses() == 0);
    if (!zswap_writeback_in_flight(run.zswap)) { /* nobody holds anything */
        REQUIRE(restless_objects() == objects);
        REQUIRE(run.verbs % 8 || zswap_consistent(run.zswap));
        REQUIRE(swap_cache_count(swap_cache) == 0);
    }
}

static void check_end(void)
{
    memory.fail_countdown = 0;
    faulty_fail_all(run.device, SWAP_WRITE, 0);
    faulty_fail_nth(run.device, SWAP_READ, UINT32_MAX, 0);
    faulty_flip_nth_read(run.device, UINT32_MAX);
    run.reads_fail = run.reads_flip = false;
    reap_all();
    REQUIRE(zswap_consistent(run.zswap));
    for (unsigned key = 0; key < KEYS; key++) {
        uint64_t page[PAGE_BYTES / 8];
        enum zswap_place place = zswap_find(run.zswap, entries[key]);
        check_load(key, zswap_load(run.zswap, entries[key], page), page, place, false);
    }
    for (int i = 0; i < 2; i++) {
        zswap_area_destroy(run.zswap, areas[i].type);
    }
    struct zswap_stats stats;
    zswap_get_stats(run.zswap, &stats);
    REQUIRE(stats.stored_pages + stats.device_pages + stats.pool_payload + stats.device_bytes == 0);
    REQUIRE(restless_objects() == 0);
}

/* ---- a run */

static bool make_cache(uint8_t how, struct swap_device *device)
{
    struct zswap_options options = {.memory = &memory,
                                    .pool = &restless_pool,
                                    .max_pool_bytes = FIRST_LIMIT,
                                    .accept_threshold_percent = ACCEPT_PERCENT,
                                    .writeback = (enum zswap_writeback)(how % 3),
                                    .device = device,
                                    .swap_cache = swap_cache,
                                    .deduplicate = how & 0x40};
    REQUIRE(codec_parse(codecs[how >> 4 & 3], &options.codec) == 0);
    run.mode = options.writeback;
    run.deduplicates = options.deduplicate;
    run.limit = FIRST_LIMIT;
    memory.fail_countdown = how & 0x80 ? take() % 32 : 0;
    int64_t countdown = memory.fail_countdown;
    int error = zswap_create(&run.zswap, &options);
    REQUIRE(error ? error == -ENOMEM && countdown && !memory.fail_countdown
                  : !countdown || memory.fail_countdown);
    if (error) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        run.area_exists[i] = zswap_area_create(run.zswap, areas[i].type, areas[i].pages) == 0;
        REQUIRE(run.area_exists[i] || countdown);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t before = account_total(&account);
    memset(&run, 0, sizeof run);
    run.data = data;
    run.size = size;
    uint8_t how = take();
    run.device =
        faulty_device_create(ram_device_create(DEVICE_BYTES, (enum ram_device_mode)((how >> 2 & 3) % 3)));
    if (make_cache(how, run.device)) {
        while (run.size && run.verbs++ < VERBS_MAX) {
            one_verb();
            check_model();
        }
        check_end();
        zswap_destroy(run.zswap);
    }
    memory.fail_countdown = 0;
    REQUIRE(account_total(&account) == before);
    REQUIRE(swap_cache_consistent(swap_cache));
    run.device->ops->close(run.device);
    return 0;
}
