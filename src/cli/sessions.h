/* SPDX-License-Identifier: MIT */
/* Finding the sessions of other processes through /proc. */
#ifndef UZSWAP_CLI_SESSIONS_H
#define UZSWAP_CLI_SESSIONS_H

#include "base/session.h"

/*
 * The session that process `pid` belongs to, mapped; *owned says that `pid` is the `uzswap run` that made it. 0;
 * -ESRCH (no such process), -EACCES (another user's), -ENOENT (it runs without uzswap), -EPROTO (another version).
 */
int sessions_find(uint32_t pid, struct session **session, bool *owned);

/* Calls `visit` with each `uzswap run` that may be looked at, and its session. */
void sessions_each(void (*visit)(uint32_t pid, const struct session *session, void *context), void *context);

/* The name of a process, "?" if it has gone. */
const char *process_name(uint32_t pid, char name[32]);

/* Reads a number that is a process's; 0 if `text` is none. */
uint32_t parse_pid(const char *text);

#endif
