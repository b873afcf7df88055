/* SPDX-License-Identifier: MIT */
/*
 * An ordinary program that forks in every way there is, with four times as much memory as its budget, and looks whether
 * each process finds its own bytes, whatever became of the others. It must pass as it is, too.
 *
 *   fork               the tests, as TAP
 *   fork device        writes a line to standard output whenever somebody may look at its figures, and goes on at a
 *                      line from standard input: memory filled; a child has filled its own; the child was killed
 *   fork refused       passes if a fork answers EAGAIN, and nothing else comes of it
 *   fork time MIB      what a fork takes with so much memory that is out, as the median of nine
 */
#include "tests/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define BYTES (64 * MIB)
#define PART (BYTES / 4)

extern char **environ;

/* ---- Pages of which half is noise */

static void fill_page(uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        page[i] = i % 2 ? harness_random(&state) : seed;
    }
}

static bool page_is(const uint64_t *page, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < PAGE / 8; i++) {
        if (page[i] != (i % 2 ? harness_random(&state) : seed)) {
            return false;
        }
    }
    return true;
}

static void fill(char *at, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes / PAGE; i++) {
        fill_page((uint64_t *)(at + i * PAGE), seed + i);
    }
}

/* How many pages are not as they were filled. */
static size_t wrong(const char *at, size_t bytes, uint64_t seed)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes / PAGE; i++) {
        count += !page_is((const uint64_t *)(at + i * PAGE), seed + i);
    }
    return count;
}

static bool is_zero(const char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 8) {
        if (*(const uint64_t *)(at + i)) {
            return false;
        }
    }
    return true;
}

static char *get(size_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

static int wait_for(pid_t child)
{
    int status = -1;
    return waitpid(child, &status, 0) == child ? status : -1;
}

/* Runs `run` in a child, which ends with how many pages it found wrong. */
static pid_t start_child(size_t (*run)(char *at), char *at)
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        _exit(run(at) ? 1 : 0);
    }
    return child;
}

/* ---- Pages in each state at the fork: the oldest quarter on the device, then in the pool, the youngest resident, and
 * behind them untouched ones */

enum { SEED = 1000, CHILDS = 5000000, PARENTS = 9000000 };

static char *make_mixed(void)
{
    char *at = get(BYTES + PART);
    fill(at, BYTES, SEED);
    return at;
}

static size_t wrong_mixed(const char *at)
{
    return wrong(at, BYTES, SEED) + !is_zero(at + BYTES, PART);
}

static size_t only_read(char *at)
{
    return wrong_mixed(at);
}

static size_t write_all(char *at)
{
    fill(at, BYTES + PART, CHILDS);
    return wrong(at, BYTES + PART, CHILDS);
}

/* Each second page. */
static size_t write_half(char *at)
{
    size_t bad = 0;
    for (size_t i = 0; i < (BYTES + PART) / PAGE; i += 2) {
        fill_page((uint64_t *)(at + i * PAGE), CHILDS + i);
    }
    for (size_t i = 0; i < BYTES / PAGE; i++) {
        bad += !page_is((const uint64_t *)(at + i * PAGE), (i % 2 ? SEED : CHILDS) + i);
    }
    return bad;
}

TEST(a_child_reads_all)
{
    char *at = make_mixed();
    CHECK_EQUAL(wait_for(start_child(only_read, at)), 0);
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

TEST(a_child_writes_all_and_the_parent_does_not_see_it)
{
    char *at = make_mixed();
    CHECK_EQUAL(wait_for(start_child(write_all, at)), 0);
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

TEST(parent_and_child_write_at_once)
{
    char *at = make_mixed();
    pid_t child = start_child(write_half, at);
    fill(at, BYTES, PARENTS);
    CHECK_EQUAL(wrong(at, BYTES, PARENTS), 0);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, BYTES, PARENTS), 0);
    munmap(at, BYTES + PART);
}

