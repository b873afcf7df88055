/* SPDX-License-Identifier: MIT */
/* A file device in a folder of its own, known contents for it, and each test run with io_uring and without. */
#ifndef UZSWAP_TESTS_UNIT_SWAP_FILE_FIXTURE_H
#define UZSWAP_TESTS_UNIT_SWAP_FILE_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
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
static char folder[] = "/tmp/uzswap-test-XXXXXX";

static inline struct swap_device *open_in(const char *where, uint64_t size)
{
    struct swap_device *device = NULL;
    int result = file_open(&device, where, size, &memory, &error, flags);
    if (result) {
        printf("# %s\n", error.text);
    }
    REQUIRE(result == 0);
    return device;
}

static inline struct swap_device *set_up(void)
{
    return open_in(folder, SIZE);
}

static inline void tear_down(struct swap_device *device)
{
    device->ops->close(device);
    CHECK_EQUAL(account_total(&account), 0);
}

static inline struct file_device *file_of(struct swap_device *device)
{
    return container_of(device, struct file_device, base);
}

static inline int transfer(struct swap_device *device, enum swap_operation operation, void *buffer,
                           size_t bytes, uint64_t position)
{
    struct swap_io io = {.operation = operation, .buffer = buffer, .bytes = bytes, .position = position};
    return swap_device_wait(device, &io);
}

static inline void fill(unsigned char *buffer, size_t bytes, uint64_t seed)
{
    seed += 1000;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word = harness_random(&seed);
        memcpy(buffer + i, &word, 8);
    }
}

static inline void check_filled(const unsigned char *buffer, size_t bytes, uint64_t seed)
{
    unsigned char *expected = malloc(bytes);
    fill(expected, bytes, seed);
    CHECK(memcmp(buffer, expected, bytes) == 0);
    free(expected);
}

static inline void check_on_device(struct swap_device *device, size_t bytes, uint64_t position, uint64_t seed)
{
    unsigned char *found = malloc(bytes);
    CHECK_EQUAL(transfer(device, SWAP_READ, found, bytes, position), 0);
    check_filled(found, bytes, seed);
    free(found);
}

static inline void write_filled(struct swap_device *device, size_t bytes, uint64_t position, uint64_t seed)
{
    unsigned char *buffer = malloc(bytes);
    fill(buffer, bytes, seed);
    CHECK_EQUAL(transfer(device, SWAP_WRITE, buffer, bytes, position), 0);
    free(buffer);
}

static inline int descriptors(void)
{
    int n = 0;
    DIR *all = opendir("/proc/self/fd");
    while (readdir(all)) {
        n++;
    }
    closedir(all);
    return n;
}

static inline void check_private(struct swap_device *device)
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

/* ---- I/O that is not waited for */

static uint32_t done_count; /* atomic */

static inline void count_done(struct swap_io *io)
{
    CHECK_EQUAL(io->result, 0);
    atomic_add_acq_rel(&done_count, 1);
}

/* ---- a child that the kernel refuses something */

static inline int wait_for(pid_t child)
{
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

/* From now on the system call `number` answers EPERM in this process. */
static inline void refuse(unsigned number)
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

/* ---- the program */

static inline bool io_uring_works(void)
{
    struct swap_device *device = set_up();
    bool ready = file_of(device)->ring.ready;
    tear_down(device);
    return ready;
}

static inline void run_in_mode(const char *name, void (*test)(void), const char *mode, unsigned mode_flags)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", name, mode);
    flags = mode_flags;
    harness_run(full, test);
}

static inline void skip(void)
{
    SKIP("this kernel refuses io_uring");
}

#define RUN_BOTH(test)                                                                                       \
    do {                                                                                                     \
        run_in_mode(#test, ring ? test : skip, "_with_io_uring", 0);                                         \
        run_in_mode(#test, test, "_without_io_uring", FILE_WITHOUT_RING);                                    \
    } while (0)

#endif
