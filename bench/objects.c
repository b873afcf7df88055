/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "zswap/same_filled.h"

/* As zswap/store.c has it: less than this much saved is not worth a decompression. */
#define COMPRESSED_MAX (PAGE_BYTES - 64)

void *bench_memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED) {
        fprintf(stderr, "bench-density: no memory\n");
        exit(1);
    }
    return at;
}

void objects_create(struct objects *o, size_t room)
{
    *o = (struct objects){.room = room};
    o->bytes = bench_memory(room * PAGE_BYTES);
    o->list = bench_memory(room * sizeof o->list[0]);
}

static void add(struct objects *o, const void *from, size_t bytes)
{
    struct object *object = &o->list[o->count++];
    *object = (struct object){.at = o->payload, .bytes = (uint32_t)bytes};
    if (from) {
        memcpy(o->bytes + object->at, from, bytes);
    }
    o->payload += bytes;
}

static bool add_page(struct objects *o, struct codec_context *context, const void *page)
{
    unsigned char compressed[PAGE_BYTES];
    uint64_t value;
    o->pages++;
    if (same_filled(page, &value)) {
        o->same_filled++;
        return true;
    }
    int bytes = codec_compress(context, compressed, COMPRESSED_MAX, page);
    if (bytes < 0) {
        return false;
    }
    o->raw += !bytes;
    add(o, bytes ? compressed : page, bytes ? (size_t)bytes : PAGE_BYTES);
    return true;
}

bool objects_add_image(struct objects *o, const struct page_image *image, const struct codec *codec)
{
    struct account account = {0};
    struct memory memory = {.account = &account};
    struct codec_context *context;
    if (codec_context_create(&context, &memory, codec)) {
        return false;
    }
    bool good = true;
    for (size_t i = 0; good && i < image->pages && o->count < o->room; i++) {
        good = add_page(o, context, page_image_page(image, i));
    }
    codec_context_destroy(context);
    return good;
}

static double square_root(double x)
{
    double root = x < 1 ? 1 : x;
    for (int i = 0; i < 40; i++) {
        root = (root + x / root) / 2;
    }
    return root;
}

void objects_add_synthetic(struct objects *o, size_t n, uint64_t *seed)
{
    enum { LOW = 64, HIGH = 3500, MODE = 936 };
    double width = HIGH - LOW, split = (MODE - LOW) / width;
    for (size_t i = 0; i < n && o->count < o->room; i++) {
        double u = (double)(bench_random(seed) % 1000000) / 1e6;
        add(o, NULL,
            (size_t)(u < split ? LOW + square_root(u * width * (MODE - LOW))
                               : HIGH - square_root((1 - u) * width * (HIGH - MODE))));
        o->pages++;
    }
}
