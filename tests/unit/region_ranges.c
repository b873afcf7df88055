/* SPDX-License-Identifier: MIT */
/* Changes of ranges, whatever state their pages are in; system calls with buffers that are out; odd protections. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "tests/support/region_fixture.h"

#define MIB ((size_t)1 << 20)
#define PAGES 256u
#define PER_PLACE 48u

static const struct fixture_options roomy = {.bytes = 4 * MIB, .budget = 64 * MIB, .device = FIXTURE_RAM};

/* Pages [0, 192): a quarter each on the device, in the pool, staged, resident; [192, 256) untouched. Not aligned to clusters. */
static void open_mixed(struct fixture *f, struct fixture_options o)
{
    fixture_open(f, o);
    fixture_fill(f, 0, 4 * PER_PLACE, 1);
    fixture_to(f, 0, PER_PLACE, PLACE_DEVICE);
    fixture_to(f, PER_PLACE, PER_PLACE, PLACE_POOL);
    fixture_to(f, 2 * PER_PLACE, PER_PLACE, PLACE_STAGED);
    CHECK_EQUAL(fixture_count(f, 0, PER_PLACE, PLACE_DEVICE), PER_PLACE);
    CHECK_EQUAL(fixture_count(f, PER_PLACE, PER_PLACE, PLACE_POOL), PER_PLACE);
    CHECK_EQUAL(fixture_count(f, 2 * PER_PLACE, PER_PLACE, PLACE_STAGED), PER_PLACE);
    CHECK_EQUAL(fixture_count(f, 3 * PER_PLACE, PER_PLACE, PLACE_RESIDENT), PER_PLACE);
}

/* ---- discard */

TEST(a_discarded_page_reads_zero_whatever_its_state)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_discard(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_NEW), PAGES);
    CHECK_EQUAL(account_bytes(&f.account, ACCOUNT_RESIDENT), 0);
    CHECK_EQUAL(fixture_zswap_stats(&f).stored_pages, 0);
    CHECK_EQUAL(fixture_zswap_stats(&f).device_pages, 0);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    fixture_close(&f);
}

TEST(discard_of_a_part_leaves_the_rest)
{
    struct fixture f;
    open_mixed(&f, roomy);
    for (uint64_t page = 0; page < 4 * PER_PLACE; page += 2) {
        CHECK_EQUAL(region_discard(f.region, fixture_page(&f, page), PAGE_BYTES), 0);
    }
    CHECK(region_consistent(f.region));
    for (uint64_t page = 0; page < 4 * PER_PLACE; page++) {
        CHECK(fixture_is(&f, fixture_page(&f, page), page, page % 2));
    }
    fixture_close(&f);
}

TEST(discard_during_writeback_leaves_nothing_behind)
{
    struct fixture f;
    struct fixture_options o = roomy;
    o.device = FIXTURE_RAM_QUEUED;
    fixture_open(&f, o);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK(zswap_writeback(f.zswap, MIB) > 0);
    CHECK_EQUAL(region_discard(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES / 2, 0), 0); /* over slots that writebacks hold */
    zswap_writeback_reap(f.zswap, true);
    CHECK_EQUAL(fixture_zswap_stats(&f).device_pages, 0);
    fixture_close(&f);
}

TEST(a_discard_that_the_kernel_refuses_changes_nothing)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    /* Not mlock(): sanitizers make that do nothing. */
    if (sys_call3(SYS_mlock, (long)f.base, 16 * PAGE_BYTES, 0)) {
        fixture_close(&f);
        SKIP("needs root, or a right to lock memory");
    }
    CHECK_EQUAL(region_discard(f.region, f.base, 16 * PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    CHECK(region_consistent(f.region));
    sys_call3(SYS_munlock, (long)f.base, 16 * PAGE_BYTES, 0);
    CHECK_EQUAL(region_discard(f.region, f.base, 16 * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 16, 0), 0);
    fixture_close(&f);
}

/* A program may know system calls that nobody has told us of. */
TEST(pages_dropped_behind_our_back_read_zero)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    CHECK(!sys_madvise(f.base, 20 * PAGE_BYTES, MADV_DONTNEED));
    CHECK_EQUAL(fixture_wrong(&f, 0, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 20, PAGES - 20, 1), 0);
    fixture_close(&f);
}

