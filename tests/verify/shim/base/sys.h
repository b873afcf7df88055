/* SPDX-License-Identifier: MIT */
/* src/base/sys.h as the explorer has it: the same, but for sys_yield. */
#ifndef UZSWAP_VERIFY_SHIM_SYS_H
#define UZSWAP_VERIFY_SHIM_SYS_H

#include "tests/verify/explore.h"

#define sys_yield sys_yield_of_the_kernel
#include "src/base/sys.h"
#undef sys_yield

#define sys_yield()                                                                                          \
    __extension__({                                                                                          \
        static const struct explore_place explore_place = {__FILE__, __func__, "sys_yield", __LINE__};       \
        explore_yield(&explore_place);                                                                       \
    })

#endif