/* A child goes on without its parent by `leave`, which comes back in the process that lives on; that one looks at the memory
 * by `look`. The child's status. */
static int outlive(void (*leave)(char *at), size_t (*look)(char *at), char *at)
{
    int result[2];
    char byte = 0;
    REQUIRE(!pipe(result));
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        close(result[0]);
        leave(at);
        byte = look(at) ? 'x' : 'o';
        _exit(write(result[1], &byte, 1) != 1);
    }
    close(result[1]);
    int status = wait_for(child);
    CHECK_EQUAL(read(result[0], &byte, 1), 1);
    CHECK_EQUAL(byte, 'o');
    close(result[0]);
    return status;
}

static void fork_and_die(char *at)
{
    pid_t self = getpid();
    if (fork()) {
        fill(at, PART, CHILDS);
        kill(self, SIGKILL);
    }
    while (getppid() == self) {
        sched_yield();
    }
}

static size_t read_and_write(char *at)
{
    return wrong_mixed(at) + write_half(at);
}

TEST(a_child_lives_on_without_its_parent)
{
    char *at = make_mixed();
    CHECK(WIFSIGNALED(outlive(fork_and_die, read_and_write, at)));
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

static void become_daemon(char *at)
{
    (void)at;
    if (daemon(0, 0)) {
        _exit(1);
    }
}

TEST(a_daemon_keeps_its_memory)
{
    char *at = make_mixed();
    CHECK_EQUAL(outlive(become_daemon, only_read, at), 0);
    munmap(at, BYTES + PART);
}

/* ---- Deep and wide */

static size_t descend(char *at, uint64_t level)
{
    enum { DEPTH = 6 };
    size_t bad = wrong(at, PART, SEED + level);
    if (level < DEPTH) {
        pid_t child = fork();
        if (!child) {
            fill(at, PART, SEED + level + 1);
            _exit(descend(at, level + 1) ? 1 : 0);
        }
        bad += child < 0 || wait_for(child);
    }
    return bad + wrong(at, PART, SEED + level) + wrong(at + PART, 3 * PART, SEED);
}

TEST(six_generations)
{
    char *at = get(BYTES);
    fill(at, PART, SEED);
    fill(at + PART, 3 * PART, SEED);
    CHECK_EQUAL(descend(at, 0), 0);
    munmap(at, BYTES);
}

static size_t write_a_part(char *at)
{
    char *mine = at + (size_t)getpid() % 3 * PART;
    fill(mine, PART, CHILDS);
    return wrong(mine, PART, CHILDS) + wrong(at + 3 * PART, PART, SEED + 3 * PART / PAGE);
}

TEST(sixteen_children_at_once)
{
    pid_t children[16];
    char *at = make_mixed();
    for (int i = 0; i < 16; i++) {
        children[i] = start_child(write_a_part, at);
    }
    fill(at, PART, PARENTS);
    for (int i = 0; i < 16; i++) {
        CHECK_EQUAL(wait_for(children[i]), 0);
    }
    CHECK_EQUAL(wrong(at, PART, PARENTS) + wrong(at + PART, 3 * PART, SEED + PART / PAGE), 0);
    munmap(at, BYTES + PART);
}

/* ---- A thread forks while others fault */

struct toucher {
    char *at;
    size_t bad;
    uint32_t *stop;
};

static void *touch(void *argument)
{
    struct toucher *t = argument;
    for (uint64_t round = 1; !atomic_read_acquire(t->stop); round++) {
        fill(t->at, PART, round);
        t->bad += wrong(t->at, PART, round);
    }
    return NULL;
}

static void *fork_often(void *argument)
{
    char *at = argument;
    size_t bad = 0;
    for (int i = 0; i < 6; i++) {
        pid_t child = fork();
        if (!child) {
            _exit(wrong(at, PART, SEED) ? 1 : 0);
        }
        bad += child < 0 || wait_for(child);
    }
    return (void *)bad;
}

TEST(a_thread_forks_while_others_fault)
{
    pthread_t touchers[2], forker;
    uint32_t stop = 0;
    void *bad;
    char *at = get(3 * PART);
    struct toucher t[2] = {{at + PART, 0, &stop}, {at + 2 * PART, 0, &stop}};
    fill(at, PART, SEED);
    for (int i = 0; i < 2; i++) {
        REQUIRE(!pthread_create(&touchers[i], NULL, touch, &t[i]));
    }
    REQUIRE(!pthread_create(&forker, NULL, fork_often, at));
    pthread_join(forker, &bad);
    atomic_set_release(&stop, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(touchers[i], NULL);
        CHECK_EQUAL(t[i].bad, 0);
    }
    CHECK_EQUAL((uintptr_t)bad, 0);
    munmap(at, 3 * PART);
}

/* As a program does that is to run another: also of a number that a fork under way uses. */
static void *close_all(void *argument)
{
    while (!atomic_read_acquire((uint32_t *)argument)) {
        close_range(3, ~0u, 0);
    }
    return NULL;
}

TEST(a_thread_forks_while_another_closes_all_descriptors)
{
    enum { FORKS = 30 };
    pthread_t closer;
    uint32_t stop = 0;
    int good = 0;
    char *at = make_mixed();
    REQUIRE(!pthread_create(&closer, NULL, close_all, &stop));
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork(); /* may be refused: its own descriptors are among those */
        if (!child) {
            _exit(wrong(at, PART, SEED) ? 1 : 7);
        }
        if (child > 0) {
            CHECK_EQUAL(WEXITSTATUS(wait_for(child)), 7);
            good++;
        }
        fill(at + PART, PART, SEED + PART / PAGE); /* drops what is stored of it, and stores it again */
    }
    atomic_set_release(&stop, 1);
    pthread_join(closer, NULL);
    printf("# %d of %d forks had their descriptors\n", good, FORKS);
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

/* ---- Children that share the memory, or exec */

static int run_in_clone(void *argument)
{
    *(volatile char *)argument = 7;
    return 3;
}

TEST(children_that_share_the_memory)
{
    char *at = make_mixed(), *stack = get(16 * PAGE);
    volatile char *last = at + BYTES - 1;
    pid_t child = clone(run_in_clone, stack + 16 * PAGE, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)last);
    REQUIRE(child > 0);
    CHECK_EQUAL(WEXITSTATUS(wait_for(child)), 3);
    CHECK_EQUAL(*last, 7);
    CHECK_EQUAL(wrong(at, BYTES - PAGE, SEED), 0);
    munmap(at, BYTES + PART);
    munmap(stack, 16 * PAGE);
}

