/* SPDX-License-Identifier: MIT */
/* The masks of a cluster, and the resident queue beside a naive model. */
#include "region/cluster.h"

#include "tests/harness.h"

#define CLUSTERS 300

static struct account account;
static struct memory memory = {.account = &account};

TEST(mask_covers_the_pages_asked_for)
{
    CHECK(bit_mask(0, 1) == 1);
    CHECK(bit_mask(63, 1) == 1ull << 63);
    CHECK(bit_mask(0, 64) == ~0ull);
    CHECK(bit_mask(0, 0) == 0);
    CHECK(bit_mask(8, 8) == 0xff00);
    CHECK(bit_mask(1, 63) == ~1ull);
}

TEST(runs_are_found_in_order)
{
    uint64_t mask = 0x8000000000000f06ull;
    unsigned first, count;
    CHECK(mask_next_run(&mask, &first, &count) && first == 1 && count == 2);
    CHECK(mask_next_run(&mask, &first, &count) && first == 8 && count == 4);
    CHECK(mask_next_run(&mask, &first, &count) && first == 63 && count == 1);
    CHECK(!mask_next_run(&mask, &first, &count));
}

TEST(a_full_mask_is_one_run)
{
    uint64_t mask = ~0ull;
    unsigned first, count;
    CHECK(mask_next_run(&mask, &first, &count) && first == 0 && count == 64);
    CHECK(!mask_next_run(&mask, &first, &count));
}

TEST(runs_of_random_masks_add_up)
{
    uint64_t random = 77;
    for (int i = 0; i < 20000; i++) {
        uint64_t mask = harness_random(&random) & harness_random(&random), rest = mask, sum = 0;
        unsigned first, count, end = 0, runs = 0;
        while (mask_next_run(&rest, &first, &count)) {
            CHECK(count && first + count <= 64 && (!runs || first > end));
            CHECK(!(sum & bit_mask(first, count)));
            sum |= bit_mask(first, count);
            end = first + count;
            runs++;
        }
        CHECK(sum == mask);
    }
}

struct frame {
    struct sparse clusters;
    struct cluster_queue queue;
};

static void frame_open(struct frame *f)
{
    REQUIRE(!sparse_init(&f->clusters, &memory, CLUSTERS, sizeof(struct cluster), ACCOUNT_TABLES));
    for (uint64_t i = 0; i < CLUSTERS; i++) {
        REQUIRE(sparse_get_for_write(&f->clusters, i));
    }
    cluster_queue_init(&f->queue);
}

static void frame_close(struct frame *f)
{
    sparse_destroy(&f->clusters);
    CHECK_EQUAL(account.total, 0);
}

static struct cluster *cluster_of(struct frame *f, uint64_t number)
{
    return sparse_get(&f->clusters, number);
}

TEST(queue_gives_the_oldest_first)
{
    struct frame f;
    uint64_t number;
    frame_open(&f);
    CHECK(!cluster_queue_take(&f.queue, &f.clusters, &number));
    for (uint64_t i = 0; i < 10; i++) {
        cluster_queue_add(&f.queue, &f.clusters, i * 7);
    }
    for (uint64_t i = 0; i < 10; i++) {
        CHECK(cluster_queue_take(&f.queue, &f.clusters, &number));
        CHECK_EQUAL(number, i * 7);
    }
    CHECK(!cluster_queue_take(&f.queue, &f.clusters, &number));
    CHECK(cluster_queue_consistent(&f.queue, &f.clusters));
    frame_close(&f);
}

TEST(a_queued_cluster_is_not_added_twice)
{
    struct frame f;
    uint64_t number;
    frame_open(&f);
    cluster_queue_add(&f.queue, &f.clusters, 5);
    cluster_queue_add(&f.queue, &f.clusters, 5);
    CHECK_EQUAL(f.queue.length, 1);
    CHECK(cluster_queue_take(&f.queue, &f.clusters, &number));
    CHECK(!cluster_queue_take(&f.queue, &f.clusters, &number));
    frame_close(&f);
}

TEST(a_warm_cluster_is_passed_over_once)
{
    struct frame f;
    uint64_t number;
    frame_open(&f);
    cluster_queue_add(&f.queue, &f.clusters, 1);
    cluster_queue_add(&f.queue, &f.clusters, 2);
    cluster_of(&f, 1)->warm = 1;
    CHECK(cluster_queue_take(&f.queue, &f.clusters, &number) && number == 2);
    CHECK_EQUAL(cluster_of(&f, 1)->warm, 0);
    CHECK(cluster_queue_take(&f.queue, &f.clusters, &number) && number == 1);
    frame_close(&f);
}

