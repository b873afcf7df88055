/* SPDX-License-Identifier: MIT */
#include "tests/support/faulty_device.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPERATIONS (SWAP_FLUSH + 1)

/* What is to happen to one kind of I/O. */
struct plan {
    uint64_t submitted;
    uint64_t fail_at, tear_at, flip_at; /* the value of `submitted` that gets it; 0 = none */
    int fail_error, tear_error, fail_all;
    bool flip_all, hold;
};

struct faulty_device {
    struct swap_device base;
    struct swap_device *inner;
    pthread_mutex_t lock; /* guards what follows; nothing is called under it */
    struct plan plans[OPERATIONS];
    uint64_t capacity;
    struct relay *held, **held_tail;
    size_t held_count;
    size_t in_flight; /* held ones included */
};

/* One I/O on its way through: `io` is what the inner device sees. */
struct relay {
    struct swap_io io;
    struct swap_io *outer;
    struct faulty_device *faulty;
    struct relay *next;
    int error; /* instead of the inner device's result */
    bool flip, skip_inner;
};

static struct faulty_device *faulty_of(struct swap_device *device)
{
    return container_of(device, struct faulty_device, base);
}

static void relay_done(struct swap_io *inner)
{
    struct relay *relay = container_of(inner, struct relay, io);
    struct swap_io *outer = relay->outer;
    outer->result = relay->error ? relay->error : inner->result;
    if (outer->operation == SWAP_READ && outer->result) {
        memset(outer->buffer, 0xee, outer->bytes);
    } else if (relay->flip) {
        ((unsigned char *)outer->buffer)[outer->bytes / 3] ^= 0x10;
    }
    struct faulty_device *faulty = relay->faulty;
    free(relay);
    pthread_mutex_lock(&faulty->lock);
    faulty->in_flight--;
    pthread_mutex_unlock(&faulty->lock);
    outer->done(outer);
}

static void pass_on(struct relay *relay)
{
    if (relay->skip_inner) {
        relay_done(&relay->io);
    } else {
        relay->faulty->inner->ops->submit(relay->faulty->inner, &relay->io);
    }
}

/* Decides what becomes of an I/O; true if it is kept back. The lock is held. */
static bool plan_relay(struct faulty_device *faulty, struct relay *relay)
{
    struct plan *plan = &faulty->plans[relay->outer->operation];
    uint64_t number = ++plan->submitted;
    relay->error = number == plan->fail_at ? plan->fail_error : plan->fail_all;
    if (!relay->error && relay->outer->operation == SWAP_WRITE &&
        relay->outer->position + relay->outer->bytes > faulty->capacity) {
        relay->error = -ENOSPC;
    }
    relay->skip_inner = relay->error != 0;
    if (!relay->error && number == plan->tear_at) {
        relay->error = plan->tear_error;
        relay->io.bytes = relay->io.bytes / 2 / SLOT_BYTES * SLOT_BYTES;
        relay->skip_inner = relay->io.bytes == 0;
    }
    relay->flip = number == plan->flip_at || plan->flip_all;
    faulty->in_flight++;
    if (plan->hold) {
        *faulty->held_tail = relay;
        faulty->held_tail = &relay->next;
        faulty->held_count++;
    }
    return plan->hold;
}

static void submit(struct swap_device *device, struct swap_io *io)
{
    struct faulty_device *faulty = faulty_of(device);
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay) {
        abort();
    }
    relay->io = *io;
    relay->io.done = relay_done;
    relay->outer = io;
    relay->faulty = faulty;
    pthread_mutex_lock(&faulty->lock);
    bool held = plan_relay(faulty, relay);
    pthread_mutex_unlock(&faulty->lock);
    if (!held) {
        pass_on(relay);
    }
}

static bool is_idle(struct faulty_device *faulty)
{
    pthread_mutex_lock(&faulty->lock);
    bool idle = !faulty->in_flight;
    pthread_mutex_unlock(&faulty->lock);
    return idle;
}

