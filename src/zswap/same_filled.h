/* SPDX-License-Identifier: MIT */
/* Pages that repeat one 64-bit word: no compressor needed, and mostly no object either. */
#ifndef UZSWAP_ZSWAP_SAME_FILLED_H
#define UZSWAP_ZSWAP_SAME_FILLED_H

#include "base/types.h"

/* True and *value if the page is one 64-bit word over and over. */
bool same_filled(const void *page, uint64_t *value);

/* The FILLED entry word for `value`, 0 if it does not fit one (then it is stored as an 8-byte object). */
uint64_t same_filled_encode(uint64_t value);
uint64_t same_filled_decode(uint64_t word);

void same_filled_expand(void *page, uint64_t value);

#endif
