/* SPDX-License-Identifier: MIT */
/* fork and its relatives. */
#include "tests/e2e/maps.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

#define FORK_BYTES (40 * MIB)

TEST(parent_and_child_keep_their_own_memory)
{
    char *at = get(FORK_BYTES);
    fill(at, FORK_BYTES, 200);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        size_t bad = wrong(at, FORK_BYTES, 200);
        fill(at, FORK_BYTES / 2, 300);
        bad += wrong(at, FORK_BYTES / 2, 300);
        bad += wrong(at + FORK_BYTES / 2, FORK_BYTES / 2, 200 + FORK_BYTES / 2 / PAGE);
        _exit(bad ? 1 : 0);
    }
    fill(at + FORK_BYTES / 2, FORK_BYTES / 2, 400);
    CHECK_EQUAL(wrong(at, FORK_BYTES / 2, 200), 0);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, FORK_BYTES / 2, 200), 0);
    CHECK_EQUAL(wrong(at + FORK_BYTES / 2, FORK_BYTES / 2, 400), 0);
    CHECK_EQUAL(munmap(at, FORK_BYTES), 0);
}

TEST(grandchildren_see_the_memory_of_their_time)
{
    char *at = get(16 * MIB);
    fill(at, 16 * MIB, 210);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        size_t bad = wrong(at, 16 * MIB, 210);
        fill(at, 8 * MIB, 211);
        pid_t grandchild = fork();
        if (!grandchild) {
            press();
            bad += wrong(at, 8 * MIB, 211) + wrong(at + 8 * MIB, 8 * MIB, 210 + 8 * MIB / PAGE);
            _exit(bad ? 1 : 0);
        }
        fill(at, 8 * MIB, 212);
        bad += wait_for(grandchild) != 0;
        bad += wrong(at, 8 * MIB, 212);
        _exit(bad ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 16 * MIB, 210), 0);
    CHECK_EQUAL(munmap(at, 16 * MIB), 0);
}

/* Each makes the next, down to the last; what a fork leaves behind must not add up. */
static int generation(char *at, uint64_t number)
{
    if (wrong(at, MIB, number)) {
        return 1;
    }
    if (number == 40) {
        return 0;
    }
    pid_t child = fork();
    if (child < 0) {
        return 1;
    }
    if (!child) {
        fill(at, MIB, number + 1);
        _exit(generation(at, number + 1));
    }
    int status = -1;
    return waitpid(child, &status, 0) != child || status != 0 || wrong(at, MIB, number);
}

TEST(forty_generations)
{
    char *at = get(MIB);
    fill(at, MIB, 0);
    CHECK_EQUAL(generation(at, 0), 0);
    CHECK_EQUAL(munmap(at, MIB), 0);
}

static void *keep_writing(void *argument)
{
    uint32_t *stop = argument;
    char *at = get(24 * MIB);
    for (uint64_t round = 0; !atomic_read_acquire(stop); round++) {
        fill(at, 24 * MIB, round);
        CHECK_EQUAL(wrong(at, 24 * MIB, round), 0);
    }
    CHECK_EQUAL(munmap(at, 24 * MIB), 0);
    return NULL;
}

