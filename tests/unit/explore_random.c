/* SPDX-License-Identifier: MIT */
/*
 * The interleaving explorer against a naive model of it: random small programs, whose schedules are all enumerated by a
 * recursive interpreter that knows nothing of stacks, snapshots and merging. Both must tell the same end states, the same
 * number of schedules, and whether one of them fails.
 */
#include "base/lock.h"
#include "tests/harness.h"
#include "tests/verify/explore.h"

#define THREADS 3
#define WORDS 3
#define STEPS_MAX 5
#define ENDS_TABLE 16384 /* more than there are ends */
#define BAD_ENDS 40      /* one end in so many is bad */

enum verb { READ, SET, ADD, SWAP_IF, CHOOSE, LOCK, UNLOCK, TRY, RELEASE, AWAIT, END };

struct step {
    enum verb verb;
    unsigned word; /* or the lock */
    unsigned value;
};

/* A thread has two registers. SET and ADD use the first, READ shifts into it. */
static struct step code[THREADS][STEPS_MAX + 3];
static bool with_locks;
static unsigned bound; /* on preemptions */

/* A set, by open addressing. */
struct ends {
    uint64_t end[ENDS_TABLE]; /* 0: free */
    unsigned count;
    bool bad, deadlock;
    double schedules;
};

static bool has_end(const struct ends *ends, uint64_t end, unsigned *place)
{
    for (*place = end % ENDS_TABLE; ends->end[*place]; *place = (*place + 1) % ENDS_TABLE) {
        if (ends->end[*place] == end) {
            return true;
        }
    }
    return false;
}

static void add_end(struct ends *ends, uint64_t end)
{
    unsigned place;
    if (!has_end(ends, end, &place)) {
        REQUIRE(++ends->count < ENDS_TABLE / 2);
        ends->end[place] = end;
    }
    ends->bad |= end % BAD_ENDS == 0;
}

static void shift_in(unsigned registers[2], unsigned value)
{
    registers[1] = registers[0];
    registers[0] = value;
}

/* An end state in one number, not 0 (FNV-1a). */
static uint64_t pack_end(const uint32_t words[WORDS], const unsigned registers[THREADS][2])
{
    uint64_t end = 14695981039346656037ull;
    for (unsigned i = 0; i < WORDS; i++) {
        end = (end ^ words[i]) * 1099511628211ull;
    }
    for (unsigned i = 0; i < THREADS * 2; i++) {
        end = (end ^ registers[i / 2][i % 2]) * 1099511628211ull;
    }
    return end >> 8 | 1ull << 63;
}

/* ---- programs */

static void make_thread(struct step *to, uint64_t *seed)
{
    unsigned steps = 2 + harness_random(seed) % (STEPS_MAX - 2);
    for (unsigned i = 0; i < steps; i++) {
        unsigned word = harness_random(seed) % WORDS, value = 1 + harness_random(seed) % 3;
        unsigned kind = harness_random(seed) % 16;
        unsigned lock = harness_random(seed) % 2;
        enum verb verb = kind < 5 ? READ : kind < 8 ? SET : kind < 11 ? ADD : kind < 13 ? SWAP_IF : CHOOSE;
        if (with_locks && kind >= 11) {
            /* A pair, with what comes between them, perhaps the other lock */
            bool nested = kind == 11;
            *to++ = (struct step){kind == 12 ? TRY : LOCK, kind == 12 ? 2 : lock, 0};
            *to++ = (struct step){nested ? LOCK : ADD, nested ? !lock : word, value};
            if (nested) {
                *to++ = (struct step){UNLOCK, !lock, 0};
            }
            *to++ = (struct step){kind == 12 ? RELEASE : UNLOCK, kind == 12 ? 2 : lock, 0};
            i += 2;
        } else if (with_locks && kind == 10) {
            *to++ = (struct step){AWAIT, word, 0};
        } else {
            *to++ = (struct step){verb, word, value};
        }
    }
    *to = (struct step){.verb = END};
}

/* ---- the explored side */

static struct {
    uint32_t words[WORDS];
    struct mutex lock[3]; /* the last is only tried */
    unsigned registers[THREADS][2];
} * shared;

static struct ends explored_ends;

static void set_up(void *context)
{
    (void)context;
    shared = explore_alloc(sizeof *shared);
    mutex_init(&shared->lock[0], LOCK_RANK_LEAF);
    mutex_init(&shared->lock[1], LOCK_RANK_LEAF);
    mutex_init(&shared->lock[2], LOCK_RANK_WRITEBACK);
}

