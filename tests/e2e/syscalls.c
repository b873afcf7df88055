/* SPDX-License-Identifier: MIT */
/*
 * System calls whose arguments and buffers lie in pages that are out: the kernel, not the program, touches them first.
 *
 * out_page() gives memory with known content and then sees to it that it has left the program: MADV_PAGEOUT, and a
 * ballast four times the budget is swept. (Run plainly, nothing is out, and all must pass too.) The
 * test's own variables may be out as well; that does no harm.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/harness.h"

#define PAGE 4096
#define BALLAST_BYTES ((size_t)64 << 20) /* e2e/syscalls.sh runs this in 16 MiB */
#define BUFFER_BYTES ((size_t)16 * PAGE)

static char *ballast;
static uint32_t round_number;

static char *map(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED);
    return p;
}

static char pattern(size_t i)
{
    return (char)('a' + i * 7 % 23);
}

static void evict(void *at, size_t bytes)
{
    madvise(at, bytes, MADV_PAGEOUT);
    round_number++;
    for (size_t i = 0; i < BALLAST_BYTES; i += 8) {
        *(uint64_t *)(ballast + i) = i / 64 + round_number;
    }
}

/* Memory with the pattern in it, that is out. */
static char *out_buffer(void)
{
    char *p = map(BUFFER_BYTES);
    for (size_t i = 0; i < BUFFER_BYTES; i++) {
        p[i] = pattern(i);
    }
    evict(p, BUFFER_BYTES);
    return p;
}

/* A copy of the `bytes` at `from`, that is out. */
static void *out_copy(const void *from, size_t bytes)
{
    char *p = map(BUFFER_BYTES);
    memcpy(p, from, bytes);
    evict(p, BUFFER_BYTES);
    return p;
}

static void check_pattern(const char *p, size_t bytes)
{
    size_t wrong = 0;
    for (size_t i = 0; i < bytes; i++) {
        wrong += p[i] != pattern(i);
    }
    CHECK_EQUAL(wrong, 0);
}

/* A file with the pattern, open and without a name. */
static int pattern_file(void)
{
    char name[] = "/tmp/uzswap-syscalls-XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    unlink(name);
    char text[BUFFER_BYTES];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = pattern(i);
    }
    REQUIRE(write(fd, text, sizeof text) == (ssize_t)sizeof text);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

TEST(read_puts_file_bytes_into_out_pages)
{
    int fd = pattern_file();
    char *p = map(BUFFER_BYTES);
    memset(p, 'x', BUFFER_BYTES);
    evict(p, BUFFER_BYTES);
    CHECK_EQUAL(read(fd, p, BUFFER_BYTES), BUFFER_BYTES);
    check_pattern(p, BUFFER_BYTES);
    close(fd);
}

TEST(read_of_part_of_an_out_page_keeps_the_rest)
{
    int fd = pattern_file();
    char *p = out_buffer();
    CHECK_EQUAL(pread(fd, p + 100, 1000, 100), 1000);
    check_pattern(p, BUFFER_BYTES);
    close(fd);
}

TEST(write_takes_bytes_from_out_pages)
{
    int fd = pattern_file();
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    CHECK_EQUAL(write(fd, out_buffer(), BUFFER_BYTES), BUFFER_BYTES);
    char text[BUFFER_BYTES];
    CHECK_EQUAL(pread(fd, text, sizeof text, 0), BUFFER_BYTES);
    check_pattern(text, sizeof text);
    close(fd);
}

TEST(read_into_pages_never_touched)
{
    int fd = pattern_file();
    char *p = map(BUFFER_BYTES);
    CHECK_EQUAL(read(fd, p, BUFFER_BYTES), BUFFER_BYTES);
    check_pattern(p, BUFFER_BYTES);
    close(fd);
}

TEST(readv_and_writev_with_out_vectors)
{
    int fd = pattern_file();
    char *p = out_buffer();
    memset(p, 'x', BUFFER_BYTES);
    struct iovec vector[2] = {{p, 3 * PAGE}, {p + 3 * PAGE, BUFFER_BYTES - 3 * PAGE}};
    struct iovec *out = out_copy(vector, sizeof vector);
    madvise(p, BUFFER_BYTES, MADV_PAGEOUT);
    CHECK_EQUAL(readv(fd, out, 2), BUFFER_BYTES);
    check_pattern(p, BUFFER_BYTES);
    evict(p, BUFFER_BYTES);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(writev(fd, out, 2), BUFFER_BYTES);
    close(fd);
}

