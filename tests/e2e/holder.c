/* SPDX-License-Identifier: MIT */
/*
 * A plain program that holds memory, one process of a tree: fills MIB of it, makes the file READY, and then
 *
 *     idle    sleeps
 *     busy    touches its pages at random
 *     fork    forks a child that reads all pages three times, and waits for it
 *
 * until the file STOP exists (`fork`: until the child has ended). Then it looks at every byte; the exit status is
 * 1 if one was wrong. It knows nothing of uzswap.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_content.h"

static uint64_t *memory;
static uint64_t pages;

static int fail(const char *what)
{
    perror(what);
    return 2;
}

static uint64_t wrong_bytes(void)
{
    uint64_t wrong = 0;
    for (uint64_t page = 0; page < pages; page++) {
        wrong += content_wrong_bytes(memory + page * CONTENT_WORDS, page, 0, false);
    }
    return wrong;
}

static int report(void)
{
    uint64_t wrong = wrong_bytes();
    if (wrong) {
        fprintf(stderr, "holder: %llu wrong bytes\n", (unsigned long long)wrong);
    }
    return wrong != 0;
}

static void be_idle(const char *stop)
{
    while (access(stop, F_OK)) {
        usleep(20000);
    }
}

static void be_busy(const char *stop)
{
    uint64_t seed = (uint64_t)getpid();
    while (access(stop, F_OK)) {
        for (int i = 0; i < 256; i++) {
            uint64_t page = content_mix(seed++) % pages;
            *(volatile uint64_t *)(memory + page * CONTENT_WORDS) = content_stamp(page, 0);
        }
    }
}

static int be_forked(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(report() || report() || report());
    }
    int status = 1;
    return child < 0 || waitpid(child, &status, 0) != child || status;
}

int main(int argc, char *argv[])
{
    if (argc < 3 || (strcmp(argv[2], "fork") != 0 && argc != 5)) {
        fprintf(stderr, "holder MIB idle|busy READY STOP, or holder MIB fork\n");
        return 2;
    }
    pages = strtoull(argv[1], NULL, 10) << 8;
    memory = mmap(NULL, pages * CONTENT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return fail("mmap");
    }
    content_init();
    for (uint64_t page = 0; page < pages; page++) {
        content_make(memory + page * CONTENT_WORDS, page, 0, false);
    }
    if (argc < 5) {
        return be_forked() || report();
    }
    int ready = open(argv[3], O_WRONLY | O_CREAT, 0600);
    if (ready < 0) {
        return fail(argv[3]);
    }
    dprintf(ready, "%d\n", getpid());
    close(ready);
    strcmp(argv[2], "idle") == 0 ? be_idle(argv[4]) : be_busy(argv[4]);
    return report();
}
