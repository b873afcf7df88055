/* SPDX-License-Identifier: MIT */
#ifndef UZSWAP_TESTS_E2E_TRACED_H
#define UZSWAP_TESTS_E2E_TRACED_H

#include <signal.h>

/* Raised by a program, they tell the tracer, and nobody else, when to look. */
#define TRACED_BEGIN SIGUSR1
#define TRACED_END SIGUSR2

#endif
