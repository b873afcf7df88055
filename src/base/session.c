/* SPDX-License-Identifier: MIT */
/*
 * All words of a session but its members are figures: nothing is reached through them, so relaxed order is enough. A
 * slot is handed over by its member's words.
 *
 * A figure moves from a slot to `ended` by being swapped for 0 first, so that it is counted once, whoever dies in
 * between. A reader who comes in between misses it for a moment.
 */
#include "base/session.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/sys.h"

/* `fd` < 0: no file. */
static int map_session(int fd, struct session **session)
{
    int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
    long at = sys_mmap(NULL, sizeof **session, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (sys_is_error(at)) {
        return (int)at;
    }
    *session = (struct session *)at;
    return 0;
}

/* A limit on the size of files (RLIMIT_FSIZE) holds here, too, and is answered by a signal that would kill us. */
static int set_size(int fd)
{
    uint64_t mask, only = 1ull << (SIGXFSZ - 1);
    struct timespec at_once = {0};
    sys_call6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&only, (long)&mask, sizeof mask, 0, 0);
    int error = (int)sys_call3(SYS_ftruncate, fd, sizeof(struct session), 0);
    if (error == -EFBIG) {
        sys_call6(SYS_rt_sigtimedwait, (long)&only, 0, (long)&at_once, sizeof only, 0, 0);
    }
    sys_call6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
    return error;
}

/* The file in memory, of a size that nobody can change: a program that shrank it would have us die by SIGBUS. */
static int create_file(void)
{
    long first = sys_call3(SYS_memfd_create, (long)"uzswap-session", MFD_CLOEXEC | MFD_ALLOW_SEALING, 0);
    if (first < 0) {
        return (int)first;
    }
    /* Not among the standard streams, which may be closed. */
    long fd = sys_call3(SYS_fcntl, first, F_DUPFD_CLOEXEC, 3);
    sys_close((int)first);
    if (fd < 0) {
        return (int)fd;
    }
    int error = set_size((int)fd);
    if (!error) {
        error = (int)sys_call3(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    }
    if (error) {
        sys_close((int)fd);
        return error;
    }
    return (int)fd;
}

static void begin_session(struct session *session)
{
    session->magic = SESSION_MAGIC;
    session->version = SESSION_VERSION;
}

int session_create(struct session **session)
{
    int fd = create_file();
    if (fd < 0) {
        return fd;
    }
    int error = map_session(fd, session);
    if (error) {
        sys_close(fd);
        return error;
    }
    begin_session(*session);
    return fd;
}

int session_create_private(struct session **session)
{
    int error = map_session(-1, session);
    if (!error) {
        begin_session(*session);
    }
    return error;
}

static int map_checked(int fd, struct session **session)
{
    struct stat status;
    int error = fstat(fd, &status) ? -errno : 0;
    if (error) {
        return error;
    }
    if (!S_ISREG(status.st_mode) || (size_t)status.st_size != sizeof **session) {
        return -EPROTO;
    }
    error = map_session(fd, session);
    if (!error && ((*session)->magic != SESSION_MAGIC || (*session)->version != SESSION_VERSION)) {
        session_close(*session);
        *session = NULL;
        error = -EPROTO;
    }
    return error;
}

int session_open(const char *path, struct session **session)
{
    /* Not blocking: a number of a process that ended may by now name anything, a FIFO too. */
    long fd =
        sys_call6(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0);
    if (fd < 0) {
        return (int)fd;
    }
    int error = map_checked((int)fd, session);
    sys_close((int)fd);
    return error;
}

void session_close(struct session *session)
{
    if (session) {
        sys_munmap(session, sizeof *session);
    }
}

bool session_is_alive(const struct session *session, uint32_t index)
{
    return member_place_is_alive(&session->members, index);
}

static void copy_levels(struct session_process *to, const struct session_process *from)
{
    account_copy(&to->account, &from->account);
#define X(name) atomic_set_relaxed(&to->name, atomic_read_relaxed(&from->name));
    SESSION_ZSWAP_LEVELS(X)
#undef X
}

static void add_levels(struct session_process *to, const struct session_process *from)
{
    account_add(&to->account, &from->account);
#define X(name) to->name += atomic_read_relaxed(&from->name);
    SESSION_ZSWAP_LEVELS(X)
#undef X
}

/* Adds one process's figures to a sum. Two at once may mix the levels of two processes. */
static void add_to_sum(struct session_process *sum, const struct session_process *process)
{
    atomic_add_relaxed(&sum->managed, atomic_read_relaxed(&process->managed));
#define X(name) atomic_add_relaxed(&sum->name, atomic_read_relaxed(&process->name));
    SESSION_EVENTS(X)
#undef X
    atomic_raise_relaxed((int64_t *)&sum->over_budget_bytes,
                         (int64_t)atomic_read_relaxed(&process->over_budget_bytes));
    int64_t peak = atomic_read_relaxed(&process->account.peak);
    if (peak > atomic_read_relaxed(&sum->account.peak)) {
        atomic_raise_relaxed(&sum->account.peak, peak);
        copy_levels(sum, process);
    }
}

/* Moves all figures out of the slot. */
static void take_figures(struct session_process *slot, struct session_process *figures)
{
    figures->managed = atomic_swap_acq_rel(&slot->managed, 0);
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        figures->account.bytes[kind] = atomic_swap_acq_rel(&slot->account.bytes[kind], 0);
    }
    figures->account.total = atomic_swap_acq_rel(&slot->account.total, 0);
    figures->account.peak = atomic_swap_acq_rel(&slot->account.peak, 0);
    figures->account.limit = atomic_swap_acq_rel(&slot->account.limit, 0);
    figures->account.most = atomic_swap_acq_rel(&slot->account.most, 0);
    figures->account.credit = atomic_swap_acq_rel(&slot->account.credit, 0);
    figures->account.debt = atomic_swap_acq_rel(&slot->account.debt, 0);
    figures->hungry_ms = atomic_swap_acq_rel(&slot->hungry_ms, 0);
    figures->active_ms = atomic_swap_acq_rel(&slot->active_ms, 0);
#define X(name) figures->name = atomic_swap_acq_rel(&slot->name, 0);
    SESSION_COUNTERS(X)
#undef X
}

