/* SPDX-License-Identifier: MIT */
#include "swap/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/sys.h"

static const struct swap_device_ops *const all_ops[] = {&swap_device_file};

#define KNOWN_DEVICES "use 'file:' (a file in $TMPDIR or /tmp), 'file:/FOLDER' or 'none'"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The length of the scheme that `uri` begins with (RFC 3986); 0 if it begins with none. */
static size_t scheme_length(const char *uri)
{
    size_t n = 0;
    while (is_letter(uri[n]) ||
           (n && ((uri[n] >= '0' && uri[n] <= '9') || (uri[n] && strchr("+-.", uri[n]))))) {
        n++;
    }
    return uri[n] == ':' ? n : 0;
}

/* Splits `uri` into the ops of its scheme, NULL for "none", and what stands behind. 0 or -errno with
 * error->text set. */
static int parse_uri(const char *uri, const struct swap_device_ops **ops, const char **location,
                     struct swap_open_error *error)
{
    *ops = NULL;
    if (uri && strcmp(uri, "none") == 0) {
        return 0;
    }
    size_t length = uri ? scheme_length(uri) : 0;
    if (!length) {
        bool folder = uri && uri[0] == '/';
        snprintf(error->text, sizeof error->text, "'%.100s' is no swap device: %s%.100s%s", uri ? uri : "",
                 folder ? "for that folder write 'file:" : KNOWN_DEVICES, folder ? uri : "",
                 folder ? "'" : "");
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(all_ops); i++) {
        if (strlen(all_ops[i]->scheme) == length && memcmp(all_ops[i]->scheme, uri, length) == 0) {
            *ops = all_ops[i];
            *location = uri + length + 1;
            return all_ops[i]->check(*location, error);
        }
    }
    snprintf(error->text, sizeof error->text, "unknown kind of swap device in '%.100s': %s", uri,
             KNOWN_DEVICES);
    return -EPROTONOSUPPORT;
}

int swap_device_open(struct swap_device **device, const char *uri, uint64_t size, struct memory *memory,
                     struct swap_open_error *error)
{
    const struct swap_device_ops *ops;
    const char *location;
    int result = parse_uri(uri, &ops, &location, error);
    *device = NULL;
    if (result || !ops) {
        return result;
    }
    return ops->open(device, location, size, memory, error);
}

int swap_uri_check(const char *uri, struct swap_open_error *error)
{
    const struct swap_device_ops *ops;
    const char *location;
    return parse_uri(uri, &ops, &location, error);
}

static void mark_done(struct swap_io *io)
{
    uint32_t *is_done = io->owner;
    /* Release: io->result and the buffer are seen by the waiter. Nothing of `io` is touched after it. */
    atomic_set_release(is_done, 1);
}

int swap_device_wait(struct swap_device *device, struct swap_io *io)
{
    uint32_t is_done = 0;
    io->done = mark_done;
    io->owner = &is_done;
    device->ops->submit(device, io);
    while (!atomic_read_acquire(&is_done)) { /* acquire: see mark_done */
        if (!device->ops->reap(device, true)) {
            sys_yield(); /* another thread has reaped it and is about to call mark_done */
        }
    }
    return io->result;
}
