/* SPDX-License-Identifier: MIT */
/* uzswap stat PID: every figure of one managed process, or, of a `uzswap run`, the sums of its session. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "cli/sessions.h"

static const char *reason_of(int error)
{
    switch (error) {
    case -ESRCH:
        return "there is no such process";
    case -EACCES:
    case -EPERM:
        return "it belongs to another user; only that user, or root, may look at it";
    case -ENOENT:
        return "it does not run under uzswap, or the uzswap run that started it has ended";
    case -EPROTO:
        return "it runs under another version of uzswap";
    default:
        return strerror(-error);
    }
}

/* The living process of that number, else one that had it. */
static const struct session_process *find_process(const struct session *session, uint32_t pid)
{
    const struct session_process *found = NULL;
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        const struct session_process *p = &session->processes[i];
        /* Relaxed: nothing but figures is reached through it. */
        if (atomic_read_relaxed(&p->pid) == pid && (!found || session_is_alive(session, i))) {
            found = p;
        }
    }
    return found;
}

static int print_session(const struct session *session, uint32_t pid, bool whole)
{
    struct session_process sum;
    const struct session_process *process = &sum;
    if (whole) {
        session_sum(session, &sum);
        printf("%-28s %u\n", "processes", atomic_read_relaxed(&session->processes_total));
    } else {
        process = find_process(session, pid);
    }
    if (!process) {
        return fail("process %u: runs under uzswap, but its memory is not managed", pid);
    }
    print_figures(process);
    return 0;
}

int command_stat(int argc, char *argv[])
{
    uint32_t pid = argc == 1 ? parse_pid(argv[0]) : 0;
    if (!pid) {
        return fail("write: uzswap stat PID");
    }
    struct session *session;
    bool owned;
    int error = sessions_find(pid, &session, &owned);
    if (error) {
        return fail("process %u: %s", pid, reason_of(error));
    }
    int status = print_session(session, pid, owned);
    session_close(session);
    return status;
}
