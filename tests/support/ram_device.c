/* SPDX-License-Identifier: MIT */
#include "tests/support/ram_device.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ram_device {
    struct swap_device base;
    unsigned char *bytes;
    enum ram_device_mode mode;
    pthread_mutex_t lock; /* guards the queue; taken last, nothing is called under it */
    struct swap_io *head, **tail;
    size_t in_flight; /* queued, or being carried out */
};

static struct ram_device *ram_of(struct swap_device *device)
{
    return container_of(device, struct ram_device, base);
}

static void carry_out(struct ram_device *ram, struct swap_io *io)
{
    io->result = 0;
    if (io->operation == SWAP_FLUSH) {
        return;
    }
    if (io->position % SLOT_BYTES || io->bytes % SLOT_BYTES || !io->bytes) {
        io->result = -EINVAL;
    } else if (io->position > ram->base.size || io->bytes > ram->base.size - io->position) {
        io->result = io->operation == SWAP_WRITE ? -ENOSPC : -EIO;
    } else if (io->operation == SWAP_READ) {
        memcpy(io->buffer, ram->bytes + io->position, io->bytes);
    } else if (io->operation == SWAP_WRITE) {
        memcpy(ram->bytes + io->position, io->buffer, io->bytes);
    } else {
        memset(ram->bytes + io->position, 0xdd, io->bytes);
    }
}

static bool is_queued(const struct ram_device *ram, const struct swap_io *io)
{
    return ram->mode == RAM_DEVICE_ASYNC_READ ||
           (ram->mode == RAM_DEVICE_ASYNC && io->operation != SWAP_READ);
}

static void submit(struct swap_device *device, struct swap_io *io)
{
    struct ram_device *ram = ram_of(device);
    if (!is_queued(ram, io)) {
        carry_out(ram, io);
        io->done(io);
        return;
    }
    while (ram_device_in_flight(device) >= ram->base.max_in_flight) {
        device->ops->reap(device, true);
    }
    io->next = NULL;
    pthread_mutex_lock(&ram->lock);
    *ram->tail = io;
    ram->tail = &io->next;
    ram->in_flight++;
    pthread_mutex_unlock(&ram->lock);
}

static size_t reap(struct swap_device *device, bool wait)
{
    struct ram_device *ram = ram_of(device);
    (void)wait; /* what is queued is ready */
    pthread_mutex_lock(&ram->lock);
    struct swap_io *list = ram->head;
    ram->head = NULL;
    ram->tail = &ram->head;
    pthread_mutex_unlock(&ram->lock);
    size_t count = 0;
    while (list) {
        struct swap_io *io = list;
        list = io->next;
        carry_out(ram, io);
        pthread_mutex_lock(&ram->lock);
        ram->in_flight--;
        pthread_mutex_unlock(&ram->lock);
        io->done(io);
        count++;
    }
    return count;
}

static void close_ram(struct swap_device *device)
{
    struct ram_device *ram = ram_of(device);
    if (ram->in_flight) {
        printf("# ram device: closed with %zu in flight\n", ram->in_flight);
        abort();
    }
    free(ram->bytes);
    free(ram);
}

/* Private memory: the child has its own copy already. */
static int fork_child(struct swap_device *device)
{
    (void)device;
    return 0;
}

static const struct swap_device_ops ram_ops = {
    .scheme = "ram", .close = close_ram, .submit = submit, .reap = reap, .fork_child = fork_child};

struct swap_device *ram_device_create(uint64_t size, enum ram_device_mode mode)
{
    struct ram_device *ram = calloc(1, sizeof *ram);
    unsigned char *bytes = calloc(1, size);
    if (!ram || !bytes) {
        printf("# ram device: no memory\n");
        abort();
    }
    ram->base = (struct swap_device){.ops = &ram_ops, .size = size, .max_in_flight = 64};
    ram->bytes = bytes;
    ram->mode = mode;
    ram->tail = &ram->head;
    pthread_mutex_init(&ram->lock, NULL);
    return &ram->base;
}

unsigned char *ram_device_bytes(struct swap_device *device)
{
    return ram_of(device)->bytes;
}

size_t ram_device_in_flight(struct swap_device *device)
{
    struct ram_device *ram = ram_of(device);
    pthread_mutex_lock(&ram->lock);
    size_t n = ram->in_flight;
    pthread_mutex_unlock(&ram->lock);
    return n;
}
