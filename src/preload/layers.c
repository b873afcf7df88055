/* SPDX-License-Identifier: MIT */
/*
 * The layers, in the order in which they are built, each on those before it:
 *
 *   descriptors, device, swap cache, zswap, region, arena
 *
 * All of it happens in the root thread, whose descriptor table is private. What fails is undone in the opposite
 * order, as with --force the program then goes on without us.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/size.h"
#include "base/sys.h"
#include "preload/descriptors.h"
#include "preload/filters.h"
#include "preload/proc.h"
#include "preload/runtime.h"
#include "preload/tree.h"

#define SWAP_TYPE 0

/* Address space costs little; what we ask for is more than a process ever maps. */
#define ARENA_BYTES_MOST ((size_t)8 << 40)
#define ARENA_BYTES_LEAST_BUDGETS 4

#define USERFAULTFD_DEVICE "/dev/userfaultfd"

static void note_page_lost(void *context, void *address, int error)
{
    (void)context, (void)address, (void)error;
    /* Relaxed: a figure that the root thread looks at. */
    atomic_add_relaxed(&runtime.pages_lost, 1);
}

static const char *error_text(int error)
{
    const char *text = strerrordesc_np(-error); /* no locale */
    return text ? text : "unknown error";
}

static int open_cache(const struct run_options *o, struct message *message)
{
    static const enum zswap_writeback modes[] = {
        [RUN_WRITEBACK_COMPRESSED] = ZSWAP_WRITEBACK_COMPRESSED,
        [RUN_WRITEBACK_PAGE] = ZSWAP_WRITEBACK_PAGE,
        [RUN_WRITEBACK_OFF] = ZSWAP_WRITEBACK_OFF,
    };
    struct cache_settings settings = {
        .memory = &runtime.memory,
        .pool = o->pool,
        .compressor = o->compressor,
        .swap = o->swap,
        .swap_size = o->swap_size,
        .writeback = modes[o->writeback],
        .deduplicate = o->deduplicate,
        .member = &runtime.self,
    };
    struct cache_error why;
    int error = cache_open(&runtime.cache, &settings, &why);
    if (error) {
        message_set(message, why.text, NULL);
    }
    return error;
}

static void explain_region(int error, struct message *message)
{
    if (error == -EPERM || error == -EACCES) {
        message_set(message,
                    "userfaultfd is not permitted here. One of these opens it:\n"
                    "uzswap:   - " USERFAULTFD_DEVICE
                    " readable and writable for this user (docker run --device " USERFAULTFD_DEVICE ")\n"
                    "uzswap:   - the capability CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE)\n"
                    "uzswap:   - on the host: sysctl vm.unprivileged_userfaultfd=1\n"
                    "uzswap: or let the program run unmanaged: --force (UZSWAP_FORCE=1)",
                    NULL);
    } else if (error == -ENOSYS) {
        message_set(message,
                    "this kernel has no userfaultfd, without which no memory can be managed; use one with "
                    "CONFIG_USERFAULTFD, or let the program run unmanaged: --force (UZSWAP_FORCE=1)",
                    NULL);
    } else if (error == -EMFILE || error == -ENFILE) {
        message_set(message, "no descriptors for the managed memory: ", error_text(error),
                    "; raise the limit (ulimit -n)", NULL);
    } else {
        message_set(message, "no address space for the managed memory: ", error_text(error),
                    "; is it limited (ulimit -v)?", NULL);
    }
}

/* As large as this process may: a limit on address space (ulimit -v) makes it smaller. */
static int build_region(const struct run_options *o, struct message *message)
{
    struct region_options r = {
        .bytes = ARENA_BYTES_MOST,
        .zswap = runtime.cache.zswap,
        .swap_cache = runtime.cache.swap_cache,
        .type = SWAP_TYPE,
        .memory = &runtime.memory,
        .threads = &thread_ops_runtime,
        .fault_mode = REGION_FAULT_HANDLER,
        .start_inaccessible = true,
        .budget = &tree_budget,
        .page_lost = note_page_lost,
    };
    int error = region_create(&runtime.arena.region, &r);
    while (error == -ENOMEM && r.bytes / 2 / ARENA_BYTES_LEAST_BUDGETS >= o->memory) {
        r.bytes /= 2;
        error = region_create(&runtime.arena.region, &r);
    }
    if (error) {
        explain_region(error, message);
    }
    return error;
}

int layers_build(const struct run_options *options, struct message *message)
{
    const char *refused = filters_allow_us();
    if (refused) {
        message_set(message, "a seccomp filter refuses ", refused, ", which managing memory needs", NULL);
        return -EPERM;
    }
    int error = descriptors_begin();
    if (error) {
        message_set(message, "no descriptors for the runtime: ", error_text(error), NULL);
        return error;
    }
    runtime.userfaultfd_device =
        (int)sys_call6(SYS_openat, AT_FDCWD, (long)USERFAULTFD_DEVICE, O_RDWR | O_CLOEXEC, 0, 0, 0);
    proc_keep();
    size_t before = proc_address_space();
    error = open_cache(options, message);
    if (error) {
        return error;
    }
    runtime.inherited_descriptors = descriptors_open();
    error = build_region(options, message);
    if (error) {
        goto no_region;
    }
    error = arena_init(&runtime.arena, &runtime.memory);
    if (error) {
        message_set(message, "no memory for the address space's table: ", error_text(error), NULL);
        goto no_arena;
    }
    runtime.arena_base = runtime.arena.base;
    runtime.arena_bytes = runtime.arena.bytes;
    size_t after = proc_address_space();
    if (after > before + runtime.arena.reserved) {
        runtime.arena.reserved = after - before;
    }
    return 0;

no_arena:
    region_destroy(runtime.arena.region);
no_region:
    cache_close(&runtime.cache);
    return error;
}

/* The device first: the region's new threads may load from it at once. The region's own descriptors were not handed on:
 * it opens new ones, and may not close numbers that it had. */
int layers_fork_child(void)
{
    if (filters_allow_us()) {
        return -EPERM;
    }
    int error = zswap_fork_child(runtime.cache.zswap);
    runtime.inherited_descriptors = descriptors_open();
    error = error ? error : region_fork_child(runtime.arena.region, runtime.userfaultfd_device);
    return error ? error : arena_fork_child(&runtime.arena);
}