/* A dead process's figures go to the sum of all that have ended. */
static void bury_figures(void *context, uint32_t index)
{
    struct session *session = context;
    struct session_process figures = {0};
    take_figures(&session->processes[index], &figures);
    add_to_sum(&session->ended, &figures);
}

int session_claim(struct session *session, uint32_t pid, struct membership *self)
{
    int index = member_claim(self, &session->members, pid, bury_figures, session);
    if (index >= 0) {
        uint32_t *slot_pid = &session->processes[index].pid;
        if (atomic_read_relaxed(slot_pid) != pid) { /* not the image after an exec */
            atomic_add_relaxed(&session->processes_total, 1);
        }
        atomic_set_relaxed(slot_pid, pid);
    }
    return index;
}

/* Does a living process before `index` say what the family of `index` has on its device? */
static bool is_said_before(const struct session *session, uint32_t index)
{
    uint64_t family = atomic_read_relaxed(&session->processes[index].device_family);
    for (uint32_t i = 0; i < index && family; i++) {
        const struct session_process *process = &session->processes[i];
        if (atomic_read_relaxed(&process->device_family) == family &&
            atomic_read_relaxed(&process->managed) && session_is_alive(session, i)) {
            return true;
        }
    }
    return false;
}

/* While any process lives, the levels are those of all that do. */
static void sum_living(const struct session *session, struct session_process *sum)
{
    bool any = false;
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        const struct session_process *process = &session->processes[i];
        if (!atomic_read_relaxed(&process->managed) || !session_is_alive(session, i)) {
            continue;
        }
        if (!any) {
            static const struct session_process nothing;
            copy_levels(sum, &nothing);
            sum->account.limit = sum->account.most = atomic_read_relaxed(&process->account.most);
        }
        any = true;
        uint64_t device_bytes = sum->device_bytes;
        add_levels(sum, process);
        if (is_said_before(session, i)) {
            sum->device_bytes = device_bytes;
        }
    }
}

void session_sum(const struct session *session, struct session_process *sum)
{
    memset(sum, 0, sizeof *sum);
    add_to_sum(sum, &session->ended);
    for (size_t i = 0; i < SESSION_PROCESSES; i++) {
        add_to_sum(sum, &session->processes[i]);
    }
    sum_living(session, sum);
    /* Of one process the peak is exact; of several, the highest that was seen. */
    atomic_raise_relaxed(&sum->account.peak, atomic_read_relaxed(&session->peak));
}
