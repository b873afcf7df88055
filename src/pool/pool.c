/* SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include <string.h>

/* One row a pool, the default first: the look-up and the list of names follow from it. */
#define POOLS(ROW) ROW("zbud", pool_zbud) ROW("zsmalloc", pool_zsmalloc)

#define OPS_OF(name, ops) &(ops),
#define LIST_ITEM(name, ops) ", " name

static const struct pool_ops *const pools[] = {POOLS(OPS_OF)};
static const char list[] = POOLS(LIST_ITEM);

const struct pool_ops *pool_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(pools); i++) {
        if (strcmp(pools[i]->name, name) == 0) {
            return pools[i];
        }
    }
    return NULL;
}

const char *pool_list(void)
{
    return list + 2; /* behind the first ", " */
}