TEST(fork_while_other_threads_work)
{
    pthread_t threads[2];
    uint32_t stop = 0;
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 220);
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, keep_writing, &stop) == 0);
    }
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (!child) {
            char *more = get(4 * MIB);
            fill(more, 4 * MIB, 221);
            _exit(wrong(at, 8 * MIB, 220) || wrong(more, 4 * MIB, 221) ? 1 : 0);
        }
        CHECK_EQUAL(wait_for(child), 0);
    }
    atomic_set_release(&stop, 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(wrong(at, 8 * MIB, 220), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

static void *fork_often(void *argument)
{
    char *at = argument;
    for (int i = 0; i < 6; i++) {
        pid_t child = fork();
        if (!child) {
            _exit(wrong(at, MIB, 230) ? 1 : 0);
        }
        CHECK(child > 0);
        CHECK_EQUAL(wait_for(child), 0);
    }
    return NULL;
}

TEST(several_threads_fork_at_once)
{
    pthread_t threads[4];
    char *at = get(MIB);
    fill(at, MIB, 230);
    for (int i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, fork_often, at) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(munmap(at, MIB), 0);
}

static int prepared, in_parent_handler, in_child_handler;
static char *handler_memory;

static void prepare_handler(void)
{
    prepared += handler_memory && !wrong(handler_memory, MIB, 240);
}

static void parent_handler(void)
{
    in_parent_handler += handler_memory && !wrong(handler_memory, MIB, 240);
}

static void child_handler(void)
{
    in_child_handler += handler_memory && !wrong(handler_memory, MIB, 240);
}

TEST(atfork_handlers_see_all_memory)
{
    handler_memory = get(MIB);
    fill(handler_memory, MIB, 240);
    REQUIRE(pthread_atfork(prepare_handler, parent_handler, child_handler) == 0);
    press();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        _exit(in_child_handler == 1 ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(prepared, 1);
    CHECK_EQUAL(in_parent_handler, 1);
    CHECK_EQUAL(munmap(handler_memory, MIB), 0);
    handler_memory = NULL;
}

TEST(fork_leaves_signals_as_they_were)
{
    sigset_t before, after;
    struct sigaction old = {0};
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    sigaction(SIGSYS, NULL, &old);
    bool same = sigismember(&after, SIGUSR1) == 1 && !sigismember(&after, SIGUSR2) &&
                !sigismember(&after, SIGSYS) && old.sa_handler == SIG_DFL;
    if (!child) {
        _exit(same ? 0 : 1);
    }
    CHECK(same);
    CHECK_EQUAL(wait_for(child), 0);
    sigemptyset(&before);
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

TEST(child_has_the_parents_descriptors_and_no_others)
{
    int pipe_ends[2];
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        int next = dup(0);
        _exit(write(pipe_ends[1], &next, sizeof next) == sizeof next ? 0 : 1);
    }
    int next = dup(0), in_child = -1;
    close(pipe_ends[1]);
    CHECK_EQUAL(read(pipe_ends[0], &in_child, sizeof in_child), sizeof in_child);
    CHECK_EQUAL(in_child, next);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(read(pipe_ends[0], &in_child, 1), 0); /* nobody else holds the other end */
    close(pipe_ends[0]);
    close(next);
}

TEST(closing_all_descriptors_does_no_harm)
{
    char *at = get(8 * MIB);
    fill(at, 8 * MIB, 250);
    press();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        press();
        syscall(SYS_close_range, 3, ~0u, 0);
        _exit(wrong(at, 8 * MIB, 250) ? 1 : 0);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(munmap(at, 8 * MIB), 0);
}

TEST(vfork_and_exec)
{
    static char *const words[] = {"true", NULL};
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 260);
    pid_t child = vfork();
    REQUIRE(child >= 0);
    if (!child) {
        execv("/bin/true", words);
        _exit(127);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 260), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(posix_spawn_system_and_popen)
{
    static char *words[] = {"true", NULL};
    pid_t child;
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 270);
    press();
    REQUIRE(posix_spawn(&child, "/bin/true", NULL, NULL, words, environ) == 0);
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(WEXITSTATUS(system("exit 7")), 7);
    FILE *output = popen("echo 12345", "r");
    REQUIRE(output);
    char line[16] = "";
    CHECK(fgets(line, sizeof line, output) == line);
    CHECK_EQUAL(atoi(line), 12345);
    CHECK_EQUAL(pclose(output), 0);
    CHECK_EQUAL(wrong(at, 4 * MIB, 270), 0);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

TEST(stdio_and_malloc_work_in_the_child)
{
    FILE *file = tmpfile();
    REQUIRE(file);
    char *text = malloc(MIB);
    memset(text, 'x', MIB);
    CHECK_EQUAL(fwrite(text, 1, 1000, file), 1000);
    press();
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        char *more = malloc(3 * MIB);
        memset(more, 'y', 3 * MIB);
        bool good =
            fprintf(file, "%s", "child") == 5 && !fflush(file) && text[MIB - 1] == 'x' && more[5] == 'y';
        free(more);
        free(text);
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(wait_for(child), 0);
    CHECK_EQUAL(text[12345], 'x');
    free(text);
    fclose(file);
}

TEST(daemon_lives_on_with_its_memory)
{
    int pipe_ends[2];
    char *at = get(4 * MIB);
    fill(at, 4 * MIB, 280);
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        char good = 'n';
        if (daemon(1, 1) == 0) {
            press();
            good = wrong(at, 4 * MIB, 280) ? 'n' : 'y';
        }
        _exit(write(pipe_ends[1], &good, 1) == 1 ? 0 : 1);
    }
    close(pipe_ends[1]);
    char good = 0;
    CHECK_EQUAL(read(pipe_ends[0], &good, 1), 1);
    CHECK_EQUAL(good, 'y');
    CHECK_EQUAL(wait_for(child), 0);
    close(pipe_ends[0]);
    CHECK_EQUAL(munmap(at, 4 * MIB), 0);
}

int main(void)
{
    begin();
    RUN(parent_and_child_keep_their_own_memory);
    RUN(grandchildren_see_the_memory_of_their_time);
    RUN(forty_generations);
    RUN(fork_while_other_threads_work);
    RUN(several_threads_fork_at_once);
    RUN(atfork_handlers_see_all_memory);
    RUN(fork_leaves_signals_as_they_were);
    RUN(child_has_the_parents_descriptors_and_no_others);
    RUN(closing_all_descriptors_does_no_harm);
    RUN(vfork_and_exec);
    RUN(posix_spawn_system_and_popen);
    RUN(stdio_and_malloc_work_in_the_child);
    RUN(daemon_lives_on_with_its_memory);
    return harness_finish();
}