/* Who waits looks again after a while: what he waits for may have been completed by another's reap, and the rest be held. */
static size_t reap(struct swap_device *device, bool wait)
{
    struct faulty_device *faulty = faulty_of(device);
    for (int tries = 0;; tries++) {
        size_t count = faulty->inner->ops->reap(faulty->inner, false);
        if (count || !wait || tries == 20 || is_idle(faulty)) {
            return count;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

static void close_faulty(struct swap_device *device)
{
    struct faulty_device *faulty = faulty_of(device);
    if (!is_idle(faulty)) {
        printf("# faulty device: closed with I/O in flight\n");
        abort();
    }
    faulty->inner->ops->close(faulty->inner);
    free(faulty);
}

static int fork_child(struct swap_device *device)
{
    struct faulty_device *faulty = faulty_of(device);
    return faulty->inner->ops->fork_child(faulty->inner);
}

static const struct swap_device_ops faulty_ops = {
    .scheme = "faulty", .close = close_faulty, .submit = submit, .reap = reap, .fork_child = fork_child};

struct swap_device *faulty_device_create(struct swap_device *inner)
{
    struct faulty_device *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        abort();
    }
    faulty->base = *inner;
    faulty->base.ops = &faulty_ops;
    faulty->inner = inner;
    faulty->capacity = UINT64_MAX;
    faulty->held_tail = &faulty->held;
    pthread_mutex_init(&faulty->lock, NULL);
    return &faulty->base;
}

struct swap_device *faulty_inner(struct swap_device *device)
{
    return faulty_of(device)->inner;
}

/* --- Telling it --- */

/* The plan for `operation`, locked. Ends with unlock. */
static struct plan *lock_plan(struct swap_device *device, enum swap_operation operation)
{
    struct faulty_device *faulty = faulty_of(device);
    pthread_mutex_lock(&faulty->lock);
    return &faulty->plans[operation];
}

static void unlock(struct swap_device *device)
{
    pthread_mutex_unlock(&faulty_of(device)->lock);
}

void faulty_fail_nth(struct swap_device *device, enum swap_operation operation, uint64_t n, int error)
{
    struct plan *plan = lock_plan(device, operation);
    plan->fail_at = plan->submitted + n;
    plan->fail_error = error;
    unlock(device);
}

void faulty_fail_all(struct swap_device *device, enum swap_operation operation, int error)
{
    struct plan *plan = lock_plan(device, operation);
    plan->fail_all = error;
    unlock(device);
}

void faulty_tear_nth_write(struct swap_device *device, uint64_t n, int error)
{
    struct plan *plan = lock_plan(device, SWAP_WRITE);
    plan->tear_at = plan->submitted + n;
    plan->tear_error = error;
    unlock(device);
}

void faulty_flip_nth_read(struct swap_device *device, uint64_t n)
{
    struct plan *plan = lock_plan(device, SWAP_READ);
    plan->flip_at = plan->submitted + n;
    unlock(device);
}

void faulty_flip_all_reads(struct swap_device *device, bool on)
{
    struct plan *plan = lock_plan(device, SWAP_READ);
    plan->flip_all = on;
    unlock(device);
}

void faulty_set_capacity(struct swap_device *device, uint64_t bytes)
{
    struct faulty_device *faulty = faulty_of(device);
    pthread_mutex_lock(&faulty->lock);
    faulty->capacity = bytes;
    pthread_mutex_unlock(&faulty->lock);
}

void faulty_hold(struct swap_device *device, enum swap_operation operation, bool on)
{
    struct plan *plan = lock_plan(device, operation);
    plan->hold = on;
    unlock(device);
}

bool faulty_let_go_one(struct swap_device *device)
{
    struct faulty_device *faulty = faulty_of(device);
    pthread_mutex_lock(&faulty->lock);
    struct relay *relay = faulty->held;
    if (relay) {
        faulty->held = relay->next;
        faulty->held_count--;
        if (!faulty->held) {
            faulty->held_tail = &faulty->held;
        }
    }
    pthread_mutex_unlock(&faulty->lock);
    if (relay) {
        pass_on(relay);
    }
    return relay != NULL;
}

void faulty_let_go(struct swap_device *device)
{
    struct faulty_device *faulty = faulty_of(device);
    pthread_mutex_lock(&faulty->lock);
    for (int i = 0; i < OPERATIONS; i++) {
        faulty->plans[i].hold = false;
    }
    pthread_mutex_unlock(&faulty->lock);
    while (faulty_let_go_one(device)) {
    }
}

size_t faulty_held(struct swap_device *device)
{
    struct faulty_device *faulty = faulty_of(device);
    pthread_mutex_lock(&faulty->lock);
    size_t n = faulty->held_count;
    pthread_mutex_unlock(&faulty->lock);
    return n;
}

uint64_t faulty_count(struct swap_device *device, enum swap_operation operation)
{
    uint64_t n;
    struct plan *plan = lock_plan(device, operation);
    n = plan->submitted;
    unlock(device);
    return n;
}
