/* SPDX-License-Identifier: MIT */
/* A page store in 30 lines: 32 MiB of pages in a budget of 16 MiB, the oldest on disk. cc page_store.c -luzswap */
#include <stdio.h>
#include <string.h>
#include <uzswap.h>

int main(void)
{
    struct uzswap_options options = {.memory = 16 << 20, .compressor = "zstd"};
    struct uzswap_error why;
    struct uzswap *cache;
    char page[UZSWAP_PAGE_BYTES];
    int error = uzswap_create(&cache, &options, &why);
    if (error) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    error = uzswap_area_create(cache, 0, 8192);
    for (unsigned i = 0; i < 8192 && !error; i++) {
        snprintf(page, sizeof page, "this is page %u", i);
        error = uzswap_store(cache, 0, i, page);
    }
    unsigned right = 0;
    for (unsigned i = 0; i < 8192 && !error; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "this is page %u", i);
        error = uzswap_load_exclusive(cache, 0, i, page);
        right += !error && strcmp(page, expected) == 0;
    }
    printf("%u of 8192 pages came back right\n", right);
    uzswap_destroy(cache);
    return error || right != 8192;
}
