/* SPDX-License-Identifier: MIT */
/*
 * Every transition that src/zswap/lifecycle.c makes, for comparison with the model's (check.py).
 *
 * Each function of lifecycle.c changes the word at most once, by a loop around one compare-and-swap. So it is enough
 * to call it on every word, and to change the word once more, to every other word, just before the compare-and-swap: as if
 * another thread had come in between. A word is abstracted to kind, WB, REF and holders, 0 to 3 of them
 * (ENTRY_HOLDERS_BITS), and to whether it names the object in question. One thread, no schedules: those are the model's part.
 */
#include "base/atomic.h"
#include "base/memory.h"
#include "base/sys.h"
#include "tests/verify/spin/record.h"
#include "zswap/entry_word.h"

_Static_assert(ENTRY_HOLDERS_MAX == 3, "compile with -DENTRY_HOLDERS_BITS=2");

static bool hook_cas(uint64_t *word, uint64_t *expected, uint64_t next);
static void hook_wait(void);

#undef atomic_cas_acq_rel
#undef atomic_cas_acquire
#undef atomic_cas_release
#undef atomic_cas_relaxed
#define atomic_cas_acq_rel hook_cas
#define atomic_cas_acquire hook_cas
#define atomic_cas_release hook_cas
#define atomic_cas_relaxed hook_cas
#define cpu_relax() hook_wait()
#define sys_yield() hook_wait()

/* The code itself, with its static functions. */
#include "zswap/lifecycle.c"

/* In the order of record_functions. */
enum function { HOLD, UNHOLD, REPLACE, REMOVE_HELD, REMOVE_FILLED, BEGIN, FINISH, ABORT, MOVE };

/* Names: A is the held object, B another one that is there instead, C the new one. */
enum { A = 1, B, C };
#define FILLED_WORD ((uint64_t)(5u << 3 | ENTRY_FILLED))

static struct memory memory;
static struct lifecycle lc;
static bool locked;
static unsigned long calls;

/* The other thread, that comes in once, before the compare-and-swap or in the wait of a loop. */
static bool other_pending;
static uint64_t other_word;
static uint64_t orphan_then; /* what it made an orphan, 0 = nothing */
static uint32_t orphan_holders;

/* What the call at hand did. */
static unsigned swaps, frees;
static uint64_t swap_from, swap_to, freed;
static bool own_hold;

static void stop(const char *what)
{
    printf("error: %s\n", what);
    exit(1);
}

/* ---- what lifecycle.c stands on */

void *memory_map(struct memory *m, size_t bytes, enum account_kind kind)
{
    (void)m, (void)kind;
    return calloc(1, bytes);
}

void memory_unmap(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    (void)m, (void)kind, (void)bytes;
    free(at);
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    (void)m, (void)rank;
}

void mutex_lock(struct mutex *m)
{
    (void)m;
    if (locked) {
        stop("the lock is taken twice");
    }
    locked = true;
}

void mutex_unlock(struct mutex *m)
{
    (void)m;
    if (!locked) {
        stop("the lock is given back twice");
    }
    locked = false;
}

void mutex_assert_held(const struct mutex *m)
{
    (void)m;
    if (!locked) {
        stop("a function is called without the lock it needs");
    }
}

static void release(void *owner, uint64_t content)
{
    (void)owner;
    if (locked) {
        stop("an object is freed with the lock held");
    }
    frees++;
    freed = content;
}

/* ---- the other thread */

static void come_in(uint64_t *word)
{
    other_pending = false;
    *word = other_word;
    if (orphan_then) {
        bool was_locked = locked; /* as it would have come before the lock was taken */
        locked = true;
        orphan_add(&lc, orphan_then, orphan_holders);
        locked = was_locked;
    }
}

static uint64_t *word_at_hand;

static void hook_wait(void)
{
    if (!other_pending) {
        stop("a wait that only another thread can end, with none to come");
    }
    come_in(word_at_hand);
}

static bool hook_cas(uint64_t *word, uint64_t *expected, uint64_t next)
{
    if (other_pending) {
        come_in(word);
    }
    if (*word != *expected) {
        *expected = *word;
        return false;
    }
    if (entry_content(*word) != entry_content(next) && holders_of(*word) > own_hold && !locked) {
        stop("an object that others hold is swapped out without the lock");
    }
    swaps++;
    swap_from = *word;
    swap_to = next;
    *word = next;
    return true;
}

