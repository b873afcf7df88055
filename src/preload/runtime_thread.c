/* SPDX-License-Identifier: MIT */
/*
 * A runtime thread is one raw clone, and one mapping:
 *
 *   |guard page|stack ...          |static TLS|tp: thread control block|
 *    PROT_NONE  STACK_BYTES          tls_below   TCB_BYTES
 *
 * Why not pthread_create: libc takes a new thread's DTV from calloc, which is the program's allocator, whose
 * memory we manage; and the threads must also be started inside the child of a fork, before libc has
 * repaired itself.
 *
 * What code expects of its thread is little. The static TLS block has the size of the creator's, and each
 * module's initial values (so libc's errno and locale pointers are as in a fresh thread); our own library
 * is built with initial-exec TLS and so never asks for the DTV. The control block has its self pointers,
 * and the creator's stack-protector canary and pointer guard. The rest is zero.
 *
 * The layout of the static TLS is read once, in the process's first thread, as it takes a lock of the dynamic
 * linker's; modules loaded later do not concern us.
 */
#include "preload/runtime_thread.h"

#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/rseq.h>

#include "base/atomic.h"
#include "base/sys.h"

#define STACK_BYTES (128u << 10)
#define STACK_AT_START (16u << 10) /* is charged before the thread runs; more, once it has been touched */
#define TLS_IMAGES 64
#define TLS_MAX (1u << 20) /* a block farther away than this is no static one */
#define SIGSET_BYTES 8

#if defined(__x86_64__)
/* The control block lies at the thread pointer, the TLS blocks below it. */
#define TCB_BYTES 4096u
#define TCB_BELOW 0u
#elif defined(__aarch64__)
/* libc's thread structure lies below the thread pointer, the TLS blocks above it. Untested. */
#define TCB_BYTES 0u
#define TCB_BELOW 4096u
#else
#error "runtime threads: write start_clone and the TLS layout for this architecture"
#endif

/* The initial values of one module's TLS. */
struct tls_image {
    ptrdiff_t offset; /* from the thread pointer */
    const void *bytes;
    size_t length;
};

/* Written once before the first thread starts, read-only after. */
static struct {
    struct memory *memory;
    size_t below, above; /* the thread pointer; multiples of 64 */
    unsigned images;
    struct tls_image image[TLS_IMAGES];
} layout;

/* NULL: of none. Written by the first thread before it starts others. */
static const struct membership *member;

struct runtime_thread {
    uint32_t used; /* atomic: claimed by compare-and-swap */
    uint32_t tid;  /* 0 once it has ended; the kernel clears and wakes it */
    void *
        mapping; /* the rest: the starter's until the thread runs, then its own. A slot that is not used may have one */
    size_t bytes;
    size_t charged; /* of them. Of a thread that runs: the root thread's */
    uint32_t runs;  /* 1 while the thread is there to be measured; atomic */
    void (*run)(void *);
    void *argument;
    char name[16];
};

static struct runtime_thread threads[RUNTIME_THREADS];

/* Zero in every thread that libc made. */
static __thread uint8_t is_runtime_thread __attribute__((tls_model("initial-exec")));

int runtime_thread_any_tid(void)
{
    for (unsigned i = 0; i < RUNTIME_THREADS; i++) {
        uint32_t tid = atomic_read_acquire(&threads[i].used) ? atomic_read_acquire(&threads[i].tid) : 0;
        if (tid) {
            return (int)tid;
        }
    }
    return 0;
}

bool runtime_thread_has_tid(int tid)
{
    bool found = false;
    for (unsigned i = 0; i < RUNTIME_THREADS; i++) {
        found |=
            atomic_read_acquire(&threads[i].used) && atomic_read_acquire(&threads[i].tid) == (uint32_t)tid;
    }
    return found;
}

bool runtime_thread_is_self(void)
{
    return is_runtime_thread;
}

/*
 * clone(flags, stack, tid, tid, tls); in the new thread, entry(argument), which does not return. The result in
 * the old one. An asm function, as the new thread comes back on an empty stack.
 */
long uzswap_start_clone(unsigned long flags, void *stack, uint32_t *tid, void *tls, void (*entry)(void *),
                        void *argument);
