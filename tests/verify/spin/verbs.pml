/* SPDX-License-Identifier: MIT */
/*
 * The verbs, as store.c, load.c, invalidate.c and writeback.c build them from the lifecycle's functions, and the
 * configuration: which actors do which verbs, from which first state.
 */
#define ANY 0
#define STORE 1
#define LOAD 2
#define EXCLUSIVE 3
#define INVALIDATE 4
#define WRITEBACK 5
#define MOVE 6
#define FAULT 7  /* a load by a page fault, which owns the swap cache's slot meanwhile */
#define FREEZE 8 /* area_release gives the empty word's page back */

#define NEW 1
#define EXIST 2
#define FAIL 3

/* Allocates and fills: the object is known to nobody else yet. A failed store is one that puts EMPTY there. */
inline MAKE_WORD()
{
    atomic {
        c_code { r_version = unused_version(); };
        if
        :: FIND_FREE(n, 1, POOL_OBJECTS + 1);
            if
            :: n ->
#ifndef FAULT_PUBLISH_EARLY
                WRITE_BOTH(n, r_version, 0);
#endif
                next = MAKE(POOL, n)
            :: else -> next = EMPTY
            fi
        :: next = FILLED_WORD
        :: next = EMPTY
        fi;
        n = 0
    }
}

/* What has ended by now is not to be seen again. */
inline STORE_ENDS()
{
    atomic {
        G(3, "nothing older than an ended store or removal is left",
            (IS_OBJECT(word[KEY]) -> since[NAME(word[KEY])] >= mine[me] :
                KIND(word[KEY]) == EMPTY || filled_since[KEY] >= mine[me]));
        finished[KEY] = (mine[me] > finished[KEY] -> mine[me] : finished[KEY]);
        mine[me] = 0
    }
}

/* A store, or an invalidation, which publishes nothing. A store's index page may be given back meanwhile, and there
 * may be no memory for another (area_confirm): then it fails late, and removes what it finds. */
inline DO_STORE()
{
    if
    :: verb == STORE -> MAKE_WORD()
    :: verb == INVALIDATE
    fi;
    do
    ::
#ifdef FAULT_FAILED_STORE_KEEPS
        if
        :: atomic { verb == STORE && next == EMPTY -> clock++; mine[me] = clock }
        :: verb != STORE || next != EMPTY -> REPLACE()
        fi;
#else
        REPLACE();
#endif
        if
        :: verb == STORE && !late -> late = 1; next = EMPTY
        :: late = 0; break
        fi
    od;
    STORE_ENDS()
}

/* ok: what is held has been read; else its codec or its device failed. The device may also never answer. */
inline READ_HELD()
{
    atomic {
        if
        :: READ_A(NAME(held), 1); ok = 1
        :: ok = 0; floor[me] = 0
        :: KIND(held) == DEVICE && c_expr { chosen_loads_hang } -> goto stuck
        fi
    }
    if
    :: atomic { ok ->
        READ_B(NAME(held), 1);
        G(1, "not older than what had ended before", age[me] >= floor[me]);
        half[me] = 0; age[me] = 0; floor[me] = 0
    }
    :: !ok
    fi
}

inline DO_EXCLUSIVE()
{
    do
    :: HOLD(0);
        if
        :: held == 0 -> break
        :: held == FILLED_WORD ->
            REMOVE_FILLED();
            if
            :: ok -> break
            :: !ok
            fi
        :: IS_OBJECT(held) ->
            READ_HELD();
            if
            :: !ok -> UNHOLD(); break
            :: ok ->
                REMOVE_HELD();
                if
                :: ok -> break
                :: !ok
                fi
            fi
        fi
    od;
    if
    :: mine[me] -> STORE_ENDS()
    :: !mine[me]
    fi
}

/* The swap cache's part: swap_cache_acquire, swap_cache_take, swap_cache_release. */
inline ACQUIRE_SLOT()
{
    atomic {
        if
        :: !slot_owner[KEY] -> slot_owner[KEY] = me + 1; answer = NEW
        :: !slot_owner[KEY] -> answer = FAIL
        :: slot_owner[KEY] -> answer = EXIST
        fi
    }
}

/* A fault takes the slot from a writeback, which will not notice; not from another fault. */
inline TAKE_SLOT()
{
    atomic {
        if
        :: !slot_faults[KEY] -> slot_owner[KEY] = me + 1; slot_faults[KEY] = 1; answer = NEW
        :: slot_faults[KEY] -> answer = EXIST
        fi
    }
}

