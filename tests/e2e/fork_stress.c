/* SPDX-License-Identifier: MIT */
/*
 * A family of up to MEMBERS processes, deep and wide, to be run under `uzswap run` with a small budget. Each member writes,
 * drops, moves and checks pages, forks, ends, and kills others. What each page must hold is known from a key a
 * page, which lies in the program's data segment: not managed, and copied by fork like the pages themselves.
 *
 *     fork_stress [--seconds N | --rounds N] [--seed N]
 *
 * Rounds are the whole family's. Every member that is not killed checks all of its pages before it ends; the first one
 * adopts the orphans and ends last: alone and with nothing mapped it says so, and waits for a line, or the end, of its
 * standard input, for who wants to look at what is left. In each member a second thread reads a part that nobody writes, so that faults
 * are under way at any moment. It must pass without uzswap, too.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "tests/harness.h"

#define MEMBERS 8
#define AREAS 5
#define AREA_PAGES 1536
#define QUIET_AREA (AREAS - 1) /* written once, by the first member */
#define RUN_MOST 96            /* pages an operation */
#define PAGE ((size_t)4096)
#define PAGE_WORDS (PAGE / 8)

/* Shared by all members. Atomic. */
struct family {
    uint32_t members[MEMBERS]; /* pids; 0 = free, 1 = being forked */
    uint32_t rounds, failures;
    uint32_t forks, forks_failed, kills, ends, checked_pages;
};

static struct {
    struct family *family;
    uint32_t rounds, seconds;
    time_t deadline;
    uint64_t random; /* this member's */
    unsigned self;   /* its place in members[] */
    pid_t first;
} my;

/* The model: 0 = the page reads as zero. */
static uint64_t keys[AREAS][AREA_PAGES];
static char *areas[AREAS];

static uint64_t draw(uint64_t below)
{
    return harness_random(&my.random) % below;
}

static uint64_t *page_of(unsigned area, unsigned page)
{
    return (uint64_t *)(areas[area] + page * PAGE);
}

/* Half of it compresses; every 16th page not at all. */
static uint64_t word_of(uint64_t key, size_t i)
{
    return i % 2 || key % 16 == 0 ? (key + i) * 0x9e3779b97f4a7c15ull : key;
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(text, sizeof text, "# process %d, member %u: ", (int)getpid(), my.self);
    length += vsnprintf(text + length, sizeof text - (size_t)length - 1, format, arguments);
    va_end(arguments);
    text[length++] = '\n';
    if (atomic_add_relaxed(&my.family->failures, 1) <= 20 && write(STDOUT_FILENO, text, (size_t)length) < 0) {
        abort();
    }
}

static void write_page(unsigned area, unsigned page)
{
    uint64_t key = harness_random(&my.random) | 1ull << 63;
    uint64_t *words = page_of(area, page);
    for (size_t i = 0; i < PAGE_WORDS; i++) {
        words[i] = word_of(key, i);
    }
    keys[area][page] = key;
}

static void check_page(unsigned area, unsigned page)
{
    uint64_t key = keys[area][page];
    const uint64_t *words = page_of(area, page);
    for (size_t i = 0; i < PAGE_WORDS; i++) {
        uint64_t expected = key ? word_of(key, i) : 0;
        if (words[i] != expected) {
            fail("area %u page %u word %zu at %p is %llx and not %llx", area, page, i,
                 (const void *)&words[i], (unsigned long long)words[i], (unsigned long long)expected);
            return;
        }
    }
}

static void check_all(void)
{
    for (unsigned area = 0; area < AREAS; area++) {
        for (unsigned page = 0; page < AREA_PAGES; page++) {
            check_page(area, page);
        }
    }
    atomic_add_relaxed(&my.family->checked_pages, AREAS * AREA_PAGES);
}

static char *map_area(void)
{
    void *at = mmap(NULL, AREA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        fail("mmap: %s", strerror(errno));
        _exit(1);
    }
    return at;
}

/* ---- the second thread */

static uint32_t reader_stops; /* atomic */