#if defined(__x86_64__)
__asm__(".text\n"
        ".hidden uzswap_start_clone\n"
        ".globl uzswap_start_clone\n"
        ".type uzswap_start_clone,@function\n"
        "uzswap_start_clone:\n"
        ".cfi_startproc\n"
        "    subq $16, %rsi\n"
        "    movq %r8, (%rsi)\n"
        "    movq %r9, 8(%rsi)\n"
        "    movq %rdx, %r10\n"
        "    movq %rcx, %r8\n"
        "    movl $56, %eax\n"
        "    syscall\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    ret\n"
        "1:\n"
        "    .cfi_undefined rip\n" /* the end of every backtrace */
        "    xorl %ebp, %ebp\n"
        "    popq %rax\n"
        "    popq %rdi\n"
        "    call *%rax\n"
        "    ud2\n"
        ".cfi_endproc\n"
        ".size uzswap_start_clone, . - uzswap_start_clone\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".hidden uzswap_start_clone\n"
        ".globl uzswap_start_clone\n"
        ".type uzswap_start_clone,%function\n"
        "uzswap_start_clone:\n"
        ".cfi_startproc\n"
        "    stp x4, x5, [x1, #-16]!\n"
        "    mov x4, x2\n" /* arguments: flags, stack, parent tid, tls, child tid */
        "    mov x8, #220\n"
        "    svc #0\n"
        "    cbz x0, 1f\n"
        "    ret\n"
        "1:\n"
        "    .cfi_undefined x30\n"
        "    mov x29, #0\n"
        "    ldp x1, x0, [sp], #16\n"
        "    blr x1\n"
        "    brk #0\n"
        ".cfi_endproc\n"
        ".size uzswap_start_clone, . - uzswap_start_clone\n");
#endif

static char *thread_pointer(void)
{
    return __builtin_thread_pointer();
}

static int note_module(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)context;
    if (bytes < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof info->dlpi_tls_data ||
        !info->dlpi_tls_data || layout.images == TLS_IMAGES) {
        return 0;
    }
    ptrdiff_t offset = (char *)info->dlpi_tls_data - thread_pointer();
    if (offset > (ptrdiff_t)TLS_MAX || offset < -(ptrdiff_t)TLS_MAX) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_TLS) {
            continue;
        }
        layout.image[layout.images++] =
            (struct tls_image){offset, (const void *)(info->dlpi_addr + p->p_vaddr), p->p_filesz};
        if (offset < 0) {
            layout.below = max_size(layout.below, (size_t)-offset);
        } else {
            layout.above = max_size(layout.above, (size_t)offset + p->p_memsz);
        }
    }
    return 0;
}

void runtime_thread_init(struct memory *memory)
{
    layout.memory = memory;
    if (layout.below) {
        return;
    }
    dl_iterate_phdr(note_module, NULL);
    layout.below = round_up(layout.below + TCB_BELOW, PAGE_BYTES);
    layout.above = round_up(layout.above + TCB_BYTES, PAGE_BYTES);
}

void runtime_thread_set_member(const struct membership *of_process)
{
    member = of_process;
}

static void fill_tls(char *tp)
{
    memset(tp - layout.below, 0, layout.below + layout.above);
    for (unsigned i = 0; i < layout.images; i++) {
        memcpy(tp + layout.image[i].offset, layout.image[i].bytes, layout.image[i].length);
    }
#if defined(__x86_64__)
    const uint64_t *mine = (const uint64_t *)thread_pointer();
    uint64_t *control = (uint64_t *)tp;
    control[0] = (uint64_t)tp; /* tcb */
    control[2] = (uint64_t)tp; /* self */
    control[5] = mine[5];      /* stack-protector canary */
    control[6] = mine[6];      /* pointer guard */
#endif
    if (__rseq_size) {
        /* No restartable sequences here; sched_getcpu then asks the kernel. */
        struct rseq *rseq = (struct rseq *)(tp + __rseq_offset);
        rseq->cpu_id = (uint32_t)RSEQ_CPU_ID_UNINITIALIZED;
    }
}

/* The first thread claims by itself. False: this process is dying. */
static bool enter_member(const struct runtime_thread *t)
{
    unsigned number = (unsigned)(t - threads);
    return !member || !number || !member_thread_enter(member, number);
}

static void thread_entry(void *argument)
{
    struct runtime_thread *t = argument;
    /* Release: what the starter wrote goes before. */
    atomic_set_release(&t->runs, 1);
    if (enter_member(t)) {
        is_runtime_thread = 1;
        sys_call3(SYS_prctl, PR_SET_NAME, (long)t->name, 0);
        t->run(t->argument);
        member_thread_leave();
    }
    for (;;) {
        sys_call3(SYS_exit, 0, 0, 0);
    }
}

static struct runtime_thread *claim_thread(void)
{
    for (unsigned i = 0; i < RUNTIME_THREADS; i++) {
        uint32_t unused = 0;
        /* Acquire: what join left in the slot is seen. */
        if (atomic_cas_acq_rel(&threads[i].used, &unused, 1)) {
            return &threads[i];
        }
    }
    return NULL;
}