TEST(pipe_between_out_buffers)
{
    int none[2] = {-1, -1};
    int *ends = out_copy(none, sizeof none);
    CHECK_EQUAL(pipe(ends), 0);
    char *from = out_buffer();
    char *to = out_copy("", 1);
    CHECK_EQUAL(write(ends[1], from, BUFFER_BYTES), BUFFER_BYTES);
    CHECK_EQUAL(read(ends[0], to, BUFFER_BYTES), BUFFER_BYTES);
    check_pattern(to, BUFFER_BYTES);
    close(ends[0]);
    close(ends[1]);
}

TEST(vmsplice_of_out_pages)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    char *from = out_buffer(), *to = out_copy("", 1);
    struct iovec vector = {from, 8 * PAGE};
    CHECK_EQUAL(vmsplice(ends[1], &vector, 1, 0), 8 * PAGE);
    evict(to, BUFFER_BYTES); /* while the pipe holds the pages */
    CHECK_EQUAL(read(ends[0], to, 8 * PAGE), 8 * PAGE);
    check_pattern(to, 8 * PAGE);
    check_pattern(from, BUFFER_BYTES);
    close(ends[0]);
    close(ends[1]);
}

TEST(sendfile_with_its_offset_out)
{
    int fd = pattern_file(), sockets[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    off_t start = 0;
    off_t *offset = out_copy(&start, sizeof start);
    CHECK_EQUAL(sendfile(sockets[0], fd, offset, 4 * PAGE), 4 * PAGE);
    CHECK_EQUAL(*offset, 4 * PAGE);
    char *to = out_copy("", 1);
    CHECK_EQUAL(recv(sockets[1], to, 4 * PAGE, MSG_WAITALL), 4 * PAGE);
    check_pattern(to, 4 * PAGE);
    close(sockets[0]);
    close(sockets[1]);
    close(fd);
}

static void exchange_over(int type)
{
    int sockets[2];
    REQUIRE(socketpair(AF_UNIX, type, 0, sockets) == 0);
    struct iovec from = {out_buffer(), BUFFER_BYTES}, to = {out_copy("", 1), BUFFER_BYTES};
    struct iovec *out_from = out_copy(&from, sizeof from), *out_to = out_copy(&to, sizeof to);
    struct msghdr message = {.msg_iov = out_from, .msg_iovlen = 1};
    struct msghdr *sent = out_copy(&message, sizeof message);
    CHECK_EQUAL(sendmsg(sockets[0], sent, 0), BUFFER_BYTES);
    message.msg_iov = out_to;
    struct msghdr *received = out_copy(&message, sizeof message);
    CHECK_EQUAL(recvmsg(sockets[1], received, MSG_WAITALL), BUFFER_BYTES);
    check_pattern(to.iov_base, BUFFER_BYTES);
    close(sockets[0]);
    close(sockets[1]);
}

TEST(stream_socket_between_out_buffers)
{
    exchange_over(SOCK_STREAM);
}

TEST(datagram_socket_between_out_buffers)
{
    exchange_over(SOCK_DGRAM);
}

TEST(paths_and_stat_in_out_pages)
{
    char *name = out_copy("/tmp/../etc/passwd", 19);
    struct stat *found = out_copy("", 1);
    struct stat expected;
    CHECK_EQUAL(stat("/etc/passwd", &expected), 0);
    CHECK_EQUAL(stat(name, found), 0);
    CHECK_EQUAL(found->st_ino, expected.st_ino);
    CHECK_EQUAL(found->st_size, expected.st_size);
    int fd = open(out_copy("/etc/passwd", 12), O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
}

TEST(getcwd_and_readlink_into_out_pages)
{
    char expected[PAGE];
    char *found = out_copy("", 1);
    CHECK(getcwd(expected, sizeof expected) != NULL);
    CHECK(getcwd(found, PAGE) == found);
    CHECK(strcmp(found, expected) == 0);
    ssize_t length = readlink("/proc/self/exe", expected, sizeof expected);
    evict(found, PAGE);
    CHECK_EQUAL(readlink("/proc/self/exe", found, PAGE), length);
    CHECK(length > 0 && memcmp(found, expected, (size_t)length) == 0);
}

/* The kernel leaves the padding between entries as it was. */
static bool same_entry(const struct dirent64 *a, const struct dirent64 *b)
{
    return a->d_ino == b->d_ino && a->d_reclen == b->d_reclen && strcmp(a->d_name, b->d_name) == 0;
}

TEST(directory_is_read_into_out_pages)
{
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    char expected[2 * PAGE];
    char *found = out_copy("", 1);
    long bytes = syscall(SYS_getdents64, fd, expected, sizeof expected);
    CHECK_EQUAL(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQUAL(syscall(SYS_getdents64, fd, found, sizeof expected), bytes);
    long at = 0;
    while (at < bytes && same_entry((struct dirent64 *)(expected + at), (struct dirent64 *)(found + at))) {
        at += ((struct dirent64 *)(expected + at))->d_reclen;
    }
    CHECK(bytes > 0);
    CHECK_EQUAL(at, bytes);
    close(fd);
}

TEST(small_results_into_out_pages)
{
    struct utsname expected;
    struct utsname *found = out_copy("", 1);
    uname(&expected);
    CHECK_EQUAL(uname(found), 0);
    CHECK(strcmp(found->release, expected.release) == 0);
    uint64_t *noise = out_copy("", 1);
    CHECK_EQUAL(getrandom(noise, PAGE, 0), PAGE);
    CHECK(noise[0] || noise[1]);
    int fd = pattern_file();
    int *available = out_copy("", 1);
    CHECK_EQUAL(ioctl(fd, FIONREAD, available), 0);
    CHECK_EQUAL(*available, BUFFER_BYTES);
    struct timespec *pause = out_copy(&(struct timespec){0, 1000}, sizeof *pause);
    CHECK_EQUAL(nanosleep(pause, NULL), 0);
    close(fd);
}

TEST(poll_select_and_epoll_with_out_sets)
{
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    CHECK_EQUAL(write(ends[1], "x", 1), 1);
    struct pollfd *polled = out_copy(&(struct pollfd){ends[0], POLLIN, 0}, sizeof *polled);
    CHECK_EQUAL(poll(polled, 1, 1000), 1);
    CHECK_EQUAL(polled->revents, POLLIN);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    fd_set *selected = out_copy(&set, sizeof set);
    struct timeval *timeout = out_copy(&(struct timeval){1, 0}, sizeof *timeout);
    CHECK_EQUAL(select(ends[0] + 1, selected, NULL, NULL, timeout), 1);
    CHECK(FD_ISSET(ends[0], selected));
    int e = epoll_create1(0);
    struct epoll_event *event =
        out_copy(&(struct epoll_event){.events = EPOLLIN, .data.u32 = 77}, sizeof *event);
    CHECK_EQUAL(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], event), 0);
    struct epoll_event *got = out_copy("", 1);
    CHECK_EQUAL(epoll_wait(e, got, 4, 1000), 1);
    CHECK_EQUAL(got->data.u32, 77);
    close(e);
    close(ends[0]);
    close(ends[1]);
}

static void *wake_later(void *word)
{
    usleep(20000);
    atomic_set_seq_cst((uint32_t *)word, 2);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return NULL;
}

TEST(futex_word_in_an_out_page)
{
    uint32_t *word = out_copy(&(uint32_t){1}, sizeof *word);
    CHECK(syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0) == -1 && errno == EAGAIN);
    evict(word, PAGE);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, wake_later, word) == 0);
    while (atomic_read_seq_cst(word) == 1) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    }
    CHECK_EQUAL(*word, 2);
    pthread_join(thread, NULL);
}

