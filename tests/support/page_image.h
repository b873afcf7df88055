/* SPDX-License-Identifier: MIT */
/* A file of pages that tools/page-images.py has taken of a running program, in memory. */
#ifndef UZSWAP_TESTS_PAGE_IMAGE_H
#define UZSWAP_TESTS_PAGE_IMAGE_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"

struct page_image {
    const unsigned char *bytes;
    size_t pages; /* 0: the file cannot be read, or holds no page */
};

static inline struct page_image page_image_open(const char *path)
{
    struct page_image image = {0};
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t pages = fd >= 0 && !fstat(fd, &status) ? (size_t)status.st_size / PAGE_BYTES : 0;
    void *at = pages ? mmap(NULL, pages * PAGE_BYTES, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0) {
        close(fd);
    }
    if (at != MAP_FAILED) {
        image = (struct page_image){.bytes = at, .pages = pages};
    }
    return image;
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
