/* SPDX-License-Identifier: MIT */
/*
 * Members: who takes part in memory that processes share, and whether he still lives.
 *
 * A member is one image of one process: an exec makes another. It has a life word for each of its runtime threads,
 * which alone touch shared memory. A thread writes its tid into its word, and registers the word with the
 * kernel as its robust list (set_robust_list(2)): however the thread dies, the kernel then takes the tid
 * out, after the last thing the thread did, its io_uring writes included. So
 *
 *   alive   some life word has a tid
 *   dead    none has, from some moment on for ever: nobody of that image touches anything any more
 *
 * That needs no descriptor and no /proc, works across pid namespaces, takes a zombie for dead, and no reuse
 * of pids fools it. (One thing is not excluded: who dies between the look at a word and the compare-and-swap that
 * was to take it, while another of the same tid in another pid namespace takes it, marks that one dead.)
 *
 *   generation - buried    life words    the place is
 *   0                      none alive    free: of nobody, or its last owner is buried
 *   1                      some alive    a living member's
 *   1                      none alive    a dead member's, to be buried
 *   0 or 1                 0 alive       being claimed, for a moment; its last owner is dead
 *
 * To bury is to give back what the dead held, through a function of the caller, before the place is another's. (Until then
 * it does no harm: figures, which are read where they are.) It may be cut short by the death of who buries, and is
 * then done again by another: each step of it must bear being repeated. No two bury the same member at a time.
 *
 * A table is all zero at first, and may lie at different addresses in different processes.
 */
#ifndef UZSWAP_BASE_MEMBER_H
#define UZSWAP_BASE_MEMBER_H

#include <linux/futex.h>

#include "base/types.h"

#define MEMBERS_MAX 512
#define MEMBER_THREADS 32

/* A thread's robust list, as the kernel wants it: addresses of the process whose thread it is. */
struct member_watch {
    struct robust_list_head head;
    struct robust_list entry; /* with head.futex_offset, the life word */
};

struct member {
    uint32_t generation;              /* which owner of this place, counted; written by who claims; atomic */
    uint32_t buried;                  /* the generation up to which all are buried; by who buries; atomic */
    uint32_t pid;                     /* of the last owner, a figure for people; atomic */
    uint32_t threads[MEMBER_THREADS]; /* life words; written by their threads and the kernel; atomic */
    struct member_watch watches[MEMBER_THREADS]; /* guard: who has the life word; read by the kernel */
};

struct member_table {
    struct member members[MEMBERS_MAX];
};

/* One member's name, in private memory: written by member_claim, read-only while other threads run. */
struct membership {
    struct member_table *table;
    uint32_t index;
    uint32_t generation;
    uint32_t first_thread; /* tid of the thread that claimed */
};

/* Gives back what the dead owner of place `index` held. */
typedef void (*member_bury)(void *context, uint32_t index);

/*
 * Makes the calling process a member, and the calling thread its thread 0: a place whose last owner was the image
 * before exec (`pid` tells), else a free one, else one whose owner is dead and is buried first. *self is the new
 * member's name. Its index, or -EAGAIN if all places are living members'; or what set_robust_list answers.
 *
 * The calling thread must be no member's (but in a forked child it may have been, in the parent).
 */
int member_claim(struct membership *self, struct member_table *table, uint32_t pid, member_bury bury,
                 void *context);

/* The member's name among all there will ever be in its table; never 0. */
static inline uint64_t member_name(const struct membership *self)
{
    return (uint64_t)self->generation << 32 | (self->index + 1);
}

/*
 * A further thread's first and last deed, with a number 1 .. MEMBER_THREADS - 1 that no living thread of the member has.
 * Enter: 0; -ESHUTDOWN if thread 0 is dead: then the member is given up, and the thread must end at
 * once; or what set_robust_list answers. Leave is for thread 0, too.
 */
int member_thread_enter(const struct membership *self, unsigned thread);
void member_thread_leave(void);

/* Is the owner of this generation alive? Once false, it stays so. */
bool member_is_alive(const struct member_table *table, uint32_t index, uint32_t generation);

/* Is there a living owner of place `index`, whoever it is? */
bool member_place_is_alive(const struct member_table *table, uint32_t index);

/* The calling thread's name among all threads of all members there will ever be; 0 if it is no member's. A word that
 * has it tells whether its writer is dead. */
uint64_t member_thread_self(void);
bool member_thread_is_dead(const struct member_table *table, uint64_t thread);

/* The table of the calling thread's member; NULL if it is no member's. */
struct member_table *member_table_self(void);

#endif