static void *lock_and_count(void *at)
{
    struct {
        pthread_mutex_t mutex;
        int count;
    } *shared = at;
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&shared->mutex);
        shared->count++;
        if (i % 100 == 0) {
            madvise(shared, PAGE, MADV_PAGEOUT);
        }
        pthread_mutex_unlock(&shared->mutex);
    }
    return NULL;
}

TEST(mutex_that_is_paged_out_while_it_is_fought_for)
{
    pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    struct {
        pthread_mutex_t mutex;
        int count;
    } *shared = out_copy(&fresh, sizeof fresh);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, lock_and_count, shared) == 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(shared->count, 3000);
}

static void *use_stack(void *unused)
{
    char here[32 * PAGE];
    (void)unused;
    for (size_t i = 0; i < sizeof here; i++) {
        here[i] = pattern(i);
    }
    evict((char *)((uintptr_t)here & ~(uintptr_t)(PAGE - 1)) + PAGE, sizeof here - 2 * PAGE);
    check_pattern(here, sizeof here);
    return NULL;
}

TEST(thread_stack_goes_out_and_comes_back)
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, use_stack, NULL) == 0);
    pthread_join(thread, NULL);
}

static volatile sig_atomic_t handled_on;

static void handle_signal(int number, siginfo_t *info, void *context)
{
    char here[2 * PAGE];
    (void)context;
    memset(here, number, sizeof here);
    handled_on = here[PAGE] == info->si_signo;
}

