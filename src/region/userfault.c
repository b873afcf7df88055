/* SPDX-License-Identifier: MIT */
#include "region/userfault.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "base/sys.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define FEATURE_PAGEFAULT_FLAG_WP (1ull << 0)
#define FEATURE_SIGBUS (1ull << 7)
#define FEATURE_POISON (1ull << 14)
#define FEATURE_MOVE (1ull << 16)

struct move_argument {
    uint64_t dst, src, len, mode;
    int64_t move;
};
#define IOCTL_MOVE _IOWR(0xAA, 0x05, struct move_argument)
#define MOVE_MODE_ALLOW_SRC_HOLES (1ull << 1)

struct poison_argument {
    uint64_t start, len, mode;
    int64_t updated;
};
#define IOCTL_POISON _IOWR(0xAA, 0x08, struct poison_argument)

static int open_descriptor(int device)
{
    const int flags = O_CLOEXEC | O_NONBLOCK;
    int own = -1;
    if (device < 0) {
        own = device =
            (int)sys_call6(SYS_openat, AT_FDCWD, (long)"/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0, 0, 0);
    }
    int fd = device >= 0 ? sys_ioctl(device, USERFAULTFD_IOC_NEW, (void *)(long)flags) : -EPERM;
    if (own >= 0) {
        sys_close(own);
    }
    if (fd < 0) {
        fd = (int)sys_call3(SYS_userfaultfd, flags, 0, 0);
    }
    return fd == -EACCES ? -EPERM : fd;
}

/* The handshake: asks for `features`, and gives what the kernel has. */
static int handshake(int fd, uint64_t features, uint64_t *has)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    int error = sys_ioctl(fd, UFFDIO_API, &api);
    *has = api.features;
    return error;
}

/* It can be made once on a descriptor, so a first one is spent on finding out. */
static int probe(int device, uint64_t *has)
{
    int fd = open_descriptor(device);
    if (fd < 0) {
        return fd;
    }
    int error = handshake(fd, 0, has);
    sys_close(fd);
    return error;
}

int userfault_open(struct userfault *u, bool sigbus, int device)
{
    uint64_t has;
    int error = probe(device, &has);
    if (error) {
        return error;
    }
    u->fd = open_descriptor(device);
    if (u->fd < 0) {
        return u->fd;
    }
    uint64_t want = has & (FEATURE_MOVE | FEATURE_POISON | FEATURE_PAGEFAULT_FLAG_WP);
    if (sigbus) {
        want |= FEATURE_SIGBUS;
    }
    u->has_move = want & FEATURE_MOVE;
    u->has_protect = want & FEATURE_PAGEFAULT_FLAG_WP;
    u->has_poison = want & FEATURE_POISON;
    u->sigbus = sigbus;
    error = handshake(u->fd, want, &has);
    if (error) {
        userfault_close(u);
    }
    return error;
}

void userfault_close(struct userfault *u)
{
    if (u->fd >= 0) {
        sys_close(u->fd);
        u->fd = -1;
    }
}

int userfault_register(const struct userfault *u, void *at, size_t bytes)
{
    struct uffdio_register argument = {
        .range = {.start = (uintptr_t)at, .len = bytes},
        .mode = UFFDIO_REGISTER_MODE_MISSING | (u->has_protect ? UFFDIO_REGISTER_MODE_WP : 0),
    };
    return sys_ioctl(u->fd, UFFDIO_REGISTER, &argument);
}

int userfault_unregister(const struct userfault *u, void *at, size_t bytes)
{
    struct uffdio_range argument = {.start = (uintptr_t)at, .len = bytes};
    return sys_ioctl(u->fd, UFFDIO_UNREGISTER, &argument);
}

/* COPY and MOVE say in their result how far they came, or -errno if nowhere; the call itself then says EAGAIN. */
static int partial_result(int error, int64_t moved, size_t *done)
{
    *done = moved > 0 ? (size_t)moved : 0;
    return error && moved < 0 ? (int)moved : error;
}

static int copy(const struct userfault *u, void *to, const void *from, size_t bytes, uint64_t mode,
                size_t *done)
{
    struct uffdio_copy argument = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = bytes, .mode = mode};
    int error = sys_ioctl(u->fd, UFFDIO_COPY, &argument);
    return partial_result(error, argument.copy, done);
}

int userfault_copy(const struct userfault *u, void *to, const void *from, size_t bytes, bool wake,
                   size_t *done)
{
    return copy(u, to, from, bytes, wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE, done);
}

int userfault_copy_protected(const struct userfault *u, void *to, const void *from, size_t bytes,
                             size_t *done)
{
    return copy(u, to, from, bytes, UFFDIO_COPY_MODE_WP, done);
}

int userfault_move(const struct userfault *u, void *to, void *from, size_t bytes, size_t *done)
{
    struct move_argument argument = {
        .dst = (uintptr_t)to, .src = (uintptr_t)from, .len = bytes, .mode = MOVE_MODE_ALLOW_SRC_HOLES};
    int error = sys_ioctl(u->fd, IOCTL_MOVE, &argument);
    return partial_result(error, argument.move, done);
}

int userfault_poison(const struct userfault *u, void *at, size_t bytes)
{
    if (!u->has_poison) {
        return -ENOSYS;
    }
    struct poison_argument argument = {.start = (uintptr_t)at, .len = bytes};
    return sys_ioctl(u->fd, IOCTL_POISON, &argument);
}

int userfault_protect(const struct userfault *u, void *at, size_t bytes, bool protect)
{
    struct uffdio_writeprotect argument = {
        .range = {.start = (uintptr_t)at, .len = bytes},
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };
    return sys_ioctl(u->fd, UFFDIO_WRITEPROTECT, &argument);
}

int userfault_wake(const struct userfault *u, void *at, size_t bytes)
{
    struct uffdio_range argument = {.start = (uintptr_t)at, .len = bytes};
    return sys_ioctl(u->fd, UFFDIO_WAKE, &argument);
}

size_t userfault_read(const struct userfault *u, struct uffd_msg *messages, size_t room)
{
    long bytes = sys_read(u->fd, messages, room * sizeof *messages);
    return bytes > 0 ? (size_t)bytes / sizeof *messages : 0;
}
