/* SPDX-License-Identifier: MIT */
/* Pages that a device may write to: they are pinned, and must not be taken from under it. */
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PAGES 64u
#define BYTES (PAGES * PAGE_BYTES)

static const struct fixture_options roomy = {.bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};

/* A file whose pages hold version 7 of a region's, open for direct I/O. */
static int open_file(struct fixture *f)
{
    char name[] = "/tmp/uzswap-test-XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    unsigned char *pages = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    for (uint64_t page = 0; page < PAGES; page++) {
        fixture_make(f, pages + page * PAGE_BYTES, page, 7);
    }
    REQUIRE(pwrite(fd, pages, BYTES, 0) == (ssize_t)BYTES && !fsync(fd));
    munmap(pages, BYTES);
    int direct = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
    unlink(name);
    close(fd);
    return direct;
}

struct evictor {
    struct fixture *f;
    uint32_t stop; /* atomic */
};

static void *run_evictor(void *argument)
{
    struct evictor *e = argument;
    while (!atomic_read_acquire(&e->stop)) {
        region_pageout(e->f->region, e->f->base, BYTES);
        fixture_drain_staging(e->f);
    }
    return NULL;
}

TEST(direct_reads_into_pages_on_their_way_out_lose_nothing)
{
    struct fixture f;
    fixture_open(&f, roomy);
    int fd = open_file(&f);
    if (fd < 0) {
        fixture_close(&f);
        SKIP("this kernel has no direct I/O in /tmp");
    }
    struct evictor e = {.f = &f};
    pthread_t thread;
    REQUIRE(!pthread_create(&thread, NULL, run_evictor, &e));
    for (int i = 0; i < 60; i++) {
        fixture_fill(&f, 0, PAGES, 1);
        CHECK_EQUAL(pread(fd, f.base, BYTES, 0), BYTES);
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 7), 0);
    }
    atomic_set_release(&e.stop, 1);
    pthread_join(thread, NULL);
    close(fd);
    fixture_close(&f);
}

static bool open_ring(struct io_uring *ring)
{
    return !io_uring_queue_init(8, ring, 0);
}

static int read_fixed(struct io_uring *ring, int fd, void *to, size_t bytes)
{
    struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_read_fixed(sqe, fd, to, (unsigned)bytes, 0, 0);
    REQUIRE(io_uring_submit(ring) == 1);
    REQUIRE(!io_uring_wait_cqe(ring, &cqe));
    int result = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return result;
}

TEST(registered_buffers_stay)
{
    struct fixture f;
    struct io_uring ring;
    if (!open_ring(&ring)) {
        SKIP("this kernel has no io_uring for us");
    }
    fixture_open(&f, roomy);
    int fd = open_file(&f);
    fixture_fill(&f, 0, 2 * PAGES, 1);
    struct iovec buffer = {.iov_base = f.base, .iov_len = BYTES};
    REQUIRE(!io_uring_register_buffers(&ring, &buffer, 1));
    fixture_to(&f, 0, 2 * PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    CHECK_EQUAL(fixture_count(&f, PAGES, PAGES, PLACE_POOL), PAGES);
    CHECK_EQUAL(fixture_stats(&f).move_refused, PAGES);
    if (fd >= 0) {
        CHECK_EQUAL(read_fixed(&ring, fd, f.base, BYTES), BYTES);
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 7), 0);
        close(fd);
    }
    CHECK(region_consistent(f.region));
    io_uring_unregister_buffers(&ring);
    io_uring_queue_exit(&ring);
    /* The kernel lets go a little later. */
    WAIT_FOR((fixture_to(&f, 0, PAGES, PLACE_POOL), fixture_count(&f, 0, PAGES, PLACE_POOL) == PAGES));
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 7), 0);
    CHECK_EQUAL(fixture_wrong(&f, PAGES, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(registered_buffers_are_not_moved)
{
    struct fixture f;
    struct io_uring ring;
    if (!open_ring(&ring)) {
        SKIP("this kernel has no io_uring for us");
    }
    fixture_open(&f, roomy);
    if (!f.region->userfault.has_move) {
        io_uring_queue_exit(&ring);
        fixture_close(&f);
        SKIP("this kernel has no UFFDIO_MOVE: nothing tells what is pinned");
    }
    int fd = open_file(&f);
    fixture_fill(&f, 0, PAGES, 1);
    /* What comes before it is put back. */
    struct iovec buffer = {.iov_base = fixture_page(&f, 8), .iov_len = BYTES - 8 * PAGE_BYTES};
    REQUIRE(!io_uring_register_buffers(&ring, &buffer, 1));
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 2 * PAGES), BYTES), -EBUSY);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK(region_consistent(f.region));
    if (fd >= 0) {
        unsigned char first_of_file[PAGE_BYTES];
        CHECK_EQUAL(read_fixed(&ring, fd, buffer.iov_base, buffer.iov_len), buffer.iov_len);
        fixture_make(&f, first_of_file, 0, 7);
        CHECK(!memcmp(fixture_page(&f, 8), first_of_file, PAGE_BYTES));
        close(fd);
    }
    io_uring_unregister_buffers(&ring);
    io_uring_queue_exit(&ring);
    fixture_close(&f);
}

/* Pins that come and go between one try of the evictor and the next. */
TEST(short_pins_lose_no_page)
{
    struct fixture f;
    struct io_uring ring;
    if (!open_ring(&ring)) {
        SKIP("this kernel has no io_uring for us");
    }
    fixture_open(&f, roomy);
    struct evictor e = {.f = &f};
    pthread_t thread;
    uint64_t random = 3;
    REQUIRE(!pthread_create(&thread, NULL, run_evictor, &e));
    for (uint64_t version = 1; version < 150; version++) {
        fixture_fill(&f, 0, PAGES, version);
        for (int i = 0; i < 5; i++) {
            struct iovec buffer = {.iov_base = fixture_page(&f, harness_random(&random) % 32),
                                   .iov_len = BYTES / 2};
            REQUIRE(!io_uring_register_buffers(&ring, &buffer, 1));
            io_uring_unregister_buffers(&ring);
        }
        CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, version), 0);
    }
    atomic_set_release(&e.stop, 1);
    pthread_join(thread, NULL);
    io_uring_queue_exit(&ring);
    printf("# refused %llu times\n", (unsigned long long)fixture_stats(&f).move_refused);
    fixture_close(&f);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(direct_reads_into_pages_on_their_way_out_lose_nothing);
    RUN(registered_buffers_stay);
    RUN(registered_buffers_are_not_moved);
    RUN(short_pins_lose_no_page);
    return harness_finish();
}
