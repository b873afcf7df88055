/* SPDX-License-Identifier: MIT */
/* The staging area: which clusters are free, filling, waiting; when frames go back; and the books. */
#include "region/staging.h"

#include <pthread.h>

#include "base/sys.h"
#include "tests/harness.h"

#define CLUSTERS 16u

static struct account account;
static struct memory memory = {.account = &account};

static void fill(struct staging *s, uint32_t number, uint64_t source, uint64_t present)
{
    for (unsigned i = 0; i < CLUSTER_PAGES; i++) {
        if (present >> i & 1) {
            *staging_page(s, (uint64_t)number * CLUSTER_PAGES + i) = (unsigned char)(i + 1);
        }
    }
    account_charge(&account, ACCOUNT_SWAP_CACHE, (size_t)__builtin_popcountll(present) * PAGE_BYTES);
    staging_fill(s, number, source, present);
}

static void close_and_check(struct staging *s)
{
    staging_destroy(s);
    CHECK_EQUAL(account.total, 0);
}

TEST(every_cluster_can_be_taken_once)
{
    struct staging s;
    bool seen[CLUSTERS] = {false};
    uint32_t number;
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        CHECK(staging_take(&s, &number));
        CHECK(number < CLUSTERS && !seen[number]);
        seen[number] = true;
    }
    CHECK(!staging_take(&s, &number));
    staging_free(&s, 5);
    CHECK(staging_take(&s, &number) && number == 5);
    close_and_check(&s);
}

TEST(waiting_clusters_come_oldest_first)
{
    struct staging s;
    uint32_t number, order[3];
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    CHECK(!staging_next(&s, &number));
    for (int i = 0; i < 3; i++) {
        REQUIRE(staging_take(&s, &order[i]));
        fill(&s, order[i], (uint64_t)i, 1);
        staging_publish(&s, order[i]);
        CHECK_EQUAL(staging_waiting(&s), i + 1);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(staging_next(&s, &number));
        CHECK_EQUAL(number, order[i]);
        CHECK_EQUAL(s.table[number].source, i);
    }
    CHECK(!staging_next(&s, &number));
    CHECK_EQUAL(staging_waiting(&s), 0);
    close_and_check(&s);
}

TEST(a_page_let_go_is_held_no_more_and_its_neighbours_are)
{
    struct staging s;
    uint32_t number;
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    REQUIRE(staging_take(&s, &number));
    fill(&s, number, 9, 0xf0);
    staging_let_go(&s, (uint64_t)number * CLUSTER_PAGES + 5);
    CHECK_EQUAL(s.table[number].held, 0xd0);
    CHECK_EQUAL(s.table[number].present, 0xf0); /* the frame is here until all go */
    close_and_check(&s);
}

TEST(freeing_gives_frames_back_and_they_read_as_zero)
{
    struct staging s;
    uint32_t number;
    unsigned char resident[CLUSTER_PAGES];
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    REQUIRE(staging_take(&s, &number));
    fill(&s, number, 9, ~0ull);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_SWAP_CACHE), CLUSTER_BYTES);
    s.table[number].held = 0;
    staging_free(&s, number);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_SWAP_CACHE), 0);
    unsigned char *at = staging_page(&s, (uint64_t)number * CLUSTER_PAGES);
    REQUIRE(!sys_call3(SYS_mincore, (long)at, CLUSTER_BYTES, (long)resident));
    for (unsigned i = 0; i < CLUSTER_PAGES; i++) {
        CHECK(!(resident[i] & 1));
    }
    CHECK_EQUAL(*at, 0);
    close_and_check(&s);
}

TEST(a_cluster_that_took_nothing_is_freed_for_nothing)
{
    struct staging s;
    uint32_t number, again;
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    REQUIRE(staging_take(&s, &number));
    staging_free(&s, number);
    CHECK(staging_take(&s, &again) && again == number);
    close_and_check(&s);
}

TEST(destroy_uncharges_what_still_waits)
{
    struct staging s;
    uint32_t number;
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    REQUIRE(staging_take(&s, &number));
    fill(&s, number, 1, 0xffff);
    staging_publish(&s, number);
    close_and_check(&s);
}

TEST(init_without_memory_leaves_nothing)
{
    for (int n = 1; n <= 2; n++) {
        struct staging s;
        memory.fail_countdown = n;
        CHECK_EQUAL(staging_init(&s, &memory, CLUSTERS), -ENOMEM);
        CHECK_EQUAL(account.total, 0);
    }
    memory.fail_countdown = 0;
}

/* ---- beside a model */

enum state { FREE, FILLING, WAITING, EMPTIED };

struct model {
    enum state state[CLUSTERS];
    uint32_t queue[CLUSTERS];
    size_t waiting;
    uint64_t held[CLUSTERS], present[CLUSTERS];
};

