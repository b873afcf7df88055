/* SPDX-License-Identifier: MIT */
#include "preload/last_thread.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/sys.h"
#include "preload/proc.h"
#include "preload/runtime.h"

#define LOOK_MS_MOST 100 /* the tick */
#define NAMES_BYTES 2048
#define STATUS_BYTES 2048
#define SIGSET_BYTES 8
#define DIED_BY 128 /* and the signal: the status where it cannot be died by */
#define TASKS "self/task"
#define LINKS_OF_NO_THREADS 2 /* of the folder with one sub-folder a thread */

/* Numbers that threads can have (PID_MAX_LIMIT), and how many are tried at a time, which takes some milliseconds. */
#define TIDS (1 << 22)
#define TIDS_AT_A_TIME (1 << 15)
#define SWEEPS 2

static struct {
    int status;         /* of the last exit */
    bool leader_seen;   /* it was known to live */
    bool leader_leaves; /* one was the leader's */
    bool after_leader;  /* the leader had ended before it, or that was its end */
    uint64_t due_ms;    /* when to look; the end of time = at the tick */
    int interval_ms;    /* between looks */
    int witness;        /* a thread that lived when it was last looked at, as /proc numbers it; 0 = none */
    int swept;          /* without /proc: up to this number there is nobody */
    int sweeps;         /* how often all numbers have been tried */
} last = {.due_ms = UINT64_MAX};

/* An exit that was not told by a call: its status, and NOTED. Written by the program's threads; atomic. */
#define NOTED 0x100u
static uint32_t noted;

/* The robust list that libc gives to a thread goes when the thread ends. False: not known to live. One that was made by number has
 * none. */
static bool leader_lives(void)
{
    void *head = NULL;
    size_t bytes;
    bool lives = !sys_call3(SYS_get_robust_list, runtime.pid, (long)&head, (long)&bytes) && head;
    last.leader_seen |= lives;
    return lives;
}

/* ---- with /proc */

enum task { TASK_PROGRAMS, TASK_OF_NOBODY, TASK_GONE };

/* The prefix, and a number. */
static bool is_numbered(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return !strncmp(name, prefix, length) && name[length] >= '0' && name[length] <= '9';
}

/* The program's are not ours, no zombies, and no workers that the kernel has given the process. A zombie is listed for as long as
 * the process lives if it was its leader, others for a moment only. */
static enum task task_of_status(const char *status)
{
    const char *name = proc_field(status, "Name:\t"), *state = proc_field(status, "\nState:\t");
    int tid = proc_last_number(proc_field(status, "\nNSpid:\t"));
    tid = tid ? tid : proc_last_number(proc_field(status, "\nPid:\t"));
    if (*state == 'Z' || *state == 'X') {
        bool is_leader = proc_last_number(proc_field(status, "\nTgid:\t")) ==
                         proc_last_number(proc_field(status, "\nPid:\t"));
        return is_leader ? TASK_OF_NOBODY : TASK_GONE;
    }
    bool is_kernels =
        is_numbered(name, "iou-wrk-") || is_numbered(name, "iou-sqp-") || is_numbered(name, "vhost-");
    return is_kernels || runtime_thread_has_tid(tid) ? TASK_OF_NOBODY : TASK_PROGRAMS;
}

/* One that cannot be read is the program's. */
static enum task task_of(int number)
{
    char path[64] = TASKS "/", status[STATUS_BYTES];
    proc_append_number(path, (unsigned)number);
    strcat(path, "/status");
    long bytes = proc_read(path, status, sizeof status);
    bool has_gone = bytes == -ENOENT || bytes == -ESRCH; /* before it was opened, or after */
    return bytes > 0 ? task_of_status(status) : has_gone ? TASK_GONE : TASK_PROGRAMS;
}

static int number_of(const char *text)
{
    return *text >= '0' && *text <= '9' ? proc_last_number(text) : 0;
}

static long threads_of(int folder)
{
    struct stat status;
    return sys_call3(SYS_fstat, folder, (long)&status, 0) ? -1 : (long)status.st_nlink - LINKS_OF_NO_THREADS;
}

