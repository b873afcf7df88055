/* SPDX-License-Identifier: MIT */
/*
 * futex(2) by number. Where the kernel changes a word itself, it does not wait for a page that a userfaultfd has to bring, or to
 * give free for writing, and answers EFAULT. Nothing has happened then: the words' pages are brought in, and the call is
 * made once more. Operations that only read a word wait for it.
 */
#include "preload/interpose.h"

#include <linux/futex.h>

#include "preload/probe.h"

#define WORD_BYTES sizeof(uint32_t)

/* Asks for the words that the operation changes. False if it changes none, or one cannot be changed. */
static bool words_come(long operation, void *word, void *second)
{
    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_TRYLOCK_PI:
    case FUTEX_UNLOCK_PI:
        return probe_write(word, WORD_BYTES);
    case FUTEX_WAKE_OP:
    case FUTEX_CMP_REQUEUE_PI:
    case FUTEX_WAIT_REQUEUE_PI:
        return probe_write(second, WORD_BYTES);
    default:
        return false;
    }
}

long call_futex(const long a[6])
{
    long result = sys_call6(SYS_futex, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (unlikely(result == -EFAULT) && words_come(a[1], (void *)a[0], (void *)a[4])) {
        result = sys_call6(SYS_futex, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return result;
}