TEST(when_all_are_warm_the_oldest_goes)
{
    struct frame f;
    uint64_t number;
    frame_open(&f);
    for (uint64_t i = 0; i < 4; i++) {
        cluster_queue_add(&f.queue, &f.clusters, i);
        cluster_of(&f, i)->warm = 1;
    }
    for (uint64_t i = 0; i < 4; i++) {
        CHECK(cluster_queue_take(&f.queue, &f.clusters, &number));
        CHECK_EQUAL(number, i);
    }
    frame_close(&f);
}

/* The model: a plain array, oldest first. */
struct model {
    uint64_t order[CLUSTERS];
    size_t length;
};

static void model_remove_first(struct model *m)
{
    m->length--;
    memmove(m->order, m->order + 1, m->length * sizeof m->order[0]);
}

static uint64_t model_take(struct model *m, struct frame *f)
{
    for (size_t tries = m->length; tries && cluster_of(f, m->order[0])->warm; tries--) {
        uint64_t first = m->order[0];
        model_remove_first(m);
        m->order[m->length++] = first | 1ull << 40; /* passed over */
    }
    for (size_t i = 0; i < m->length; i++) {
        m->order[i] &= ~(1ull << 40);
    }
    uint64_t first = m->order[0];
    model_remove_first(m);
    return first;
}

TEST(queue_does_what_the_model_does)
{
    struct frame f;
    static struct model m;
    uint64_t random = 4711, number;
    frame_open(&f);
    m.length = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t pick = harness_random(&random) % CLUSTERS;
        if (harness_random(&random) % 2) {
            if (!cluster_of(&f, pick)->queued) {
                m.order[m.length++] = pick;
            }
            cluster_queue_add(&f.queue, &f.clusters, pick);
        } else if (harness_random(&random) % 4 == 0 && cluster_of(&f, pick)->queued) {
            cluster_of(&f, pick)->warm = 1;
        } else if (m.length) {
            /* The model reads the warm flags that the queue will clear: so it goes first. */
            uint64_t expected = model_take(&m, &f);
            CHECK(cluster_queue_take(&f.queue, &f.clusters, &number));
            CHECK_EQUAL(number, expected);
        } else {
            CHECK(!cluster_queue_take(&f.queue, &f.clusters, &number));
        }
        CHECK_EQUAL(f.queue.length, m.length);
        if (i % 512 == 0) {
            CHECK(cluster_queue_consistent(&f.queue, &f.clusters));
        }
    }
    frame_close(&f);
}

/* The check prints what it finds: to where nobody looks. */
static bool consistent_quietly(struct frame *f)
{
    FILE *kept = stderr;
    stderr = fopen("/dev/null", "w");
    bool good = cluster_queue_consistent(&f->queue, &f->clusters);
    fclose(stderr);
    stderr = kept;
    return good;
}

TEST(the_check_catches_planted_faults)
{
    struct frame f;
    frame_open(&f);
    for (uint64_t i = 0; i < 10; i++) {
        cluster_queue_add(&f.queue, &f.clusters, i);
    }
    CHECK(consistent_quietly(&f));
    f.queue.length++;
    CHECK(!consistent_quietly(&f));
    f.queue.length--;
    cluster_of(&f, 3)->queued = 0;
    CHECK(!consistent_quietly(&f));
    cluster_of(&f, 3)->queued = 1;
    uint32_t next = cluster_of(&f, 3)->next;
    cluster_of(&f, 3)->next = 0; /* the chain is cut */
    CHECK(!consistent_quietly(&f));
    cluster_of(&f, 3)->next = 2; /* the chain is a ring */
    CHECK(!consistent_quietly(&f));
    cluster_of(&f, 3)->next = next;
    f.queue.newest = 4;
    CHECK(!consistent_quietly(&f));
    f.queue.newest = 10;
    CHECK(consistent_quietly(&f));
    frame_close(&f);
}

int main(void)
{
    RUN(mask_covers_the_pages_asked_for);
    RUN(runs_are_found_in_order);
    RUN(a_full_mask_is_one_run);
    RUN(runs_of_random_masks_add_up);
    RUN(queue_gives_the_oldest_first);
    RUN(a_queued_cluster_is_not_added_twice);
    RUN(a_warm_cluster_is_passed_over_once);
    RUN(when_all_are_warm_the_oldest_goes);
    RUN(queue_does_what_the_model_does);
    RUN(the_check_catches_planted_faults);
    return harness_finish();
}
