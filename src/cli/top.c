/* SPDX-License-Identifier: MIT */
/* uzswap top: a table of all managed processes, once a second until it is interrupted; once where nobody watches. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/sessions.h"

static void print_process(const struct session_process *p)
{
    char name[32];
    const struct account *account = &p->account;
    uint64_t objects = atomic_read_relaxed(&p->stored_pages) - atomic_read_relaxed(&p->same_filled_pages);
    uint64_t payload = atomic_read_relaxed(&p->pool_payload);
    printf("%8u %-15s %9s %9s %9s %9s %9s %6.1f %9s %12s %12s\n", p->pid, process_name(p->pid, name),
           sized((unsigned long long)atomic_read_relaxed(&account->limit)), sized(account_total(account)),
           sized((unsigned long long)atomic_read_relaxed(&account->peak)),
           sized(account_bytes(account, ACCOUNT_RESIDENT)), sized(account_bytes(account, ACCOUNT_POOL)),
           payload ? (double)objects * (double)PAGE_BYTES / (double)payload : 0.0,
           sized(atomic_read_relaxed(&p->device_bytes)), grouped(atomic_read_relaxed(&p->faults)),
           grouped(atomic_read_relaxed(&p->written_back_pages)));
}

static void print_session(uint32_t owner, const struct session *session, void *context)
{
    unsigned *count = context;
    (void)owner;
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        if (session_is_alive(session, i)) {
            print_process(&session->processes[i]);
            ++*count;
        }
    }
}

static void print_table(void)
{
    unsigned count = 0;
    printf("%8s %-15s %9s %9s %9s %9s %9s %6s %9s %12s %12s\n", "PID", "PROGRAM", "BUDGET", "USED", "PEAK",
           "RESIDENT", "POOL", "RATIO", "DISK", "FAULTS", "WRITTENBACK");
    sessions_each(print_session, &count);
    if (!count) {
        printf("no managed process that this user may look at\n");
    }
}

int command_top(int argc, char *argv[])
{
    bool once = argc == 1 && strcmp(argv[0], "--once") == 0;
    if (argc && !once) {
        return fail("write: uzswap top [--once]");
    }
    if (once || !isatty(STDOUT_FILENO)) {
        print_table();
        return 0;
    }
    for (;;) {
        printf("\033[H\033[2J");
        print_table();
        if (fflush(stdout)) {
            return EXIT_FAILED;
        }
        sleep(1);
    }
}