TEST(signal_frame_is_written_to_an_out_stack)
{
    stack_t stack = {.ss_sp = out_buffer(), .ss_size = BUFFER_BYTES};
    struct sigaction action = {.sa_sigaction = handle_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQUAL(sigaltstack(out_copy(&stack, sizeof stack), NULL), 0);
    CHECK_EQUAL(sigaction(SIGUSR1, out_copy(&action, sizeof action), NULL), 0);
    evict(stack.ss_sp, BUFFER_BYTES);
    CHECK_EQUAL(raise(SIGUSR1), 0);
    CHECK_EQUAL(handled_on, 1);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}

TEST(program_is_started_with_out_arguments)
{
    extern char **environ;
    char *words = out_copy("exit 42", 8);
    char *arguments[] = {"sh", "-c", words, NULL};
    char **out = out_copy(arguments, sizeof arguments);
    pid_t child;
    REQUIRE(posix_spawn(&child, "/bin/sh", NULL, NULL, out, environ) == 0);
    int *status = out_copy("", 1);
    CHECK_EQUAL(waitpid(child, status, 0), child);
    CHECK(WIFEXITED(*status));
    CHECK_EQUAL(WEXITSTATUS(*status), 42);
}

TEST(process_vm_readv_of_out_pages)
{
    char *from = out_buffer(), *to = out_copy("", 1);
    struct iovec local = {to, BUFFER_BYTES}, remote = {from, BUFFER_BYTES};
    CHECK_EQUAL(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), BUFFER_BYTES);
    check_pattern(to, BUFFER_BYTES);
}

TEST(direct_io_with_out_pages)
{
    char name[] = "/var/tmp/uzswap-direct-XXXXXX";
    int plain = mkstemp(name);
    REQUIRE(plain >= 0);
    int fd = open(name, O_RDWR | O_DIRECT);
    unlink(name);
    close(plain);
    if (fd < 0) {
        SKIP("this kernel has no O_DIRECT on the file system of /var/tmp");
    }
    CHECK_EQUAL(pwrite(fd, out_buffer(), BUFFER_BYTES, 0), BUFFER_BYTES);
    char *to = out_copy("", 1);
    CHECK_EQUAL(pread(fd, to, BUFFER_BYTES, 0), BUFFER_BYTES);
    check_pattern(to, BUFFER_BYTES);
    close(fd);
}

TEST(bad_addresses_still_answer_efault)
{
    char *p = map(2 * PAGE);
    int fd = pattern_file();
    CHECK_EQUAL(munmap(p + PAGE, PAGE), 0);
    CHECK(read(fd, p + PAGE, PAGE) == -1 && errno == EFAULT);
    CHECK_EQUAL(mprotect(p, PAGE, PROT_NONE), 0);
    CHECK(read(fd, p, PAGE) == -1 && errno == EFAULT);
    close(fd);
}

int main(void)
{
    ballast = map(BALLAST_BYTES);
    RUN(read_puts_file_bytes_into_out_pages);
    RUN(read_of_part_of_an_out_page_keeps_the_rest);
    RUN(write_takes_bytes_from_out_pages);
    RUN(read_into_pages_never_touched);
    RUN(readv_and_writev_with_out_vectors);
    RUN(pipe_between_out_buffers);
    RUN(vmsplice_of_out_pages);
    RUN(sendfile_with_its_offset_out);
    RUN(stream_socket_between_out_buffers);
    RUN(datagram_socket_between_out_buffers);
    RUN(paths_and_stat_in_out_pages);
    RUN(getcwd_and_readlink_into_out_pages);
    RUN(directory_is_read_into_out_pages);
    RUN(small_results_into_out_pages);
    RUN(poll_select_and_epoll_with_out_sets);
    RUN(futex_word_in_an_out_page);
    RUN(mutex_that_is_paged_out_while_it_is_fought_for);
    RUN(thread_stack_goes_out_and_comes_back);
    RUN(signal_frame_is_written_to_an_out_stack);
    RUN(program_is_started_with_out_arguments);
    RUN(process_vm_readv_of_out_pages);
    RUN(direct_io_with_out_pages);
    RUN(bad_addresses_still_answer_efault);
    return harness_finish();
}