TEST(pages_dropped_behind_our_back_can_be_evicted)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    CHECK(!sys_madvise(fixture_page(&f, 10), 20 * PAGE_BYTES, MADV_DONTNEED));
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 0, 10, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 10, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 30, PAGES - 30, 1), 0);
    fixture_close(&f);
}

/* ---- move */

static void check_moved(struct fixture *f, uint64_t from, uint64_t to, uint64_t count)
{
    CHECK(region_consistent(f->region));
    for (uint64_t i = 0; i < count; i++) {
        CHECK(fixture_is(f, fixture_page(f, to + i), from + i, 1));
    }
    CHECK_EQUAL(fixture_wrong(f, from, count, 0), 0);
}

TEST(move_takes_content_along_whatever_its_state)
{
    struct fixture f;
    open_mixed(&f, roomy);
    int64_t resident = f.account.bytes[ACCOUNT_RESIDENT];
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 512), 4 * PER_PLACE * PAGE_BYTES), 0);
    CHECK_EQUAL(f.account.bytes[ACCOUNT_RESIDENT], resident);
    check_moved(&f, 0, 512, 4 * PER_PLACE);
    fixture_close(&f);
}

TEST(move_works_between_places_of_different_alignment)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_move(f.region, fixture_page(&f, 5), fixture_page(&f, 603), 150 * PAGE_BYTES), 0);
    check_moved(&f, 5, 603, 150);
    CHECK_EQUAL(fixture_wrong(&f, 0, 5, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 155, 37, 1), 0);
    fixture_close(&f);
}

TEST(moved_pages_go_out_and_come_back_under_their_new_name)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 700), 4 * PER_PLACE * PAGE_BYTES), 0);
    fixture_to(&f, 700, 4 * PER_PLACE, PLACE_DEVICE);
    CHECK_EQUAL(region_move(f.region, fixture_page(&f, 700), f.base, 4 * PER_PLACE * PAGE_BYTES), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_close(&f);
}

TEST(what_was_at_the_new_place_is_dropped)
{
    struct fixture f;
    open_mixed(&f, roomy);
    fixture_fill(&f, 512, 4 * PER_PLACE, 2);
    fixture_to(&f, 512 + PER_PLACE, PER_PLACE, PLACE_POOL);
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 512), 4 * PER_PLACE * PAGE_BYTES), 0);
    check_moved(&f, 0, 512, 4 * PER_PLACE);
    fixture_close(&f);
}

TEST(overlapping_and_foreign_moves_are_refused)
{
    struct fixture f;
    fixture_open(&f, roomy);
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 5), 6 * PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(region_move(f.region, f.base, f.base + 4 * MIB, PAGE_BYTES), -EINVAL);
    CHECK_EQUAL(region_move(f.region, f.base - PAGE_BYTES, f.base, PAGE_BYTES), -EINVAL);
    fixture_close(&f);
}

TEST(a_move_without_memory_moves_nothing)
{
    struct fixture f;
    open_mixed(&f, roomy);
    f.memory.fail_countdown = 1;
    CHECK_EQUAL(region_move(f.region, f.base, fixture_page(&f, 512), 4 * PER_PLACE * PAGE_BYTES), -ENOMEM);
    f.memory.fail_countdown = 0;
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 512, 4 * PER_PLACE, 0), 0);
    fixture_close(&f);
}

TEST(a_move_that_fails_half_way_is_undone)
{
    struct fixture f;
    open_mixed(&f, roomy);
    /* Nobody may read the page in the middle, nor the kernel in our stead. */
    CHECK_EQUAL(region_protect(f.region, fixture_page(&f, 170), PAGE_BYTES, PROT_NONE), 0);
    CHECK(region_move(f.region, f.base, fixture_page(&f, 512), 4 * PER_PLACE * PAGE_BYTES) < 0);
    CHECK_EQUAL(region_protect(f.region, fixture_page(&f, 170), PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 512, 4 * PER_PLACE, 0), 0);
    fixture_close(&f);
}

/* ---- protections */

static void protect_and_back(int protection)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, protection), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_settle(&f);
    uint64_t before = fixture_stats(&f).copied_out;
    fixture_to(&f, 0, 4 * PER_PLACE, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, 4 * PER_PLACE, PLACE_POOL), 4 * PER_PLACE);
    CHECK_EQUAL(fixture_stats(&f).copied_out - before, 4 * PER_PLACE);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    fixture_fill(&f, 0, PAGES, 2);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 2), 0);
    fixture_close(&f);
}

