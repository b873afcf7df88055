/* SPDX-License-Identifier: MIT */
#include "cli/report.h"

#include <stdio.h>

#include "cli/cli.h"

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static const char *plural(unsigned long long n)
{
    return n == 1 ? "" : "s";
}

static void say_memory(const struct report *r)
{
    unsigned long long peak = (unsigned long long)r->sum.account.peak;
    say("memory  %s allowed, %s at peak (%.0f %%)%s%s%s", sized(r->options->memory), sized(peak),
        100 * ratio((double)peak, (double)r->options->memory), r->processes > 1 ? ", of " : "",
        r->processes > 1 ? grouped(r->processes) : "", r->processes > 1 ? " processes together" : "");
}

static void say_pool(const struct report *r)
{
    const struct session_process *sum = &r->sum;
    unsigned long long whole = (sum->stored_pages - sum->same_filled_pages) * PAGE_BYTES;
    if (!sum->stored_pages) {
        say("pool    empty at the end");
        return;
    }
    say("pool    %s page%s at the end, %s same-filled; the others shrank %.1f : 1 (%s) and took %s (%s)",
        grouped(sum->stored_pages), plural(sum->stored_pages), grouped(sum->same_filled_pages),
        ratio((double)whole, (double)sum->pool_payload), r->options->compressor,
        sized(account_bytes(&sum->account, ACCOUNT_POOL)), r->options->pool);
}

static void say_shared(const struct report *r)
{
    const struct session_process *sum = &r->sum;
    if (r->options->deduplicate && !sum->deduplicated_pages) {
        say("shared  no page at the end");
    } else if (r->options->deduplicate) {
        say("shared  %s page%s at the end shared %s object%s, which saved %s",
            grouped(sum->deduplicated_pages), plural(sum->deduplicated_pages), grouped(sum->shared_objects),
            plural(sum->shared_objects), sized(sum->deduplicated_bytes));
    }
}

static void say_device(const struct report *r)
{
    const struct session_process *sum = &r->sum;
    if (sum->written_back_pages) {
        say("disk    %s page%s written back as %s; %s there at the end", grouped(sum->written_back_pages),
            plural(sum->written_back_pages), sized(sum->written_back_bytes), grouped(sum->device_pages));
    }
}

static void say_faults(const struct report *r)
{
    const struct session_process *sum = &r->sum;
    say("faults  %s: %s first touches, %s second chances, %s from the pool, %s from disk",
        grouped(sum->faults), grouped(sum->zero_fills), grouped(sum->refaults), grouped(sum->pool_loads),
        grouped(sum->device_loads));
}

/* What went wrong, if anything did. */
static void say_troubles(const struct report *r)
{
    const struct session_process *sum = &r->sum;
    if (sum->poisoned_pages) {
        say("LOST    %s page%s could not be brought back: the program got SIGBUS where it touched them",
            grouped(sum->poisoned_pages), plural(sum->poisoned_pages));
    }
    if (r->unmanaged) {
        say("OUTSIDE %s program%s further down ran unmanaged: another user, or narrower limits",
            grouped(r->unmanaged), plural(r->unmanaged));
    }
    if (sum->over_budget_bytes) {
        say("OVER    the budget was exceeded by up to %s: more swap, or a larger --memory, would have held "
            "it",
            sized(sum->over_budget_bytes));
    }
}

void report_summary(const struct report *r)
{
    if (!r->sum.managed) {
        say("nothing to report: the program's memory was not managed (did it end at once?)");
        return;
    }
    say_memory(r);
    say_pool(r);
    say_shared(r);
    say_device(r);
    say_faults(r);
    say_troubles(r);
}

void print_figures(const struct session_process *process)
{
    static const char *const kinds[ACCOUNT_KINDS] = {
        [ACCOUNT_RESIDENT] = "resident_bytes",
        [ACCOUNT_SWAP_CACHE] = "swap_cache_bytes",
        [ACCOUNT_POOL] = "pool_total_size",
        [ACCOUNT_TABLES] = "tables_bytes",
    };
    const struct account *account = &process->account;
    printf("%-28s %lld\n", "memory_limit", (long long)atomic_read_relaxed(&account->limit));
    printf("%-28s %zu\n", "total_bytes", account_total(account));
    printf("%-28s %lld\n", "peak_bytes", (long long)atomic_read_relaxed(&account->peak));
    printf("%-28s %lld\n", "shared_bytes", (long long)atomic_read_relaxed(&account->credit));
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        printf("%-28s %zu\n", kinds[kind], account_bytes(account, (enum account_kind)kind));
    }
#define X(name) printf("%-28s %llu\n", #name, (unsigned long long)atomic_read_relaxed(&process->name));
    SESSION_COUNTERS(X)
#undef X
}