static void release_thread(struct runtime_thread *t)
{
    atomic_set_relaxed(&t->runs, 0);
    if (t->mapping) {
        memory_unreserve(layout.memory, t->mapping, t->bytes);
        memory_uncharge(layout.memory, t->charged, ACCOUNT_TABLES);
    }
    t->mapping = NULL;
    /* Release: the slot is reused only after it was emptied. */
    atomic_set_release(&t->used, 0);
}

static bool map_stack(struct runtime_thread *t)
{
    if (t->mapping) {
        return true; /* the parent's thread had it */
    }
    t->bytes = PAGE_BYTES + STACK_BYTES + layout.below + layout.above;
    t->charged = STACK_AT_START + layout.below + layout.above;
    t->mapping = memory_reserve(layout.memory, t->bytes);
    if (t->mapping && !memory_commit(layout.memory, t->charged, ACCOUNT_TABLES)) {
        memory_unreserve(layout.memory, t->mapping, t->bytes);
        t->mapping = NULL;
    }
    if (t->mapping) {
        sys_mprotect(t->mapping, PAGE_BYTES, PROT_NONE);
    }
    return t->mapping;
}

/* What of the thread's memory has been touched; all of it if the kernel does not say. */
static size_t touched_bytes(const struct runtime_thread *t)
{
    unsigned char present[STACK_BYTES / PAGE_BYTES + 2 * TLS_MAX / PAGE_BYTES];
    size_t pages = min_size(t->bytes / PAGE_BYTES, sizeof present), touched = 0;
    if (sys_call3(SYS_mincore, (long)t->mapping, (long)(pages * PAGE_BYTES), (long)present)) {
        return t->bytes;
    }
    for (size_t i = 0; i < pages; i++) {
        touched += present[i] & 1;
    }
    return touched * PAGE_BYTES;
}

void runtime_thread_charge_stacks(void)
{
    for (unsigned i = 0; i < RUNTIME_THREADS; i++) {
        struct runtime_thread *t = &threads[i];
        size_t touched = atomic_read_acquire(&t->runs) ? touched_bytes(t) : 0;
        if (touched > t->charged && memory_commit(layout.memory, touched - t->charged, ACCOUNT_TABLES)) {
            t->charged = touched;
        }
    }
}

static int start(struct thread *handle, unsigned long sharing, void (*run)(void *), void *argument,
                 const char *name)
{
    struct runtime_thread *t = claim_thread();
    if (!t) {
        return -EAGAIN;
    }
    if (!map_stack(t)) {
        release_thread(t);
        return -ENOMEM;
    }
    char *stack_top = (char *)t->mapping + PAGE_BYTES + STACK_BYTES;
    char *tp = stack_top + layout.below;
    fill_tls(tp);
    t->run = run;
    t->argument = argument;
    memset(t->name, 0, sizeof t->name);
    for (size_t i = 0; name[i] && i < sizeof t->name - 1; i++) {
        t->name[i] = name[i];
    }
    t->tid = 1; /* until the kernel writes it */

    uint64_t all = ~0ull, old;
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, SIGSET_BYTES, 0, 0);
    unsigned long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                          CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | sharing;
    long tid = uzswap_start_clone(flags, stack_top, &t->tid, tp, thread_entry, t);
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, SIGSET_BYTES, 0, 0);
    if (tid < 0) {
        release_thread(t);
        return (int)tid;
    }
    handle->state = t;
    return 0;
}

static int start_sharing_files(struct thread *t, void (*run)(void *), void *argument, const char *name)
{
    return start(t, CLONE_FILES, run, argument, name);
}

int runtime_thread_start_private(struct thread *t, void (*run)(void *), void *argument, const char *name)
{
    return start(t, 0, run, argument, name);
}

bool runtime_thread_has_ended(const struct thread *t)
{
    /* Acquire: what it did is seen. */
    return !atomic_read_acquire(&((const struct runtime_thread *)t->state)->tid);
}

static void join(struct thread *handle)
{
    struct runtime_thread *t = handle->state;
    uint32_t tid;
    if (!t) {
        return;
    }
    /* Acquire: what the thread did before it ended is seen. Not a private futex: the kernel's wake-up at a
     * thread's end is a shared one. */
    while ((tid = atomic_read_acquire(&t->tid)) != 0) {
        sys_call6(SYS_futex, (long)&t->tid, FUTEX_WAIT, tid, 0, 0, 0);
    }
    handle->state = NULL;
    release_thread(t);
}

void runtime_thread_fork_child(void)
{
    for (unsigned i = 0; i < RUNTIME_THREADS; i++) {
        threads[i].used = threads[i].runs = 0;
    }
}

const struct thread_ops thread_ops_runtime = {.start = start_sharing_files, .join = join};
