/* SPDX-License-Identifier: MIT */
/*
 * 31 slots, and two words of 32 bits, one bit a slot:
 *
 *   taken     whose slot it is: set by the asking thread, cleared by it once it has its answer
 *   asked     the request is complete: set by the asking thread, cleared by the root thread
 *
 * Both words are also what is slept on: the root thread on `asked` while only the last bit is set, which says that it
 * sleeps; asking threads on `taken` while it is full. The answer is awaited on the slot's own `answered`. Nobody is woken
 * who does not sleep.
 *
 * Looking for a while before sleeping was tried, on both sides, since two wake-ups take longer than most requests: where
 * other programs want the CPUs, it made mmap and munmap 1.7 times as slow, for twice the CPU time.
 *
 * Why not a lock around the arena and region calls in the program's threads: the lock is one that fault handlers
 * take, so the stack of its holder must not be managed and no signal may interrupt it; and the region's
 * calls need descriptors that the program's table does not have. Calls that change mappings are rare beside
 * faults, and cost the kernel a lock and a TLB shootdown as it is.
 */
#include "preload/mailbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/sys.h"

#define LOOK_MS 1000 /* how often who waits for an answer looks whether anybody is left to give it */
#define BURST_MS 2   /* for so long the other word's news may have to wait */

#define ALL_TAKEN (~0u >> 1)
#define ROOT_SLEEPS (1u << MAILBOX_REQUESTS)
_Static_assert((ALL_TAKEN & ROOT_SLEEPS) == 0 && ALL_TAKEN + 1 == ROOT_SLEEPS,
               "one bit a slot, and one more");

enum { NOT_ANSWERED, ANSWERED, ASKER_SLEEPS };

struct request {
    uint32_t answered; /* one of the above; atomic, slept on */
    mailbox_function function;
    long result;
    _Alignas(16) char argument[MAILBOX_ARGUMENT_MAX];
};

static struct {
    uint32_t taken;
    uint32_t asked;
    struct request requests[MAILBOX_REQUESTS];
} mailbox;

static const struct membership
    *server; /* NULL: somebody serves as long as anybody asks. Written before who asks runs */

void mailbox_set_server(const struct membership *member)
{
    server = member;
}

bool mailbox_is_served(void)
{
    return !server || member_is_alive(server->table, server->index, server->generation);
}

static unsigned take_slot(void)
{
    uint32_t taken = atomic_read_relaxed(&mailbox.taken);
    for (;;) {
        if (taken == ALL_TAKEN) {
            futex_wait(&mailbox.taken, ALL_TAKEN, -1);
            taken = atomic_read_relaxed(&mailbox.taken);
            continue;
        }
        unsigned slot = (unsigned)__builtin_ctz(~taken);
        /* Acquire: the last user has read its answer before we write over it. */
        if (atomic_cas_acq_rel(&mailbox.taken, &taken, taken | 1u << slot)) {
            return slot;
        }
    }
}

static void give_back_slot(unsigned slot)
{
    /* Release: see take_slot. All who wait are woken, as the next to leave sees the word no longer full. */
    if (atomic_fetch_and_acq_rel(&mailbox.taken, ~(1u << slot)) == ALL_TAKEN) {
        futex_wake(&mailbox.taken, INT_MAX);
    }
}

unsigned mailbox_post(mailbox_function function, const void *argument, size_t bytes)
{
    unsigned slot = take_slot();
    struct request *r = &mailbox.requests[slot];
    r->function = function;
    memcpy(r->argument, argument, min_size(bytes, MAILBOX_ARGUMENT_MAX));
    atomic_set_relaxed(&r->answered, NOT_ANSWERED);
    /* Release: whoever sees the bit sees the request. */
    if (atomic_fetch_or_acq_rel(&mailbox.asked, 1u << slot) & ROOT_SLEEPS) {
        futex_wake(&mailbox.asked, 1);
    }
    return slot;
}

/* False: there will be none. */
static bool await_answer(struct request *r)
{
    uint32_t seen = NOT_ANSWERED;
    /* Acquire, in either case: the result was written before. */
    if (atomic_cas_acq_rel(&r->answered, &seen, ASKER_SLEEPS)) {
        while (atomic_read_acquire(&r->answered) != ANSWERED) {
            futex_wait(&r->answered, ASKER_SLEEPS, LOOK_MS);
            /* In this order, as an answer may have been the last thing. */
            if (!mailbox_is_served() && atomic_read_acquire(&r->answered) != ANSWERED) {
                return false;
            }
        }
    }
    return true;
}

long mailbox_wait(unsigned number, void *argument, size_t bytes)
{
    struct request *r = &mailbox.requests[number];
    bool answered = await_answer(r);
    long result = answered ? r->result : -ENOMEM;
    if (answered) {
        memcpy(argument, r->argument, min_size(bytes, MAILBOX_ARGUMENT_MAX));
    }
    give_back_slot(number);
    return result;
}

/* No signal meanwhile: a handler that left by longjmp, or a cancellation, would leave the slot taken for ever. */
long mailbox_call(mailbox_function function, void *argument, size_t bytes)
{
    if (bytes > MAILBOX_ARGUMENT_MAX) {
        return -EINVAL;
    }
    if (!mailbox_is_served()) {
        return -ENOMEM;
    }
    uint64_t all = ~0ull, old;
    long unblocked = sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, sizeof all, 0, 0);
    long result = mailbox_wait(mailbox_post(function, argument, bytes), argument, bytes);
    if (!unblocked) {
        sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof old, 0, 0);
    }
    return result;
}

/* Requests come in bursts: for a moment after one the thread sleeps on one word, which costs less than two and the time. */
static void sleep_until_asked(bool in_burst, int timeout_ms, const uint32_t *other, uint32_t seen)
{
    int burst_ms = in_burst && timeout_ms > BURST_MS ? BURST_MS : 0;
    if (burst_ms) {
        futex_wait(&mailbox.asked, ROOT_SLEEPS, burst_ms);
    }
    /* Relaxed: the kernel looks again. */
    if (atomic_read_relaxed(&mailbox.asked) == ROOT_SLEEPS) {
        futex_wait_either(&mailbox.asked, ROOT_SLEEPS, other, seen, timeout_ms - burst_ms);
    }
}

bool mailbox_serve(int timeout_ms, const uint32_t *other, uint32_t seen)
{
    static bool in_burst; /* the root thread's */
    uint32_t none = 0;
    if (atomic_cas_acq_rel(&mailbox.asked, &none, ROOT_SLEEPS)) {
        sleep_until_asked(in_burst, timeout_ms, other, seen);
    }
    /* Acquire: the requests were written before their bits were set. */
    uint32_t asked = atomic_swap_acq_rel(&mailbox.asked, 0) & ~ROOT_SLEEPS;
    bool any = in_burst = asked;
    while (asked) {
        struct request *r = &mailbox.requests[__builtin_ctz(asked)];
        asked &= asked - 1;
        r->result = r->function(r->argument);
        /* Release: the result is seen with it. The slot may be another's as soon as this is done; a
         * wake-up too many does no harm. */
        if (atomic_swap_acq_rel(&r->answered, ANSWERED) == ASKER_SLEEPS) {
            futex_wake(&r->answered, 1);
        }
    }
    return any;
}

void mailbox_fork_child(void)
{
    memset(&mailbox, 0, sizeof mailbox);
}