static void run_thread(void *context, unsigned number)
{
    (void)context;
    unsigned registers[2] = {0};
    for (const struct step *step = code[number]; step->verb != END; step++) {
        uint32_t *word = &shared->words[step->word % WORDS];
        uint32_t expected = registers[0];
        switch (step->verb) {
        case READ:
            shift_in(registers, atomic_read_relaxed(word));
            break;
        case SET:
            atomic_set_relaxed(word, registers[0] + step->value);
            break;
        case ADD:
            shift_in(registers, atomic_add_acq_rel(word, step->value));
            break;
        case SWAP_IF:
            atomic_cas_acq_rel(word, &expected, step->value);
            shift_in(registers, expected);
            break;
        case CHOOSE:
            shift_in(registers, explore_choose(2, "bit"));
            break;
        case LOCK:
            mutex_lock(&shared->lock[step->word]);
            break;
        case UNLOCK:
            mutex_unlock(&shared->lock[step->word]);
            break;
        case TRY:
            shift_in(registers, mutex_try_lock(&shared->lock[step->word]));
            break;
        case RELEASE:
            if (shared->lock[step->word].state == number + 1) {
                mutex_unlock(&shared->lock[step->word]);
            }
            break;
        case AWAIT:
            while (!atomic_read_acquire(word)) {
                cpu_relax();
            }
            break;
        case END:
            break;
        }
    }
    memcpy(shared->registers[number], registers, sizeof registers);
}

static void check_end(void *context)
{
    (void)context;
    uint64_t end = pack_end(shared->words, (const unsigned(*)[2])shared->registers);
    add_end(&explored_ends, end);
    if (end % BAD_ENDS == 0) {
        explore_fail("bad end %llx", (unsigned long long)end);
    }
}

static const struct explore_program program = {
    .name = "random", .threads = THREADS, .set_up = set_up, .thread = run_thread, .check_end = check_end};

static struct explore_report explored(bool no_merging)
{
    struct explore_options options = {
        .max_preemptions = bound, .no_merging = no_merging, .no_simplify = true, .stop_after = UINT32_MAX};
    struct explore_report report;
    memset(&explored_ends, 0, sizeof explored_ends);
    explore_run(&program, &options, &report);
    CHECK(report.complete);
    if (bound == UINT32_MAX) {
        CHECK_EQUAL(report.ends, explored_ends.count);
    }
    return report;
}

/* ---- the naive side */

struct machine {
    uint32_t words[WORDS];
    unsigned lock[3]; /* holder + 1 */
    unsigned registers[THREADS][2];
    unsigned at[THREADS];
};

static struct ends naive_ends;

static bool can_run(const struct machine *m, unsigned t)
{
    const struct step *step = &code[t][m->at[t]];
    return step->verb != END && !(step->verb == LOCK && m->lock[step->word]) &&
           !(step->verb == AWAIT && !m->words[step->word]);
}

static void naive_step(struct machine *m, unsigned t, unsigned answer)
{
    const struct step *step = &code[t][m->at[t]];
    uint32_t *word = &m->words[step->word % WORDS];
    unsigned *lock = &m->lock[step->word];
    unsigned *registers = m->registers[t];
    unsigned old = *word;
    switch (step->verb) {
    case READ:
        shift_in(registers, *word);
        break;
    case SET:
        *word = registers[0] + step->value;
        break;
    case ADD:
        *word += step->value;
        shift_in(registers, *word);
        break;
    case SWAP_IF:
        if (old == registers[0]) {
            *word = step->value;
        }
        shift_in(registers, old);
        break;
    case CHOOSE:
        shift_in(registers, answer);
        break;
    case LOCK:
        *lock = t + 1;
        break;
    case UNLOCK:
        *lock = 0;
        break;
    case TRY:
        shift_in(registers, !*lock);
        *lock = *lock ? *lock : t + 1;
        break;
    case RELEASE:
        *lock = *lock == t + 1 ? 0 : *lock;
        break;
    case AWAIT:
    case END:
        break;
    }
    m->at[t]++;
}

static void naive_end(const struct machine *m)
{
    naive_ends.schedules++;
    for (unsigned t = 0; t < THREADS; t++) {
        if (code[t][m->at[t]].verb != END) {
            naive_ends.deadlock = true;
            return;
        }
    }
    add_end(&naive_ends, pack_end(m->words, (const unsigned(*)[2])m->registers));
}

