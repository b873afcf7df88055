/* SPDX-License-Identifier: MIT */
/* Memory calls by syscall(2), and that all other numbers work as they do. */
#include "tests/e2e/maps.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

TEST(memory_mapped_by_number_is_memory_like_any)
{
    char *at = (char *)syscall(SYS_mmap, NULL, 16 * MIB, RW, ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    fill(at, 16 * MIB, 1);
    press();
    CHECK_EQUAL(wrong(at, 16 * MIB, 1), 0);
    CHECK_EQUAL(syscall(SYS_madvise, at, MIB, MADV_DONTNEED), 0);
    CHECK(is_zero(at, MIB));
    CHECK_EQUAL(syscall(SYS_mprotect, at + MIB, MIB, PROT_READ), 0);
    CHECK(!writable(at + MIB));
    press();
    char *to = (char *)syscall(SYS_mremap, at + MIB, MIB, 2 * MIB, MREMAP_MAYMOVE, NULL);
    REQUIRE(to != MAP_FAILED);
    CHECK_EQUAL(wrong(to, MIB, 1 + MIB / PAGE), 0);
    CHECK_EQUAL(syscall(SYS_mlock, to, MIB), 0);
    CHECK_EQUAL(syscall(SYS_munlock, to, MIB), 0);
    CHECK_EQUAL(munmap(to, 2 * MIB), 0);
    CHECK_EQUAL(syscall(SYS_munmap, at, 16 * MIB), 0);
    CHECK(!readable(at));
}

/* Memory of libc's mmap, dropped by number: it must be gone. */
TEST(names_and_numbers_mean_the_same_memory)
{
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 2);
    press();
    CHECK_EQUAL(syscall(SYS_madvise, at, 4 * MIB, MADV_DONTNEED), 0);
    CHECK(is_zero(at, 4 * MIB));
    CHECK_EQUAL(syscall(SYS_munmap, at, 4 * MIB), 0);
    char *again = get(4 * MIB);
    CHECK(is_zero(again, 4 * MIB));
    CHECK_EQUAL(munmap(again, 4 * MIB), 0);
}

/* As madvise, where the kernel has it so. */
TEST(process_madvise_of_oneself_is_madvise)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    char *at = get(4 * MIB);
    REQUIRE(pidfd >= 0);
    fill(at, 4 * MIB, 3);
    struct iovec parts[2] = {{at, MIB}, {at + 2 * MIB, MIB}};
    if (process_madvise(pidfd, parts, 2, MADV_PAGEOUT, 0) != 2 * MIB) {
        SKIP("this kernel has no MADV_PAGEOUT by process_madvise");
    }
    CHECK_EQUAL(wrong(at, 4 * MIB, 3), 0);
    press();
    if (syscall(SYS_process_madvise, pidfd, NULL, 0, MADV_DONTNEED, 0) == 0) { /* Linux 6.13 */
        CHECK_EQUAL(process_madvise(pidfd, parts, 2, MADV_DONTNEED, 0), 2 * MIB);
        CHECK(is_zero(at, MIB) && is_zero(at + 2 * MIB, MIB));
        CHECK_EQUAL(wrong(at + MIB, MIB, 3 + MIB / PAGE), 0);
        fill(at, 4 * MIB, 3);
        press();
        struct iovec many[40];
        for (int i = 0; i < 40; i++) {
            many[i] = (struct iovec){at + 2 * i * PAGE, PAGE};
        }
        CHECK_EQUAL(syscall(SYS_process_madvise, pidfd, many, 40, MADV_DONTNEED, 0), 40 * PAGE);
        CHECK(is_zero(at + 78 * PAGE, PAGE));
        CHECK_EQUAL(wrong(at + 79 * PAGE, PAGE, 3 + 79), 0);
    }
    errno = 0;
    CHECK_EQUAL(process_madvise(pidfd, parts, 2, 12345, 0), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(process_madvise(pidfd, (void *)PAGE, 2, MADV_COLD, 0), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(process_madvise(pidfd, parts, 2, MADV_COLD, 1), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(munmap(at + 2 * MIB, MIB), 0);
    CHECK_EQUAL(process_madvise(pidfd, parts, 2, MADV_COLD, 0), MIB); /* as far as it goes */
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
    close(pidfd);
}

TEST(errors_are_minus_one_and_errno)
{
    errno = 0;
    CHECK_EQUAL(syscall(SYS_munmap, 1, PAGE), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(syscall(SYS_close, -1), -1);
    CHECK_EQUAL(errno, EBADF);
    CHECK_EQUAL(syscall(100000), -1);
    CHECK_EQUAL(errno, ENOSYS);
    CHECK_EQUAL(syscall(-1), -1);
    CHECK_EQUAL(errno, ENOSYS);
    errno = 0;
    CHECK_EQUAL(syscall(SYS_getpid), getpid());
    CHECK_EQUAL(errno, 0);
}

TEST(all_six_arguments_arrive)
{
    char from[8] = "abcdefg", to[8] = "";
    struct iovec local = {to, 8}, remote = {from, 8};
    CHECK_EQUAL(syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 0ul), 8);
    CHECK_EQUAL(memcmp(from, to, 8), 0);
    CHECK_EQUAL(syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 1ul), -1);
    CHECK_EQUAL(errno, EINVAL); /* the sixth: flags */
}

static long call_futex(uint32_t *word, int operation, long value, uint32_t *second, long third)
{
    errno = 0;
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, 1ul, second, third);
}

