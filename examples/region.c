/* SPDX-License-Identifier: MIT */
/* A region in 30 lines: an array of 64 MiB that lives in 16 MiB of RAM. cc region.c -luzswap */
#include <stdio.h>
#include <string.h>
#include <uzswap.h>

int main(void)
{
    const size_t count = (64 << 20) / sizeof(long);
    struct uzswap_options options = {.memory = 16 << 20};
    struct uzswap_region_stat stat;
    struct uzswap_region *region;
    struct uzswap_error why;
    struct uzswap *cache;
    int error = uzswap_create(&cache, &options, &why);
    if (!error &&
        (error = uzswap_region_create(&region, cache, 0, count * sizeof(long), UZSWAP_FAULT_HANDLER))) {
        snprintf(why.text, sizeof why.text, "cannot make a region: %s", strerror(-error));
        uzswap_destroy(cache);
    }
    if (error) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    long *array = uzswap_region_base(region), sum = 0;
    for (size_t i = 0; i < count; i++) {
        array[i] = (long)i;
    }
    for (size_t i = 0; i < count; i++) {
        sum += array[i];
    }
    uzswap_region_stat(region, &stat);
    printf("sum %s, %lu faults\n", sum == (long)(count * (count - 1) / 2) ? "right" : "wrong",
           (unsigned long)stat.faults);
    uzswap_region_destroy(region);
    uzswap_destroy(cache);
    return sum != (long)(count * (count - 1) / 2);
}
