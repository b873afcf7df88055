/* SPDX-License-Identifier: MIT */
/*
 * What `uzswap run` and the runtimes inside the programs it starts share: one page-aligned file in memory
 * (memfd), mapped by all, so that figures survive however a process ends.
 *
 * The path to it is in the environment, UZSWAP_SESSION=/proc/PID/fd/N. Each process becomes a member (base/member.h),
 * and the slot of its member's number is its own; all fields of a slot are atomic and written by that process
 * only, read by anybody at any time. Without the variable (a user who preloads the library by hand), or where the
 * path cannot be opened, a runtime makes a session that only its forked children share, and nobody reports it.
 */
#ifndef UZSWAP_BASE_SESSION_H
#define UZSWAP_BASE_SESSION_H

#include "base/account.h"
#include "base/member.h"
#include "base/types.h"

#define SESSION_MAGIC 0x757a7377u
#define SESSION_VERSION 5u
#define SESSION_PROCESSES MEMBERS_MAX
#define SESSION_ENVIRONMENT "UZSWAP_SESSION"

/* Figures of what is now (they rise and fall), and one high-water mark; by the statistics that they come from. */
#define SESSION_ZSWAP_LEVELS(X)                                                                              \
    X(stored_pages)                                                                                          \
    X(same_filled_pages)                                                                                     \
    X(stored_incompressible_pages)                                                                           \
    X(pool_payload)                                                                                          \
    X(deduplicated_pages)                                                                                    \
    X(shared_objects)                                                                                        \
    X(deduplicated_bytes)                                                                                    \
    X(device_pages)                                                                                          \
    X(device_bytes)                                                                                          \
    X(shrink_step_bytes)
#define SESSION_REGION_LEVELS(X)                                                                             \
    X(over_budget_bytes)                                                                                     \
    X(locked_bytes)
#define SESSION_LEVELS(X)                                                                                    \
    SESSION_ZSWAP_LEVELS(X)                                                                                  \
    SESSION_REGION_LEVELS(X)

/* Figures that only grow, likewise. */
#define SESSION_ZSWAP_EVENTS(X)                                                                              \
    X(written_back_pages)                                                                                    \
    X(written_back_bytes)                                                                                    \
    X(duplicate_entry)                                                                                       \
    X(pool_limit_hit)                                                                                        \
    X(reject_reclaim_fail)                                                                                   \
    X(reject_alloc_fail)                                                                                     \
    X(reject_kmemcache_fail)                                                                                 \
    X(reject_compress_fail)                                                                                  \
    X(reject_compress_poor)                                                                                  \
    X(decompress_fail)                                                                                       \
    X(device_read_fail)                                                                                      \
    X(device_write_fail)                                                                                     \
    X(device_full)                                                                                           \
    X(dedup_collisions)                                                                                      \
    X(writeback_batches)                                                                                     \
    X(writeback_peers)                                                                                       \
    X(second_chances)                                                                                        \
    X(shrink_rounds)                                                                                         \
    X(shrink_steps)                                                                                          \
    X(compactions)                                                                                           \
    X(compactions_vain)                                                                                      \
    X(pages_compacted)                                                                                       \
    X(objects_moved)
#define SESSION_REGION_EVENTS(X)                                                                             \
    X(faults)                                                                                                \
    X(refaults)                                                                                              \
    X(zero_fills)                                                                                            \
    X(pool_loads)                                                                                            \
    X(device_loads)                                                                                          \
    X(evicted_pages)                                                                                         \
    X(move_refused)                                                                                          \
    X(copied_out)                                                                                            \
    X(poisoned_pages)
#define SESSION_EVENTS(X)                                                                                    \
    SESSION_ZSWAP_EVENTS(X)                                                                                  \
    SESSION_REGION_EVENTS(X)

/* Every figure of a process beside its account. */
#define SESSION_COUNTERS(X)                                                                                  \
    SESSION_LEVELS(X)                                                                                        \
    SESSION_EVENTS(X)

struct session_process {
    uint32_t pid;           /* of who has it or had it last; 0 = slot never used; atomic */
    uint32_t managed;       /* 1 once the runtime manages the process's memory */
    struct account account; /* the live one */
    uint64_t
        device_family; /* member_name of the process whose device it uses, as all forked from that one do; 0 = none */
    /* base/lending.h: the place of the member that forked this one, and one; 0 = none; and which owner of it. Atomic */
    uint32_t lender, lender_generation;
    uint64_t hungry_ms; /* when it was refused more memory, last (base/budget.h); 0 = never */
    uint64_t active_ms; /* when it was seen to do something, last (the same); 0 = not known */
#define X(name) uint64_t name;
    SESSION_COUNTERS(X)
#undef X
};

struct session {
    uint32_t magic;
    uint32_t version;
    uint32_t processes_total; /* how many processes have claimed a slot; atomic */
    uint32_t places;          /* the highest number of a slot that was ever used, and one; atomic */
    uint32_t
        hunger; /* raised when a process wants memory that others have; root threads sleep on it; atomic */
    uint32_t unmanaged; /* how many programs, but for the first, could not be managed; atomic */
    uint32_t warned;    /* 1 once a process has said that the budget cannot be held; atomic */
    uint32_t unused;
    int64_t peak; /* the most that living processes were seen to use together; atomic */
    struct member_table members;
    struct session_process processes[SESSION_PROCESSES]; /* by the member's number */
    /* What was in slots that were claimed again: events summed, the highest peak, and the levels and account of the
     * process that had it. `managed` counts. Atomic, written by whoever claims. */
    struct session_process ended;
};

/* Makes a session and maps it. Its descriptor (3 or more, close-on-exec), or -errno. */
int session_create(struct session **session);

/* Makes one without a path, for this process and whom it forks. 0 or -errno. */
int session_create_private(struct session **session);

/* Maps the session at `path` (the variable's value). 0; -errno; -EPROTO if that is no session of this version. */
int session_open(const char *path, struct session **session);
void session_close(struct session *session);

/*
 * Makes process `pid`, the caller's own, a member, as member_claim does: the calling thread is its thread 0, *self
 * its name. Its slot, with all figures 0, is the one of the number that is answered; or -EAGAIN if all slots
 * belong to living processes, or what the kernel answered.
 *
 * A process claims once, when its runtime starts: the program, every forked child (its parent's figures stay in
 * the parent's slot) and every image that was exec'ed. An exec'ed image finds the slot of the image before it: that
 * one's figures move to `ended`. So do those of a dead process, whose slot is taken when no fresh one is left.
 */
int session_claim(struct session *session, uint32_t pid, struct membership *self);

/* Adds all that is in the session up: events of all processes; levels of the living ones, or, as in `ended`, of the one
 * that was the largest if none lives; the peak of all together. What a family of processes has on its device counts once.
 * `sum->managed` is how many images were managed. A snapshot; exact once all processes have ended. */
void session_sum(const struct session *session, struct session_process *sum);

/* Does the process of slot `index` live? */
bool session_is_alive(const struct session *session, uint32_t index);

#endif