TEST(read_only_pages_are_copied_out_and_come_back)
{
    protect_and_back(PROT_READ);
}

TEST(executable_pages_are_copied_out_and_come_back)
{
    protect_and_back(PROT_READ | PROT_WRITE | PROT_EXEC);
}

TEST(inaccessible_pages_keep_their_content)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_NONE), 0);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PER_PLACE, PLACE_DEVICE), PER_PLACE);
    CHECK_EQUAL(fixture_count(&f, PER_PLACE, 3 * PER_PLACE, PLACE_POOL), 3 * PER_PLACE);
    CHECK_EQUAL(fixture_touch(f.base), SIGSEGV);
    CHECK_EQUAL(fixture_touch(fixture_page(&f, 3 * PER_PLACE)), SIGSEGV);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_close(&f);
}

TEST(a_cluster_of_many_protections_goes_out)
{
    struct fixture f;
    static const int protections[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
                                      PROT_READ | PROT_WRITE | PROT_EXEC};
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK_EQUAL(region_protect(f.region, fixture_page(&f, page), PAGE_BYTES, protections[page / 5 % 4]),
                    0);
    }
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    for (uint64_t page = 0; page < PAGES; page++) {
        CHECK_EQUAL(fixture_place(&f, page), PLACE_POOL);
    }
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

TEST(inaccessible_pages_dropped_behind_our_back_read_zero)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    fixture_settle(&f);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_NONE), 0);
    CHECK(!sys_madvise(fixture_page(&f, 10), 20 * PAGE_BYTES, MADV_DONTNEED));
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, 10, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 10, 20, 0), 0);
    CHECK_EQUAL(fixture_wrong(&f, 30, PAGES - 30, 1), 0);
    fixture_close(&f);
}

TEST(inaccessible_pages_stay_where_nothing_can_read_them)
{
    struct fixture f;
    fixture_open(&f, roomy);
    fixture_fill(&f, 0, PAGES, 1);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_NONE), 0);
    sys_close(f.region->memory_fd);
    f.region->memory_fd = -1;
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    CHECK_EQUAL(fixture_count(&f, 0, PAGES, PLACE_RESIDENT), PAGES);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 1), 0);
    fixture_close(&f);
}

/* ---- disown and adopt */

