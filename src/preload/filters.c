/* SPDX-License-Identifier: MIT */
#include "preload/filters.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/sys.h"

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* In place of an answer: any number; or, as something else is done where it is refused (with an error, not by a death), any
 * answer. */
#define ANY 1
#define DISPENSABLE 2

/* What runtime threads call once the runtime serves, with arguments that change nothing, and what the kernel answers.
 * tests/e2e/traced.c watches them at work and looks each call up here. */
static const struct call {
    const char *name;
    int number;
    long arguments[6];
    long expected;
} calls[] = {
    {"futex", SYS_futex, {0, FUTEX_WAKE_PRIVATE, 0}, 0},
    {"ioctl", SYS_ioctl, {-1, (long)UFFDIO_COPY}, -EBADF},
    {"read", SYS_read, {-1}, -EBADF},
    {"write", SYS_write, {-1}, -EBADF},
    {"pread64", SYS_pread64, {-1}, -EBADF},
    {"preadv2", SYS_preadv2, {-1}, -EBADF},
    {"pwrite64", SYS_pwrite64, {-1}, -EBADF},
    {"ppoll", SYS_ppoll, {-1, 1}, -EFAULT},
    {"close", SYS_close, {-1}, -EBADF},
    {"mmap", SYS_mmap, {0, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1}, -EINVAL},
    {"munmap", SYS_munmap, {0, 0}, -EINVAL},
    {"mprotect", SYS_mprotect, {0, 0, PROT_READ | PROT_WRITE}, 0},
    {"madvise", SYS_madvise, {0, 0, MADV_DONTNEED}, 0},
    {"mremap", SYS_mremap, {0, 0, 0, MREMAP_MAYMOVE}, -EINVAL},
    {"mincore", SYS_mincore, {0, 0, 0}, 0},
    {"fallocate", SYS_fallocate, {-1, 0, 0, 1}, -EBADF},
    {"sched_yield", SYS_sched_yield, {0}, 0},
    {"clock_gettime", SYS_clock_gettime, {CLOCK_MONOTONIC, -1}, -EFAULT},
    {"gettid", SYS_gettid, {0}, ANY},

    /* futex serves; the news from other processes come with the tick */
    {"futex_waitv", SYS_futex_waitv, {0}, DISPENSABLE},
    /* pwrite64 serves */
    {"io_uring_enter", SYS_io_uring_enter, {-1}, DISPENSABLE},
    /* page-in threads: the fault handler serves */
    {"clone", SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_THREAD}, DISPENSABLE},
    {"set_robust_list", SYS_set_robust_list, {0, 0}, DISPENSABLE},
    {"prctl", SYS_prctl, {PR_SET_NAME, 0}, DISPENSABLE},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {SIG_BLOCK, 0, 0, 8}, DISPENSABLE},
    /* what a fork shares (shared_pages.c), the last thread (last_thread.c): without it, as without /proc */
    {"openat", SYS_openat, {-1, (long)"uzswap"}, DISPENSABLE},
    {"fstat", SYS_fstat, {-1}, DISPENSABLE},
    {"getdents64", SYS_getdents64, {-1}, DISPENSABLE},
    {"getrusage", SYS_getrusage, {RUSAGE_SELF, 0}, DISPENSABLE},
    {"get_robust_list", SYS_get_robust_list, {0, 0, 0}, DISPENSABLE},
    {"tgkill", SYS_tgkill, {-1, -1, 0}, DISPENSABLE},
    {"rt_sigaction", SYS_rt_sigaction, {SIGSYS, 0, 0, 8}, DISPENSABLE},
    /* fork, which then fails; messages */
    {"pidfd_open", SYS_pidfd_open, {0}, DISPENSABLE},
    {"pidfd_getfd", SYS_pidfd_getfd, {-1}, DISPENSABLE},
    {"sendmsg", SYS_sendmsg, {-1}, DISPENSABLE},
    {"getpid", SYS_getpid, {0}, DISPENSABLE},
    /* a wait that a stop has cut short: it is begun anew */
    {"restart_syscall", SYS_restart_syscall, {0}, DISPENSABLE},
    /* calls of the program's, which it may not make itself then */
    {"pkey_mprotect", SYS_pkey_mprotect, {0, 0, PROT_READ, -1}, DISPENSABLE},
    {"mlock2", SYS_mlock2, {0}, DISPENSABLE},
    {"munlock", SYS_munlock, {0}, DISPENSABLE},
    {"msync", SYS_msync, {0, 0, MS_ASYNC}, DISPENSABLE},
};

bool filters_know(long number)
{
    /* Two more have no arguments that change nothing. */
    bool known = number == SYS_exit || number == SYS_exit_group;
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        known |= calls[i].number == number;
    }
    return known;
}

