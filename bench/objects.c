/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <string.h>

#include "bench/measure.h"
#include "zswap/internal.h"
#include "zswap/same_filled.h"

void objects_create(struct objects *o, size_t room)
{
    *o = (struct objects){.room = room};
    o->bytes = map_memory(room * PAGE_BYTES, true);
    o->list = map_memory(room * sizeof o->list[0], true);
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
    int bytes = codec_compress(context, compressed, ZSWAP_COMPRESSED_MAX, page);
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
        double u = (double)(random_number(seed) % 1000000) / 1e6;
        add(o, NULL,
            (size_t)(u < split ? LOW + square_root(u * width * (MODE - LOW))
                               : HIGH - square_root((1 - u) * width * (HIGH - MODE))));
        o->pages++;
    }
}