TEST(a_foreign_mapping_is_left_alone)
{
    struct fixture f;
    open_mixed(&f, roomy);
    unsigned char *foreign = fixture_page(&f, 100);
    size_t bytes = 10 * PAGE_BYTES;
    long at =
        sys_mmap(foreign, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    REQUIRE(!sys_is_error(at));
    CHECK_EQUAL(region_disown(f.region, foreign, bytes), 0);
    memset(foreign, 0x5a, bytes);
    uint64_t faults = fixture_stats(&f).faults;
    /* The clusters around it go out; what is foreign stays, though it could be moved as well. */
    fixture_fill(&f, 64, 36, 1);
    fixture_fill(&f, 110, 18, 1);
    fixture_to(&f, 0, 4 * PER_PLACE, PLACE_POOL);
    for (size_t i = 0; i < bytes; i++) {
        CHECK(foreign[i] == 0x5a);
    }
    CHECK(fixture_stats(&f).faults >= faults);
    CHECK_EQUAL(fixture_wrong(&f, 0, 100, 1), 0);
    CHECK_EQUAL(fixture_wrong(&f, 110, 4 * PER_PLACE - 110, 1), 0);
    CHECK_EQUAL(region_adopt(f.region, foreign, bytes), 0);
    CHECK_EQUAL(region_protect(f.region, foreign, bytes, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(&f, 100, 10, 0), 0);
    fixture_fill(&f, 100, 10, 1);
    fixture_to(&f, 0, 4 * PER_PLACE, PLACE_DEVICE);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_close(&f);
}

TEST(a_file_mapping_is_left_alone)
{
    struct fixture f;
    open_mixed(&f, roomy);
    int fd = memfd_create("test", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && !ftruncate(fd, 4 * PAGE_BYTES));
    unsigned char *foreign = fixture_page(&f, 150);
    REQUIRE(mmap(foreign, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == foreign);
    CHECK_EQUAL(region_disown(f.region, foreign, 4 * PAGE_BYTES), 0);
    memset(foreign, 7, 4 * PAGE_BYTES);
    fixture_to(&f, 0, PAGES, PLACE_POOL);
    unsigned char byte = 0;
    CHECK(pread(fd, &byte, 1, 5) == 1 && byte == 7);
    CHECK_EQUAL(foreign[3 * PAGE_BYTES], 7);
    CHECK_EQUAL(fixture_wrong(&f, 0, 150, 1), 0);
    CHECK_EQUAL(region_adopt(f.region, foreign, 4 * PAGE_BYTES), 0);
    close(fd);
    fixture_close(&f);
}

TEST(a_range_handed_over_keeps_content_and_holes)
{
    struct fixture f;
    open_mixed(&f, roomy);
    unsigned char here[PAGES];
    CHECK_EQUAL(region_hand_over(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(account_bytes(&f.account, ACCOUNT_RESIDENT), 0);
    CHECK_EQUAL(fixture_zswap_stats(&f).stored_pages, 0);
    CHECK(region_consistent(f.region));
    CHECK(!sys_call3(SYS_mincore, (long)f.base, PAGES * PAGE_BYTES, (long)here));
    CHECK_EQUAL(here[4 * PER_PLACE - 1] & 1, 1);
    CHECK_EQUAL(here[PAGES - 1] & 1, 0); /* never touched */
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    region_pageout(f.region, f.base, PAGES * PAGE_BYTES);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    CHECK_EQUAL(region_adopt(f.region, f.base, PAGES * PAGE_BYTES), 0);
    CHECK_EQUAL(region_protect(f.region, f.base, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    CHECK_EQUAL(fixture_wrong(&f, 0, PAGES, 0), 0);
    fixture_close(&f);
}

TEST(a_range_that_is_not_replaced_after_all_is_managed_again)
{
    struct fixture f;
    open_mixed(&f, roomy);
    CHECK_EQUAL(region_discard(f.region, fixture_page(&f, 100), 10 * PAGE_BYTES), 0);
    CHECK_EQUAL(region_disown(f.region, fixture_page(&f, 100), 10 * PAGE_BYTES), 0);
    region_own(f.region, fixture_page(&f, 100), 10 * PAGE_BYTES);
    CHECK_EQUAL(fixture_wrong(&f, 100, 10, 0), 0);
    fixture_fill(&f, 100, 10, 1);
    fixture_to(&f, 0, 4 * PER_PLACE, PLACE_DEVICE);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_close(&f);
}

/* ---- without a mapping left */

#define MANY 80000u /* the kernel's limit is 65,530, unless vm.max_map_count says otherwise */

/* Mappings of a page, no two neighbours alike, until the kernel refuses one more. How many. */
static unsigned use_up_mappings(long *maps)
{
    unsigned n = 0;
    while (n < MANY) {
        long at =
            sys_mmap(NULL, PAGE_BYTES, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sys_is_error(at)) {
            break;
        }
        maps[n++] = at;
    }
    return n;
}

TEST(a_range_that_cannot_be_handed_over_is_as_it_was)
{
    static long maps[MANY];
    struct fixture f;
    open_mixed(&f, roomy);
    unsigned left = use_up_mappings(maps), refused = 0;
    int error = left < MANY ? -ENOMEM : 0;
    for (; error && left; refused++) {
        /* From the middle of one cluster to the middle of another; a part of it was never touched. */
        error = region_hand_over(f.region, fixture_page(&f, 20), (PAGES - 40) * PAGE_BYTES);
        if (error) {
            CHECK_EQUAL(error, -ENOMEM);
            CHECK_EQUAL(fixture_count(&f, 0, PER_PLACE, PLACE_DEVICE), PER_PLACE);
            CHECK_EQUAL(fixture_count(&f, 4 * PER_PLACE, PAGES - 4 * PER_PLACE, PLACE_NEW),
                        PAGES - 4 * PER_PLACE);
            sys_munmap((void *)maps[--left], PAGE_BYTES);
        }
    }
    bool skip = left == MANY;
    while (left) {
        sys_munmap((void *)maps[--left], PAGE_BYTES);
    }
    CHECK(skip || refused > 1);
    CHECK(region_consistent(f.region));
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    fixture_close(&f);
    if (skip) {
        SKIP("this kernel allows more mappings (vm.max_map_count)");
    }
}

/* ---- system calls: the kernel faults in our stead */

TEST(read_and_write_with_buffers_that_are_out)
{
    struct fixture f;
    open_mixed(&f, roomy);
    int fd = memfd_create("test", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    size_t bytes = 4 * PER_PLACE * PAGE_BYTES;
    CHECK_EQUAL(pwrite(fd, f.base, bytes, 0), bytes);
    fixture_to(&f, 0, 4 * PER_PLACE, PLACE_POOL);
    CHECK_EQUAL(region_discard(f.region, f.base, 8 * PAGE_BYTES), 0);
    CHECK_EQUAL(pread(fd, f.base, bytes, 0), bytes);
    CHECK_EQUAL(fixture_wrong(&f, 0, 4 * PER_PLACE, 1), 0);
    close(fd);
    fixture_close(&f);
}

struct transfer {
    struct fixture *f;
    int fd;
};

static void *run_sender(void *argument)
{
    struct transfer *t = argument;
    for (size_t done = 0, bytes = 4 * PER_PLACE * PAGE_BYTES; done < bytes;) {
        ssize_t n = write(t->fd, t->f->base + done, min_size(bytes - done, 100000));
        CHECK(n > 0);
        done += n > 0 ? (size_t)n : bytes;
    }
    return NULL;
}

static void send_and_receive(int out, int in)
{
    struct fixture f;
    pthread_t sender;
    open_mixed(&f, roomy);
    fixture_to(&f, 3 * PER_PLACE, PER_PLACE, PLACE_POOL);
    /* Into pages that are out themselves. */
    fixture_fill(&f, 512, 4 * PER_PLACE, 9);
    fixture_to(&f, 512, 4 * PER_PLACE, PLACE_POOL);
    struct transfer t = {&f, out};
    REQUIRE(!pthread_create(&sender, NULL, run_sender, &t));
    for (size_t done = 0, bytes = 4 * PER_PLACE * PAGE_BYTES; done < bytes;) {
        ssize_t n = read(in, fixture_page(&f, 512) + done, bytes - done);
        CHECK(n > 0);
        done += n > 0 ? (size_t)n : bytes;
    }
    pthread_join(sender, NULL);
    for (uint64_t i = 0; i < 4 * PER_PLACE; i++) {
        CHECK(fixture_is(&f, fixture_page(&f, 512 + i), i, 1));
    }
    close(out);
    close(in);
    fixture_close(&f);
}

TEST(a_pipe_between_buffers_that_are_out)
{
    int fds[2];
    REQUIRE(!pipe(fds));
    send_and_receive(fds[1], fds[0]);
}

TEST(a_socket_between_buffers_that_are_out)
{
    int fds[2];
    REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    send_and_receive(fds[0], fds[1]);
}

int main(void)
{
    if (!fixture_is_permitted()) {
        return 0;
    }
    RUN(a_discarded_page_reads_zero_whatever_its_state);
    RUN(discard_of_a_part_leaves_the_rest);
    RUN(discard_during_writeback_leaves_nothing_behind);
    RUN(a_discard_that_the_kernel_refuses_changes_nothing);
    RUN(pages_dropped_behind_our_back_read_zero);
    RUN(pages_dropped_behind_our_back_can_be_evicted);
    RUN(move_takes_content_along_whatever_its_state);
    RUN(move_works_between_places_of_different_alignment);
    RUN(moved_pages_go_out_and_come_back_under_their_new_name);
    RUN(what_was_at_the_new_place_is_dropped);
    RUN(overlapping_and_foreign_moves_are_refused);
    RUN(a_move_without_memory_moves_nothing);
    RUN(a_move_that_fails_half_way_is_undone);
    RUN(read_only_pages_are_copied_out_and_come_back);
    RUN(executable_pages_are_copied_out_and_come_back);
    RUN(inaccessible_pages_keep_their_content);
    RUN(inaccessible_pages_dropped_behind_our_back_read_zero);
    RUN(inaccessible_pages_stay_where_nothing_can_read_them);
    RUN(a_cluster_of_many_protections_goes_out);
    RUN(a_foreign_mapping_is_left_alone);
    RUN(a_file_mapping_is_left_alone);
    RUN(a_range_handed_over_keeps_content_and_holes);
    RUN(a_range_that_is_not_replaced_after_all_is_managed_again);
    RUN(a_range_that_cannot_be_handed_over_is_as_it_was);
    RUN(read_and_write_with_buffers_that_are_out);
    RUN(a_pipe_between_buffers_that_are_out);
    RUN(a_socket_between_buffers_that_are_out);
    return harness_finish();
}
