/* SPDX-License-Identifier: MIT */
/* Arrays of the explorer's own that grow. It is a program, and ends if there is no memory. */
#ifndef UZSWAP_TESTS_VERIFY_EXPLORER_GROWN_H
#define UZSWAP_TESTS_VERIFY_EXPLORER_GROWN_H

#include <stdio.h>
#include <stdlib.h>

/* The array, moved if need be, with room for `needed` elements of `each` bytes; *room is how many it has room for. */
static inline void *grown(void *array, size_t needed, size_t *room, size_t each)
{
    if (needed <= *room) {
        return array;
    }
    *room = needed * 2 + 64;
    array = realloc(array, *room * each);
    if (!array) {
        fprintf(stderr, "explorer: no memory\n");
        exit(1);
    }
    return array;
}

#endif