static void *read_quiet_area(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument | 1;
    while (!atomic_read_relaxed(&reader_stops)) {
        check_page(QUIET_AREA, (unsigned)(harness_random(&random) % AREA_PAGES));
        usleep(200);
    }
    return NULL;
}

static pthread_t start_reader(void)
{
    pthread_t thread = 0;
    atomic_set_relaxed(&reader_stops, 0);
    /* It may fail: near the end of a member's life others may hold all there is. */
    return pthread_create(&thread, NULL, read_quiet_area, (void *)(uintptr_t)my.random) ? 0 : thread;
}

static void stop_reader(pthread_t thread)
{
    atomic_set_relaxed(&reader_stops, 1);
    if (thread) {
        pthread_join(thread, NULL);
    }
}

/* ---- what a member does */

static void write_some(unsigned area, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        write_page(area, first + i);
    }
}

static void check_some(unsigned area, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        check_page(area, first + i);
    }
}

static void drop_some(unsigned area, unsigned first, unsigned count)
{
    if (madvise(page_of(area, first), count * PAGE, MADV_DONTNEED)) {
        fail("madvise: %s", strerror(errno));
    }
    memset(&keys[area][first], 0, count * sizeof keys[area][0]);
}

/* The area goes elsewhere: as a whole, or cut and grown again. */
static void move_area(unsigned area, unsigned first, unsigned count)
{
    char *target = map_area();
    char *at =
        mremap(areas[area], AREA_PAGES * PAGE, AREA_PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    if (at == MAP_FAILED) {
        munmap(target, AREA_PAGES * PAGE);
        if (errno != ENOMEM) {
            fail("mremap: %s", strerror(errno));
        }
        return;
    }
    areas[area] = at;
    if (count % 2 == 0 || first == 0) {
        return;
    }
    at = mremap(at, AREA_PAGES * PAGE, first * PAGE, 0);
    at = at == MAP_FAILED ? at : mremap(at, first * PAGE, AREA_PAGES * PAGE, MREMAP_MAYMOVE);
    if (at == MAP_FAILED) {
        fail("mremap to %u pages and back: %s", first, strerror(errno));
        _exit(1);
    }
    areas[area] = at;
    memset(&keys[area][first], 0, (AREA_PAGES - first) * sizeof keys[area][0]);
}

static void renew_area(unsigned area)
{
    munmap(areas[area], AREA_PAGES * PAGE);
    areas[area] = map_area();
    memset(keys[area], 0, sizeof keys[area]);
}

static void leave_family(pid_t pid)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        uint32_t was = (uint32_t)pid;
        atomic_cas_acq_rel(&my.family->members[i], &was, 0);
    }
}

static bool is_in_family(pid_t pid)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (atomic_read_acquire(&my.family->members[i]) == (uint32_t)pid) {
            return true;
        }
    }
    return false;
}

/* Its parent was killed amid the fork: without it there is no runtime to be had. */
static bool was_never_born(pid_t pid, int status)
{
    return WEXITSTATUS(status) == 125 && !is_in_family(pid);
}

/* The first member adopts all orphans, so a place is free for certain only when it is reaped. */
static void reap(int options)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, options)) > 0) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
            fail("process %d ended by signal %d", (int)pid, WTERMSIG(status));
        } else if (WIFEXITED(status) && WEXITSTATUS(status) && !was_never_born(pid, status)) {
            fail("process %d ended with %d", (int)pid, WEXITSTATUS(status));
        }
        leave_family(pid);
    }
}

static bool have_child(void)
{
    uint32_t none = 0;
    unsigned place = 0;
    while (place < MEMBERS && !atomic_cas_acq_rel(&my.family->members[place], &none, 1)) {
        place++;
        none = 0;
    }
    if (place == MEMBERS) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        my.self = place;
        my.random = my.random * 31 + (uint64_t)getpid();
        atomic_set_release(&my.family->members[place], (uint32_t)getpid());
        return true;
    }
    atomic_add_relaxed(pid < 0 ? &my.family->forks_failed : &my.family->forks, 1);
    if (pid < 0 && errno != EAGAIN) {
        fail("fork: %s", strerror(errno));
    }
    if (pid < 0) {
        atomic_set_release(&my.family->members[place], 0);
        return false;
    }
    /* The child may have been killed before it could say its name. */
    uint32_t unnamed = 1;
    atomic_cas_acq_rel(&my.family->members[place], &unnamed, (uint32_t)pid);
    return false;
}

