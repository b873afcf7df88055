/* SPDX-License-Identifier: MIT */
/*
 * uzswap run: check all that can be checked, start the program, wait, report. Nothing is started half: whatever stands
 * in the way of managing the program's memory is said before, with a way out.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/run_options.h"
#include "base/session.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/permission.h"
#include "cli/program_check.h"
#include "cli/report.h"
#include "cli/supervise.h"
#include "codec/codec.h"
#include "pool/pool.h"
#include "swap/device.h"

struct run {
    struct run_options options;
    struct program_check program;
    char **argv;    /* the program's */
    bool unmanaged; /* --force, and it cannot be managed */
    struct stats_file stats;
    struct libraries libraries;
    struct session *session;
    int session_fd; /* -1 = none */
};

static int check_compressor(const char *text)
{
    struct codec codec;
    switch (codec_parse(text, &codec)) {
    case 0:
        return 0;
    case -ERANGE:
        return fail("--compressor %s: there is no such level; known are %s", text, codec_list());
    case -EINVAL:
        return fail("--compressor %s: a level is a number; known are %s", text, codec_list());
    default:
        return fail("--compressor %s: no such compressor; known are %s", text, codec_list());
    }
}

static int check_pool(const char *name)
{
    return pool_by_name(name) ? 0 : fail("--pool %s: no such pool; known are %s", name, pool_list());
}

/* Opens the device and closes it again: a folder that is missing, full or read-only is found now. */
static int check_swap(const struct run_options *options)
{
    struct swap_open_error error = {{0}};
    if (swap_uri_check(options->swap, &error)) {
        return fail("--swap: %s", error.text);
    }
    if (options->writeback == RUN_WRITEBACK_OFF) {
        return 0;
    }
    struct account account = {.limit = 0};
    struct memory memory = {.account = &account};
    struct swap_device *device = NULL;
    if (swap_device_open(&device, options->swap, options->swap_size, &memory, &error)) {
        return fail("--swap: %s", error.text);
    }
    if (device) {
        device->ops->close(device);
    }
    return 0;
}

static int check_values(const struct run_options *options)
{
    if (check_pool(options->pool) || check_compressor(options->compressor) || check_swap(options)) {
        return EXIT_FAILED;
    }
    return 0;
}

/* Reads the options and finds the program's words. 0, or an exit status. */
static int read_command_line(struct run *run, int argc, char *argv[])
{
    struct run_options_error error;
    int used;
    if (run_options_from_environment(&run->options, environ, &error) ||
        run_options_from_arguments(&run->options, argc, argv, &used, &error)) {
        return fail("%s", error.text);
    }
    if (!run->options.help && used == argc) {
        return fail("no program given; write: uzswap run [OPTION...] -- PROGRAM [ARGUMENT...]");
    }
    run->argv = argv + used;
    return 0;
}

/* The program cannot be managed, as `reason` says: only --force starts it. */
static int insist(struct run *run, const char *reason)
{
    if (!run->options.force) {
        return fail("%s", reason);
    }
    if (!run->options.quiet && !run->unmanaged) {
        say("%s", reason);
        say("running it unmanaged, as --force demands");
    }
    run->unmanaged = true;
    return 0;
}

static int check_program(struct run *run)
{
    switch (program_check(run->argv[0], &run->program)) {
    case PROGRAM_CANNOT_RUN:
        say("%s", run->program.reason);
        return run->program.exit_status;
    case PROGRAM_UNMANAGEABLE:
        return insist(run, run->program.reason);
    case PROGRAM_MANAGEABLE:
        break;
    }
    char reason[1536];
    return permission_check(&permission_kernel, reason, sizeof reason) ? insist(run, reason) : 0;
}

static int prepare_session(struct run *run)
{
    if (libraries_find(&run->libraries)) {
        return EXIT_FAILED;
    }
    run->session_fd = session_create(&run->session);
    if (run->session_fd < 0) {
        return fail("the session's memory cannot be had: %s%s", strerror(-run->session_fd),
                    run->session_fd == -EFBIG ? "; raise the limit (ulimit -f)" : "");
    }
    return environment_set(&run->options, run->session_fd, &run->libraries);
}

static int prepare(struct run *run)
{
    int status = check_program(run);
    if (status) {
        return status;
    }
    if (check_values(&run->options)) {
        return EXIT_FAILED;
    }
    if (run->options.stats && stats_file_prepare(&run->stats, run->options.stats)) {
        return EXIT_FAILED;
    }
    return run->unmanaged ? 0 : prepare_session(run);
}

static void say_what_is_used(const struct run *run)
{
    const struct run_options *o = &run->options;
    say("program %s, budget %s, compressor %s, pool %s, swap %s of at most %s", run->program.path,
        sized(o->memory), o->compressor, o->pool, o->swap, sized(o->swap_size));
    if (!run->unmanaged) {
        say("runtime %s, allocator %s, session /proc/%d/fd/%d", run->libraries.runtime,
            run->libraries.allocator[0] ? run->libraries.allocator : "the program's own", (int)getpid(),
            run->session_fd);
    }
}

static void report(const struct run *run, const struct ending *ending)
{
    struct report report = {
        .options = &run->options, .status = ending->status, .wall_seconds = ending->wall_seconds};
    if (run->session) {
        session_sum(run->session, &report.sum);
        report.processes = atomic_read_relaxed(&run->session->processes_total); /* a count */
        report.unmanaged = atomic_read_relaxed(&run->session->unmanaged);       /* likewise */
    }
    if (run->options.stats) {
        stats_file_write(&run->stats, &report);
    }
    if (!run->options.quiet && !run->unmanaged) {
        report_summary(&report);
    }
}

static int say_exec_error(const char *path, int error)
{
    say("%s: %s", path, strerror(-error));
    return error == -ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

int command_run(int argc, char *argv[])
{
    struct run run = {.stats.fd = -1, .session_fd = -1};
    int status = read_command_line(&run, argc, argv);
    if (!status && run.options.help) {
        print_run_help(stdout);
        return 0;
    }
    if (!status) {
        status = prepare(&run);
    }
    if (status) {
        return status;
    }
    if (run.options.verbose) {
        say_what_is_used(&run);
    }
    const int keep[] = {run.session_fd, run.stats.fd};
    const struct launch launch = {
        .path = run.program.path, .argv = run.argv, .keep = keep, .keep_count = ARRAY_LENGTH(keep)};
    struct ending ending;
    int error = supervise(&launch, &ending);
    if (error) {
        return fail("%s: no process can be started: %s", run.program.path, strerror(-error));
    }
    if (ending.exec_error) {
        return say_exec_error(run.program.path, ending.exec_error);
    }
    report(&run, &ending);
    end_like(ending.status);
}
