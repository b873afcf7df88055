/* SPDX-License-Identifier: MIT */
/*
 * The entry lifecycle of src/zswap/lifecycle.c, for Spin: every order in which a few verbs on one entry can take their steps.
 *
 * Steps. One `atomic` here is one atomic operation of the C code (a read of the word, a compare-and-swap) or one section
 * under the orphans' lock, together with what the thread then decides by itself. A section with a compare-and-swap in
 * it is two steps: [lock, compare-and-swap], [add the orphan, unlock]; taking a lock may be put together with the step that
 * follows, and giving it back with the one before (Lipton 1975), so that nothing is hidden by this. Reading an
 * object is two steps; filling one that nobody knows yet is one, with its allocation; freeing is one.
 *
 * Which step is what in C. Each inline that stands for a C function says so: "C: name". check.py compares these with
 * lifecycle.h and lifecycle.c, and compares every transition that a word makes here (RECORD) with every one that
 * the C code makes (transitions.c).
 *
 *   C                             here
 *   lifecycle_try_hold            HOLD           read; compare-and-swap
 *   lifecycle_hold                HOLD           again, after sys_yield, while holders are at their most
 *   lifecycle_unhold              UNHOLD         read; compare-and-swap; or LEAVE_ORPHAN
 *   lifecycle_replace             REPLACE        read; SWAP_OUT; sys_yield + read while FROZEN
 *   swap_out                      SWAP_OUT       nobody left: compare-and-swap, free. Else: the two steps under the lock
 *   swap_held                     SWAP_HELD      read; SWAP_OUT while the content is the same; else LEAVE_ORPHAN
 *   lifecycle_remove_held, lifecycle_finish_writeback, lifecycle_move     SWAP_HELD, as in C
 *   lifecycle_remove_filled       REMOVE_FILLED  compare-and-swap
 *   lifecycle_begin_writeback     BEGIN          read; compare-and-swap
 *   lifecycle_abort_writeback     ABORT          read; compare-and-swap; or LEAVE_ORPHAN
 *   leave_orphan, orphan_drop     LEAVE_ORPHAN   the section under the lock; free, if it was the last
 *   orphan_add                    ORPHAN_ADD     in the second step of SWAP_OUT
 *   holders_of                    HOLDERS_OF
 *   lifecycle_init                init           the empty table
 *   lifecycle_destroy, lifecycle_orphans         CHECK_END: no orphan is left
 *   bucket_of                     nothing: the table is an array by object here
 *
 * Left out: the LRU and counters; formats and lengths (a content is kind and number; all FILLED words have one value); many
 * entries in one write buffer; the stores and evictions of region/ that hold a swap-cache slot; the bound on the table of
 * orphans; weak memory (every step is sequentially consistent here); more than three actors and three holders of a
 * word. That every verb ends is checked with finitely many others beside it: a compare-and-swap loop may lose for ever
 * against others without end.
 *
 * A word is packed as in C: kind:2, WB, REF, holders:2, number. FAULT_x plants a fault (check.py --mutants).
 */
#ifndef KEYS
#define KEYS 1
#endif
#ifndef POOL_OBJECTS
#define POOL_OBJECTS 3
#endif
#ifndef DEVICE_SLOTS
#define DEVICE_SLOTS 2
#endif
#define HOLDERS_MAX c_expr { chosen_holders }

#define EMPTY 0
#define POOL 1
#define DEVICE 2
#define FILLED 3
#define WB 4
#define REF 8
#define HOLDERS_ONE 16
#define FROZEN 4
#define NAME_ONE 64
#define FILLED_WORD (NAME_ONE + FILLED)
#define NONE (-1) /* not read yet */

