/* SPDX-License-Identifier: MIT */
/*
 * By futex(2), which reads or changes a word and answers EFAULT: no descriptor is needed, no filter that lets threads run
 * forbids it, and it does nothing here. FUTEX_WAIT with no time reads the word; FUTEX_WAKE_OP adds 0 to it.
 *
 * FUTEX_WAKE_OP does not wait for a page that a userfaultfd has to bring or to give free, and calls it bad; so the
 * page is asked for first. Where that cannot be (before Linux 5.14), it is a page that is there, or such a mistake.
 */
#include "preload/probe.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <time.h>

#include "base/sys.h"

static long read_word(long word)
{
    struct timespec none = {0};
    return sys_call6(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, (long)&none, 0, 0);
}

static long change_word(long word)
{
    uint32_t nobody = 0;
    long error = sys_madvise((void *)(word & ~((long)PAGE_BYTES - 1)), PAGE_BYTES, MADV_POPULATE_WRITE);
    if (!error || error == -ENOMEM) {
        return error ? -EFAULT : 0;
    }
    return sys_call6(SYS_futex, (long)&nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0, word,
                     FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0));
}

/* A word of each page. */
static bool each(long (*look)(long word), const void *at, size_t bytes)
{
    uintptr_t end = (uintptr_t)at + bytes;
    if (end < (uintptr_t)at) {
        return false;
    }
    for (uintptr_t word = (uintptr_t)at & ~(uintptr_t)3; word < end; word = round_up(word + 1, PAGE_BYTES)) {
        if (look((long)word) == -EFAULT) {
            return false;
        }
    }
    return true;
}

bool probe_read(const void *at, size_t bytes)
{
    return each(read_word, at, bytes);
}

bool probe_write(void *at, size_t bytes)
{
    return each(change_word, at, bytes);
}