static void check_model(struct staging *s, const struct model *m)
{
    uint64_t pages = 0;
    CHECK_EQUAL(staging_waiting(s), m->waiting);
    uint32_t link = s->oldest;
    for (size_t i = 0; i < m->waiting; i++) {
        REQUIRE(link);
        CHECK_EQUAL(link - 1, m->queue[i]);
        link = s->table[link - 1].next;
    }
    CHECK_EQUAL(link, 0);
    for (unsigned i = 0; i < CLUSTERS; i++) {
        CHECK(m->state[i] == FREE || s->table[i].held == m->held[i]);
        CHECK_EQUAL(s->table[i].present, m->present[i]);
        pages += (uint64_t)__builtin_popcountll(m->present[i]);
    }
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_SWAP_CACHE), pages * PAGE_BYTES);
}

static void model_step(struct staging *s, struct model *m, uint64_t random)
{
    uint32_t pick = (uint32_t)(random >> 8) % CLUSTERS, number;
    switch (random % 5) {
    case 0:
        if (staging_take(s, &number)) {
            CHECK_EQUAL(m->state[number], FREE);
            m->state[number] = FILLING;
        } else {
            for (unsigned i = 0; i < CLUSTERS; i++) {
                CHECK(m->state[i] != FREE);
            }
        }
        break;
    case 1:
        if (m->state[pick] == FILLING) {
            m->held[pick] = m->present[pick] = random >> 20;
            fill(s, pick, pick, m->present[pick]);
            staging_publish(s, pick);
            m->state[pick] = WAITING;
            m->queue[m->waiting++] = pick;
        }
        break;
    case 2:
        if (m->state[pick] == WAITING && m->held[pick]) {
            unsigned index = (unsigned)__builtin_ctzll(m->held[pick]);
            staging_let_go(s, (uint64_t)pick * CLUSTER_PAGES + index);
            m->held[pick] &= m->held[pick] - 1;
        }
        break;
    case 3:
        CHECK_EQUAL(staging_next(s, &number), m->waiting > 0);
        if (m->waiting) {
            CHECK_EQUAL(number, m->queue[0]);
            m->waiting--;
            memmove(m->queue, m->queue + 1, m->waiting * sizeof m->queue[0]);
            m->state[number] = EMPTIED;
            s->table[number].held = m->held[number] = 0;
        }
        break;
    case 4:
        if (m->state[pick] == EMPTIED) {
            staging_free(s, pick);
            m->state[pick] = FREE;
            m->present[pick] = 0;
        }
        break;
    }
}

TEST(staging_does_what_the_model_does)
{
    struct staging s;
    struct model m = {.waiting = 0};
    uint64_t random = 31337;
    REQUIRE(!staging_init(&s, &memory, CLUSTERS));
    for (int i = 0; i < 10000; i++) {
        model_step(&s, &m, harness_random(&random));
        check_model(&s, &m);
    }
    close_and_check(&s);
}

/* ---- threads */

#define ROUNDS 2000

static struct staging shared;
static uint32_t finished; /* atomic */

/* Evicts: takes a cluster, fills it, publishes it. */
static void *run_filler(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < ROUNDS;) {
        uint32_t number;
        if (!staging_take(&shared, &number)) {
            sys_yield();
            continue;
        }
        fill(&shared, number, i, 0xff);
        staging_publish(&shared, number);
        i++;
    }
    return NULL;
}

/* Compresses: takes the oldest, lets its pages go, frees it. */
static void *run_emptier(void *argument)
{
    (void)argument;
    while (atomic_read_acquire(&finished) < 2 * ROUNDS) {
        uint32_t number;
        if (!staging_next(&shared, &number)) {
            sys_yield();
            continue;
        }
        for (unsigned i = 0; i < 8; i++) {
            CHECK_EQUAL(*staging_page(&shared, (uint64_t)number * CLUSTER_PAGES + i), i + 1);
            staging_let_go(&shared, (uint64_t)number * CLUSTER_PAGES + i);
        }
        CHECK_EQUAL(shared.table[number].held, 0);
        staging_free(&shared, number);
        atomic_add_acq_rel(&finished, 1);
    }
    return NULL;
}

TEST(fillers_and_emptiers_side_by_side)
{
    pthread_t threads[4];
    REQUIRE(!staging_init(&shared, &memory, CLUSTERS));
    for (int i = 0; i < 4; i++) {
        REQUIRE(!pthread_create(&threads[i], NULL, i < 2 ? run_filler : run_emptier, NULL));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(staging_waiting(&shared), 0);
    CHECK_EQUAL(account_bytes(&account, ACCOUNT_SWAP_CACHE), 0);
    close_and_check(&shared);
}

int main(void)
{
    RUN(every_cluster_can_be_taken_once);
    RUN(waiting_clusters_come_oldest_first);
    RUN(a_page_let_go_is_held_no_more_and_its_neighbours_are);
    RUN(freeing_gives_frames_back_and_they_read_as_zero);
    RUN(a_cluster_that_took_nothing_is_freed_for_nothing);
    RUN(destroy_uncharges_what_still_waits);
    RUN(init_without_memory_leaves_nothing);
    RUN(staging_does_what_the_model_does);
    RUN(fillers_and_emptiers_side_by_side);
    return harness_finish();
}