TEST(children_that_exec)
{
    char *at = make_mixed(), text[8] = "";
    char *arguments[] = {"sh", "-c", "exit 5", NULL};
    pid_t child = vfork();
    if (!child) {
        execv("/bin/sh", arguments);
        _exit(1);
    }
    CHECK_EQUAL(WEXITSTATUS(wait_for(child)), 5);
    child = fork();
    if (!child) {
        execv("/bin/sh", arguments);
        _exit(1);
    }
    CHECK_EQUAL(WEXITSTATUS(wait_for(child)), 5);
    REQUIRE(!posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ));
    CHECK_EQUAL(WEXITSTATUS(wait_for(child)), 5);
    CHECK_EQUAL(WEXITSTATUS(system("exit 6")), 6);
    FILE *pipe = popen("echo text", "r");
    REQUIRE(pipe && fgets(text, sizeof text, pipe));
    CHECK_EQUAL(pclose(pipe), 0);
    CHECK(strcmp(text, "text\n") == 0);
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

/* ---- Killed at any moment */

static size_t write_for_ever(char *at)
{
    for (uint64_t seed = CHILDS;; seed++) {
        fill(at, BYTES, seed);
        if (wrong(at, BYTES, seed)) {
            return 1;
        }
    }
}

TEST(children_are_killed_at_any_moment)
{
    enum { CHILDREN = 3, KILLS = 15 };
    pid_t children[CHILDREN] = {0};
    uint64_t random = 17;
    char *at = make_mixed();
    for (int i = 0; i < KILLS + CHILDREN; i++) {
        pid_t *child = &children[i % CHILDREN];
        if (*child) {
            usleep((useconds_t)(harness_random(&random) % 200000));
            kill(*child, SIGKILL);
            CHECK(WIFSIGNALED(wait_for(*child)));
        }
        *child = i < KILLS ? start_child(write_for_ever, at) : 0;
        CHECK_EQUAL(wrong(at, PART, SEED), 0);
    }
    CHECK_EQUAL(wrong_mixed(at), 0);
    munmap(at, BYTES + PART);
}

