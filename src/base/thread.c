/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct start {
    void (*run)(void *);
    void *argument;
    pthread_t id;
    char name[16];
};

static void *run_thread(void *state)
{
    struct start *start = state;
    pthread_setname_np(pthread_self(), start->name);
    start->run(start->argument);
    return NULL;
}

static int start_pthread(struct thread *t, void (*run)(void *), void *argument, const char *name)
{
    struct start *start = calloc(1, sizeof *start);
    if (!start) {
        return -ENOMEM;
    }
    start->run = run;
    start->argument = argument;
    for (size_t i = 0; name[i] && i < sizeof start->name - 1; i++) {
        start->name[i] = name[i];
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&start->id, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        free(start);
        return -error;
    }
    t->state = start;
    return 0;
}

static void join_pthread(struct thread *t)
{
    struct start *start = t->state;
    if (start) {
        pthread_join(start->id, NULL);
        free(start);
        t->state = NULL;
    }
}

const struct thread_ops thread_ops_pthread = {.start = start_pthread, .join = join_pthread};