struct entry {
    uint64_t number;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* The first thread of the program in the list, as the new witness; else *listed counts the others. Not who is gone
 * since: it may have begun another in his place, that is not in the list. */
static bool find_in_list(int folder, long *listed)
{
    _Alignas(struct entry) char names[NAMES_BYTES];
    long bytes;
    while ((bytes = sys_call3(SYS_getdents64, folder, (long)names, sizeof names)) > 0) {
        for (long at = 0; at < bytes;) {
            const struct entry *e = (const struct entry *)(names + at);
            int number = number_of(e->name);
            enum task task = number ? task_of(number) : TASK_GONE;
            if (task == TASK_PROGRAMS) {
                last.witness = number;
                return true;
            }
            *listed += task == TASK_OF_NOBODY;
            at += e->bytes;
        }
    }
    return false;
}

/* Is there certainly no thread of the program? */
static bool list_has_nobody(int folder)
{
    long before = threads_of(folder), listed = 0;
    return !find_in_list(folder, &listed) && listed == before && threads_of(folder) == before;
}

/* ---- without */

static bool is_programs(int tid)
{
    return !sys_call3(SYS_tgkill, runtime.pid, tid, 0) && tid != (int)runtime.pid &&
           !runtime_thread_has_tid(tid);
}

/* The leader cannot be found so: as a zombie, too, it answers. */
static bool sweep_has_nobody(void)
{
    int end = last.swept + TIDS_AT_A_TIME;
    if (!last.leader_seen && !last.leader_leaves) {
        return false;
    }
    while (last.swept < end) {
        if (is_programs(++last.swept)) {
            last.witness = last.swept;
            last.swept = last.sweeps = 0;
            return false;
        }
    }
    if (end == TIDS) {
        last.swept = 0;
        last.sweeps++;
    }
    return last.sweeps == SWEEPS;
}

/* ---- */

static bool witness_lives(bool has_proc)
{
    return last.witness && (has_proc ? task_of(last.witness) == TASK_PROGRAMS : is_programs(last.witness));
}

static bool is_nobody_left(void)
{
    int folder = proc_open(TASKS);
    bool none = !witness_lives(folder >= 0) && (folder >= 0 ? list_has_nobody(folder) : sweep_has_nobody());
    if (folder >= 0) {
        sys_close(folder);
    }
    return none;
}

/* ---- the end */

/* How the leader ended, as wait(2) tells it; -1 = not known. It is a zombie now. */
static int end_of_leader(void)
{
    char text[STATUS_BYTES];
    return proc_read("self/stat", text, sizeof text) > 0 ? proc_last_number(text) : -1;
}

/* Returns where that is not permitted, or the process is the init of its name space. */
static void die_by(int signal)
{
    const uint64_t only = 1ull << (signal - 1),
                   by_default[4] = {0}; /* struct sigaction as the kernel has it */
    if (signal != SIGKILL && sys_call6(SYS_rt_sigaction, signal, (long)by_default, 0, SIGSET_BYTES, 0, 0)) {
        return; /* a handler of the program's must not run here */
    }
    sys_call6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&only, 0, SIGSET_BYTES, 0, 0);
    sys_call3(SYS_tgkill, runtime.pid, sys_gettid(), signal);
}

/* Was there a note? */
static bool take_note(void)
{
    /* Acquire is not needed for the status; the swap, that none is lost. */
    uint32_t note = atomic_swap_acq_rel(&noted, 0);
    if (note) {
        last.after_leader = !leader_lives();
        last.status = (int)(note & ~NOTED);
    }
    return note;
}

/* As wait(2) is to tell it. Of a note that comes so late it is not known whether the leader ended before: that somebody was
 * killed must not be lost. */
static int end_of_process(void)
{
    int leaders = end_of_leader();
    bool leader_counts = (take_note() && leaders > 0 && WTERMSIG(leaders)) || !last.after_leader;
    return leader_counts && leaders >= 0 ? leaders : (last.status & 0xff) << 8;
}

static void end_process(void)
{
    int end = end_of_process();
    if (WTERMSIG(end)) {
        die_by(WTERMSIG(end));
        sys_call3(SYS_exit_group, DIED_BY + WTERMSIG(end), 0, 0);
    }
    sys_call3(SYS_exit_group, WEXITSTATUS(end), 0, 0);
}

void last_thread_leaves(int tid, int status)
{
    last.leader_leaves |= tid == (int)runtime.pid;
    last.after_leader = last.leader_leaves || !leader_lives();
    last.status = status;
    last.interval_ms = 1;
    last.due_ms = clock_ms() + 1;
}

void last_thread_note(int status)
{
    /* Release: the thread ends after it, so who sees that nobody is left sees this. */
    atomic_set_release(&noted, NOTED | ((uint32_t)status & 0xff));
}

uint64_t last_thread_due(void)
{
    return last.due_ms;
}

void last_thread_look(uint64_t now)
{
    take_note();
    if (!leader_lives() && is_nobody_left()) {
        figures_publish();
        end_process();
    }
    last.interval_ms *= 2;
    last.due_ms =
        last.interval_ms && last.interval_ms < LOOK_MS_MOST ? now + (uint64_t)last.interval_ms : UINT64_MAX;
}

void last_thread_fork_child(void)
{
    memset(&last, 0, sizeof last);
    last.due_ms = UINT64_MAX;
    noted = 0;
}