/* ---- words */

#define WORDS_MAX 64
struct words {
    uint64_t word[WORDS_MAX];
    size_t used;
};

static uint64_t object(enum entry_kind kind, uint64_t name)
{
    return entry_make(kind, name, 100, 1);
}

static void add_word(struct words *words, uint64_t word)
{
    words->word[words->used++] = word;
}

/* All words that name the object, with at least so many holders, and with WB if `wb`. */
static void add_object_words(struct words *words, enum entry_kind kind, uint64_t name, unsigned least,
                             bool wb)
{
    for (unsigned flags = 0; flags < (kind == ENTRY_POOL ? 4 : 1); flags++) {
        for (unsigned holders = least; holders <= ENTRY_HOLDERS_MAX; holders++) {
            uint64_t word = object(kind, name) | (uint64_t)flags * ENTRY_WB | holders * ENTRY_HOLDERS_ONE;
            if (!wb || word & ENTRY_WB) {
                add_word(words, word);
            }
        }
    }
}

static void add_all_words(struct words *words, uint64_t name)
{
    add_word(words, 0);
    add_word(words, ENTRY_FROZEN);
    add_word(words, FILLED_WORD);
    add_object_words(words, ENTRY_POOL, name, 0, false);
    add_object_words(words, ENTRY_DEVICE, name, 0, false);
}

/* ---- one call */

static uint32_t orphan_of(uint64_t content)
{
    for (uint32_t i = *bucket_of(&lc, content); i; i = lc.nodes[i - 1].next) {
        if (lc.nodes[i - 1].content == content) {
            return lc.nodes[i - 1].holders;
        }
    }
    return 0;
}

/* Calls the function; `argument`: what is held, or to be put there; `next`: the successor of what is held. */
static enum record_result call(enum function f, uint64_t *word, uint64_t argument, uint64_t next)
{
    uint64_t got;
    switch (f) {
    case HOLD:
        got = lifecycle_hold(word, argument);
        return !got ? RECORD_ZERO : swaps && got == swap_to ? RECORD_HELD : RECORD_SEEN;
    case UNHOLD:
        lifecycle_unhold(&lc, word, argument);
        return RECORD_VOID;
    case REPLACE:
        got = lifecycle_replace(&lc, word, argument);
        return swaps && got == swap_from ? RECORD_SEEN : !got ? RECORD_ZERO : RECORD_HELD;
    case REMOVE_HELD:
        return lifecycle_remove_held(&lc, word, argument) ? RECORD_TRUE : RECORD_FALSE;
    case REMOVE_FILLED:
        return lifecycle_remove_filled(word, argument) ? RECORD_TRUE : RECORD_FALSE;
    case BEGIN:
        got = lifecycle_begin_writeback(word);
        return !got ? RECORD_ZERO : swaps && got == swap_to ? RECORD_HELD : RECORD_SEEN;
    case FINISH:
        return lifecycle_finish_writeback(&lc, word, argument, next) ? RECORD_TRUE : RECORD_FALSE;
    case ABORT:
        return lifecycle_abort_writeback(&lc, word, argument) ? RECORD_TRUE : RECORD_FALSE;
    case MOVE:
        return lifecycle_move(&lc, word, argument, next) ? RECORD_TRUE : RECORD_FALSE;
    }
    return RECORD_VOID;
}

/* Writes down what the call did. `gone`: the content that a holder lost, 0 if the function holds none. */
static void take_down(enum function f, uint64_t word, uint64_t gone, enum record_result result)
{
    uint64_t from = swaps ? swap_from : word, to = swaps ? swap_to : word;
    uint64_t content = swaps ? entry_content(from) : gone;
    bool both_filled = entry_kind(from) == ENTRY_FILLED && entry_kind(to) == ENTRY_FILLED;
    enum record_deed deed = RECORD_STAYS;
    if (swaps) {
        deed = both_filled || entry_content(from) == entry_content(to) ? RECORD_SAME : RECORD_OTHER;
    } else if (gone || f == REMOVE_FILLED) {
        deed = RECORD_GONE;
    }
    unsigned holders = content ? orphan_of(content) : 0;
    if (swaps > 1 || frees > 1 || (frees && (freed != content || holders)) || locked) {
        stop("more than one change of the word, or a wrong object freed, or the lock kept");
    }
    record(f, (unsigned)from & 63, (unsigned)to & 63, deed,
           frees     ? RECORD_FREED
           : holders ? RECORD_LEFT + holders
                     : RECORD_KEPT,
           result);
}

