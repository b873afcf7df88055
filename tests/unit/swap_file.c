/* SPDX-License-Identifier: MIT */
/* The file device, each test with io_uring and without: I/O, many threads, errors, limits, fork. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "swap/file.h"
#include "tests/harness.h"

enum { CLUSTER = 128 << 10, SIZE = 64 << 20 };

static struct account account;
static struct memory memory = {.account = &account};
static struct swap_open_error error;
static unsigned flags; /* how the running test opens the device */
static char folder[] = "/tmp/uzswap-test-XXXXXX", empty[64], small[64], fixed[64];
static bool have_mounts;

static struct swap_device *open_in(const char *where, uint64_t size)
{
    struct swap_device *device = NULL;
    int result = file_open(&device, where, size, &memory, &error, flags);
    if (result) {
        printf("# %s\n", error.text);
    }
    REQUIRE(result == 0);
    return device;
}

static struct swap_device *set_up(void)
{
    return open_in(folder, SIZE);
}

static void tear_down(struct swap_device *device)
{
    device->ops->close(device);
    CHECK_EQUAL(account_total(&account), 0);
}

static struct file_device *file_of(struct swap_device *device)
{
    return container_of(device, struct file_device, base);
}

static int transfer(struct swap_device *device, enum swap_operation operation, void *buffer, size_t bytes,
                    uint64_t position)
{
    struct swap_io io = {.operation = operation, .buffer = buffer, .bytes = bytes, .position = position};
    return swap_device_wait(device, &io);
}

static void fill(unsigned char *buffer, size_t bytes, uint64_t seed)
{
    seed += 1000;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word = harness_random(&seed);
        memcpy(buffer + i, &word, 8);
    }
}

static void check_filled(const unsigned char *buffer, size_t bytes, uint64_t seed)
{
    unsigned char *expected = malloc(bytes);
    fill(expected, bytes, seed);
    CHECK(memcmp(buffer, expected, bytes) == 0);
    free(expected);
}

static void check_on_device(struct swap_device *device, size_t bytes, uint64_t position, uint64_t seed)
{
    unsigned char *found = malloc(bytes);
    CHECK_EQUAL(transfer(device, SWAP_READ, found, bytes, position), 0);
    check_filled(found, bytes, seed);
    free(found);
}

static void write_filled(struct swap_device *device, size_t bytes, uint64_t position, uint64_t seed)
{
    unsigned char *buffer = malloc(bytes);
    fill(buffer, bytes, seed);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, bytes, position), 0);
    free(buffer);
}

static int descriptors(void)
{
    int n = 0;
    DIR *all = opendir("/proc/self/fd");
    while (readdir(all)) {
        n++;
    }
    closedir(all);
    return n;
}

/* --- I/O --- */

TEST(what_was_written_is_read_back)
{
    struct swap_device *device = set_up();
    write_filled(device, SLOT_BYTES, 5 * SLOT_BYTES, 1);
    write_filled(device, CLUSTER, 1 << 20, 2);
    check_on_device(device, SLOT_BYTES, 5 * SLOT_BYTES, 1);
    check_on_device(device, CLUSTER, 1 << 20, 2);
    write_filled(device, SLOT_BYTES, 5 * SLOT_BYTES, 3);
    check_on_device(device, SLOT_BYTES, 5 * SLOT_BYTES, 3);
    tear_down(device);
}

TEST(what_was_never_written_reads_as_zeros)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[2 * SLOT_BYTES], zeros[2 * SLOT_BYTES];
    write_filled(device, SLOT_BYTES, 100 * SLOT_BYTES, 1);
    uint64_t positions[] = {0, 50 * SLOT_BYTES, 101 * SLOT_BYTES, SIZE - sizeof buffer};
    for (size_t i = 0; i < ARRAY_LENGTH(positions); i++) {
        memset(buffer, 7, sizeof buffer);
        CHECK_EQUAL(transfer(device, SWAP_READ, buffer, sizeof buffer, positions[i]), 0);
        CHECK(memcmp(buffer, zeros, sizeof buffer) == 0);
    }
    /* half there */
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, sizeof buffer, 100 * SLOT_BYTES), 0);
    check_filled(buffer, SLOT_BYTES, 1);
    CHECK(memcmp(buffer + SLOT_BYTES, zeros, SLOT_BYTES) == 0);
    tear_down(device);
}

