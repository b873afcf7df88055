/* SPDX-License-Identifier: MIT */
/*
 * Orders. A death is seen by reading a life word that the kernel has changed: acquire, so that what the dead thread did
 * is seen, too. Two decisions rest on the order of two words, and are seq-cst:
 *
 *   claim against enter    who claims swaps word 0, then looks at the other words; a late thread of the dying owner
 *                          swaps its word, then looks at word 0. One of the two sees the other, and gives up.
 *   claim against claim    one word, one compare-and-swap.
 *
 * A name of a thread:   63       32 31         5 4      0
 *                       |generation|index + 1   |thread  |      index + 1: never 0
 */
#include "base/member.h"

#include <errno.h>
#include <linux/futex.h>

#include "base/atomic.h"
#include "base/sys.h"

#define THREAD_BITS 5
_Static_assert(MEMBER_THREADS == 1 << THREAD_BITS, "a thread's number fits its name");

/*
 * What the kernel reads when a thread dies lies in the table, which is mapped as shared. Private pages the OOM killer
 * may take from a victim before its threads have come to their end: the kernel would find zeros there, and the victim live
 * for ever. Only who has the word writes there: others may try for it, or come too late for it. Until a thread
 * has it, and for a few instructions more, its list is `before`, which is private.
 *
 * Why not in a page of the process's own: a child whose address space is limited could not map it.
 */
_Static_assert(sizeof(struct member_watch) == 32, "the same in all programs of a session");

/* The calling thread's. */
static __thread struct {
    struct member_watch before;
    uint32_t *word;
    struct member_table *table;
    uint64_t name;
} me;

static bool word_is_alive(uint32_t word)
{
    return word & FUTEX_TID_MASK; /* the kernel leaves FUTEX_OWNER_DIED alone */
}

static bool any_alive(const struct member *m, unsigned from)
{
    for (unsigned i = from; i < MEMBER_THREADS; i++) {
        if (word_is_alive(atomic_read_seq_cst(&m->threads[i]))) {
            return true;
        }
    }
    return false;
}

static uint64_t name_of(uint32_t index, uint32_t generation, unsigned thread)
{
    return (uint64_t)generation << 32 | (uint64_t)(index + 1) << THREAD_BITS | thread;
}

/* From here on the death of this thread is seen in `word`, if it has this thread's tid. */
static int watch_over(struct member_watch *watch, uint32_t *word)
{
    watch->entry.next = &watch->head.list;
    watch->head.list.next = &watch->entry;
    watch->head.list_op_pending = NULL;
    watch->head.futex_offset = (char *)word - (char *)&watch->entry;
    me.word = word;
    return (int)sys_call3(SYS_set_robust_list, (long)&watch->head, sizeof watch->head, 0);
}

static void watch_nothing(void)
{
    sys_call3(SYS_set_robust_list, 0, sizeof(struct robust_list_head), 0);
    me.word = NULL;
}

static bool take_word(uint32_t *word, uint32_t tid)
{
    uint32_t seen = atomic_read_acquire(word);
    return !word_is_alive(seen) && atomic_cas_seq_cst(word, &seen, tid);
}

static void give_word_up(uint32_t *word)
{
    /* Release: whoever sees the place empty sees what was done in it. */
    atomic_set_release(word, 0);
}

/* Makes this thread the only one alive in a place where all are dead. 1; 0 if somebody lives there; or -errno. */
static int occupy(struct member *m, uint32_t tid)
{
    if (any_alive(m, 0)) {
        return 0;
    }
    int error = watch_over(&me.before, &m->threads[0]);
    if (error) {
        return error;
    }
    if (!take_word(&m->threads[0], tid)) {
        return 0;
    }
    if (any_alive(m, 1)) {
        give_word_up(&m->threads[0]);
        return 0;
    }
    watch_over(&m->watches[0], &m->threads[0]);
    return 1;
}

/* In which order places are looked for. */
enum wanted { OF_IMAGE_BEFORE, FREE, ANY, WANTED_END };

