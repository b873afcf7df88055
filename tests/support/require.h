/* SPDX-License-Identifier: MIT */
/* For fuzz targets, which are no test programs: what must hold, or the fuzzer keeps the input. */
#ifndef UZSWAP_TESTS_SUPPORT_REQUIRE_H
#define UZSWAP_TESTS_SUPPORT_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#undef REQUIRE /* that of the harness, which ends a test program */
#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