static int read_without_waiting(struct swap_device *device, unsigned char *buffer, uint64_t position)
{
    struct swap_io io = {
        .operation = SWAP_READ, .buffer = buffer, .bytes = CLUSTER, .position = position, .no_wait = true};
    return swap_device_wait(device, &io);
}

TEST(read_that_must_not_wait_answers_eagain_where_it_would)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    CHECK(device->reads_at_once);
    write_filled(device, CLUSTER, 0, 1);
    int result = read_without_waiting(device, buffer, 0);
    CHECK(result == 0 || result == -EAGAIN); /* some file systems never know */
    if (result == 0) {
        check_filled(buffer, CLUSTER, 1);
    }
    CHECK_EQUAL(read_without_waiting(device, buffer, 4 << 20), -EAGAIN); /* and not zeros */
    CHECK_EQUAL(transfer(device, SWAP_FLUSH, NULL, 0, 0), 0);
    posix_fadvise(file_of(device)->fd, 0, 0, POSIX_FADV_DONTNEED);
    result = read_without_waiting(device, buffer, 0);
    CHECK(result == 0 || result == -EAGAIN);
    if (result == 0) {
        check_filled(buffer, CLUSTER, 1);
    }
    check_on_device(device, CLUSTER, 0, 1);
    tear_down(device);
}

TEST(io_that_is_out_of_range_or_crooked_is_refused)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, SIZE - CLUSTER), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, SIZE - CLUSTER + SLOT_BYTES), -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, SIZE), -EIO);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, UINT64_MAX - SLOT_BYTES + 1), -EIO);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 1), -EINVAL);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER - 1, 0), -EINVAL);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 0, 0), -EINVAL);
    tear_down(device);
}

TEST(write_from_memory_that_is_not_there_fails)
{
    struct swap_device *device = set_up();
    void *hole = mmap(NULL, CLUSTER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(hole != MAP_FAILED);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, hole, CLUSTER, 0), -EFAULT);
    munmap(hole, CLUSTER);
    tear_down(device);
}

TEST(discarded_bytes_take_no_space)
{
    struct swap_device *device = set_up();
    struct stat before, after;
    write_filled(device, 1 << 20, 0, 1);
    CHECK_EQUAL(transfer(device, SWAP_FLUSH, NULL, 0, 0), 0);
    CHECK_EQUAL(fstat(file_of(device)->fd, &before), 0);
    CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, 1 << 19, 0), 0);
    CHECK_EQUAL(fstat(file_of(device)->fd, &after), 0);
    CHECK(after.st_blocks <= before.st_blocks - (1 << 19) / 512);
    CHECK_EQUAL(after.st_size, before.st_size);
    static unsigned char buffer[CLUSTER], zeros[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, 0), 0);
    CHECK(memcmp(buffer, zeros, CLUSTER) == 0);
    tear_down(device);
}

TEST(reap_with_nothing_in_flight_returns_at_once)
{
    struct swap_device *device = set_up();
    CHECK_EQUAL(device->ops->reap(device, false), 0);
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    tear_down(device);
}

/* --- Many in flight --- */

static uint32_t done_count; /* atomic */

static void count_done(struct swap_io *io)
{
    CHECK_EQUAL(io->result, 0);
    atomic_add_acq_rel(&done_count, 1);
}

TEST(more_writes_than_fit_in_flight_are_all_done)
{
    enum { WRITES = 200, BYTES = 32 << 10 };
    struct swap_device *device = set_up();
    static struct swap_io ios[WRITES];
    unsigned char *buffers = malloc((size_t)WRITES * BYTES);
    done_count = 0;
    for (uint64_t i = 0; i < WRITES; i++) {
        fill(buffers + i * BYTES, BYTES, i);
        ios[i] = (struct swap_io){.operation = SWAP_WRITE,
                                  .buffer = buffers + i * BYTES,
                                  .bytes = BYTES,
                                  .position = i * BYTES,
                                  .done = count_done};
        device->ops->submit(device, &ios[i]);
    }
    while (atomic_read_acquire(&done_count) < WRITES) {
        device->ops->reap(device, true);
    }
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    for (uint64_t i = 0; i < WRITES; i++) {
        check_on_device(device, BYTES, i * BYTES, i);
    }
    free(buffers);
    tear_down(device);
}