#define KIND(w) ((w) & 3)
#define HAS_WB(w) (((w) >> 2) & 1)
#define HOLDERS(w) (((w) >> 4) & 3)
#define NAME(w) ((w) >> 6)
#define IS_OBJECT(w) (KIND(w) == POOL || KIND(w) == DEVICE)
#define CONTENT(w) (IS_OBJECT(w) -> (w) - ((w) & 60) : (w))
#define MAKE(kind, name) ((kind) + (name) * NAME_ONE)
#define HOLDERS_OF(w) (IS_OBJECT(w) -> HOLDERS(w) + WB_COUNTS(w) : 0) /* C: holders_of */
#ifdef FAULT_WB_NOT_COUNTED
#define WB_COUNTS(w) 0
#else
#define WB_COUNTS(w) HAS_WB(w)
#endif

#define F_HOLD 0
#define F_UNHOLD 1
#define F_REPLACE 2
#define F_REMOVE_HELD 3
#define F_REMOVE_FILLED 4
#define F_BEGIN 5
#define F_FINISH 6
#define F_ABORT 7
#define F_MOVE 8
#define D_SAME 0
#define D_OTHER 1
#define D_STAYS 2
#define D_GONE 3
#define O_KEPT 0
#define O_FREED 1
#define O_LEFT 2
#define R_VOID 0
#define R_ZERO 1
#define R_HELD 2
#define R_SEEN 3
#define R_TRUE 4
#define R_FALSE 5

#ifdef FAULT_HOLD_MARKS_NOTHING
#define MARKS(mark) (mark && false)
#else
#define MARKS(mark) mark
#endif