static int run_tests(void)
{
    RUN(a_child_reads_all);
    RUN(a_child_writes_all_and_the_parent_does_not_see_it);
    RUN(parent_and_child_write_at_once);
    RUN(a_child_lives_on_without_its_parent);
    RUN(a_daemon_keeps_its_memory);
    RUN(six_generations);
    RUN(sixteen_children_at_once);
    RUN(a_thread_forks_while_others_fault);
    RUN(a_thread_forks_while_another_closes_all_descriptors);
    RUN(children_that_share_the_memory);
    RUN(children_that_exec);
    RUN(children_are_killed_at_any_moment);
    return harness_finish();
}

/* ---- fork device */

/* Says that all is still, and waits until somebody has looked. */
static void show(const char *what)
{
    char line[8];
    printf("%d %s\n", (int)getpid(), what);
    fflush(stdout);
    REQUIRE(fgets(line, sizeof line, stdin));
}

static int show_device(void)
{
    char *at = make_mixed();
    int done[2];
    char byte;
    REQUIRE(!pipe(done));
    show("filled");
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        fill(at, BYTES, CHILDS);
        REQUIRE(write(done[1], "x", 1) == 1);
        pause();
    }
    REQUIRE(read(done[0], &byte, 1) == 1);
    show("forked");
    kill(child, SIGKILL);
    show("killed"); /* a zombie */
    wait_for(child);
    return wrong_mixed(at) != 0;
}

/* ---- fork refused */

static int show_refusal(void)
{
    char *at = make_mixed();
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (!child) {
            _exit(0);
        }
        CHECK_EQUAL(child, -1);
        CHECK_EQUAL(errno, EAGAIN);
    }
    CHECK_EQUAL(waitpid(-1, NULL, 0), -1);
    CHECK_EQUAL(errno, ECHILD);
    CHECK_EQUAL(wrong_mixed(at), 0);
    return harness_failures != 0;
}

/* ---- fork time */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int show_time(size_t bytes)
{
    enum { FORKS = 9 };
    double ms[FORKS];
    uint64_t state = 1;
    char *at = get(bytes);
    for (size_t i = 0; i < bytes / 8; i++) {
        ((uint64_t *)at)[i] = harness_random(&state);
    }
    for (int i = 0; i < FORKS; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (!child) {
            _exit(0);
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        ms[i] = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        REQUIRE(wait_for(child) == 0);
    }
    qsort(ms, FORKS, sizeof ms[0], compare);
    printf("fork: %.2f ms (from %.2f to %.2f)\n", ms[FORKS / 2], ms[0], ms[FORKS - 1]);
    return 0;
}

int main(int argc, char *argv[])
{
    if (argc == 2 && strcmp(argv[1], "device") == 0) {
        return show_device();
    }
    if (argc == 2 && strcmp(argv[1], "refused") == 0) {
        return show_refusal();
    }
    if (argc == 3 && strcmp(argv[1], "time") == 0) {
        return show_time((size_t)atol(argv[2]) * MIB);
    }
    return run_tests();
}