static struct swap_device *chain_device;
static uint32_t chain_length; /* atomic */

/* Submits the next of a chain: takes the device's locks, so none may be held here. */
static void submit_next(struct swap_io *io)
{
    CHECK_EQUAL(io->result, 0);
    io->position += io->bytes;
    if (atomic_add_acq_rel(&chain_length, 1) < 50) {
        chain_device->ops->submit(chain_device, io);
    }
}

TEST(done_may_submit_to_the_same_device)
{
    struct swap_device *device = set_up();
    static unsigned char buffer[CLUSTER];
    struct swap_io io = {.operation = SWAP_WRITE, .buffer = buffer, .bytes = CLUSTER, .done = submit_next};
    chain_device = device;
    chain_length = 0;
    device->ops->submit(device, &io);
    while (atomic_read_acquire(&chain_length) < 50) {
        device->ops->reap(device, true);
    }
    tear_down(device);
}

enum { PARENTS = FILE_IN_FLIGHT, CHILDREN = 3 };
static struct swap_io family[PARENTS * (1 + CHILDREN)];

/* Each of the first generation submits three: more than there is room for. */
static void submit_children(struct swap_io *io)
{
    size_t number = (size_t)(io - family);
    for (size_t i = 0; number < PARENTS && i < CHILDREN; i++) {
        struct swap_io *child = &family[PARENTS + number * CHILDREN + i];
        *child = *io;
        child->done = count_done;
        child->position = (uint64_t)(child - family) * CLUSTER;
        chain_device->ops->submit(chain_device, child);
    }
    count_done(io);
}

TEST(done_may_submit_when_all_places_are_taken)
{
    static unsigned char buffer[CLUSTER];
    chain_device = set_up();
    done_count = 0;
    for (size_t i = 0; i < PARENTS; i++) {
        family[i] = (struct swap_io){.operation = SWAP_WRITE,
                                     .buffer = buffer,
                                     .bytes = CLUSTER,
                                     .position = i * CLUSTER,
                                     .done = submit_children};
        chain_device->ops->submit(chain_device, &family[i]);
    }
    while (atomic_read_acquire(&done_count) < ARRAY_LENGTH(family)) {
        chain_device->ops->reap(chain_device, true);
    }
    CHECK_EQUAL(chain_device->ops->reap(chain_device, true), 0);
    tear_down(chain_device);
}

static void *write_and_read_own_part(void *argument)
{
    struct swap_device *device = chain_device;
    uint64_t id = (uint64_t)(uintptr_t)argument, seed = id;
    uint64_t part = id * (8 << 20);
    for (uint64_t i = 0; i < 60; i++) {
        uint64_t position = part + harness_random(&seed) % 1000 * SLOT_BYTES;
        size_t bytes = (1 + harness_random(&seed) % 100) * SLOT_BYTES;
        write_filled(device, bytes, position, id * 1000 + i);
        check_on_device(device, bytes, position, id * 1000 + i);
        if (i % 8 == 0) {
            CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, bytes, position), 0);
        }
    }
    return NULL;
}

TEST(threads_that_wait_for_their_own_writes_all_wake)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    chain_device = set_up();
    for (uintptr_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, write_and_read_own_part, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    tear_down(chain_device);
}

enum { PUMP_WRITES = 1500 };

static void *reap_until_all_done(void *argument)
{
    (void)argument;
    while (atomic_read_acquire(&done_count) < PUMP_WRITES) {
        chain_device->ops->reap(chain_device, true);
    }
    return NULL;
}

TEST(several_reapers_and_a_submitter_lose_no_completion)
{
    enum { REAPERS = 3 };
    pthread_t threads[REAPERS];
    static struct swap_io ios[PUMP_WRITES];
    static unsigned char buffer[SLOT_BYTES];
    chain_device = set_up();
    done_count = 0;
    for (int i = 0; i < REAPERS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, reap_until_all_done, NULL) == 0);
    }
    for (uint64_t i = 0; i < PUMP_WRITES; i++) {
        ios[i] = (struct swap_io){.operation = SWAP_WRITE,
                                  .buffer = buffer,
                                  .bytes = SLOT_BYTES,
                                  .position = i * SLOT_BYTES,
                                  .done = count_done};
        chain_device->ops->submit(chain_device, &ios[i]);
    }
    for (int i = 0; i < REAPERS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(done_count, PUMP_WRITES);
    tear_down(chain_device);
}