static bool is_wanted(const struct member *m, enum wanted wanted, uint32_t pid)
{
    /* A look that may be wrong by the next moment: occupy has the say. */
    uint32_t generation = atomic_read_acquire(&m->generation);
    switch (wanted) {
    case OF_IMAGE_BEFORE:
        return generation && atomic_read_relaxed(&m->pid) == pid;
    case FREE:
        return generation == atomic_read_acquire(&m->buried);
    default:
        return true;
    }
}

static int occupy_any(struct member_table *table, uint32_t pid, uint32_t tid, uint32_t *index)
{
    for (enum wanted wanted = 0; wanted < WANTED_END; wanted++) {
        for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
            if (!is_wanted(&table->members[i], wanted, pid)) {
                continue;
            }
            int result = occupy(&table->members[i], tid);
            if (result) {
                *index = i;
                return result < 0 ? result : 0;
            }
        }
    }
    return -EAGAIN;
}

int member_claim(struct membership *self, struct member_table *table, uint32_t pid, member_bury bury,
                 void *context)
{
    uint32_t tid = (uint32_t)sys_gettid(), index = 0;
    int error = occupy_any(table, pid, tid, &index);
    if (error) {
        watch_nothing();
        return error;
    }
    struct member *m = &table->members[index];
    uint32_t last = atomic_read_acquire(&m->generation);
    if (atomic_read_acquire(&m->buried) != last) {
        bury(context, index);
        /* Release: whoever sees the last owner buried sees that it is done. */
        atomic_set_release(&m->buried, last);
    }
    atomic_set_relaxed(&m->pid, pid);
    atomic_set_release(&m->generation, last + 1);
    *self = (struct membership){.table = table, .index = index, .generation = last + 1, .first_thread = tid};
    me.table = table;
    me.name = name_of(index, last + 1, 0);
    return (int)index;
}

/* Does the place still belong to this member, and does its thread 0 live? */
static bool is_mine(const struct membership *self)
{
    const struct member *m = &self->table->members[self->index];
    return atomic_read_seq_cst(&m->threads[0]) == self->first_thread &&
           atomic_read_acquire(&m->generation) == self->generation;
}

int member_thread_enter(const struct membership *self, unsigned thread)
{
    struct member *m = &self->table->members[self->index];
    uint32_t *word = &m->threads[thread];
    int error = watch_over(&me.before, word);
    if (error) {
        return error;
    }
    /* A late thread of the owner before may have taken the word, and is about to give it up. */
    while (!take_word(word, (uint32_t)sys_gettid()) && is_mine(self)) {
        sys_yield();
    }
    if (!is_mine(self)) {
        member_thread_leave();
        return -ESHUTDOWN;
    }
    watch_over(&m->watches[thread], word);
    me.table = self->table;
    me.name = name_of(self->index, self->generation, thread);
    return 0;
}

void member_thread_leave(void)
{
    if (me.word) {
        uint32_t mine = (uint32_t)sys_gettid();
        atomic_cas_seq_cst(me.word, &mine, 0);
        watch_nothing();
        me.table = NULL;
        me.name = 0;
    }
}

bool member_place_is_alive(const struct member_table *table, uint32_t index)
{
    return any_alive(&table->members[index], 0);
}

bool member_is_alive(const struct member_table *table, uint32_t index, uint32_t generation)
{
    /* The words first: they are empty before the generation changes. A new owner who has swapped word 0 and not yet
     * raised the generation is taken for the old one: a late answer, not a wrong one. */
    return member_place_is_alive(table, index) &&
           atomic_read_acquire(&table->members[index].generation) == generation;
}

uint64_t member_thread_self(void)
{
    return me.name;
}

struct member_table *member_table_self(void)
{
    return me.table;
}

bool member_thread_is_dead(const struct member_table *table, uint64_t thread)
{
    const struct member *m = &table->members[((uint32_t)thread >> THREAD_BITS) - 1];
    return !word_is_alive(atomic_read_acquire(&m->threads[thread % MEMBER_THREADS])) ||
           atomic_read_acquire(&m->generation) != thread >> 32;
}
