/* SPDX-License-Identifier: MIT */
/* Memory that the kernel holds on to: io_uring's fixed buffers, a userfaultfd of the program's own. */
#include "tests/e2e/maps.h"

#include <liburing.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static int64_t do_one(struct io_uring *ring)
{
    struct io_uring_cqe *done;
    REQUIRE(io_uring_submit(ring) == 1);
    REQUIRE(io_uring_wait_cqe(ring, &done) == 0);
    int64_t result = done->res;
    io_uring_cqe_seen(ring, done);
    return result;
}

/* A fixed buffer is pinned: what the kernel writes to it must be what the program reads, whatever was evicted. */
TEST(fixed_buffers_are_what_the_program_sees)
{
    struct io_uring ring;
    if (io_uring_queue_init(4, &ring, 0)) {
        SKIP("io_uring is not permitted here");
    }
    char *at = get(4 * MIB);
    int fd = make_file(256, 500);
    fill(at, 4 * MIB, 510);
    press();
    struct iovec buffer = {at, 4 * MIB};
    REQUIRE(io_uring_register_buffers(&ring, &buffer, 1) == 0);
    press();
    CHECK_EQUAL(wrong(at, 4 * MIB, 510), 0);
    for (uint64_t round = 0; round < 4; round++) {
        io_uring_prep_read_fixed(io_uring_get_sqe(&ring), fd, at + MIB, MIB, 0, 0);
        CHECK_EQUAL(do_one(&ring), MIB);
        CHECK_EQUAL(wrong(at + MIB, MIB, 500 + round), 0);
        fill(at + 2 * MIB, MIB, 501 + round);
        press();
        io_uring_prep_write_fixed(io_uring_get_sqe(&ring), fd, at + 2 * MIB, MIB, 0, 0);
        CHECK_EQUAL(do_one(&ring), MIB);
        press();
    }
    CHECK_EQUAL(wrong(at, MIB, 510), 0);
    io_uring_queue_exit(&ring);
    close(fd);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

/* The ring goes on writing to the memory that it was given, wherever that is seen now. */
static void move_buffer(struct io_uring *ring, int fd, size_t to_bytes, bool fixed)
{
    char *old = get(2 * MIB), *place = get(to_bytes);
    fill(old, 2 * MIB, 600);
    struct iovec buffer = {old, MIB};
    REQUIRE(io_uring_register_buffers(ring, &buffer, 1) == 0);
    char *to = fixed ? mremap(old, 2 * MIB, to_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place)
                     : mremap(old, 2 * MIB, to_bytes, MREMAP_MAYMOVE);
    REQUIRE(to != MAP_FAILED && (to == place || !fixed));
    press();
    CHECK_EQUAL(wrong(to, 2 * MIB, 600), 0);
    CHECK(is_zero(to + 2 * MIB, to_bytes - 2 * MIB));
    io_uring_prep_read_fixed(io_uring_get_sqe(ring), fd, old, MIB, 0, 0);
    CHECK_EQUAL(do_one(ring), MIB);
    press();
    CHECK_EQUAL(wrong(to, MIB, 540), 0);
    CHECK_EQUAL(wrong(to + MIB, MIB, 600 + MIB / PAGE), 0);
    CHECK_EQUAL(io_uring_unregister_buffers(ring), 0);
    CHECK_EQUAL(munmap(to, to_bytes), 0);
    CHECK_EQUAL(fixed ? 0 : munmap(place, to_bytes), 0);
}

TEST(fixed_buffers_that_are_moved_stay_what_the_program_sees)
{
    struct io_uring ring;
    if (io_uring_queue_init(4, &ring, 0)) {
        SKIP("io_uring is not permitted here");
    }
    int fd = make_file(MIB / PAGE, 540);
    move_buffer(&ring, fd, 2 * MIB, true);
    move_buffer(&ring, fd, 4 * MIB, true);
    move_buffer(&ring, fd, 64 * MIB, false);
    io_uring_queue_exit(&ring);
    close(fd);
}

static size_t locked_kib(void)
{
    char line[256];
    size_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    REQUIRE(status);
    while (fgets(line, sizeof line, status) && sscanf(line, "VmLck: %zu kB", &kib) != 1) {
    }
    fclose(status);
    return kib;
}

TEST(what_was_said_about_a_range_is_true_of_it_elsewhere)
{
    struct io_uring ring;
    if (io_uring_queue_init(4, &ring, 0)) {
        SKIP("io_uring is not permitted here");
    }
    char *old = get(2 * MIB), *place = get(2 * MIB);
    fill(old, 2 * MIB, 650);
    struct iovec buffer = {old, PAGE};
    REQUIRE(io_uring_register_buffers(&ring, &buffer, 1) == 0);
    CHECK_EQUAL(madvise(old, 2 * MIB, MADV_WIPEONFORK), 0);
    CHECK_EQUAL(mlock(old, 2 * MIB), 0);
    char *to = mremap(old, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    REQUIRE(to == place);
    CHECK_EQUAL(locked_kib(), 2 << 10); /* by the kernel, as it alone can move what is pinned */
    pid_t child = fork();
    if (!child) {
        _exit(is_zero(to, 2 * MIB) ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(to, 2 * MIB, 650), 0);
    io_uring_queue_exit(&ring);
    CHECK_EQUAL(munmap(to, 2 * MIB), 0);
}

struct handler {
    int fd;
    char *page;
    uint64_t served;
};

static void *serve_faults(void *argument)
{
    struct handler *h = argument;
    struct uffd_msg message;
    struct pollfd ready = {.fd = h->fd, .events = POLLIN};
    while (poll(&ready, 1, 5000) == 1 && read(h->fd, &message, sizeof message) == sizeof message) {
        uint64_t at = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
        struct uffdio_copy copy = {.dst = at, .src = (uintptr_t)h->page, .len = PAGE};
        CHECK_EQUAL(ioctl(h->fd, UFFDIO_COPY, &copy), 0);
        if (++h->served == 4) {
            return NULL;
        }
    }
    return NULL;
}

TEST(a_userfaultfd_of_the_programs_own)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
        SKIP("userfaultfd is not permitted here");
    }
    char *at = get(2 * MIB), *page = get(MIB);
    struct handler h = {fd, page, 0};
    pthread_t thread;
    fill_page((uint64_t *)page, 520);
    fill(at, MIB, 530); /* the other half has no content */
    press();
    struct uffdio_register range = {.range = {(uintptr_t)at, 2 * MIB}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    REQUIRE(ioctl(fd, UFFDIO_REGISTER, &range) == 0);
    REQUIRE(pthread_create(&thread, NULL, serve_faults, &h) == 0);
    press();
    CHECK_EQUAL(wrong(at, MIB, 530), 0);
    for (size_t i = 0; i < 4; i++) {
        CHECK(page_is((uint64_t *)(at + MIB + i * 8 * PAGE), 520));
    }
    pthread_join(thread, NULL);
    CHECK_EQUAL(h.served, 4);
    CHECK_EQUAL(munmap(at, 2 * MIB), 0);
    CHECK_EQUAL(munmap(page, MIB), 0);
    close(fd);
    char *again = get(2 * MIB);
    CHECK(is_zero(again, 2 * MIB));
    CHECK_EQUAL(munmap(again, 2 * MIB), 0);
}

int main(void)
{
    begin();
    RUN(fixed_buffers_are_what_the_program_sees);
    RUN(fixed_buffers_that_are_moved_stay_what_the_program_sees);
    RUN(what_was_said_about_a_range_is_true_of_it_elsewhere);
    RUN(a_userfaultfd_of_the_programs_own);
    return harness_finish();
}