/* --- The file --- */

static void check_private(struct swap_device *device)
{
    struct stat status;
    CHECK_EQUAL(fstat(file_of(device)->fd, &status), 0);
    CHECK_EQUAL(status.st_nlink, 0);
    CHECK_EQUAL(status.st_mode, S_IFREG | 0600);
    CHECK_EQUAL(fcntl(file_of(device)->fd, F_GETFD), FD_CLOEXEC);
    if (file_of(device)->ring.ready) {
        CHECK_EQUAL(fcntl(file_of(device)->ring.ring.ring_fd, F_GETFD), FD_CLOEXEC);
    }
}

static int entries_of(const char *path)
{
    int n = 0;
    DIR *all = opendir(path);
    for (struct dirent *entry; (entry = readdir(all));) {
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    }
    closedir(all);
    return n;
}

TEST(file_is_unlinked_private_and_closed_on_exec)
{
    mode_t mask = umask(0777);
    struct swap_device *device = open_in(empty, SIZE);
    check_private(device);
    CHECK_EQUAL(entries_of(empty), 0);
    tear_down(device);
    umask(mask);
}

TEST(file_system_without_o_tmpfile_gets_a_name_for_a_moment)
{
    flags |= FILE_WITHOUT_TMPFILE;
    struct swap_device *device = open_in(empty, SIZE);
    check_private(device);
    CHECK_EQUAL(entries_of(empty), 0);
    write_filled(device, CLUSTER, 0, 1);
    check_on_device(device, CLUSTER, 0, 1);
    tear_down(device);
}

static void check_lies_in(struct swap_device *device, const char *where)
{
    char link[64], path[256] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", file_of(device)->fd);
    CHECK(readlink(link, path, sizeof path - 1) > 0);
    CHECK(strncmp(path, where, strlen(where)) == 0);
}

TEST(without_a_folder_it_lies_in_tmpdir_or_tmp)
{
    char *old = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", empty, 1);
    struct swap_device *device = open_in("", SIZE);
    check_lies_in(device, empty);
    tear_down(device);
    setenv("TMPDIR", "not/absolute", 1);
    device = open_in("", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
    unsetenv("TMPDIR");
    device = open_in("", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
    if (old) {
        setenv("TMPDIR", old, 1);
        free(old);
    }
}

TEST(open_and_close_leave_no_descriptor_and_no_memory)
{
    int before = descriptors();
    struct swap_device *device = set_up();
    CHECK(descriptors() > before);
    tear_down(device);
    CHECK_EQUAL(descriptors(), before);
    memory.fail_countdown = 1;
    CHECK_EQUAL(file_open(&device, folder, SIZE, &memory, &error, flags), -ENOMEM);
    memory.fail_countdown = 0;
    CHECK_EQUAL(descriptors(), before);
}

/* --- Errors of open --- */

static void check_refused(const char *location, int expected, const char *cause)
{
    struct swap_device *device = NULL;
    int before = descriptors();
    error.text[0] = 0;
    CHECK_EQUAL(file_open(&device, location, SIZE, &memory, &error, flags), expected);
    if (!strstr(error.text, cause) || !strstr(error.text, location)) {
        harness_fail(__FILE__, __LINE__, "message names no '%s' or '%s': %s", cause, location, error.text);
    }
    CHECK(strstr(error.text, "--swap file:/FOLDER") || expected == -EINVAL);
    CHECK_EQUAL(account_total(&account), 0);
    CHECK_EQUAL(descriptors(), before);
}

TEST(open_says_what_is_wrong_with_the_folder)
{
    check_refused("/nonexistent/folder", -ENOENT, "there is no such folder");
    check_refused("/etc/passwd", -ENOTDIR, "is not a folder");
    check_refused("/proc", -ENOENT, "takes no new files");
}

TEST(open_says_that_the_file_system_is_read_only)
{
    if (!have_mounts) {
        SKIP("needs the right to mount");
    }
    check_refused(fixed, -EROFS, "read-only");
}

TEST(open_says_that_there_is_no_permission)
{
    if (geteuid() != 0) {
        check_refused("/", -EACCES, "no permission");
        return;
    }
    pid_t child = fork();
    if (!child) {
        if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)) {
            _exit(2);
        }
        check_refused("/", -EACCES, "no permission");
        _exit(harness_failures != 0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

TEST(open_refuses_what_is_no_folder_path)
{
    check_refused("relative", -EINVAL, "must begin with '/'");
    check_refused("//host/folder", -EINVAL, "no host");
    check_refused("/tmp?size=4", -EINVAL, "'?'");
    check_refused("/tmp#x", -EINVAL, "'#'");
    struct swap_device *device = open_in("///tmp", SIZE);
    check_lies_in(device, "/tmp/");
    tear_down(device);
}

/* --- Limits --- */

TEST(full_file_system_answers_enospc)
{
    if (!have_mounts) {
        SKIP("needs the right to mount");
    }
    struct swap_device *device = open_in(small, SIZE);
    unsigned char *buffer = malloc(4 << 20);
    memset(buffer, 1, 4 << 20);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 512 << 10, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 4 << 20, 1 << 20), -ENOSPC);
    CHECK_EQUAL(transfer(device, SWAP_DISCARD, NULL, 6 << 20, 0), 0);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, 512 << 10, 1 << 20), 0); /* there is room again */
    free(buffer);
    tear_down(device);
}