inline RELEASE_SLOT(faults)
{
    atomic {
        G(4, "a fault's slot is its own", !faults || slot_owner[KEY] == me + 1);
        if
        :: slot_owner[KEY] == me + 1 && slot_faults[KEY] == faults -> slot_owner[KEY] = 0; slot_faults[KEY] = 0
        :: else
        fi
    }
}

/* A load; by a page fault, only with the swap cache's slot. */
inline DO_LOAD()
{
    if
    :: verb == FAULT -> TAKE_SLOT()
    :: verb == LOAD -> answer = NEW
    fi;
    if
    :: answer == NEW ->
        HOLD(1);
        if
        :: IS_OBJECT(held) ->
#ifdef FAULT_READ_UNHELD
            UNHOLD();
            READ_HELD()
#else
            READ_HELD();
            UNHOLD()
#endif
        :: !IS_OBJECT(held)
        fi;
        if
        :: verb == FAULT -> RELEASE_SLOT(1)
        :: verb == LOAD
        fi
    :: answer != NEW
    fi
}

inline GIVE_SLOT_BACK()
{
#ifndef FAULT_DEVICE_SLOT_LEAKS
    d_step { FREE(to); to = 0 }
#else
    to = 0
#endif
}

/* From the pool to the fresh slot `to`. ok: the write has ended well. */
inline WRITE_TO_DEVICE()
{
    atomic { READ_A(NAME(held), 3) }
    atomic { READ_B(NAME(held), 3) }
    atomic {
        if
        :: G(3, "a write lands in its own slot", alive[to] && writing[to]);
            WRITE_BOTH(to, half[me], age[me]);
            writing[to] = 0;
            ok = 1
        :: writing[to] = 0; ok = 0
        :: goto stuck
        fi;
        half[me] = 0; age[me] = 0
    }
#ifdef FAULT_ERROR_IGNORED
    ok = 1;
#endif
}

inline WRITE_HELD()
{
    atomic {
        if
        :: FIND_FREE(to, POOL_OBJECTS + 1, THINGS)
        :: to = 0
        fi;
        writing[to] = (to != 0)
    }
    if
    :: !to -> ABORT()
    :: to ->
        WRITE_TO_DEVICE();
        if
        :: ok ->
            FINISH(to);
            if
            :: !ok -> GIVE_SLOT_BACK()
            :: ok -> to = 0
            fi
        :: !ok -> GIVE_SLOT_BACK(); ABORT()
        fi
    fi
}

#ifdef FAULT_EXIST_GOES_ON
#define GOES_ON(answer) (answer != FAIL)
#else
#define GOES_ON(answer) (answer == NEW)
#endif
#ifdef FAULT_SLOT_KEPT
#define RELEASE_UNUSED skip
#else
#define RELEASE_UNUSED RELEASE_SLOT(0)
#endif

inline DO_WRITEBACK()
{
    ACQUIRE_SLOT();
    if
    :: GOES_ON(answer) ->
        BEGIN();
        G(4, "only the answer NEW begins a writeback", !held || answer == NEW);
        if
        :: held -> WRITE_HELD(); RELEASE_SLOT(0)
        :: !held -> RELEASE_UNUSED
        fi
    :: !GOES_ON(answer)
    fi
}

#ifdef FAULT_COPY_LEAKS
#define FREE_COPY to = 0
#else
#define FREE_COPY d_step { FREE(to); to = 0 }
#endif

inline DO_MOVE()
{
    HOLD(0);
    if
    :: KIND(held) == POOL ->
        atomic {
            if
            :: FIND_FREE(to, 1, POOL_OBJECTS + 1)
            :: to = 0
            fi
        }
        if
        :: to ->
            atomic { READ_A(NAME(held), 8) }
            atomic { READ_B(NAME(held), 8); WRITE_BOTH(to, half[me], age[me]); half[me] = 0; age[me] = 0; floor[me] = 0 }
            MOVE_TO(to);
            if
            :: !ok -> FREE_COPY
            :: ok -> to = 0
            fi
        :: !to -> UNHOLD()
        fi
    :: KIND(held) == DEVICE -> UNHOLD()
    :: !IS_OBJECT(held)
    fi
}

inline DO_FREEZE()
{
    atomic {
        seen = EMPTY;
        CAS(FROZEN);
        ok = swapped;
        DONE()
    }
    if
    :: atomic { ok ->
        G(8, "a frozen word is left alone", word[KEY] == FROZEN);
        word[KEY] = EMPTY
    }
    :: !ok
    fi
}

