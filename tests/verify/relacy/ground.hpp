/* SPDX-License-Identifier: MIT */
/* The shim's other side: each operation as relacy's. */
#ifndef UZSWAP_TESTS_VERIFY_RELACY_GROUND_HPP
#define UZSWAP_TESTS_VERIFY_RELACY_GROUND_HPP

#include <relacy/relacy.hpp>

/* relacy takes these names from the program under test; ours allocates nothing. */
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno

#include "shim.hpp"

[[noreturn]] static inline void fail(const char *what)
{
    rl::ctx().fail_test(what, rl::test_result_user_assert_failed, $);
    abort(); /* fail_test does not return */
}

/* What the code under test stands on, new for each execution. */
struct ground {
    enum { WORDS = 2, TABLE_BYTES = 64, CELLS = 128 };

    uint64_t names[WORDS]; /* never read or written: their addresses stand for the words */
    rl::atomic<uint64_t> words[WORDS];
    rl::mutex lock;
    alignas(16) char table[TABLE_BYTES];

    /* Race detection of the plain fields, once the threads run: each made when first touched. */
    bool threads_run = false;
    const char *fields = nullptr; /* struct lifecycle */
    size_t fields_bytes = 0;
    rl::var_data *cells[CELLS] = {};

    ~ground()
    {
        for (rl::var_data *cell : cells) {
            if (cell) {
                rl::ctx().var_dtor(cell);
            }
        }
    }

    rl::atomic<uint64_t> &word_at(uint64_t *name)
    {
        if (name < names || name >= names + WORDS) {
            fail("not a word of the index");
        }
        return words[name - names];
    }

    void plain_access(const void *field, bool store)
    {
        const char *at = (const char *)field;
        size_t cell;
        if (at >= table && at < table + TABLE_BYTES) {
            cell = (size_t)(at - table) / 4;
        } else if (at >= fields && at < fields + fields_bytes) {
            cell = (TABLE_BYTES + (size_t)(at - fields)) / 4;
        } else {
            return; /* a local variable */
        }
        if (cell >= CELLS) {
            fail("CELLS is too small");
        }
        if (!cells[cell]) {
            cells[cell] = rl::ctx().var_ctor();
        }
        rl::thread_info_base &thread = *rl::ctx().threadx_;
        if (store ? !cells[cell]->store(thread) : !cells[cell]->load(thread)) {
            rl::ctx().fail_test("the table of orphans", rl::test_result_data_race, $);
        }
    }
};

static ground *the_ground;

/*
 * A failed swap is a load. relacy lets it find only the latest value, in the order written. To see what rests on that, it can
 * also be made relaxed throughout, and then it may find an older value, as C allows; or acquire throughout.
 */
enum failed_swap { FAILED_AS_WRITTEN, FAILED_RELAXED, FAILED_ACQUIRE };
static failed_swap failed_swaps;

static rl::memory_order order_of(int order)
{
    switch (order) {
    case __ATOMIC_RELAXED:
        return rl::mo_relaxed;
    case __ATOMIC_ACQUIRE:
        return rl::mo_acquire;
    case __ATOMIC_RELEASE:
        return rl::mo_release;
    case __ATOMIC_ACQ_REL:
        return rl::mo_acq_rel;
    case __ATOMIC_SEQ_CST:
        return rl::mo_seq_cst;
    default:
        fail("an order that the shim does not know");
    }
}

static rl::debug_info info_of(place at)
{
    return rl::debug_info(at.function, at.file, at.line);
}

uint64_t checked_load(uint64_t *word, int order, place at)
{
    return the_ground->word_at(word).load(order_of(order), info_of(at));
}

void checked_store(uint64_t *word, uint64_t value, int order, place at)
{
    the_ground->word_at(word).store(value, order_of(order), info_of(at));
}

uint64_t checked_exchange(uint64_t *word, uint64_t value, int order, place at)
{
    return the_ground->word_at(word).exchange(value, order_of(order), info_of(at));
}

bool checked_cas(uint64_t *word, uint64_t *expected, uint64_t next, int success, int failure, place at)
{
    rl::atomic<uint64_t> &atomic = the_ground->word_at(word);
    if (failed_swaps == FAILED_RELAXED) {
        failure = __ATOMIC_RELAXED;
        uint64_t perhaps_stale = atomic.load(rl::mo_relaxed, info_of(at));
        if (perhaps_stale != *expected) {
            *expected = perhaps_stale;
            return false;
        }
        rl::ctx().disable_preemption(); /* it is one operation */
    }
    /* relacy knows no failure order above the success order: the failed swap is relaxed, and a fence follows. */
    bool swapped = atomic.compare_exchange(rl::bool_t<false>(), *expected, next, order_of(success),
                                           rl::mo_relaxed, info_of(at));
    if (failed_swaps == FAILED_RELAXED) {
        rl::ctx().enable_preemption();
    }
    if (!swapped && (failure != __ATOMIC_RELAXED || failed_swaps == FAILED_ACQUIRE)) {
        rl::ctx().atomic_thread_fence_acquire();
    }
    return swapped;
}

void checked_plain(const void *field, bool store)
{
    if (the_ground && the_ground->threads_run) {
        the_ground->plain_access(field, store);
    }
}

void checked_yield(place at)
{
    rl::yield(1, info_of(at));
}

void mutex_init(struct mutex *, enum lock_rank)
{
}

void mutex_lock(struct mutex *)
{
    the_ground->lock.lock($);
}

void mutex_unlock(struct mutex *)
{
    the_ground->lock.unlock($);
}

void mutex_assert_held(const struct mutex *)
{
}

void *memory_map(struct memory *, size_t bytes, enum account_kind)
{
    if (bytes > ground::TABLE_BYTES) {
        fail("TABLE_BYTES is too small");
    }
    return memset(the_ground->table, 0, sizeof the_ground->table);
}

void memory_unmap(struct memory *, void *, size_t, enum account_kind)
{
}

#endif