static void set_file_size_limit(rlim_t bytes)
{
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

TEST(device_is_no_larger_than_a_file_may_be)
{
    set_file_size_limit((1 << 20) + 100);
    struct swap_device *device = set_up();
    CHECK_EQUAL(device->size, 1 << 20);
    write_filled(device, CLUSTER, (1 << 20) - CLUSTER, 1);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, "", SLOT_BYTES, 1 << 20), -ENOSPC); /* and no SIGXFSZ */
    tear_down(device);
    set_file_size_limit(RLIM_INFINITY);
}

TEST(write_beyond_a_limit_that_was_lowered_later_fails)
{
    struct swap_device *device = set_up();
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGXFSZ);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    set_file_size_limit(1 << 20);
    static unsigned char buffer[CLUSTER];
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 1 << 20), -EFBIG);
    /* across the limit: the first half goes in, which is no success */
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, (1 << 20) - CLUSTER / 2), -EFBIG);
    set_file_size_limit(RLIM_INFINITY);
    struct timespec now = {0};
    while (sigtimedwait(&blocked, NULL, &now) == SIGXFSZ) {
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    tear_down(device);
}

/* --- fork, and what the kernel refuses --- */

static int wait_for(pid_t child)
{
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

/* From now on the system call `number` answers EPERM in this process. */
static void refuse(unsigned number)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_LENGTH(filter), .filter = filter};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void write_pattern(struct swap_device *device, uint64_t seed)
{
    write_filled(device, CLUSTER, 0, seed);
    write_filled(device, SLOT_BYTES, 3 << 20, seed + 1); /* behind a hole */
    write_filled(device, 1 << 20, 8 << 20, seed + 2);
}

static void check_pattern(struct swap_device *device, uint64_t seed)
{
    static unsigned char buffer[SLOT_BYTES], zeros[SLOT_BYTES];
    check_on_device(device, CLUSTER, 0, seed);
    check_on_device(device, SLOT_BYTES, 3 << 20, seed + 1);
    check_on_device(device, 1 << 20, 8 << 20, seed + 2);
    CHECK_EQUAL(transfer(device, SWAP_READ, buffer, SLOT_BYTES, 2 << 20), 0);
    CHECK(memcmp(buffer, zeros, SLOT_BYTES) == 0);
}

/* Parent and child write to one file; each with a ring of its own. */
static void check_fork(const unsigned *refused, size_t count)
{
    struct swap_device *device = set_up();
    write_pattern(device, 10);
    pid_t child = fork();
    if (!child) {
        for (size_t i = 0; i < count; i++) {
            refuse(refused[i]);
        }
        int before = descriptors();
        CHECK_EQUAL(device->ops->fork_child(device), 0);
        if (!count) {
            CHECK_EQUAL(descriptors(), before);
            CHECK_EQUAL(file_of(device)->ring.ready, !(flags & FILE_WITHOUT_RING));
        }
        check_private(device);
        check_pattern(device, 10);
        write_filled(device, CLUSTER, 30 << 20, 6);
        check_on_device(device, CLUSTER, 30 << 20, 6);
        device->ops->close(device);
        CHECK_EQUAL(account_total(&account), 0);
        _exit(harness_failures != 0);
    }
    write_filled(device, CLUSTER, 20 << 20, 5);
    CHECK_EQUAL(wait_for(child), 0);
    check_pattern(device, 10);
    check_on_device(device, CLUSTER, 20 << 20, 5);
    check_on_device(device, CLUSTER, 30 << 20, 6);
    tear_down(device);
}

