/* SPDX-License-Identifier: MIT */
/*
 * How program threads ask the root runtime thread to do something for them.
 *
 * The root thread alone changes the arena's layout and alone has the descriptors; it runs one request at a
 * time, on its own stack, with no signals. A program thread only copies its request in and sleeps until
 * it is answered: it holds no lock meanwhile, so its stack may be managed memory. Signals wait until then.
 *
 * A child by vfork shares all of this, and may outlive its parent, whose root thread it was: then nobody serves any more.
 */
#ifndef UZSWAP_PRELOAD_MAILBOX_H
#define UZSWAP_PRELOAD_MAILBOX_H

#include "base/member.h"

#define MAILBOX_REQUESTS 31
#define MAILBOX_ARGUMENT_MAX 104

typedef long (*mailbox_function)(void *argument);

/* Has the root thread run function(argument), on a copy of the `bytes` bytes at `argument` that is copied back
 * afterwards; its result. -EINVAL if they are more than MAILBOX_ARGUMENT_MAX. From any thread but the root
 * thread; also in signal handlers. Waits while MAILBOX_REQUESTS others are under way. -ENOMEM if nobody serves any more. */
long mailbox_call(mailbox_function function, void *argument, size_t bytes);

/* The same in two steps, for a caller that has something to do meanwhile. The number is what `mailbox_wait` takes. */
unsigned mailbox_post(mailbox_function function, const void *argument, size_t bytes);
long mailbox_wait(unsigned number, void *argument, size_t bytes);

/* The root thread: runs what was asked; if nothing was, waits for it up to `timeout_ms`, or until `*other`, a word that
 * processes share, is no longer `seen`. Was there any? */
bool mailbox_serve(int timeout_ms, const uint32_t *other, uint32_t seen);

/* Whose root thread serves: once, by that thread before it serves, and again in a forked child. */
void mailbox_set_server(const struct membership *member);

/* Does that process live? No system call. */
bool mailbox_is_served(void);

/* In a forked child, before it has a root thread: forgets what the parent's threads had asked. */
void mailbox_fork_child(void);

#endif
