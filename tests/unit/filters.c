/* SPDX-License-Identifier: MIT */
/* Which seccomp filters the runtime's threads can live with. The same programs are installed in a child, where the kernel
 * must say the same of each. */
#include "preload/filters.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(how, value, yes, no) BPF_JUMP(BPF_JMP | (how) | BPF_K, (uint32_t)(value), yes, no)
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
#define ALLOW ANSWER(SECCOMP_RET_ALLOW)
#define REFUSE ANSWER(SECCOMP_RET_ERRNO | EPERM)

/* 0 = allowed, 1 = not, 2 = the filter cannot be installed */
static int kernel_says(const struct sock_fprog *program)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program)) {
            _exit(2);
        }
        syscall(SYS_exit_group, filters_allow_us() != NULL);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_filter(struct sock_filter *filter, size_t length, const char *expected)
{
    struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
    const char *found = filters_would_allow_us(&program);
    CHECK((found == NULL) == (expected == NULL));
    CHECK(!found || !expected || strcmp(found, expected) == 0);
    int kernel = HARNESS_SANITIZED ? 2 : kernel_says(&program);
    CHECK(kernel == 2 || kernel == (expected != NULL));
}

#define CHECK_FILTER(expected, ...)                                                                          \
    do {                                                                                                     \
        struct sock_filter filter_[] = {__VA_ARGS__};                                                        \
        check_filter(filter_, sizeof filter_ / sizeof filter_[0], expected);                                 \
    } while (0)

TEST(a_filter_that_allows_all)
{
    CHECK_FILTER(NULL, ALLOW);
    CHECK_FILTER(NULL, ANSWER(SECCOMP_RET_LOG));
}

TEST(a_list_of_what_is_forbidden)
{
    CHECK_FILTER(NULL, LOAD(nr), JUMP(BPF_JEQ, SYS_ptrace, 0, 1), REFUSE, ALLOW);
    CHECK_FILTER("madvise", LOAD(nr), JUMP(BPF_JEQ, SYS_madvise, 0, 1), REFUSE, ALLOW);
    CHECK_FILTER("preadv2", LOAD(nr), JUMP(BPF_JGE, SYS_preadv2, 0, 2), JUMP(BPF_JGT, SYS_preadv2, 1, 0),
                 REFUSE, ALLOW);
}

TEST(a_list_of_what_is_allowed)
{
    CHECK_FILTER("futex", LOAD(nr), JUMP(BPF_JEQ, SYS_exit_group, 2, 0), JUMP(BPF_JEQ, SYS_prctl, 1, 0),
                 REFUSE, ALLOW);
}

static bool is_getrusage(const char *name)
{
    return name && strcmp(name, "getrusage") == 0;
}

TEST(what_can_be_done_without_may_be_refused_and_may_not_kill)
{
    CHECK_FILTER(NULL, LOAD(nr), JUMP(BPF_JEQ, SYS_set_robust_list, 0, 1), REFUSE, ALLOW);
    CHECK_FILTER(NULL, LOAD(nr), JUMP(BPF_JEQ, SYS_clone, 0, 1), REFUSE, ALLOW);
    struct sock_filter killing[] = {LOAD(nr), JUMP(BPF_JEQ, SYS_getrusage, 0, 1),
                                    ANSWER(SECCOMP_RET_KILL_PROCESS), ALLOW};
    struct sock_filter lying[] = {LOAD(nr), JUMP(BPF_JEQ, SYS_getrusage, 0, 1), ANSWER(SECCOMP_RET_ERRNO),
                                  ALLOW};
    CHECK(is_getrusage(filters_would_allow_us(&(struct sock_fprog){4, killing})));
    CHECK(is_getrusage(filters_would_allow_us(&(struct sock_fprog){4, lying})));
}

TEST(numbers_are_known_or_not)
{
    CHECK(filters_know(SYS_futex) && filters_know(SYS_clone) && filters_know(SYS_exit));
    CHECK(!filters_know(SYS_ptrace) && !filters_know(-1));
}

TEST(arguments_count)
{
    CHECK_FILTER(NULL, LOAD(nr), JUMP(BPF_JEQ, SYS_ioctl, 0, 3), LOAD(args[1]), JUMP(BPF_JEQ, 0x5412, 0, 1),
                 REFUSE, ALLOW);
    CHECK_FILTER("mprotect", LOAD(nr), JUMP(BPF_JEQ, SYS_mprotect, 0, 3), LOAD(args[2]),
                 JUMP(BPF_JSET, 2, 0, 1), REFUSE, ALLOW);
}

TEST(another_architecture_is_another_list)
{
    CHECK_FILTER(NULL, LOAD(arch), JUMP(BPF_JEQ, AUDIT_ARCH_I386, 0, 1), REFUSE, ALLOW);
}

TEST(arithmetic_and_memory)
{
    CHECK_FILTER("mremap", LOAD(nr), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 7),
                 BPF_STMT(BPF_LD | BPF_W | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
                 BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2), BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 4),
                 BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
                 BPF_STMT(BPF_ALU | BPF_OR | BPF_X, 0), JUMP(BPF_JEQ, SYS_mremap + 7, 0, 1), REFUSE,
                 BPF_STMT(BPF_JMP | BPF_JA, 1), REFUSE, ALLOW);
}

TEST(what_the_kernel_would_refuse_is_left_to_it)
{
    CHECK_FILTER(NULL, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096), REFUSE);
    CHECK_FILTER(NULL, BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0), REFUSE);
    CHECK_FILTER(NULL, BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), REFUSE);
    struct sock_fprog nothing = {.len = 1};
    CHECK(!filters_would_allow_us(&nothing));
}

int main(void)
{
    RUN(a_filter_that_allows_all);
    RUN(a_list_of_what_is_forbidden);
    RUN(a_list_of_what_is_allowed);
    RUN(what_can_be_done_without_may_be_refused_and_may_not_kill);
    RUN(numbers_are_known_or_not);
    RUN(arguments_count);
    RUN(another_architecture_is_another_list);
    RUN(arithmetic_and_memory);
    RUN(what_the_kernel_would_refuse_is_left_to_it);
    return harness_finish();
}
