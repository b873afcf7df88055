/* SPDX-License-Identifier: MIT */
/*
 * What lifecycle.c stands on, and what watches it: pool objects and device slots, the swap cache's slot, and ghosts,
 * which no C code has and on which nothing in the model depends but assertions.
 *
 *   things    1 .. POOL_OBJECTS are pool objects, the rest device slots. One table, so that a content is its number.
 *             A page is two halves with its version in each; freeing spoils both. The lowest free number is given out
 *             again first, which is the worst for whoever still looks at the old one.
 *   current   ghost: the version that a cache without concurrency would hold now; 0 = none. Changed only where a store,
 *             an invalidation or an exclusive load takes effect (TAKES_EFFECT).
 *   clock     ghost: counts those. since[thing]: when the version in it was current first.
 *   finished  ghost: the youngest effect whose verb has ended: a load that begins now must not return older.
 *   pins      ghost: how many actors really hold the thing.
 */
#define THINGS (POOL_OBJECTS + DEVICE_SLOTS + 1)

#define ACTORS 3
#define FIRST_VERSION (1 + KEY)
#define FILL_VERSION 100 /* of a FILLED word */

#if KEYS > 1
#define KEY key
#else
#define KEY 0
#endif

bit alive[THINGS];
byte half_a[THINGS], half_b[THINGS];
byte orphan[THINGS]; /* the table: holders that have yet to let go; 0 = no record */
bit lock;            /* lifecycle.lock */
short word[KEYS];

/* The swap cache. owner: 0 = no slot, else the actor's number + 1. */
byte slot_owner[KEYS];
bit slot_faults[KEYS]; /* LOCKED(FAULT), not LOCKED(WRITEBACK) */

/* Ghosts */
byte current[KEYS], finished[KEYS], filled_since[KEYS];
byte clock;
byte since[THINGS], pins[THINGS];
byte floor[ACTORS];         /* of a load: `finished` when it began */
byte mine[ACTORS];          /* of a store or removal: when it took effect */
byte half[ACTORS], age[ACTORS]; /* what was read: a half, and since when it was current */
bit wanted_wb[THINGS]; /* a writeback of it is in flight */
bit writing[THINGS];   /* a slot with a write in flight */
byte working, hung;    /* actors in a verb; actors for which the device never answers */
byte phantoms;         /* thing held since before the first step, by nobody who will let go */

/* What is handed to C: `hidden`, so in no state. */
hidden short r_from, r_to;
hidden byte r_function, r_deed, r_object, r_result, r_guarantee, r_version;

/*
 * Two numberings would make the states endless: versions, of which only equality matters, and the clock, of which only order
 * does. So a version is the least number that nothing has, and the clock's readings are numbered anew, without gaps,
 * when a verb has ended.
 */
c_code {
    static int unused_version(void)
    {
        for (int version = 1;; version++) {
            int used = 0;
            for (int i = 0; i < THINGS; i++) {
                used |= now.half_a[i] == version || now.half_b[i] == version;
            }
            for (int i = 0; i < ACTORS; i++) {
                used |= now.half[i] == version;
            }
            for (int i = 0; i < KEYS; i++) {
                used |= now.current[i] == version;
            }
            if (!used) {
                return version;
            }
        }
    }

    static void renumber_in(unsigned char *values, int n, const unsigned char rank[256])
    {
        for (int i = 0; i < n; i++) {
            values[i] = rank[values[i]];
        }
    }

    static void mark_in(const unsigned char *values, int n, unsigned char used[256])
    {
        for (int i = 0; i < n; i++) {
            used[values[i]] = 1;
        }
    }

    /* Versions by their first place in the table. */
    static void renumber_versions(void)
    {
        unsigned char rank[256] = {0}, last = 0;
        rank[FILL_VERSION] = FILL_VERSION;
        for (int i = 0; i < THINGS; i++) {
            if (now.half_a[i] && !rank[now.half_a[i]]) {
                rank[now.half_a[i]] = ++last;
            }
        }
        for (int i = 0; i < ACTORS; i++) {
            if (now.half[i] && !rank[now.half[i]]) {
                rank[now.half[i]] = ++last;
            }
        }
        renumber_in(now.half_a, THINGS, rank);
        renumber_in(now.half_b, THINGS, rank);
        renumber_in(now.half, ACTORS, rank);
        renumber_in(now.current, KEYS, rank);
    }

    static void renumber_clock(void)
    {
        unsigned char rank[256] = {0};
        mark_in(now.since, THINGS, rank);
        mark_in(now.finished, KEYS, rank);
        mark_in(now.filled_since, KEYS, rank);
        mark_in(now.floor, ACTORS, rank);
        mark_in(now.mine, ACTORS, rank);
        mark_in(now.age, ACTORS, rank);
        rank[0] = 0;
        for (int i = 1; i <= now.clock; i++) {
            rank[i] += rank[i - 1];
        }
        now.clock = rank[now.clock];
        renumber_in(now.since, THINGS, rank);
        renumber_in(now.finished, KEYS, rank);
        renumber_in(now.filled_since, KEYS, rank);
        renumber_in(now.floor, ACTORS, rank);
        renumber_in(now.mine, ACTORS, rank);
        renumber_in(now.age, ACTORS, rank);
    }

    static void renumber(void)
    {
        renumber_versions();
        renumber_clock();
    }
}