/* `last`: who ran last, or THREADS. */
static void enumerate(const struct machine *m, unsigned last, unsigned preemptions)
{
    for (unsigned t = 0; t < THREADS; t++) {
        if (code[t][m->at[t]].verb == CHOOSE) {
            for (unsigned answer = 0; answer < 2; answer++) {
                struct machine next = *m;
                naive_step(&next, t, answer);
                enumerate(&next, last, preemptions);
            }
            return;
        }
    }
    bool any = false;
    for (unsigned t = 0; t < THREADS; t++) {
        unsigned used = preemptions + (t != last && last < THREADS && can_run(m, last));
        if (!can_run(m, t)) {
            continue;
        }
        any = true;
        if (used <= bound) {
            struct machine next = *m;
            naive_step(&next, t, 0);
            enumerate(&next, t, used);
        }
    }
    if (!any) {
        naive_end(m);
    }
}

static void make_program(uint64_t *seed)
{
    for (unsigned t = 0; t < THREADS; t++) {
        make_thread(code[t], seed);
    }
    static const struct machine start;
    memset(&naive_ends, 0, sizeof naive_ends);
    enumerate(&start, THREADS, 0);
}

/* ---- comparing */

static void check_same_ends(uint64_t seed)
{
    unsigned common = 0;
    for (unsigned i = 0, place; i < ENDS_TABLE; i++) {
        common += naive_ends.end[i] && has_end(&explored_ends, naive_ends.end[i], &place);
    }
    if (common != naive_ends.count || common != explored_ends.count) {
        harness_fail(__FILE__, __LINE__, "seed %llu: %u ends, the model has %u, %u in common",
                     (unsigned long long)seed, explored_ends.count, naive_ends.count, common);
    }
}

static void check_program(uint64_t seed, bool no_merging)
{
    struct explore_report report = explored(no_merging);
    check_same_ends(seed);
    if (!with_locks && report.schedules != naive_ends.schedules) {
        harness_fail(__FILE__, __LINE__, "seed %llu: %.0f schedules, the model has %.0f",
                     (unsigned long long)seed, report.schedules, naive_ends.schedules);
    }
    CHECK_EQUAL(report.violations > 0, naive_ends.bad || naive_ends.deadlock);
    if (report.violations) {
        char violation[200];
        FILE *nowhere = fopen("/dev/null", "w");
        CHECK_EQUAL(explore_replay(&program, report.seed, nowhere, violation), 0);
        CHECK(!strcmp(violation, report.violation));
        fclose(nowhere);
    }
}

static void check_programs(unsigned count, bool no_merging)
{
    unsigned bad = 0, deadlocks = 0;
    for (uint64_t n = 1; n <= count; n++) {
        uint64_t seed = n;
        harness_random(&seed);
        make_program(&seed);
        bad += naive_ends.bad;
        deadlocks += naive_ends.deadlock;
        check_program(n, no_merging);
    }
    printf("# %u programs, %u with a bad end, %u with a deadlock\n", count, bad, deadlocks);
    CHECK(bad > 0 && bad < count);
    CHECK((deadlocks > 0) == with_locks);
}

TEST(ends_and_counts_are_those_of_the_model)
{
    with_locks = false;
    bound = UINT32_MAX;
    check_programs(200, false);
}

TEST(so_they_are_without_merging)
{
    with_locks = false;
    bound = UINT32_MAX;
    check_programs(40, true);
}

TEST(so_they_are_with_bounded_preemptions)
{
    with_locks = false;
    for (bound = 0; bound < 4; bound++) {
        check_programs(60, bound % 2);
    }
}

TEST(locks_and_waits_lose_no_end)
{
    with_locks = true;
    bound = UINT32_MAX;
    check_programs(300, false);
}

#define RUN_EXPLORING(test) harness_run(#test, explore_unavailable() ? skip : test)

static void skip(void)
{
    SKIP(explore_unavailable());
}

int main(void)
{
    RUN_EXPLORING(ends_and_counts_are_those_of_the_model);
    RUN_EXPLORING(so_they_are_without_merging);
    RUN_EXPLORING(so_they_are_with_bounded_preemptions);
    RUN_EXPLORING(locks_and_waits_lose_no_end);
    return harness_finish();
}