static void kill_another(void)
{
    uint32_t pid = atomic_read_acquire(&my.family->members[draw(MEMBERS)]);
    if (pid > 1 && pid != (uint32_t)my.first && pid != (uint32_t)getpid()) {
        /* A number that was reused since is one of the family's, or of a stranger: so only of our group. */
        if (getpgid((pid_t)pid) == my.first && kill((pid_t)pid, SIGKILL) == 0) {
            atomic_add_relaxed(&my.family->kills, 1);
        }
    }
}

static bool is_over(void)
{
    return my.seconds ? time(NULL) >= my.deadline : atomic_read_relaxed(&my.family->rounds) >= my.rounds;
}

/* One round. False if the member's life ends. */
static bool step(void)
{
    unsigned area = (unsigned)draw(QUIET_AREA), count = 1 + (unsigned)draw(RUN_MOST);
    unsigned first = (unsigned)draw(AREA_PAGES - count);
    atomic_add_relaxed(&my.family->rounds, 1);
    uint64_t choice = draw(400);
    if (choice < 200) {
        write_some(area, first, count);
    } else if (choice < 340) {
        check_some(area, first, count);
    } else if (choice < 370) {
        drop_some(area, first, count);
    } else if (choice < 380) {
        move_area(area, first, count);
    } else if (choice < 384) {
        renew_area(area);
    } else if (choice < 391) {
        kill_another();
    } else if (choice < 400) {
        return getpid() == my.first;
    }
    return true;
}

/* A child goes on in its parent's stead here, so that depth costs no stack. */
static void live(void)
{
    pthread_t reader = start_reader();
    bool alive = true;
    while (alive && !is_over()) {
        if (draw(16) == 0 && have_child()) {
            reader = start_reader();
            if (draw(3) == 0) {
                check_all();
            }
        }
        reap(WNOHANG);
        alive = step();
    }
    stop_reader(reader);
    check_all();
}

/* All that the family had is over, but for the figures of this process. */
static void stand_empty(void)
{
    char line[8];
    for (unsigned area = 0; area < AREAS; area++) {
        munmap(areas[area], AREA_PAGES * PAGE);
    }
    printf("# empty: process %d\n", (int)getpid());
    if (!fgets(line, sizeof line, stdin)) {
        clearerr(stdin);
    }
}

static int lead_family(void)
{
    for (unsigned area = 0; area < AREAS; area++) {
        areas[area] = map_area();
        write_some(area, 0, AREA_PAGES);
    }
    live();
    if (getpid() != my.first) {
        atomic_add_relaxed(&my.family->ends, 1);
        _exit(0);
    }
    reap(0);
    check_all();
    stand_empty();
    struct family *f = my.family;
    printf(
        "# %u rounds, %u forks and %u refused, %u killed, %u ended by themselves, %u pages checked at ends\n",
        f->rounds, f->forks, f->forks_failed, f->kills, f->ends, f->checked_pages);
    printf("%s 1 - every page of every process is as it was written\n1..1\n", f->failures ? "not ok" : "ok");
    return f->failures ? 1 : 0;
}

int main(int argc, char *argv[])
{
    uint64_t seed = 1;
    my.rounds = 4000;
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long long n = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--seconds")) {
            my.seconds = (uint32_t)n;
        } else if (!strcmp(argv[i], "--rounds")) {
            my.rounds = (uint32_t)n;
        } else if (!strcmp(argv[i], "--seed")) {
            seed = n;
        } else {
            fprintf(stderr, "fork_stress: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    my.family = mmap(NULL, sizeof *my.family, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(my.family != MAP_FAILED);
    setvbuf(stdout, NULL, _IOLBF, 0);
    setpgid(0, 0);
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    my.first = getpid();
    my.family->members[0] = (uint32_t)my.first;
    my.deadline = time(NULL) + (time_t)my.seconds;
    my.random = seed * 0x9e3779b97f4a7c15ull | 1;
    return lead_family();
}
