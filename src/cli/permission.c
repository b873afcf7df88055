/* SPDX-License-Identifier: MIT */
#include "cli/permission.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define DEVICE "/dev/userfaultfd"

static int open_by_device(void)
{
    int device = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (device < 0) {
        return -errno;
    }
    int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 ? -errno : 0;
    close(device);
    return error ? error : fd;
}

/* Without UFFD_USER_MODE_ONLY: a program's read(2) into a page that is out must work. */
static int open_by_call(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

const struct permission_ops permission_kernel = {open_by_device, open_by_call};

static int has_way(int (*open_way)(void))
{
    int fd = open_way();
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return fd;
}

static const char *device_trouble(int error)
{
    switch (error) {
    case -ENOENT:
        return "is not there";
    case -EACCES:
    case -EPERM:
        return "may not be opened by this user";
    default:
        return strerror(-error);
    }
}

int permission_check(const struct permission_ops *ops, char *text, size_t room)
{
    int by_device = has_way(ops->open_by_device);
    int by_call = by_device ? has_way(ops->open_by_call) : 0;
    if (!by_device || !by_call) {
        return 0;
    }
    if (by_device == -ENOENT && by_call == -ENOSYS) {
        snprintf(text, room,
                 "this kernel has no userfaultfd (or a filter hides it), and without it no memory can be "
                 "managed: use "
                 "a kernel with CONFIG_USERFAULTFD");
        return -ENOSYS;
    }
    snprintf(
        text, room,
        "userfaultfd is not permitted here: " DEVICE " %s, and the system call answers: %s.\n"
        "uzswap: one of these opens it:\n"
        "uzswap:   - make " DEVICE " readable and writable for this user (chmod, chgrp or a udev rule);\n"
        "uzswap:     in a container: docker run --device " DEVICE ", podman likewise; in Kubernetes a\n"
        "uzswap:     device plugin or a hostPath volume of it\n"
        "uzswap:   - give the capability CAP_SYS_PTRACE: docker run --cap-add SYS_PTRACE, in Kubernetes\n"
        "uzswap:     securityContext.capabilities.add: [SYS_PTRACE]\n"
        "uzswap:   - on the host, as root: sysctl vm.unprivileged_userfaultfd=1\n"
        "uzswap: or start the program unmanaged: uzswap run --force",
        device_trouble(by_device), strerror(-by_call));
    return by_call == -ENOSYS ? by_device : by_call;
}
