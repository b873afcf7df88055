/* SPDX-License-Identifier: MIT */
#include "preload/filters.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/sys.h"

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* What runtime threads do while they serve, with arguments that change nothing, and what the kernel answers. */
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
};

static bool goes_through(const struct call *c)
{
    const long *a = c->arguments;
    return sys_call6(c->number, a[0], a[1], a[2], a[3], a[4], a[5]) == c->expected;
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
    uint32_t action = evaluate(program, &data) & SECCOMP_RET_ACTION_FULL;
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
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