/* Stops pan if the guarantee is broken, and says which. */
#define G(n, what, condition) \
    if \
    :: (condition) \
    :: else -> r_guarantee = n; c_code { broken(r_guarantee, what); }; assert(false) \
    fi

inline RECORD(f_, from_, to_, deed_, object_, result_)
{
    r_function = f_; r_from = from_; r_to = to_; r_deed = deed_; r_object = object_; r_result = result_;
    c_code { record(r_function, r_from, r_to, r_deed, r_object, r_result); }
}

/* The lowest free thing in first .. end - 1 into `n`; 0 if there is none. */
inline FIND_FREE(thing, first, end)
{
    thing = first;
    do
    :: thing < end && alive[thing] -> thing++
    :: thing == end -> thing = 0; break
    :: thing < end && !alive[thing] -> alive[thing] = 1; break
    od
}

inline FREE(dead)
{
    G(7, "what is freed is alive: freed once", alive[dead]);
    G(7, "nobody holds what is freed", !pins[dead] && !wanted_wb[dead]);
    G(3, "a slot is not freed while a write to it is in flight", !writing[dead]);
    alive[dead] = 0; half_a[dead] = 0; half_b[dead] = 0; since[dead] = 0
}

/* A store or a removal takes effect here, by the change of the word; `mine` tells the verb when. */
inline TAKES_EFFECT()
{
    clock++;
    mine[me] = clock;
    current[KEY] = (next -> (next == FILLED_WORD -> FILL_VERSION : half_a[NAME(next)]) : 0);
    since[(IS_OBJECT(next) -> NAME(next) : 0)] = (IS_OBJECT(next) -> clock : 0);
    filled_since[KEY] = (next == FILLED_WORD -> clock : 0)
}

/* One hold of `held` is over. */
inline LET_GO(user)
{
    pins[NAME(held)]--;
    wanted_wb[NAME(held)] = wanted_wb[NAME(held)] && user != F_FINISH && user != F_ABORT
}

/* After each change of the word: it still says what it should. `g` is the guarantee that would be broken else. */
#define IS_CURRENT(n) (alive[n] && current[KEY] && half_a[n] == current[KEY] && half_b[n] == current[KEY])
#define CHECK_WORD(g) \
    G(g, "the word names the newest version, whole, or nothing if there is none", \
        (IS_OBJECT(word[KEY]) -> IS_CURRENT(NAME(word[KEY])) : \
            current[KEY] == (KIND(word[KEY]) == FILLED -> FILL_VERSION : 0))); \
    G(8, "the word counts its holders", \
        !IS_OBJECT(word[KEY]) || HOLDERS(word[KEY]) + HAS_WB(word[KEY]) == pins[NAME(word[KEY])])

/* Who holds the thing `n` reads it, in two steps. `g`: 1 for a load, 3 for a writeback, 8 for a move. */
#define READ_A(n, g) \
    G(g, "only a living object is read", alive[n]); \
    half[me] = half_a[n]
#define READ_B(n, g) \
    G(g, "only a living object is read", alive[n]); \
    G(g, "what is read is whole", half[me] == half_b[n] && half[me]); \
    age[me] = since[n]

inline WRITE_BOTH(into, version_, since_)
{
    half_a[into] = version_; half_b[into] = version_; since[into] = since_
}

/* At the end, with whoever hangs: G2. */
inline CHECK_END()
{
    n = 1;
    do
    :: n < THINGS ->
        named = 0;
        k = 0;
        do
        :: k < KEYS ->
            if
            :: IS_OBJECT(word[k]) && NAME(word[k]) == n ->
                named++;
                G(2, "the word's holders are those that hang", HOLDERS(word[k]) + HAS_WB(word[k]) == pins[n])
            :: else
            fi;
            k++
        :: else -> break
        od;
        G(2, "what is alive is named once, or held by one that hangs: nothing leaks",
            !alive[n] || named == 1 || (named == 0 && (orphan[n] || writing[n])));
        G(2, "orphans are what hangs", named || orphan[n] == pins[n]);
        G(2, "what is named is no orphan, and alive", !named || (!orphan[n] && alive[n]));
        G(2, "nobody holds but who hangs", (!pins[n] && !writing[n]) || hung || n == phantoms);
        n++
    :: else -> break
    od;
    G(2, "the orphans' lock is free", !lock);
    k = 0;
    do
    :: k < KEYS ->
        G(4, "the swap cache's slot is given back", !slot_owner[k] || hung);
        G(8, "the slot is not frozen", word[k] != FROZEN);
        k++
    :: else -> break
    od;
    n = 0; k = 0; named = 0
}
