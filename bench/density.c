/* SPDX-License-Identifier: MIT */
/*
 * How densely a pool packs real pages, what it needs beside them, and how fast it is; one pool a process, as JSON.
 *
 *   bench-density [--pool NAME] [--codec NAME] [--mib N] [--seed N] [--no-speed] FILE|synthetic
 *
 * The pages of the image are compressed, and put into the pool in their order; if they are fewer than N MiB (64) of
 * payload, others are drawn from them at random. Then:
 *
 *   filled                  only allocs
 *   half freed              every second object, at random
 *   half freed, compacted
 *   churned                 refilled; then ten times the payload freed and allocated again, at random
 *   churned, compacted
 *
 * After each stage: `payload`, bytes of the objects; `pool`, what the pool says it holds; `resident`, by how much the process's own
 * anonymous memory has grown since before the pool was made, as the kernel counts it. All that this program itself needs was
 * there before. Objects are filled, and compared at the end.
 */
#include "density.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/measure.h"
#include "malloc_pool.h"
#include "pool/zsmalloc.h"

enum { SYNTHETIC_OBJECTS = 1 << 16 };

struct arguments {
    const struct pool_ops *pool;
    struct codec codec;
    size_t payload;
    uint64_t seed;
    bool speed;
    const char *image; /* NULL: synthetic */
};

/* ---- memory of this process */

/* Without malloc and stdio, so that asking changes nothing. */
static size_t own_memory(void)
{
    static char text[4096];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    const char *line = got > 0 ? strstr(text, "\nAnonymous:") : NULL;
    if (!line) {
        die("cannot read /proc/self/smaps_rollup");
    }
    return strtoul(line + sizeof "\nAnonymous:", NULL, 10) * 1024;
}

/* ---- objects in the pool */

void bench_alloc(struct bench *b, size_t i, uint32_t source, bool fill)
{
    const struct object *object = &b->objects->list[source];
    if (b->ops->alloc(b->pool, object->bytes, i, &b->handles[i])) {
        die("%s has no room", b->ops->name);
    }
    b->sources[i] = source;
    if (fill) {
        memcpy(b->ops->map(b->pool, b->handles[i]), object_bytes(b->objects, source), object->bytes);
        b->ops->unmap(b->pool, b->handles[i]);
    }
}

static void add(struct bench *b, size_t i, uint32_t source)
{
    bench_alloc(b, i, source, true);
    b->payload += b->objects->list[source].bytes;
}

static void drop(struct bench *b, size_t i)
{
    b->ops->free(b->pool, b->handles[i]);
    b->payload -= b->objects->list[b->sources[i]].bytes;
    b->handles[i] = 0;
}

static uint32_t draw(struct bench *b)
{
    return (uint32_t)(random_number(&b->seed) % b->objects->count);
}

static size_t count_wrong(struct bench *b)
{
    size_t wrong = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct object *object = &b->objects->list[b->sources[i]];
        const void *at = b->ops->map(b->pool, b->handles[i]);
        wrong += memcmp(at, object_bytes(b->objects, b->sources[i]), object->bytes) != 0;
        b->ops->unmap(b->pool, b->handles[i]);
    }
    return wrong;
}

/* ---- compaction, with this program as the index */

struct moves {
    struct bench *bench;
    size_t bytes;
};

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct moves *moves = context;
    return moves->bench->handles[owner] == handle;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct moves *moves = context;
    struct bench *b = moves->bench;
    b->handles[owner] = moved;
    moves->bytes += b->objects->list[b->sources[owner]].bytes;
    b->ops->free(b->pool, handle);
    return true;
}

static const struct pool_mover mover = {.hold = hold, .commit = commit};

/* ---- stages */

struct stage {
    const char *name;
    size_t payload, pool, resident, tables, moved, won;
    double seconds;
};

enum { STAGES = 5 };

struct measurement {
    struct bench *bench;
    size_t before; /* own memory without the pool */
    struct stage stages[STAGES];
    unsigned count;
    uint64_t begin;
};

static struct stage *end_stage(struct measurement *m, const char *name)
{
    struct stage *stage = &m->stages[m->count++];
    struct bench *b = m->bench;
    *stage =
        (struct stage){.name = name, .payload = b->payload, .seconds = (double)(now_ns() - m->begin) / 1e9};
    stage->pool = b->ops->total_size(b->pool);
    stage->resident = own_memory() - m->before;
    stage->tables = account_bytes(&b->account, ACCOUNT_TABLES);
    m->begin = now_ns();
    return stage;
}

static void compact(struct measurement *m, const char *name)
{
    struct bench *b = m->bench;
    struct moves moves = {.bench = b};
    size_t step, won = b->ops->trim(b->pool);
    while (b->ops->compact && (step = b->ops->compact(b->pool, (size_t)1 << 20, &mover, &moves)) != 0) {
        won += step;
    }
    struct stage *stage = end_stage(m, name);
    stage->moved = moves.bytes;
    stage->won = won;
}

static void run_stages(struct measurement *m)
{
    struct bench *b = m->bench;
    m->begin = now_ns();
    for (size_t i = 0; i < b->count; i++) {
        add(b, i, b->sources[i]);
    }
    size_t payload = b->payload;
    end_stage(m, "filled");
    for (size_t i = 0; i < b->count; i++) {
        if (random_number(&b->seed) % 2) {
            drop(b, i);
        }
    }
    end_stage(m, "half freed");
    compact(m, "half freed, compacted");
    for (size_t i = 0; i < b->count; i++) {
        if (!b->handles[i]) {
            add(b, i, draw(b));
        }
    }
    for (size_t churned = 0; churned < 10 * payload;) {
        size_t i = random_number(&b->seed) % b->count;
        drop(b, i);
        add(b, i, draw(b));
        churned += b->objects->list[b->sources[i]].bytes;
    }
    end_stage(m, "churned");
    compact(m, "churned, compacted");
}

