/* SPDX-License-Identifier: MIT */
/* A library that robust loads so that it is bound to libc before anything that is preloaded (RTLD_DEEPBIND). */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#pragma GCC visibility push(default)
pid_t bound_fork(void);
char *bound_text(void);
void bound_free(char *text);
void *bound_map(size_t bytes);
#pragma GCC visibility pop

pid_t bound_fork(void)
{
    return fork();
}

char *bound_text(void)
{
    return strdup("text");
}

void bound_free(char *text)
{
    free(text);
}

void *bound_map(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