/* Without a limit of time, which stands where others have a count. */
static long call_pi(uint32_t *word, int operation)
{
    errno = 0;
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
}

static void leave_alone(void *at)
{
    (void)at;
}

static void put_out(void *at)
{
    CHECK_EQUAL(madvise(at, PAGE, MADV_PAGEOUT), 0);
    press();
}

/* The child lives as long as this process: until then the page is one of both. */
static void share(void *at)
{
    *(volatile char *)at;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        char none;
        close(ends[1]);
        _exit(read(ends[0], &none, 1) != 0);
    }
    close(ends[0]);
}

static void change_words_after(void (*prepare)(void *at))
{
    static const int locks[] = {FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_LOCK_PI2};
    uint32_t *word = get(MIB), *second = word + MIB / 2 / sizeof *word, unused = 0;
    prepare(second);
    CHECK_EQUAL(call_futex(&unused, FUTEX_WAKE_OP, 1, second, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0)),
                0);
    CHECK_EQUAL(*second, 1);
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        prepare(word);
        long result = call_pi(word, locks[i]);
        if (result && errno == ENOSYS) {
            continue; /* LOCK_PI2: Linux 5.14 */
        }
        CHECK_EQUAL(result, 0);
        CHECK_EQUAL(*word, gettid());
        prepare(word);
        CHECK_EQUAL(call_pi(word, FUTEX_UNLOCK_PI), 0);
        CHECK_EQUAL(*word, 0);
    }
    CHECK_EQUAL(munmap(word, MIB), 0);
}

TEST(futex_changes_words_that_were_never_touched)
{
    change_words_after(leave_alone);
}

TEST(futex_changes_words_that_are_out)
{
    change_words_after(put_out);
}

TEST(futex_changes_words_that_a_fork_shares)
{
    change_words_after(share);
}

struct requeue {
    uint32_t word;
    uint32_t *lock;
};

static void *wait_to_be_requeued(void *argument)
{
    struct requeue *r = argument;
    long result =
        syscall(SYS_futex, &r->word, FUTEX_WAIT_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 0, NULL, r->lock, 0);
    return (void *)(result || call_pi(r->lock, FUTEX_UNLOCK_PI) ? -1l : 0l);
}

TEST(futex_requeues_to_a_lock_that_is_out)
{
    struct requeue r = {0, get(MIB)};
    pthread_t waiter;
    void *failed;
    REQUIRE(pthread_create(&waiter, NULL, wait_to_be_requeued, &r) == 0);
    long woken;
    do { /* until it waits */
        madvise(r.lock, PAGE, MADV_PAGEOUT);
        woken = call_futex(&r.word, FUTEX_CMP_REQUEUE_PI, 1, r.lock, 0);
        sched_yield();
    } while (woken == 0);
    REQUIRE(woken == 1);
    pthread_join(waiter, &failed);
    CHECK(!failed);
    CHECK_EQUAL(munmap(r.lock, MIB), 0);
}

TEST(futex_still_finds_bad_words_bad)
{
    uint32_t *word = get(MIB), unused = 0;
    CHECK_EQUAL(mprotect(word, MIB, PROT_READ), 0);
    CHECK(call_pi(word, FUTEX_LOCK_PI) == -1 && errno == EFAULT);
    CHECK(call_futex(&unused, FUTEX_WAKE_OP, 1, word, 0) == -1 && errno == EFAULT);
    CHECK_EQUAL(munmap(word, MIB), 0);
    CHECK(call_pi(word, FUTEX_TRYLOCK_PI) == -1 && errno == EFAULT);
}

static volatile sig_atomic_t handled;

static void call_in_handler(int number)
{
    (void)number;
    int saved = errno;
    char *at = (char *)syscall(SYS_mmap, NULL, MIB, RW, ANONYMOUS, -1, 0);
    if (at != MAP_FAILED) {
        at[7] = 1;
        syscall(SYS_munmap, at, MIB);
        syscall(SYS_close, -1);
        handled++;
    }
    errno = saved;
}

TEST(signal_handlers_may_call_by_number)
{
    struct sigaction action = {.sa_handler = call_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    ualarm(2000, 2000);
    for (int i = 0; i < 2000 || handled < 20; i++) {
        char *at = (char *)syscall(SYS_mmap, NULL, MIB, RW, ANONYMOUS, -1, 0);
        REQUIRE(at != MAP_FAILED);
        at[i % MIB] = 1;
        CHECK_EQUAL(syscall(SYS_munmap, at, MIB), 0);
        CHECK(syscall(SYS_close, -1) == -1 && errno == EBADF);
    }
    ualarm(0, 0);
    signal(SIGALRM, SIG_DFL);
}

int main(void)
{
    begin();
    RUN(memory_mapped_by_number_is_memory_like_any);
    RUN(names_and_numbers_mean_the_same_memory);
    RUN(process_madvise_of_oneself_is_madvise);
    RUN(errors_are_minus_one_and_errno);
    RUN(all_six_arguments_arrive);
    RUN(futex_changes_words_that_were_never_touched);
    RUN(futex_changes_words_that_are_out);
    RUN(futex_changes_words_that_a_fork_shares);
    RUN(futex_requeues_to_a_lock_that_is_out);
    RUN(futex_still_finds_bad_words_bad);
    RUN(signal_handlers_may_call_by_number);
    return harness_finish();
}
