/* SPDX-License-Identifier: MIT */
/* The file device: its ops table, I/O in the calling thread, and fork. See file.h. */
#include "swap/file.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "base/sys.h"

static struct file_device *file_of(struct swap_device *device)
{
    return container_of(device, struct file_device, base);
}

/* --- I/O in the calling thread --- */

/* What the page cache has, with no_wait: preadv2(2), RWF_NOWAIT. */
static long read_some(int fd, void *to, size_t bytes, off_t position, bool no_wait)
{
    if (!no_wait) {
        return sys_pread(fd, to, bytes, position);
    }
    struct iovec part = {.iov_base = to, .iov_len = bytes};
    long got = sys_call6(SYS_preadv2, fd, (long)&part, 1, (long)position, 0, RWF_NOWAIT);
    /* A file system or kernel that cannot tell may wait: so this is not tried. Linux 5.9 and 5.10 answer 0
     * where they mean -EAGAIN, so 0 is not believed to be the file's end. */
    return got == -EOPNOTSUPP || got == -ENOSYS || got == -EINVAL || got == 0 ? -EAGAIN : got;
}

static int read_all(int fd, struct swap_io *io)
{
    while (io->transferred < io->bytes) {
        char *to = (char *)io->buffer + io->transferred;
        size_t left = io->bytes - io->transferred;
        long got = read_some(fd, to, left, (off_t)(io->position + io->transferred), io->no_wait);
        if (got == -EINTR) {
            continue;
        }
        if (got < 0) {
            return (int)got;
        }
        if (got == 0) { /* the file ends here: nothing was ever written beyond */
            memset(to, 0, left);
            got = (long)left;
        }
        io->transferred += (size_t)got;
    }
    return 0;
}

static int write_all(int fd, struct swap_io *io)
{
    while (io->transferred < io->bytes) {
        const char *from = (const char *)io->buffer + io->transferred;
        size_t left = io->bytes - io->transferred;
        long put = sys_pwrite(fd, from, left, (off_t)(io->position + io->transferred));
        if (put == -EINTR) {
            continue;
        }
        if (put <= 0) {
            return put ? (int)put : -EIO;
        }
        io->transferred += (size_t)put;
    }
    return 0;
}

/* A file system that cannot punch holes keeps the space: no error, as nobody will read it. */
static int discard(int fd, const struct swap_io *io)
{
    int result;
    do {
        result = (int)sys_call6(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (long)io->position, (long)io->bytes, 0, 0);
    } while (result == -EINTR);
    return result == -EOPNOTSUPP ? 0 : result;
}

static int flush(int fd)
{
    int result;
    do {
        result = (int)sys_call3(SYS_fdatasync, fd, 0, 0);
    } while (result == -EINTR);
    return result;
}

int file_perform(struct file_device *file, struct swap_io *io)
{
    switch (io->operation) {
    case SWAP_READ:
        return read_all(file->fd, io);
    case SWAP_WRITE:
        return write_all(file->fd, io);
    case SWAP_DISCARD:
        return discard(file->fd, io);
    case SWAP_FLUSH:
        return flush(file->fd);
    }
    return -EINVAL;
}

/* 0, or why `io` is not tried. */
static int check_io(const struct file_device *file, const struct swap_io *io)
{
    if (file->fd < 0) {
        return -EBADF;
    }
    if (io->operation == SWAP_FLUSH) {
        return 0;
    }
    if (io->bytes % SLOT_BYTES || io->position % SLOT_BYTES || !io->bytes) {
        return -EINVAL;
    }
    if (io->position > file->base.size || io->bytes > file->base.size - io->position) {
        return io->operation == SWAP_WRITE ? -ENOSPC : -EIO;
    }
    return 0;
}

static void submit(struct swap_device *device, struct swap_io *io)
{
    struct file_device *file = file_of(device);
    io->transferred = 0;
    io->result = check_io(file, io);
    if (!io->result) {
        if (io->operation != SWAP_READ && file->ring.ready && file_ring_submit(file, io)) {
            return;
        }
        io->result = file_perform(file, io);
    }
    io->done(io);
}

static size_t reap(struct swap_device *device, bool wait)
{
    struct file_device *file = file_of(device);
    return file->ring.ready ? file_ring_reap(file, wait) : 0;
}

/* --- fork --- */

/* 0, or why the descriptor is not the file's: the program may have closed it and opened another under its number. */
static int check_identity(const struct file_device *file)
{
    struct file_identity found;
    int result = file_identify(file->fd, &found);
    if (!result && (found.device != file->identity.device || found.inode != file->identity.inode)) {
        result = -EBADF;
    }
    return result;
}

static int fork_child(struct swap_device *device)
{
    struct file_device *file = file_of(device);
    bool use_ring = file->ring.ready;
    int result = check_identity(file);
    if (result) {
        file->fd = -1;
        file->ring.ready = false;
        return result;
    }
    file_ring_forget(&file->ring);
    if (use_ring) {
        file_ring_init(&file->ring);
    }
    return 0;
}

/* --- Opening and closing --- */

/* Beyond RLIMIT_FSIZE a write is answered by a signal that kills the program: keep below it. */
static uint64_t allowed_size(uint64_t size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < size) {
        return limit.rlim_cur / SLOT_BYTES * SLOT_BYTES;
    }
    return size;
}

/* Opens the file in the folder that `location` names. 0, or -errno with error->text set. */
static int create_in(struct file_device *file, const char *location, struct swap_open_error *error,
                     unsigned flags)
{
    int folder = file_open_folder(location, error);
    if (folder < 0) {
        return folder;
    }
    file->fd = file_create(folder, flags);
    sys_close(folder);
    if (file->fd < 0) {
        return file_explain_create(location, file->fd, error);
    }
    int result = file_identify(file->fd, &file->identity);
    if (result) {
        sys_close(file->fd);
        return file_explain_create(location, result, error);
    }
    return 0;
}

int file_open(struct swap_device **device, const char *location, uint64_t size, struct memory *memory,
              struct swap_open_error *error, unsigned flags)
{
    int result = file_check_location(location, error);
    if (result) {
        return result;
    }
    struct file_device *file = memory_map(memory, sizeof *file, ACCOUNT_TABLES);
    if (!file) {
        snprintf(error->text, sizeof error->text, "no memory for the swap device");
        return -ENOMEM;
    }
    file->memory = memory;
    file->base = (struct swap_device){.ops = &swap_device_file,
                                      .size = allowed_size(size),
                                      .max_in_flight = FILE_IN_FLIGHT,
                                      .reads_at_once = true};
    result = create_in(file, location, error, flags);
    if (result) {
        memory_unmap(memory, file, sizeof *file, ACCOUNT_TABLES);
        return result;
    }
    if (!(flags & FILE_WITHOUT_RING)) {
        file_ring_init(&file->ring);
    }
    *device = &file->base;
    return 0;
}

static int open_file(struct swap_device **device, const char *location, uint64_t size, struct memory *memory,
                     struct swap_open_error *error)
{
    return file_open(device, location, size, memory, error, 0);
}

static void close_file(struct swap_device *device)
{
    struct file_device *file = file_of(device);
    file_ring_exit(&file->ring);
    if (file->fd >= 0) {
        sys_close(file->fd);
    }
    memory_unmap(file->memory, file, sizeof *file, ACCOUNT_TABLES);
}

const struct swap_device_ops swap_device_file = {
    .scheme = "file",
    .check = file_check_location,
    .open = open_file,
    .close = close_file,
    .submit = submit,
    .reap = reap,
    .fork_child = fork_child,
};