TEST(a_forked_child_shares_the_file)
{
    check_fork(NULL, 0);
}

TEST(a_forked_child_may_be_refused_a_ring)
{
    check_fork((unsigned[]){SYS_io_uring_setup}, 1);
}

TEST(a_forked_child_does_not_use_a_file_that_is_not_ours)
{
    struct swap_device *device = set_up();
    write_pattern(device, 10);
    pid_t child = fork();
    if (!child) {
        int other = open("/dev/zero", O_RDWR);
        dup2(other, file_of(device)->fd);
        CHECK_EQUAL(device->ops->fork_child(device), -EBADF);
        static unsigned char buffer[CLUSTER];
        CHECK_EQUAL(transfer(device, SWAP_READ, buffer, CLUSTER, 0), -EBADF);
        CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, CLUSTER, 0), -EBADF);
        device->ops->close(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    tear_down(device);
}

TEST(io_uring_that_is_refused_is_done_without)
{
    pid_t child = fork();
    if (!child) {
        refuse(SYS_io_uring_setup);
        struct swap_device *device = set_up();
        CHECK(!file_of(device)->ring.ready);
        write_filled(device, CLUSTER, 0, 1);
        check_on_device(device, CLUSTER, 0, 1);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

TEST(submission_that_is_refused_is_done_without)
{
    pid_t child = fork();
    if (!child) {
        struct swap_device *device = set_up();
        write_filled(device, CLUSTER, 0, 1);
        refuse(SYS_io_uring_enter);
        for (uint64_t i = 0; i < 3 * FILE_IN_FLIGHT; i++) {
            write_filled(device, CLUSTER, i * CLUSTER, i);
            check_on_device(device, CLUSTER, i * CLUSTER, i);
        }
        CHECK_EQUAL(file_of(device)->ring.reserved, 0);
        CHECK_EQUAL(file_of(device)->ring.in_kernel, 0);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

TEST(submission_that_was_refused_once_is_not_made_up_for_later)
{
    struct swap_device *device = set_up();
    if (!file_of(device)->ring.ready) {
        tear_down(device);
        SKIP("this kernel refuses io_uring");
    }
    int ring = file_of(device)->ring.ring.ring_fd, kept = dup(ring), other = open("/dev/null", O_RDWR);
    write_filled(device, CLUSTER, 0, 1);
    dup2(other, ring);
    for (uint64_t i = 0; i < FILE_IN_FLIGHT / 2; i++) {
        write_filled(device, CLUSTER, 0, i);
    }
    dup2(kept, ring);
    close(kept);
    close(other);
    for (uint64_t i = 0; i < FILE_IN_FLIGHT; i++) {
        write_filled(device, CLUSTER, (1 + i) * CLUSTER, i);
    }
    check_on_device(device, CLUSTER, 0, FILE_IN_FLIGHT / 2 - 1);
    CHECK_EQUAL(device->ops->reap(device, true), 0);
    CHECK_EQUAL(file_of(device)->ring.reserved, 0);
    CHECK_EQUAL(file_of(device)->ring.in_kernel, 0);
    tear_down(device);
}

TEST(completions_are_found_though_the_program_has_closed_the_ring)
{
    pid_t child = fork();
    if (!child) {
        struct swap_device *device = set_up();
        static unsigned char buffer[CLUSTER];
        struct swap_io io = {.operation = SWAP_WRITE, .buffer = buffer, .bytes = CLUSTER, .done = count_done};
        done_count = 0;
        device->ops->submit(device, &io);
        close(file_of(device)->ring.ring.ring_fd);
        while (!atomic_read_acquire(&done_count)) {
            device->ops->reap(device, true);
        }
        write_filled(device, CLUSTER, CLUSTER, 1);
        check_on_device(device, CLUSTER, CLUSTER, 1);
        tear_down(device);
        _exit(harness_failures != 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
}

/* --- The program --- */

static void make_folders(void)
{
    REQUIRE(mkdtemp(folder));
    snprintf(empty, sizeof empty, "%s/empty", folder);
    snprintf(small, sizeof small, "%s/small", folder);
    snprintf(fixed, sizeof fixed, "%s/fixed", folder);
    REQUIRE(!mkdir(empty, 0700) && !mkdir(small, 0700) && !mkdir(fixed, 0700));
    have_mounts = unshare(CLONE_NEWNS) == 0 && mount("", "/", "", MS_REC | MS_PRIVATE, NULL) == 0 &&
                  mount("tmpfs", small, "tmpfs", 0, "size=2M") == 0 &&
                  mount("tmpfs", fixed, "tmpfs", MS_RDONLY, "size=1M") == 0;
}

static void remove_folders(void)
{
    umount2(small, MNT_DETACH);
    umount2(fixed, MNT_DETACH);
    rmdir(empty);
    rmdir(small);
    rmdir(fixed);
    rmdir(folder);
}

static bool io_uring_works(void)
{
    struct swap_device *device = set_up();
    bool ready = file_of(device)->ring.ready;
    tear_down(device);
    return ready;
}

static void run_in_mode(const char *name, void (*test)(void), const char *mode, unsigned mode_flags)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, mode);
    flags = mode_flags;
    harness_run(full, test);
}

static void skip(void)
{
    SKIP("this kernel refuses io_uring");
}

#define RUN_BOTH(test)                                                                                       \
    do {                                                                                                     \
        run_in_mode(#test, ring ? test : skip, "_with_io_uring", 0);                                         \
        run_in_mode(#test, test, "_without_io_uring", FILE_WITHOUT_RING);                                    \
    } while (0)

int main(void)
{
    make_folders();
    bool ring = io_uring_works();
    RUN_BOTH(what_was_written_is_read_back);
    RUN_BOTH(what_was_never_written_reads_as_zeros);
    RUN_BOTH(read_that_must_not_wait_answers_eagain_where_it_would);
    RUN_BOTH(io_that_is_out_of_range_or_crooked_is_refused);
    RUN_BOTH(write_from_memory_that_is_not_there_fails);
    RUN_BOTH(discarded_bytes_take_no_space);
    RUN_BOTH(reap_with_nothing_in_flight_returns_at_once);
    RUN_BOTH(more_writes_than_fit_in_flight_are_all_done);
    RUN_BOTH(done_may_submit_to_the_same_device);
    RUN_BOTH(done_may_submit_when_all_places_are_taken);
    RUN_BOTH(threads_that_wait_for_their_own_writes_all_wake);
    RUN_BOTH(several_reapers_and_a_submitter_lose_no_completion);
    RUN_BOTH(file_is_unlinked_private_and_closed_on_exec);
    RUN_BOTH(file_system_without_o_tmpfile_gets_a_name_for_a_moment);
    RUN_BOTH(open_and_close_leave_no_descriptor_and_no_memory);
    RUN_BOTH(full_file_system_answers_enospc);
    RUN_BOTH(device_is_no_larger_than_a_file_may_be);
    RUN_BOTH(write_beyond_a_limit_that_was_lowered_later_fails);
    RUN_BOTH(a_forked_child_shares_the_file);
    RUN_BOTH(a_forked_child_may_be_refused_a_ring);
    RUN_BOTH(a_forked_child_does_not_use_a_file_that_is_not_ours);
    flags = 0;
    RUN(without_a_folder_it_lies_in_tmpdir_or_tmp);
    RUN(open_says_what_is_wrong_with_the_folder);
    RUN(open_says_that_the_file_system_is_read_only);
    RUN(open_says_that_there_is_no_permission);
    RUN(open_refuses_what_is_no_folder_path);
    RUN(io_uring_that_is_refused_is_done_without);
    RUN(submission_that_is_refused_is_done_without);
    RUN(submission_that_was_refused_once_is_not_made_up_for_later);
    RUN(completions_are_found_though_the_program_has_closed_the_ring);
    remove_folders();
    return harness_finish();
}