/* ---- output */

static void print_stages(const struct measurement *m)
{
    printf("\"stages\": [\n");
    for (unsigned i = 0; i < m->count; i++) {
        const struct stage *s = &m->stages[i];
        printf(" {\"stage\": \"%s\", \"payload\": %zu, \"pool\": %zu, \"resident\": %zu, \"tables\": %zu, "
               "\"moved\": %zu, "
               "\"won\": %zu, \"seconds\": %.6f}%s\n",
               s->name, s->payload, s->pool, s->resident, s->tables, s->moved, s->won, s->seconds,
               i + 1 < m->count ? "," : "],");
    }
}

/* Bytes an object that lie in the pool's own pages, and are counted there. */
static unsigned metadata_inside(const struct pool_ops *ops)
{
    return ops == &pool_zsmalloc ? ZS_OWNER_BYTES : 0;
}

static void print_objects(const struct bench *b)
{
    const struct objects *o = b->objects;
    printf("{\"pool\": \"%s\", \"pages\": %zu, \"same_filled\": %zu, \"raw\": %zu, \"distinct\": %zu,\n",
           b->ops->name, o->pages, o->same_filled, o->raw, o->count);
    printf(" \"objects\": %zu, \"mean_bytes\": %.1f, \"metadata_inside\": %u,\n", b->count,
           (double)b->payload / (double)b->count, metadata_inside(b->ops));
}

/* ---- the program */

static const char usage[] =
    "bench-density [--pool NAME] [--codec NAME] [--mib N] [--seed N] [--no-speed] FILE|synthetic\n"
    "How densely a pool (zsmalloc; zbud, jemalloc, mimalloc) packs N MiB (64) of compressed pages, what\n"
    "it needs beside them, and how fast it is, as JSON. FILE has raw pages, of tools/page-images.py.\n";

static const struct pool_ops *pool_named(const char *name)
{
    static const struct pool_ops *const of_malloc[] = {&pool_jemalloc, &pool_mimalloc};
    for (size_t i = 0; i < ARRAY_LENGTH(of_malloc); i++) {
        if (strcmp(name, of_malloc[i]->name) == 0) {
            return of_malloc[i];
        }
    }
    const struct pool_ops *ops = pool_by_name(name);
    if (!ops) {
        die("no pool is called %s; there are %s, jemalloc, mimalloc", name, pool_list());
    }
    return ops;
}

static struct arguments parse(int argc, char **argv)
{
    const char *pool = "zsmalloc", *codec = "lz4";
    unsigned mib = 64, seed = 42;
    bool no_speed = false;
    int first =
        program_start(argc, argv, usage,
                      (struct program_option[]){{"--pool", .text = &pool},
                                                {"--codec", .text = &codec},
                                                {"--mib", .number = &mib, .least = 1, .most = 1 << 14},
                                                {"--seed", .number = &seed, .least = 1, .most = UINT_MAX},
                                                {"--no-speed", .flag = &no_speed},
                                                {0}},
                      1, 1);
    return (struct arguments){.pool = pool_named(pool),
                              .codec = codec_named(codec),
                              .payload = (size_t)mib << 20,
                              .seed = seed,
                              .speed = !no_speed,
                              .image = strcmp(argv[first], "synthetic") ? argv[first] : NULL};
}

static void load_image(struct objects *o, const char *path, const struct codec *codec)
{
    struct page_image image = open_page_image(path);
    objects_create(o, image.pages);
    if (!objects_add_image(o, &image, codec)) {
        die("the compressor failed");
    }
    page_image_close(&image);
    if (!o->count) {
        die("%s: all pages are same-filled: nothing is left for a pool", path);
    }
}

/* Which objects the pool is filled with. The first pass counts them. */
static void choose(struct bench *b, size_t payload)
{
    uint64_t first_seed = b->seed;
    for (int pass = 0; pass < 2; pass++) {
        size_t bytes = 0, i = 0;
        b->seed = first_seed;
        for (; bytes < payload; i++) {
            uint32_t source = i < b->objects->count ? (uint32_t)i : draw(b);
            bytes += b->objects->list[source].bytes;
            if (pass) {
                b->sources[i] = source;
            }
        }
        if (!pass) {
            b->count = i;
            b->handles = map_memory(i * sizeof b->handles[0], true);
            b->sources = map_memory(i * sizeof b->sources[0], true);
        }
    }
}

int main(int argc, char **argv)
{
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    struct arguments a = parse(argc, argv);
    struct objects objects;
    struct bench b = {.ops = a.pool, .seed = a.seed, .objects = &objects};
    b.memory.account = &b.account;
    if (a.image) {
        load_image(&objects, a.image, &a.codec);
    } else {
        objects_create(&objects, SYNTHETIC_OBJECTS);
        objects_add_synthetic(&objects, SYNTHETIC_OBJECTS, &b.seed);
    }
    choose(&b, a.payload);
    struct measurement m = {.bench = &b};
    own_memory();
    m.before = own_memory();
    int error = b.ops->create(&b.pool, &b.memory, 4 * a.payload + ((size_t)1 << 30));
    if (error) {
        die("cannot make %s: %s", b.ops->name,
            error == -ENOENT ? "start with LD_PRELOAD=lib<name>.so.2" : strerror(-error));
    }
    run_stages(&m);
    size_t wrong = count_wrong(&b);
    print_objects(&b);
    print_stages(&m);
    print_losses(&b);
    if (a.speed) {
        print_speed(&b);
    }
    printf(" \"wrong\": %zu}\n", wrong);
    b.ops->destroy(b.pool);
    return wrong ? 1 : 0;
}
