/* SPDX-License-Identifier: MIT */
#include "preload/credit.h"

#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/sys.h"
#include "preload/proc.h"

/* A scan is made after so long, or so many times as long as the last one took. */
#define SCAN_MS 20
#define SCAN_SHARE 20
#define SCAN_MS_MOST 1000

/* Less than this is the program's libraries', which are not ours to count. */
#define CREDIT_LEAST ((int64_t)256 << 10)

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_EXCLUSIVE (1ull << 56)

static struct {
    bool expected;     /* there is credit, or may be */
    uint64_t next_ms;  /* when to scan */
    int interval_ms;   /* between scans */
    long minor_faults; /* when last looked at */
    int64_t at_scan;   /* what the last scan found */
} credit;

/* Of this process; -1 = none. Written by the root thread; atomic. */
static int pagemap = -1;

/* The figure after `name` at the begin of a line, in bytes; -1 if there is none. */
static int64_t figure_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    int64_t kib = 0;
    if (!at) {
        return -1;
    }
    for (at += strlen(name); *at == ' '; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        kib = kib * 10 + (*at - '0');
    }
    return kib << 10;
}

/* What others pay for; 0 if the kernel does not say. */
static int64_t scan(void)
{
    char text[2048];
    int fd = proc_open("self/smaps_rollup");
    long n = fd < 0 ? 0 : sys_read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        sys_close(fd);
    }
    text[n > 0 ? n : 0] = 0;
    int64_t all = figure_of(text, "\nAnonymous:"), share = figure_of(text, "\nPss_Anon:");
    if (share < 0) {
        share = figure_of(text, "\nPss:"); /* before Linux 5.10: files, too, so at most too much */
    }
    return all > share && share >= 0 && all - share >= CREDIT_LEAST ? all - share : 0;
}

static long minor_faults(void)
{
    struct rusage usage;
    return sys_call3(SYS_getrusage, RUSAGE_SELF, (long)&usage, 0) ? 0 : usage.ru_minflt;
}

void credit_expect(const struct account *account, bool is_child, uint64_t now)
{
    if (pagemap < 0) {
        /* Relaxed: a number. */
        atomic_set_relaxed(&pagemap, proc_open("self/pagemap"));
    }
    credit.at_scan = account->credit;
    credit.expected = true;
    credit.interval_ms = SCAN_MS;
    credit.next_ms = now + (is_child ? 3 * SCAN_MS : SCAN_MS);
    credit.minor_faults = minor_faults();
}

void credit_doubt(void)
{
    credit.next_ms = 0;
    credit.interval_ms = SCAN_MS;
}

static int64_t sum_of_kinds(const struct account *account)
{
    int64_t sum = 0;
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        sum += (int64_t)account_bytes(account, (enum account_kind)kind);
    }
    return sum;
}

static void set(struct account *account, int64_t bytes)
{
    int64_t most = sum_of_kinds(account);
    account_set_credit(account, bytes < 0 ? 0 : bytes < most ? bytes : most);
}

void credit_fork_child(struct account *account)
{
    pagemap = -1;
    set(account, INT64_MAX);
}

static void rescan(struct account *account, uint64_t now)
{
    int64_t found = scan(), change = found - credit.at_scan;
    int took = (int)(clock_ms() - now) + 1;
    set(account, found);
    bool calm = (change < 0 ? -change : change) <= credit.at_scan / 16;
    int least = took * SCAN_SHARE > SCAN_MS ? took * SCAN_SHARE : SCAN_MS;
    int next = calm && credit.interval_ms * 2 > least ? credit.interval_ms * 2 : least;
    credit.interval_ms = next < SCAN_MS_MOST ? next : SCAN_MS_MOST > least ? SCAN_MS_MOST : least;
    credit.next_ms = now + (uint64_t)credit.interval_ms;
    credit.at_scan = found;
    credit.expected = found > 0;
}

int credit_update(struct account *account, uint64_t now)
{
    if (!credit.expected) {
        return -1;
    }
    long faults = minor_faults();
    int64_t copied = (int64_t)(faults - credit.minor_faults) * (int64_t)PAGE_BYTES;
    int64_t rest = account->credit - copied;
    credit.minor_faults = faults;
    if (now >= credit.next_ms || rest < credit.at_scan * 3 / 4) {
        rescan(account, now);
    } else {
        set(account, rest);
    }
    return credit.expected ? SCAN_MS : -1;
}

uint64_t credit_shared_pages(const void *at, unsigned n)
{
    uint64_t entries[64], shared = 0;
    size_t bytes = min_size(n, 64) * sizeof entries[0];
    off_t place = (off_t)((uintptr_t)at / PAGE_BYTES * sizeof entries[0]);
    int fd = atomic_read_relaxed(&pagemap);
    if (fd < 0 || sys_pread(fd, entries, bytes, place) != (long)bytes) {
        return 0;
    }
    for (unsigned i = 0; i < bytes / sizeof entries[0]; i++) {
        bool is_shared = (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE)) == PAGEMAP_PRESENT;
        shared |= (uint64_t)is_shared << i;
    }
    return shared;
}