/* Any of the chosen, from `least` on. */
inline PICK_VERB(least)
{
    if
    :: least <= STORE && c_expr { chosen_any[STORE] } -> verb = STORE
    :: least <= LOAD && c_expr { chosen_any[LOAD] } -> verb = LOAD
    :: least <= EXCLUSIVE && c_expr { chosen_any[EXCLUSIVE] } -> verb = EXCLUSIVE
    :: least <= INVALIDATE && c_expr { chosen_any[INVALIDATE] } -> verb = INVALIDATE
    :: least <= WRITEBACK && c_expr { chosen_any[WRITEBACK] } -> verb = WRITEBACK
    :: least <= MOVE && c_expr { chosen_any[MOVE] } -> verb = MOVE
    :: least <= FAULT && c_expr { chosen_any[FAULT] } -> verb = FAULT
    :: least <= FREEZE && c_expr { chosen_any[FREEZE] } -> verb = FREEZE
    fi
}

proctype actor(byte me, verb)
{
    short seen = NONE, next, held;
    byte round, left, n, to, answer;
    bit swapped, ok, late;
#if KEYS > 1
    byte key;
#endif

    do
    :: atomic {
#if KEYS > 1
        if
        :: key = 0
        :: key = 1
        fi;
#endif
        if
        :: verb != ANY
        :: verb == ANY -> PICK_VERB(STORE)
        fi
        }
        if
        :: verb == STORE || verb == INVALIDATE -> DO_STORE()
        :: verb == LOAD || verb == FAULT -> DO_LOAD()
        :: verb == EXCLUSIVE -> DO_EXCLUSIVE()
        :: verb == WRITEBACK -> DO_WRITEBACK()
        :: verb == MOVE -> DO_MOVE()
        :: verb == FREEZE -> DO_FREEZE()
        fi;
        atomic {
            held = 0; floor[me] = 0; answer = 0; ok = 0;
            c_code { renumber(); };
            if
            :: !c_expr { chosen_rounds } -> verb = ANY /* without end */
            :: round + 1 < c_expr { chosen_rounds } -> round++; verb = ANY
            :: !c_expr { chosen_rounds } || round + 1 == c_expr { chosen_rounds } -> break
            fi
        }
    od;
    atomic { working--; verb = ANY; round = 0 }
    goto ended;
stuck:
    atomic { working--; hung++ };
end_hung:
    false;
ended:
    skip
}

/* The entry that is there at first, perhaps held by holders that never let go (SPIN_PHANTOMS). */
inline FIRST_ENTRY()
{
    finished[KEY] = clock;
    if
    :: word[KEY] = EMPTY
    :: word[KEY] = FILLED_WORD; current[KEY] = FILL_VERSION; filled_since[KEY] = clock
    :: FIND_FREE(n, 1, POOL_OBJECTS + 1);
        word[KEY] = MAKE(POOL, n);
        if
        :: skip
        :: word[KEY] = word[KEY] + REF
        fi;
        FIRST_OBJECT();
        if
        :: skip
        :: c_expr { chosen_phantoms } -> word[KEY] = word[KEY] + WB; pins[n]++; wanted_wb[n] = 1
        fi
    :: FIND_FREE(n, POOL_OBJECTS + 1, THINGS);
        word[KEY] = MAKE(DEVICE, n);
        FIRST_OBJECT()
    fi
}

inline FIRST_OBJECT()
{
    current[KEY] = FIRST_VERSION;
    WRITE_BOTH(n, FIRST_VERSION, clock);
    do
    :: c_expr { chosen_phantoms } && pins[n] < 3 ->
        pins[n]++;
        word[KEY] = word[KEY] + HOLDERS_ONE
    :: break
    od;
    phantoms = (c_expr { chosen_phantoms } -> n : 0)
}

init /* C: lifecycle_init */
{
    byte n, k, named, verb, last;
#if KEYS > 1
    byte key;
#endif
    atomic {
        clock = 1;
#if KEYS > 1
        key = 1;
        FIRST_ENTRY();
        key = 0;
#endif
        FIRST_ENTRY();
        n = 0;
        working = c_expr { chosen_actors };
        do
        :: n < c_expr { chosen_actors } ->
            verb = c_expr { chosen_verb[Pinit->n] };
            if
            :: verb != ANY
            :: else ->
                /* Actors differ in their numbers only, which nobody looks at: so in this order without loss. */
                PICK_VERB(last);
                last = verb
            fi;
            run actor(n, verb);
            n++
        :: else -> break
        od;
        n = 0; verb = 0; last = 0
    }
    atomic { working == 0 -> CHECK_END() /* C: lifecycle_destroy, lifecycle_orphans */ }
}

#ifdef LIVENESS
#define started (working > 0)
#define ended (working == 0)
ltl g5 { [] (started -> <> ended) }
#endif