c_decl { \#define PAN }
c_decl { \#include "record.h" }

#include "world.pml"

/*
 * The functions use their actor's variables (verbs.pml): the word `seen`, the word `next` to put there, the word `held`, `ok` for
 * what is returned. Each begins with seen == NONE, and ends so. Inlines are text, so a result is a variable.
 */
inline DONE()
{
    seen = NONE; next = 0; swapped = 0; left = 0
}

/* The compare-and-swap: on failure, `seen` is what was found. */
inline CAS(successor)
{
    if
    :: word[KEY] == seen -> word[KEY] = successor; swapped = 1
    :: else -> seen = word[KEY]
    fi
}

inline HOLD(mark) /* C: lifecycle_hold, lifecycle_try_hold */
{
    held = 0;
    do
    :: atomic {
        if
        :: seen == NONE -> floor[me] = finished[KEY]; seen = word[KEY]
        :: seen != NONE && HOLDERS(seen) == HOLDERS_MAX -> seen = word[KEY]
        :: else ->
            next = seen + HOLDERS_ONE + ((MARKS(mark) && KIND(seen) == POOL && !(seen & REF)) -> REF : 0);
            CAS(next)
        fi;
        if
        :: swapped ->
            held = next;
            pins[NAME(held)]++;
            CHECK_WORD(8);
            RECORD(F_HOLD, seen, next, D_SAME, O_KEPT, R_HELD);
            DONE();
            break
        :: !swapped && !IS_OBJECT(seen) ->
            held = (KIND(seen) == FILLED -> seen : 0);
            G(8, "an entry is not found only if it is not there", held || !current[KEY]);
            G(1, "not older than what had ended before", !held || filled_since[KEY] >= floor[me]);
            ok = (held != 0);
            RECORD(F_HOLD, seen, seen, D_STAYS, O_KEPT, R_ZERO + 2 * ok);
            floor[me] = 0;
            DONE();
            break
        :: else
        fi
    }
    od
}

inline ORPHAN_ADD(born, holders) /* C: orphan_add */
{
    G(7, "one record an object", !orphan[born]);
    orphan[born] = holders
}

/* A holder found its entry gone. */
inline LEAVE_ORPHAN(leaver, answer_) /* C: leave_orphan, orphan_drop */
{
    atomic {
        !lock ->
        G(2, "a holder whose entry is gone finds its orphan", orphan[NAME(held)]);
        orphan[NAME(held)]--;
        left = orphan[NAME(held)];
        LET_GO(leaver);
        if
        :: left -> RECORD(leaver, 0, 0, D_GONE, O_LEFT + left, answer_); DONE()
        :: else -> swapped = 1
        fi
    };
    if
    :: d_step { swapped ->
#ifndef FAULT_ORPHAN_LEAKS
        FREE(NAME(held));
#endif
        RECORD(leaver, 0, 0, D_GONE, O_FREED, answer_);
        DONE()
    }
    :: !swapped
    fi
}

inline UNHOLD() /* C: lifecycle_unhold */
{
    do
    :: atomic {
        if
        :: seen == NONE -> seen = word[KEY]
        :: else -> CAS(seen - HOLDERS_ONE)
        fi;
        if
        :: swapped ->
            LET_GO(F_UNHOLD);
            CHECK_WORD(8);
            RECORD(F_UNHOLD, seen, seen - HOLDERS_ONE, D_SAME, O_KEPT, R_VOID);
            DONE();
            break
        :: !swapped && CONTENT(seen) != CONTENT(held) -> break
        :: else
        fi
    }
    od;
    if
    :: seen != NONE ->
#ifdef FAULT_UNHOLD_BLIND
        d_step { LET_GO(F_UNHOLD); FREE(NAME(held)); DONE() }
#else
        LEAVE_ORPHAN(F_UNHOLD, R_VOID)
#endif
    :: seen == NONE
    fi
}

/* One turn of swap_out; `own`: 1 if the caller is one of those that hold the object in `seen`, else 0. */
inline SWAP_OUT(own) /* C: swap_out */
{
    if
    :: seen == NONE || (seen == FROZEN && next) -> seen = word[KEY]
    :: seen != NONE && seen != FROZEN && HOLDERS_OF(seen) == own -> CAS(next)
#ifdef FAULT_BIRTH_UNLOCKED
    :: seen != NONE && HOLDERS_OF(seen) > own -> CAS(next)
#else
    :: seen != NONE && HOLDERS_OF(seen) > own && !lock -> CAS(next); lock = swapped
#endif
    fi;
#ifdef FAULT_FREED_THOUGH_HELD
    lock = 0;
    left = 0
#else
    left = swapped * (HOLDERS_OF(seen) - own)
#endif
}

inline SWAPPED(swapper, outcome) /* C: swap_out, after its compare-and-swap */
{
    if
#ifdef FAULT_BIRTH_UNLOCKED
    :: d_step { swapped && left && !lock ->
#else
    :: d_step { swapped && left ->
#endif
        ORPHAN_ADD(NAME(seen), left);
        lock = 0;
        RECORD(swapper, seen, next, D_OTHER, O_LEFT + left, outcome);
        DONE()
    }
    :: d_step { swapped && !left && IS_OBJECT(seen) ->
        FREE(NAME(seen));
        RECORD(swapper, seen, next, D_OTHER, O_FREED, outcome);
        DONE()
    }
    :: !swapped || !(left || IS_OBJECT(seen))
    fi
}

/* Puts `next` into the word. */
inline REPLACE() /* C: lifecycle_replace */
{
    do
    :: atomic {
#ifdef FAULT_REPLACE_WAITS
        if
        :: HAS_WB(word[KEY]) && word[KEY] != FROZEN -> seen = NONE
        :: else -> SWAP_OUT(0)
        fi;
#else
        SWAP_OUT(0);
#endif
        if
        :: swapped ->
            TAKES_EFFECT();
            CHECK_WORD(7);
            if
            :: !IS_OBJECT(seen) ->
                ok = (KIND(seen) != KIND(next));
                RECORD(F_REPLACE, seen, next, D_SAME + ok, O_KEPT, R_SEEN);
                DONE()
            :: else
            fi;
            break
        :: !swapped && !next && (seen == EMPTY || seen == FROZEN) ->
            G(8, "an entry is not found only if it is not there", !current[KEY]);
            mine[me] = clock;
            RECORD(F_REPLACE, seen, seen, D_STAYS, O_KEPT, R_ZERO);
            DONE();
            break
        :: else
        fi
    }
    od;
    SWAPPED(F_REPLACE, R_SEEN)
}

/* Puts `next` in the place of the held object; ok: done. `removes`, 1 or 0: the verb takes effect here, for the ghosts. */
inline SWAP_HELD(function_, guarantee, removes) /* C: swap_held */
{
    do
    :: atomic {
        SWAP_OUT(1);
        if
        :: swapped ->
            LET_GO(function_);
            clock = clock + removes;
            mine[me] = removes * clock;
            current[KEY] = current[KEY] * (1 - removes);
            CHECK_WORD(guarantee);
            break
        :: !swapped && CONTENT(seen) != CONTENT(held) -> break
        :: else
        fi
    }
    od;
    ok = swapped;
    if
    :: !swapped -> LEAVE_ORPHAN(function_, R_FALSE)
    :: swapped -> SWAPPED(function_, R_TRUE)
    fi
}

inline REMOVE_HELD() /* C: lifecycle_remove_held */
{
    next = EMPTY;
    SWAP_HELD(F_REMOVE_HELD, 7, 1)
}

inline FINISH(slot) /* C: lifecycle_finish_writeback */
{
    next = MAKE(DEVICE, slot);
    SWAP_HELD(F_FINISH, 3, 0);
#ifdef FAULT_FINISH_BLIND
    if
    :: atomic { !ok && !HOLDERS_OF(word[KEY]) -> word[KEY] = MAKE(DEVICE, slot); CHECK_WORD(3) }
    :: ok || HOLDERS_OF(word[KEY])
    fi
#endif
}

inline MOVE_TO(copy) /* C: lifecycle_move */
{
    next = MAKE(POOL, copy);
    SWAP_HELD(F_MOVE, 8, 0)
}

inline REMOVE_FILLED() /* C: lifecycle_remove_filled */
{
    atomic {
        seen = held;
#ifdef FAULT_REMOVE_FILLED_BLIND
        seen = word[KEY];
#endif
        CAS(EMPTY);
        ok = swapped;
        if
        :: swapped ->
            TAKES_EFFECT();
            CHECK_WORD(7);
            RECORD(F_REMOVE_FILLED, seen, EMPTY, D_OTHER, O_KEPT, R_TRUE)
        :: else -> RECORD(F_REMOVE_FILLED, 0, 0, D_GONE, O_KEPT, R_FALSE)
        fi;
        DONE()
    }
}

inline BEGIN() /* C: lifecycle_begin_writeback */
{
    held = 0;
    do
    :: atomic {
        if
        :: seen == NONE -> seen = word[KEY]
        :: else ->
            next = (seen & REF -> seen - REF : seen | WB);
            CAS(next)
        fi;
        if
        :: swapped ->
            if
            :: seen & REF
            :: else ->
                held = next;
                G(4, "one writeback of an object", !wanted_wb[NAME(held)]);
                wanted_wb[NAME(held)] = 1;
                pins[NAME(held)]++
            fi;
            CHECK_WORD(8);
            ok = (held != 0);
            RECORD(F_BEGIN, seen, next, D_SAME, O_KEPT, R_ZERO + ok);
            DONE();
            break
#ifdef FAULT_BEGIN_TWICE
        :: !swapped && KIND(seen) != POOL ->
#else
        :: !swapped && (KIND(seen) != POOL || HAS_WB(seen)) ->
#endif
            RECORD(F_BEGIN, seen, seen, D_STAYS, O_KEPT, R_ZERO);
            DONE();
            break
        :: else
        fi
    }
    od
}

inline ABORT() /* C: lifecycle_abort_writeback */
{
    do
    :: atomic {
        if
        :: seen == NONE -> seen = word[KEY]
#ifdef FAULT_ABORT_KEEPS_WB
        :: else -> CAS(seen)
#else
        :: else -> CAS(seen - WB)
#endif
        fi;
        if
        :: swapped ->
            LET_GO(F_ABORT);
            CHECK_WORD(8);
            RECORD(F_ABORT, seen, seen - WB, D_SAME, O_KEPT, R_TRUE);
            DONE();
            break
        :: !swapped && CONTENT(seen) != CONTENT(held) -> break
        :: else
        fi
    }
    od;
    if
    :: seen != NONE -> LEAVE_ORPHAN(F_ABORT, R_FALSE)
    :: seen == NONE
    fi
}

#include "verbs.pml"
