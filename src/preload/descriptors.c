/* SPDX-License-Identifier: MIT */
#include "preload/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "base/sys.h"
#include "base/types.h"

/* Ours are few and have the lowest numbers. */
#define DESCRIPTORS_MAX 32
#define THE_END (-1)

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

static void close_range_of(unsigned first, unsigned last)
{
    if (first <= last) {
        sys_call3(SYS_close_range, first, last, 0);
    }
}

static int open_nothing(void)
{
    long fd = sys_call6(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR | O_CLOEXEC, 0, 0, 0);
    return (int)(fd >= 0 ? fd : sys_call3(SYS_memfd_create, (long)"uzswap-nothing", MFD_CLOEXEC, 0));
}

int descriptors_begin(void)
{
    close_range_of(0, UINT_MAX);
    int fd;
    do {
        fd = open_nothing();
    } while (fd >= 0 && fd < 2);
    return fd < 0 ? fd : 0;
}

int descriptor_of_thread(int process, int thread, int fd)
{
    /* By thread where the kernel can (Linux 6.9): the main thread may have ended, or have another table. */
    long pidfd = sys_call3(SYS_pidfd_open, thread, PIDFD_THREAD, 0);
    if (pidfd < 0) {
        pidfd = sys_call3(SYS_pidfd_open, process, 0, 0);
    }
    if (pidfd < 0) {
        return (int)pidfd;
    }
    long copy = sys_call3(SYS_pidfd_getfd, pidfd, fd, 0);
    sys_close((int)pidfd);
    return (int)copy;
}

union one_descriptor {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* `fd` < 0 sends the number alone. */
static long send_one(int socket, int number, int fd)
{
    struct iovec data = {.iov_base = &number, .iov_len = sizeof number};
    union one_descriptor control = {0};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    return sys_call3(SYS_sendmsg, socket, (long)&message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

uint32_t descriptors_open(void)
{
    uint32_t set = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        set |= sys_call3(SYS_fcntl, fd, F_GETFD, 0) >= 0 ? 1u << fd : 0;
    }
    return set;
}

int descriptors_send(int socket, uint32_t set)
{
    for (; set; set &= set - 1) {
        int fd = __builtin_ctz(set);
        long sent = send_one(socket, fd, fd);
        if (sent == -EINVAL) {
            sent = send_one(socket, fd, -1); /* it cannot be sent: io_uring */
        }
        if (sent < 0) {
            return (int)sent;
        }
    }
    long sent = send_one(socket, THE_END, -1);
    return sent < 0 ? (int)sent : 0;
}

/* The number, and in *fd what came with it, -1 if nothing. */
static int receive_one(int socket, int *number, int *fd)
{
    struct iovec data = {.iov_base = number, .iov_len = sizeof *number};
    union one_descriptor control = {0};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long received = sys_call3(SYS_recvmsg, socket, (long)&message, MSG_CMSG_CLOEXEC);
    if (received != sizeof *number) {
        return received < 0 ? (int)received : -EPIPE;
    }
    *fd = -1;
    if (message.msg_controllen >= CMSG_LEN(sizeof(int)) && control.header.cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(&control.header), sizeof *fd);
    }
    return 0;
}

static int put_at(int number, int fd)
{
    if (fd == number) {
        return 0;
    }
    long put = sys_call3(SYS_dup3, fd, number, O_CLOEXEC);
    sys_close(fd);
    return put < 0 ? (int)put : 0;
}

static struct rlimit descriptor_limit(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    sys_call6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0);
    return limit;
}

struct raised_limit descriptors_raise_limit(bool at_limit)
{
    struct raised_limit limit = {.old = descriptor_limit()};
    struct rlimit raised = {limit.old.rlim_max, limit.old.rlim_max};
    if ((at_limit || limit.old.rlim_cur <= DESCRIPTORS_MAX) && limit.old.rlim_cur != limit.old.rlim_max) {
        limit.raised = sys_call6(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&raised, 0, 0, 0) == 0;
    }
    return limit;
}

void descriptors_restore_limit(const struct raised_limit *limit)
{
    if (limit->raised) {
        sys_call6(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&limit->old, 0, 0, 0);
    }
}

/* Where the socket waits while the numbers below are filled: as high as the limit lets it, all else closed. */
static long move_above_all(int socket)
{
    rlim_t limit = descriptor_limit().rlim_cur;
    int above = limit > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : (int)limit - 1;
    if (socket) {
        close_range_of(0, (unsigned)socket - 1);
    }
    close_range_of((unsigned)socket + 1, UINT_MAX);
    if (socket >= above) {
        return socket;
    }
    long moved = sys_call3(SYS_fcntl, socket, F_DUPFD_CLOEXEC, above);
    sys_close(socket);
    return moved;
}

int descriptors_receive(int socket, bool keep)
{
    long above = move_above_all(socket);
    if (above < 0) {
        return (int)above;
    }
    int error, number, fd = -1;
    while (!(error = receive_one((int)above, &number, &fd)) && number != THE_END) {
        fd = fd >= 0 ? fd : open_nothing();
        error = fd < 0 ? fd : put_at(number, fd);
        if (error) {
            break;
        }
    }
    if (!keep || above < DESCRIPTORS_MAX) {
        sys_close((int)above);
    }
    return error;
}
