/* SPDX-License-Identifier: MIT */
/* A file of pages that tools/page-images.py has taken of a running program, in memory. */
#ifndef UZSWAP_TESTS_PAGE_IMAGE_H
#define UZSWAP_TESTS_PAGE_IMAGE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"

struct page_image {
    const unsigned char *bytes;
    size_t pages;
};

/* 0 or -errno; -EINVAL: not whole pages, and at least one. */
static inline int page_image_open(struct page_image *image, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = fstat(fd, &status) ? -errno : 0;
    if (!error && (!S_ISREG(status.st_mode) || !status.st_size || status.st_size % (off_t)PAGE_BYTES)) {
        error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    void *at = error ? MAP_FAILED : mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (!error && at == MAP_FAILED) {
        error = -errno;
    }
    close(fd);
    if (!error) {
        *image = (struct page_image){.bytes = at, .pages = (size_t)status.st_size / PAGE_BYTES};
    }
    return error;
}

static inline void page_image_close(struct page_image *image)
{
    munmap((void *)image->bytes, image->pages * PAGE_BYTES);
}

static inline const void *page_image_page(const struct page_image *image, size_t number)
{
    return image->bytes + number * PAGE_BYTES;
}

#endif