static bool goes_through(const struct call *c)
{
    const long *a = c->arguments;
    long result = sys_call6(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return c->expected == DISPENSABLE || result == c->expected || (c->expected == ANY && result >= 0);
}

const char *filters_allow_us(void)
{
    if (sys_call6(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) == 0) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        if (!goes_through(&calls[i])) {
            return calls[i].name;
        }
    }
    return NULL;
}

/* ---- what a filter would say: classic BPF, as far as seccomp has it */

struct machine {
    uint32_t a, x, memory[BPF_MEMWORDS];
    const char *data; /* struct seccomp_data */
};

static uint32_t operand(const struct machine *m, const struct sock_filter *i)
{
    return BPF_SRC(i->code) == BPF_X ? m->x : i->k;
}

static bool load(struct machine *m, const struct sock_filter *i, uint32_t *to)
{
    switch (BPF_MODE(i->code)) {
    case BPF_ABS:
        if (i->k % 4 || i->k > sizeof(struct seccomp_data) - 4) {
            return false;
        }
        memcpy(to, m->data + i->k, 4);
        return true;
    case BPF_IMM:
        *to = i->k;
        return true;
    case BPF_LEN:
        *to = sizeof(struct seccomp_data);
        return true;
    case BPF_MEM:
        *to = m->memory[i->k % BPF_MEMWORDS];
        return true;
    default:
        return false;
    }
}

static bool calculate(struct machine *m, const struct sock_filter *i)
{
    uint32_t k = operand(m, i);
    switch (BPF_OP(i->code)) {
    case BPF_ADD:
        m->a += k;
        return true;
    case BPF_SUB:
        m->a -= k;
        return true;
    case BPF_MUL:
        m->a *= k;
        return true;
    case BPF_DIV:
        m->a = k ? m->a / k : 0;
        return true;
    case BPF_AND:
        m->a &= k;
        return true;
    case BPF_OR:
        m->a |= k;
        return true;
    case BPF_XOR:
        m->a ^= k;
        return true;
    case BPF_LSH:
        m->a <<= k % 32;
        return true;
    case BPF_RSH:
        m->a >>= k % 32;
        return true;
    case BPF_NEG:
        m->a = -m->a;
        return true;
    default:
        return false;
    }
}

/* How many instructions to pass over. */
static uint32_t jump(const struct machine *m, const struct sock_filter *i)
{
    uint32_t k = operand(m, i);
    switch (BPF_OP(i->code)) {
    case BPF_JA:
        return i->k;
    case BPF_JEQ:
        return m->a == k ? i->jt : i->jf;
    case BPF_JGT:
        return m->a > k ? i->jt : i->jf;
    case BPF_JGE:
        return m->a >= k ? i->jt : i->jf;
    default: /* BPF_JSET */
        return m->a & k ? i->jt : i->jf;
    }
}

/* The filter's answer; that of a program which the kernel will refuse does not matter. Jumps only go forward. */
static uint32_t evaluate(const struct sock_fprog *program, const struct seccomp_data *data)
{
    struct machine m = {.data = (const char *)data};
    for (uint32_t at = 0; at < program->len; at++) {
        const struct sock_filter *i = &program->filter[at];
        bool good = true;
        switch (BPF_CLASS(i->code)) {
        case BPF_LD:
            good = load(&m, i, &m.a);
            break;
        case BPF_LDX:
            good = load(&m, i, &m.x);
            break;
        case BPF_ST:
            m.memory[i->k % BPF_MEMWORDS] = m.a;
            break;
        case BPF_STX:
            m.memory[i->k % BPF_MEMWORDS] = m.x;
            break;
        case BPF_ALU:
            good = calculate(&m, i);
            break;
        case BPF_JMP:
            at += min_size(jump(&m, i), program->len);
            break;
        case BPF_RET:
            return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
        case BPF_MISC:
            *(BPF_MISCOP(i->code) == BPF_TAX ? &m.x : &m.a) = BPF_MISCOP(i->code) == BPF_TAX ? m.a : m.x;
            break;
        }
        if (!good) {
            break;
        }
    }
    return SECCOMP_RET_ALLOW;
}

static bool would_allow(const struct sock_fprog *program, const struct call *c)
{
    struct seccomp_data data = {
        .nr = c->number, .arch = OUR_ARCHITECTURE, .instruction_pointer = (uintptr_t)filters_allow_us};
    for (size_t i = 0; i < ARRAY_LENGTH(data.args); i++) {
        data.args[i] = (uint64_t)c->arguments[i];
    }
    uint32_t answer = evaluate(program, &data), action = answer & SECCOMP_RET_ACTION_FULL;
    bool refused = action == SECCOMP_RET_ERRNO && (answer & SECCOMP_RET_DATA);
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG ||
           (c->expected == DISPENSABLE && refused);
}

const char *filters_would_allow_us(const struct sock_fprog *program)
{
    for (size_t i = 0; program->filter && i < ARRAY_LENGTH(calls); i++) {
        if (!would_allow(program, &calls[i])) {
            return calls[i].name;
        }
    }
    return NULL;
}