struct trial {
    enum function f;
    uint64_t argument, next;
    uint64_t held;        /* the content that the caller holds, 0 = none */
    uint64_t first, then; /* the word; what the other thread makes of it */
    bool comes;           /* the other thread */
    uint32_t orphan;      /* holders of `held` once it is gone from the word, the caller among them */
};

static void try_one(const struct trial *t)
{
    lifecycle_init(&lc, &memory, 4, release, NULL);
    uint64_t word = t->first;
    word_at_hand = &word;
    bool first_gone = t->held && entry_content(t->first) != t->held;
    bool then_gone = t->held && entry_content(t->then) != t->held;
    if (first_gone) {
        locked = true;
        orphan_add(&lc, t->held, t->orphan);
        locked = false;
    }
    other_pending = t->comes;
    other_word = t->then;
    orphan_then = then_gone && !first_gone ? t->held : 0;
    orphan_holders = t->orphan;
    swaps = frees = 0;
    own_hold = t->held;
    enum record_result result = call(t->f, &word, t->argument, t->next);
    if (other_pending && !swaps) { /* nobody waited for it, no compare-and-swap was tried */
        other_pending = false;
    }
    take_down(t->f, word, t->held, result);
    lifecycle_destroy(&lc);
    calls++;
}

/* Would the function wait for ever on this word, if nobody came? */
static bool waits(const struct trial *t, uint64_t word)
{
    return (t->f == HOLD && entry_is_object(word) && entry_holders(word) == ENTRY_HOLDERS_MAX) ||
           (t->f == REPLACE && word == ENTRY_FROZEN && t->argument);
}

static void try_with_other(struct trial *t, const struct words *firsts, const struct words *thens)
{
    for (size_t i = 0; i < firsts->used; i++) {
        t->first = firsts->word[i];
        t->comes = false;
        t->then = t->first;
        if (!waits(t, t->first)) {
            try_one(t);
        }
        for (size_t k = 0; k < thens->used; k++) {
            t->then = thens->word[k];
            t->comes = true;
            /* Once gone, what is held does not come back. */
            bool back = t->held && entry_content(t->first) != t->held && entry_content(t->then) == t->held;
            if (!back && !waits(t, t->then)) {
                try_one(t);
            }
        }
    }
}

/* ---- all calls */

static void try_free(enum function f, uint64_t argument)
{
    struct words words = {.used = 0}, others = {.used = 0};
    struct trial t = {.f = f, .argument = argument};
    add_all_words(&words, A);
    add_all_words(&others, B);
    try_with_other(&t, &words, &words);
    try_with_other(&t, &words, &others);
}

static void try_held(enum function f, enum entry_kind kind, uint64_t next)
{
    bool wb = f == FINISH || f == ABORT;
    struct words words = {.used = 0};
    struct trial t = {.f = f, .held = object(kind, A), .next = next};
    /* As the word was seen when the hold was taken. */
    t.argument = t.held | (wb ? ENTRY_WB : ENTRY_HOLDERS_ONE);
    add_object_words(&words, kind, A, wb ? 0 : 1, wb);
    add_all_words(&words, B);
    uint32_t most = (uint32_t)ENTRY_HOLDERS_MAX + (kind == ENTRY_POOL);
    for (t.orphan = 1; t.orphan <= most; t.orphan++) {
        try_with_other(&t, &words, &words);
    }
}

int main(void)
{
    try_free(HOLD, false);
    try_free(HOLD, true);
    try_free(REPLACE, 0);
    try_free(REPLACE, FILLED_WORD);
    try_free(REPLACE, object(ENTRY_POOL, C));
    try_free(REMOVE_FILLED, FILLED_WORD);
    try_free(BEGIN, 0);
    try_held(UNHOLD, ENTRY_POOL, 0);
    try_held(UNHOLD, ENTRY_DEVICE, 0);
    try_held(REMOVE_HELD, ENTRY_POOL, 0);
    try_held(REMOVE_HELD, ENTRY_DEVICE, 0);
    try_held(FINISH, ENTRY_POOL, object(ENTRY_DEVICE, C));
    try_held(ABORT, ENTRY_POOL, 0);
    try_held(MOVE, ENTRY_POOL, object(ENTRY_POOL, C));
    record_print();
    printf("calls: %lu\n", calls);
    return 0;
}
