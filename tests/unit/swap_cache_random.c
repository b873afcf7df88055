/* SPDX-License-Identifier: MIT */
/* The swap cache beside a naive model. */
#include "tests/unit/swap_cache_fixture.h"

enum model_state { M_NONE, M_WAITING, M_EVICT, M_STORE, M_FAULT, M_WRITEBACK };

struct model {
    enum model_state state;
    bool fault_came, has_page;
    uint64_t page;
    struct swap_cache_token token;
};

enum { MODEL_ENTRIES = 40, MODEL_SLOTS = 25 };
static struct model model[MODEL_ENTRIES];
static size_t model_used;

static void model_remove(struct model *m)
{
    m->state = M_NONE;
    model_used--;
}

static void model_begin(struct model *m, enum model_state state)
{
    model_used += m->state == M_NONE;
    m->has_page &= m->state == M_WAITING;
    m->state = state;
    m->fault_came = false;
}

/* The end of a hold that a fault may have met; what the function under test must answer. */
static bool model_end(struct model *m, bool removes)
{
    bool over = !m->fault_came;
    m->fault_came = false;
    if (!over) {
        m->state = M_FAULT;
    } else if (removes) {
        model_remove(m);
    } else {
        m->state = M_WAITING;
    }
    return over;
}

static void model_take(struct model *m, struct swap_entry entry)
{
    enum swap_cache_answer expected = SWAP_CACHE_BUSY;
    struct swap_cache_token token;
    uint64_t page = 0;
    if (m->state == M_NONE) {
        expected = model_used < MODEL_SLOTS ? SWAP_CACHE_NEW : SWAP_CACHE_FAIL;
    } else if (m->state == M_WAITING || m->state == M_WRITEBACK) {
        expected = m->state == M_WAITING ? SWAP_CACHE_PAGE : SWAP_CACHE_NEW;
    }
    CHECK_EQUAL(swap_cache_take(cache, entry, &token, &page), expected);
    if (expected == SWAP_CACHE_PAGE) {
        CHECK_EQUAL(page, m->page);
    }
    if (expected == SWAP_CACHE_NEW || expected == SWAP_CACHE_PAGE) {
        struct swap_cache_token old = m->token;
        bool took_over = m->state == M_WRITEBACK;
        model_begin(m, M_FAULT);
        m->token = token;
        if (took_over) {
            CHECK(swap_cache_release(cache, old));
        }
    } else if (m->state == M_EVICT || m->state == M_STORE) {
        m->fault_came = true;
    }
}

static void model_acquire(struct model *m, struct swap_entry entry, bool writeback)
{
    enum swap_cache_answer expected = m->state != M_NONE          ? SWAP_CACHE_EXIST
                                      : model_used == MODEL_SLOTS ? SWAP_CACHE_FAIL
                                                                  : SWAP_CACHE_NEW;
    struct swap_cache_token token;
    CHECK_EQUAL(swap_cache_acquire(cache, entry, writeback ? SWAP_CACHE_WRITEBACK : SWAP_CACHE_EVICT, &token),
                expected);
    if (expected == SWAP_CACHE_NEW) {
        model_begin(m, writeback ? M_WRITEBACK : M_EVICT);
        m->token = token;
    }
}

static void model_go_on(struct model *m, struct swap_entry entry, uint64_t random)
{
    uint64_t page;
    switch (m->state) {
    case M_NONE:
        CHECK(!swap_cache_drop(cache, entry, &page));
        break;
    case M_WAITING:
        if (random % 4) {
            CHECK(!swap_cache_begin_store(cache, entry, m->page + 1, &m->token));
            CHECK(swap_cache_begin_store(cache, entry, m->page, &m->token));
            model_begin(m, M_STORE);
        } else {
            CHECK(swap_cache_drop(cache, entry, &page));
            CHECK_EQUAL(page, m->page);
            model_remove(m);
        }
        break;
    case M_EVICT:
        if (random % 4) {
            m->page = random;
            m->has_page = true;
            CHECK_EQUAL(swap_cache_publish(cache, m->token, random), model_end(m, false));
        } else {
            CHECK_EQUAL(swap_cache_release(cache, m->token), model_end(m, true));
        }
        break;
    case M_STORE:
        CHECK_EQUAL(swap_cache_is_wanted(cache, m->token), m->fault_came);
        if (random % 2) {
            CHECK_EQUAL(swap_cache_finish_store(cache, m->token), model_end(m, true));
        } else {
            CHECK_EQUAL(swap_cache_cancel_store(cache, m->token), model_end(m, false));
        }
        break;
    case M_FAULT:
        if (random % 4 == 0 && m->has_page) {
            swap_cache_putback(cache, m->token);
            m->state = M_WAITING;
            break;
        }
        /* fall through */
    case M_WRITEBACK:
        CHECK(swap_cache_release(cache, m->token));
        model_remove(m);
        break;
    }
}

TEST(random_operations_agree_with_the_model)
{
    uint64_t seed = 42;
    set_up(MODEL_SLOTS);
    for (int step = 0; step < 200000 && !harness_failures; step++) {
        uint64_t random = harness_random(&seed);
        size_t i = (random >> 32) % MODEL_ENTRIES;
        struct swap_entry entry = {.type = (uint32_t)(i % 3), .offset = i / 3};
        switch (random % 8) {
        case 0:
        case 1:
            model_take(&model[i], entry);
            break;
        case 2:
            model_acquire(&model[i], entry, false);
            break;
        case 3:
            model_acquire(&model[i], entry, true);
            break;
        default:
            model_go_on(&model[i], entry, random >> 8);
            break;
        }
        CHECK_EQUAL(swap_cache_has(cache, entry), model[i].state != M_NONE);
        CHECK_EQUAL(swap_cache_count(cache), model_used);
        if (step % 1000 == 0) {
            CHECK(swap_cache_consistent(cache));
        }
    }
    tear_down();
}

int main(void)
{
    RUN(random_operations_agree_with_the_model);
    return harness_finish();
}
