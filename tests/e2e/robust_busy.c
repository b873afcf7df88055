/* SPDX-License-Identifier: MIT */
/* robust busy: work of all kinds, between two signals. */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/e2e/traced.h"

void be_busy(void)
{
    begin();
    signal(TRACED_BEGIN, SIG_IGN); /* without the tracer */
    signal(TRACED_END, SIG_IGN);
    raise(TRACED_BEGIN);
    for (size_t page = 0; page < PAGES; page += 4) {
        MUST(*(uint64_t *)(memory + page * PAGE) == word_of(page, 0));
    }
    char *more = map(64 * PAGE);
    for (int i = 0; i < 10; i++) {
        more[i * PAGE] = (char)i;
        MUST(mprotect(more, 64 * PAGE, i % 2 ? RW : PROT_READ) == 0);
        MUST(mlock(more, PAGE) == 0 || errno == EPERM || errno == ENOMEM);
        MUST(munlock(more, PAGE) == 0);
        more = mremap(more, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map(64 * PAGE));
        MUST(more != MAP_FAILED);
        MUST(mprotect(more, 64 * PAGE, RW) == 0);
        MUST(madvise(more, 64 * PAGE, i % 3 ? MADV_PAGEOUT : MADV_WILLNEED) == 0);
    }
    MUST(sbrk((intptr_t)(64 * PAGE)) != (void *)-1);
    MUST(munmap(more, 64 * PAGE) == 0);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, exit_by_number, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(300 * 1000);
        _exit(0);
    }
    must_end_well(pid);
    usleep(300 * 1000);
    raise(TRACED_END);
}
