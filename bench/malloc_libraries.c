/* SPDX-License-Identifier: MIT */
/* jemalloc (5) and mimalloc (2), found by name in what LD_PRELOAD brought in. */
#include <dlfcn.h>
#include <stdio.h>

#include "malloc_pool.h"

/* Sets the function pointer `to`; false if no library has the name. (ISO C has no cast from object to function.) */
static bool find(const char *name, void *to)
{
    return (*(void **)to = dlsym(RTLD_DEFAULT, name)) != NULL;
}

/* ---- jemalloc: an arena of our own, and a cache a thread */

#define MALLOCX_ARENA(arena) ((int)(((arena) + 1u) << 20)) /* as in jemalloc.h */
#define MALLOCX_TCACHE(cache) ((int)(((cache) + 2u) << 8))

static void *(*mallocx)(size_t bytes, int flags);
static void (*dallocx)(void *at, int flags);
static int (*mallctl)(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
static unsigned arena;
static _Thread_local int flags; /* 0: the thread has no cache yet */

static bool jemalloc_open(void)
{
    size_t bytes = sizeof arena;
    return find("mallocx", &mallocx) && find("dallocx", &dallocx) && find("mallctl", &mallctl) &&
           !mallctl("arenas.create", &arena, &bytes, NULL, 0);
}

static int thread_flags(void)
{
    unsigned cache;
    size_t bytes = sizeof cache;
    if (!flags && !mallctl("tcache.create", &cache, &bytes, NULL, 0)) {
        flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE(cache);
    }
    return flags;
}

static void *jemalloc_alloc(size_t bytes)
{
    return mallocx(bytes, thread_flags());
}

static void jemalloc_free(void *at)
{
    dallocx(at, thread_flags());
}

static size_t jemalloc_held(void)
{
    char name[64];
    uint64_t epoch = 1;
    size_t held = 0, bytes = sizeof held;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    snprintf(name, sizeof name, "stats.arenas.%u.resident", arena);
    return mallctl(name, &held, &bytes, NULL, 0) ? 0 : held;
}

/* The caller's cache too: other threads have ended when this is measured. */
static void jemalloc_purge(void)
{
    char name[64];
    unsigned cache = ((unsigned)thread_flags() >> 8 & 0xfff) - 2;
    mallctl("tcache.flush", NULL, NULL, &cache, sizeof cache);
    snprintf(name, sizeof name, "arena.%u.purge", arena);
    mallctl(name, NULL, NULL, NULL, 0);
}

static void jemalloc_close(void)
{
    jemalloc_purge();
}

const struct malloc_ops malloc_ops_jemalloc = {
    .open = jemalloc_open,
    .close = jemalloc_close,
    .alloc = jemalloc_alloc,
    .free = jemalloc_free,
    .held = jemalloc_held,
    .purge = jemalloc_purge,
};

/* ---- mimalloc: its heaps are the threads' own already */

static void *(*mi_malloc)(size_t bytes);
static void (*mi_free)(void *at);
static void (*mi_collect)(bool force);
static void (*mi_process_info)(size_t *elapsed_ms, size_t *user_ms, size_t *system_ms, size_t *resident,
                               size_t *peak_resident, size_t *commit, size_t *peak_commit, size_t *faults);

static bool mimalloc_open(void)
{
    return find("mi_malloc", &mi_malloc) && find("mi_free", &mi_free) && find("mi_collect", &mi_collect) &&
           find("mi_process_info", &mi_process_info);
}

static void *mimalloc_alloc(size_t bytes)
{
    return mi_malloc(bytes);
}

static void mimalloc_free(void *at)
{
    mi_free(at);
}

/* Of the whole process, whose other allocations are few. */
static size_t mimalloc_held(void)
{
    size_t commit = 0, other;
    mi_process_info(&other, &other, &other, &other, &other, &commit, &other, &other);
    return commit;
}

static void mimalloc_purge(void)
{
    mi_collect(true);
}

const struct malloc_ops malloc_ops_mimalloc = {
    .open = mimalloc_open,
    .close = mimalloc_purge,
    .alloc = mimalloc_alloc,
    .free = mimalloc_free,
    .held = mimalloc_held,
    .purge = mimalloc_purge,
};
