/* SPDX-License-Identifier: MIT */
/* The swap map of a family: forks, deaths, recovery; a naive model of all its processes; and real ones that are
 * killed. In all but the last, every process is played by this one: it has a view for each. */
#include <stdbool.h>

#include "swap/swap_map_internal.h"
#include "tests/support/shared.h"

#if defined(SYS_THREAD_SANITIZER)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

enum { PLAYERS = 300, SLOTS = 3000 };

static struct account account;
static struct memory memory = {.account = &account};
static struct member_table *table;

struct player {
    struct membership self;
    struct swap_map map;
    bool alive;
};
static struct player players[PLAYERS];
static size_t player_count;

static void bury_nothing(void *context, uint32_t index)
{
    (void)context;
    (void)index;
}

/* A living member. Its thread is nobody's: it dies when it is told to. */
static struct player *new_player(void)
{
    REQUIRE(player_count < PLAYERS);
    struct player *p = &players[player_count++];
    uint32_t i = 1; /* 0 is this process */
    while (member_place_is_alive(table, i)) {
        i++;
    }
    table->members[i].generation++;
    table->members[i].threads[0] = 1;
    p->self = (struct membership){.table = table, .index = i, .generation = table->members[i].generation};
    p->alive = true;
    return p;
}

static void die(struct player *p)
{
    table->members[p->self.index].threads[0] = 0;
    p->alive = false;
}

static struct swap_map *set_up(uint64_t slots)
{
    struct membership me;
    table = shared_memory(sizeof *table);
    REQUIRE(member_claim(&me, table, (uint32_t)getpid(), bury_nothing, NULL) == 0);
    player_count = 0;
    struct player *p = new_player();
    REQUIRE(swap_map_init(&p->map, &memory, slots * SLOT_BYTES, &p->self) == 0);
    return &p->map;
}

static int fork_player(const struct swap_map *parent, struct swap_map **child)
{
    struct player *p = new_player();
    p->map = *parent;
    p->map.self = &p->self;
    memset(p->map.memory.charged, 0, sizeof p->map.memory.charged); /* one account for all here */
    *child = &p->map;
    int error = swap_map_fork_child(&p->map, &account);
    if (error) {
        die(p);
    }
    return error;
}

static struct swap_map *fork_well(const struct swap_map *parent)
{
    struct swap_map *child;
    REQUIRE(fork_player(parent, &child) == 0);
    return child;
}

static struct player *player_of(struct swap_map *map)
{
    return container_of(map, struct player, map);
}

static void kill_player(struct swap_map *map)
{
    die(player_of(map));
}

/* The memory is the family's: it goes with the last process, by hand here. */
static void tear_down(void)
{
    swap_map_destroy(&players[0].map);
    member_thread_leave();
    munmap(table, sizeof *table);
    memset(&account, 0, sizeof account);
}

static int64_t alloc_one(struct swap_map *map, uint8_t slots)
{
    uint64_t first;
    int error = swap_map_alloc(map, &slots, 1, &first);
    return error ? error : (int64_t)first;
}

TEST(a_child_uses_what_its_parent_uses)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 3), 0);
    CHECK_EQUAL(alloc_one(parent, 9), 3);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(swap_map_used(parent), 12);
    CHECK_EQUAL(swap_map_used_here(child), 12);
    swap_map_put(parent, 3);
    CHECK_EQUAL(swap_map_used(parent), 12);
    CHECK_EQUAL(swap_map_used_here(parent), 3);
    CHECK_EQUAL(alloc_one(child, 1), 12); /* not where the child still reads */
    swap_map_put(child, 3);
    CHECK_EQUAL(swap_map_used(parent), 4);
    swap_map_put(child, 3); /* once is all */
    swap_map_put(parent, 12);
    CHECK_EQUAL(swap_map_used(parent), 4);
    CHECK(swap_map_consistent(parent) && swap_map_consistent(child));
    tear_down();
}

TEST(a_sum_is_the_family_s)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 8), 0);
    CHECK_EQUAL(swap_map_set_sum(parent, 0, 77), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(swap_map_sum(child, 0), 77);
    CHECK_EQUAL(alloc_one(child, 8), 8);
    CHECK_EQUAL(swap_map_set_sum(child, 8, 78), 0);
    CHECK_EQUAL(swap_map_sum(parent, 8), 78);
    tear_down();
}

TEST(the_dead_are_buried_when_the_map_is_full)
{
    struct swap_map *parent = set_up(20);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(child, 9), 9);
    CHECK_EQUAL(alloc_one(parent, 9), -ENOSPC);
    kill_player(child);
    CHECK_EQUAL(alloc_one(parent, 9), 9);
    CHECK_EQUAL(swap_map_used(parent), 18);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

TEST(a_burial_takes_the_dead_s_uses_and_memory)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    size_t before = account_total(&account);
    CHECK_EQUAL(swap_map_bury_dead(parent), 0);
    struct swap_map *child = fork_well(parent);
    CHECK(account_total(&account) > before);
    CHECK_EQUAL(alloc_one(child, 5), 9);
    kill_player(child);
    CHECK_EQUAL(swap_map_used(parent), 14);
    CHECK_EQUAL(swap_map_bury_dead(parent), 1);
    CHECK_EQUAL(swap_map_bury_dead(parent), 0);
    CHECK_EQUAL(swap_map_used(parent), 9);
    CHECK(swap_map_consistent(parent));
    swap_map_put(parent, 0);
    CHECK_EQUAL(swap_map_used(parent), 0);
    /* The dead one's page, charged to an account that died with it, is not given back to another's. */
    CHECK_EQUAL(account_total(&account), before + PAGE_BYTES);
    tear_down();
}

/* A page of the shared memory is there until it is given back, whoever has it mapped. */
static bool has_memory(const struct swap_map *map, uint32_t seat)
{
    unsigned char here = 0;
    CHECK_EQUAL(mincore(map->holds.slots + seat * map->seat_words * sizeof(uint64_t), PAGE_BYTES, &here), 0);
    return here & 1;
}

TEST(the_dead_s_bits_go_back_to_the_kernel)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK(has_memory(parent, child->seat));
    kill_player(child);
    CHECK_EQUAL(swap_map_bury_dead(parent), 1);
    CHECK(!has_memory(parent, child->seat));
    CHECK(has_memory(parent, parent->seat));
    tear_down();
}

TEST(a_map_outlives_its_founder)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(parent, 2), 9);
    kill_player(parent);
    CHECK_EQUAL(swap_map_bury_dead(child), 1);
    CHECK_EQUAL(swap_map_used(child), 9);
    struct swap_map *grandchild = fork_well(child);
    kill_player(child);
    CHECK_EQUAL(swap_map_bury_dead(grandchild), 1);
    swap_map_put(grandchild, 0);
    CHECK_EQUAL(swap_map_used(grandchild), 0);
    CHECK(swap_map_consistent(grandchild));
    tear_down();
}

/* A parent that dies right after the fork has still forked, unless it was buried before its child came. */
TEST(a_fork_by_the_dead_counts_until_they_are_buried)
{
    struct swap_map *parent = set_up(SLOTS), *child;
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    struct swap_map *sibling = fork_well(parent);
    kill_player(parent);
    child = fork_well(parent);
    CHECK_EQUAL(swap_map_used_here(child), 9);
    CHECK_EQUAL(swap_map_bury_dead(sibling), 1);
    CHECK_EQUAL(fork_player(parent, &child), -ESRCH);
    CHECK(swap_map_consistent(sibling));
    tear_down();
}

TEST(without_a_seat_there_is_no_fork)
{
    struct swap_map *parent = set_up(SLOTS), *child;
    CHECK_EQUAL(alloc_one(parent, 9), 0);
    parent->seats = 3;
    struct swap_map *first = fork_well(parent);
    fork_well(parent);
    CHECK_EQUAL(fork_player(parent, &child), -EAGAIN);
    kill_player(first);
    CHECK_EQUAL(fork_player(parent, &child), 0);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

TEST(a_fork_without_memory_changes_nothing)
{
    struct swap_map *parent = set_up(1 << 20), *child;
    for (int i = 0; i < 100000; i += 9) {
        CHECK_EQUAL(alloc_one(parent, 9), i);
    }
    uint64_t used = swap_map_used(parent);
    for (int64_t nth = 1; nth <= 3; nth++) {
        parent->memory.fail_countdown = nth;
        CHECK_EQUAL(fork_player(parent, &child), -ENOMEM);
        parent->memory.fail_countdown = 0;
        CHECK_EQUAL(swap_map_used(parent), used);
        CHECK(swap_map_consistent(parent));
    }
    CHECK_EQUAL(fork_player(parent, &child), 0);
    tear_down();
}

TEST(a_fork_leaves_the_parent_s_charges_alone)
{
    struct swap_map *parent = set_up(SLOTS);
    struct account of_child;
    struct player *p = new_player();
    size_t before = account_total(&account);
    p->map = *parent;
    p->map.self = &p->self;
    account_copy(&of_child, &account);
    CHECK_EQUAL(swap_map_fork_child(&p->map, &of_child), 0);
    CHECK_EQUAL(account_total(&account), before);
    CHECK(account_total(&of_child) < before);
    tear_down();
}

TEST(a_private_map_is_not_forked)
{
    struct swap_map map;
    REQUIRE(swap_map_init(&map, &memory, SLOTS * SLOT_BYTES, NULL) == 0);
    CHECK_EQUAL(swap_map_fork_child(&map, &account), -EINVAL);
    swap_map_destroy(&map);
    CHECK_EQUAL(account_total(&account), 0);
}

/* A count of 254 says no more than that it is many: then the bits are counted. */
TEST(an_object_of_very_many_users_is_freed_after_the_last)
{
    enum { USERS = 290 };
    struct swap_map *maps[USERS] = {set_up(SLOTS)};
    CHECK_EQUAL(alloc_one(maps[0], 4), 0);
    for (int i = 1; i < USERS; i++) {
        maps[i] = fork_well(maps[i / 2]);
    }
    CHECK_EQUAL(*count_at(maps[0], 0), COUNT_SATURATED);
    CHECK(swap_map_consistent(maps[0]));
    for (int i = 0; i < USERS; i++) {
        CHECK_EQUAL(swap_map_used(maps[0]), 4);
        if (i % 3 == 0) {
            kill_player(maps[i]);
            swap_map_bury_dead(maps[USERS - 2]);
        } else {
            swap_map_put(maps[i], 0);
        }
        CHECK(swap_map_consistent(maps[USERS - 1]));
    }
    CHECK_EQUAL(swap_map_used(maps[USERS - 1]), 0);
    tear_down();
}

/* As if a thread of it had died inside the lock. */
static void die_at_the_lock(struct swap_map *map)
{
    const struct membership *self = map->self;
    kill_player(map);
    map->family->lock.holder = (uint64_t)self->generation << 32 | (uint64_t)(self->index + 1) << 5;
}

TEST(what_a_dead_holder_left_is_put_in_order)
{
    struct swap_map *parent = set_up(SLOTS);
    for (int i = 0; i < 40; i++) {
        CHECK_EQUAL(alloc_one(parent, 9), 9 * i);
    }
    struct swap_map *child = fork_well(parent);
    CHECK_EQUAL(alloc_one(child, 9), 360);
    swap_map_put(parent, 9); /* the child's alone */
    swap_map_put(child, 18); /* the parent's alone */
    /* Amid an alloc, a free, and the copying of bits. */
    uint8_t *counts = count_at(parent, 0);
    counts[9] = 0;
    counts[12] = 0;
    counts[27] = 200;
    memset(counts + 369, COUNT_FURTHER, 5);
    counts[380] = 1;
    child->state->high_water = 385;
    child->state->slots_used = 3;
    *(uint64_t *)sparse_get(&child->holds, child->seat * child->seat_words) |= 0x777;
    die_at_the_lock(child);
    CHECK_EQUAL(swap_map_used(parent), 39 * 9);
    CHECK_EQUAL(swap_map_used_here(parent), 39 * 9);
    CHECK(swap_map_consistent(parent));
    CHECK_EQUAL(alloc_one(parent, 9), 385);
    tear_down();
}

/* ---- In pieces */

enum { LARGE_SLOTS = 200000, LARGE_OBJECTS = 20000 }; /* six pages of bits */

static struct swap_map *set_up_large(void)
{
    struct swap_map *parent = set_up(LARGE_SLOTS);
    for (int i = 0; i < LARGE_OBJECTS; i++) {
        CHECK_EQUAL(alloc_one(parent, 9), 9 * i);
    }
    return parent;
}

TEST(between_the_pieces_of_a_burial_others_use_the_map)
{
    struct swap_map *parent = set_up_large(), *grandchild;
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    for (int i = 0; i < LARGE_OBJECTS; i++) {
        swap_map_put(parent, (uint64_t)i * 9);
        swap_map_put(sibling, (uint64_t)i * 9);
    }
    kill_player(child);
    CHECK(seats_bury_piece(parent, child->seat));
    uint64_t left = swap_map_used(sibling);
    CHECK(left > 0 && left < LARGE_OBJECTS * 9);
    CHECK_EQUAL(alloc_one(sibling, 9), LARGE_OBJECTS * 9);
    CHECK(swap_map_consistent(sibling));
    CHECK_EQUAL(fork_player(child, &grandchild), -ESRCH); /* a part of it is gone */
    CHECK(seats_bury_piece(sibling, child->seat));        /* who began is stopped */
    CHECK_EQUAL(swap_map_bury_dead(sibling), 1);
    CHECK(!seats_bury_piece(parent, child->seat));
    CHECK_EQUAL(swap_map_used(parent), 9);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

/* A try to enter as the first of two players, who is stopped behind it or dies in it. */
static bool enter_for_a_piece(struct swap_map *map)
{
    mutex_lock(&map->lock);
    bool entered = seats_try_enter(map);
    if (entered) {
        shared_lock_give(&map->family->lock);
    }
    mutex_unlock(&map->lock);
    return entered;
}

TEST(a_recovery_is_gone_on_with_by_others)
{
    struct swap_map *parent = set_up_large();
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    swap_map_put(parent, 0);
    swap_map_put(sibling, 0); /* the child's alone */
    die_at_the_lock(child);
    CHECK(!enter_for_a_piece(parent));
    CHECK(!enter_for_a_piece(parent));
    CHECK_EQUAL(swap_map_used(sibling), (LARGE_OBJECTS - 1) * 9);
    CHECK(swap_map_consistent(parent));
    CHECK(enter_for_a_piece(parent));
    tear_down();
}

TEST(a_recovery_amid_which_its_maker_dies_begins_anew)
{
    struct swap_map *parent = set_up_large();
    struct swap_map *child = fork_well(parent), *sibling = fork_well(parent);
    swap_map_put(parent, 0);
    die_at_the_lock(child);
    for (int i = 0; i < 9; i++) {
        CHECK(!enter_for_a_piece(sibling)); /* into the counts */
    }
    CHECK(sibling->state->slots_used > 0);
    die_at_the_lock(sibling);
    CHECK_EQUAL(swap_map_used(parent), (LARGE_OBJECTS - 1) * 9);
    CHECK(swap_map_consistent(parent));
    tear_down();
}

/* The checker prints what it finds: that is expected here. */
TEST(consistent_finds_planted_faults)
{
    struct swap_map *parent = set_up(SLOTS);
    CHECK_EQUAL(alloc_one(parent, 3), 0);
    CHECK_EQUAL(alloc_one(parent, 9), 3);
    struct swap_map *child = fork_well(parent);
    CHECK(swap_map_consistent(parent));
    uint8_t *counts = count_at(parent, 0);
    counts[3]++;
    CHECK(!swap_map_consistent(parent));
    counts[3]--;
    uint64_t *bits = sparse_get(&child->holds, child->seat * child->seat_words);
    *bits |= 1 << 4; /* amid an object */
    CHECK(!swap_map_consistent(parent));
    *bits &= ~(uint64_t)1; /* a user less than counted */
    CHECK(!swap_map_consistent(parent));
    *bits = 1 | 1 << 3;
    CHECK(swap_map_consistent(parent));
    uint64_t owner = child->family->owners[child->seat];
    child->family->owners[child->seat] = 0;
    CHECK(!swap_map_consistent(parent));
    child->family->owners[child->seat] = owner + 1;
    CHECK(!swap_map_consistent(child));
    child->family->owners[child->seat] = owner;
    CHECK(swap_map_consistent(child));
    tear_down();
}

/* ---- A model beside it: who uses what */

enum { MODEL_PLAYERS = 12, OBJECTS = 400 };

static struct {
    uint64_t first;
    uint8_t slots;
    bool used_by[MODEL_PLAYERS]; /* the dead that are not buried yet, too */
} objects[OBJECTS];
static size_t object_count;
static struct swap_map *views[MODEL_PLAYERS]; /* NULL: none */
static bool is_dead[MODEL_PLAYERS];

static bool object_is_used(size_t i)
{
    bool used = false;
    for (int p = 0; p < MODEL_PLAYERS; p++) {
        used |= objects[i].used_by[p];
    }
    return used;
}

static uint64_t model_used(void)
{
    uint64_t used = 0;
    for (size_t i = 0; i < object_count; i++) {
        used += objects[i].slots;
    }
    return used;
}

static void model_forget(int p)
{
    for (size_t i = 0; i < object_count;) {
        objects[i].used_by[p] = false;
        if (object_is_used(i)) {
            i++;
        } else {
            objects[i] = objects[--object_count];
        }
    }
}

static void model_bury(void)
{
    for (int p = 0; p < MODEL_PLAYERS; p++) {
        if (is_dead[p]) {
            model_forget(p);
            is_dead[p] = false;
            views[p] = NULL;
        }
    }
}

static void model_alloc(int p, uint64_t random)
{
    uint8_t slots = (uint8_t)(1 + random % 9);
    if (object_count == OBJECTS) {
        return;
    }
    int64_t first = alloc_one(views[p], slots);
    if (first < 0) {
        CHECK_EQUAL(first, -ENOSPC);
        model_bury();
        return;
    }
    for (size_t i = 0; i < object_count; i++) {
        CHECK((uint64_t)first + slots <= objects[i].first ||
              objects[i].first + objects[i].slots <= (uint64_t)first);
    }
    objects[object_count].first = (uint64_t)first;
    objects[object_count].slots = slots;
    memset(objects[object_count].used_by, 0, sizeof objects[0].used_by);
    objects[object_count++].used_by[p] = true;
}

static void model_put(int p, uint64_t random)
{
    if (!object_count) {
        return;
    }
    size_t i = random % object_count;
    swap_map_put(views[p], objects[i].first); /* its own, or a mistake without effect */
    objects[i].used_by[p] = false;
    if (!object_is_used(i)) {
        objects[i] = objects[--object_count];
    }
}

static void model_fork(int p)
{
    int child = 0;
    while (child < MODEL_PLAYERS && (views[child] || is_dead[child])) {
        child++;
    }
    if (child == MODEL_PLAYERS) {
        return;
    }
    /* Players are many: their places in the array are used again. */
    size_t place = 0;
    while (place < player_count && players[place].alive) {
        place++;
    }
    size_t count = player_count;
    player_count = place;
    views[child] = fork_well(views[p]);
    player_count = max_size(player_count, count);
    for (size_t i = 0; i < object_count; i++) {
        objects[i].used_by[child] = objects[i].used_by[p];
    }
}

static void model_kill(int p, bool at_the_lock)
{
    int living = 0;
    for (int i = 0; i < MODEL_PLAYERS; i++) {
        living += views[i] && !is_dead[i];
    }
    if (living < 2) {
        return;
    }
    if (at_the_lock) {
        uint8_t *count = count_at(views[p], (unsigned)p * 7u);
        *count = *count == COUNT_FURTHER ? COUNT_FURTHER
                                         : 77; /* anything but the length of a living one's object */
        die_at_the_lock(views[p]);
    } else {
        kill_player(views[p]);
    }
    is_dead[p] = true;
    if (at_the_lock) {
        model_bury();
    }
}

/* The first that lives. */
static struct swap_map *any_view(void)
{
    for (int p = 0; p < MODEL_PLAYERS; p++) {
        if (views[p] && !is_dead[p]) {
            return views[p];
        }
    }
    REQUIRE(false);
    return NULL;
}

static void model_step(int p, uint64_t random)
{
    unsigned what = random % 100;
    random >>= 8;
    if (!views[p] || is_dead[p]) {
        return;
    }
    if (what < 45) {
        model_alloc(p, random);
    } else if (what < 90) {
        model_put(p, random);
    } else if (what < 94) {
        model_fork(p);
    } else if (what < 96) {
        model_kill(p, random % 2);
    } else {
        swap_map_bury_dead(views[p]);
        model_bury();
    }
}

TEST(random_lives_and_deaths_agree_with_the_model)
{
    uint64_t seed = 4711;
    views[0] = set_up(SLOTS);
    object_count = 0;
    for (int step = 0; step < 60000 / (HARNESS_SANITIZED ? 10 : 1) && !harness_failures; step++) {
        model_step((int)(harness_random(&seed) % MODEL_PLAYERS), harness_random(&seed));
        CHECK_EQUAL(swap_map_used(any_view()), model_used());
        if (step % 200 == 0) {
            CHECK(swap_map_consistent(any_view()));
        }
    }
    players[0].map = *any_view();
    tear_down();
}

/* ---- Real processes, killed anywhere */

enum { CHILDREN = 4, KILLS = HARNESS_SANITIZED ? 30 : 200, HELD = 64, KILLED_SLOTS = 4000 };

struct stage {
    struct swap_map *map;
    struct account account;
    struct memory memory;
    uint64_t *owners; /* shared; one a slot: who was given it */
    uint32_t *faults; /* shared; atomic */
};
static struct stage stage;

static void note(uint64_t first, unsigned slots, uint64_t from, uint64_t to)
{
    for (uint64_t i = first; i < first + slots; i++) {
        if (from && atomic_read_relaxed(&stage.owners[i]) != from) {
            atomic_add_relaxed(stage.faults, 1);
        }
        atomic_set_relaxed(&stage.owners[i], to);
    }
}

/* Takes and gives back; whoever has a slot finds its own mark in it. */
__attribute__((noreturn)) static void live(struct swap_map *map)
{
    uint64_t first[HELD], me = member_thread_self(), random = me;
    uint8_t slots[HELD] = {0};
    for (;;) {
        size_t i = harness_random(&random) % HELD;
        if (slots[i]) {
            note(first[i], slots[i], me, 0);
            swap_map_put(map, first[i]);
            slots[i] = 0;
        } else {
            slots[i] = (uint8_t)(1 + harness_random(&random) % 9);
            if (swap_map_alloc(map, &slots[i], 1, &first[i])) {
                slots[i] = 0;
            } else {
                note(first[i], slots[i], 0, me);
            }
        }
        if (harness_random(&random) % 64 == 0) {
            swap_map_bury_dead(map);
        }
    }
}

static int become_child(void *argument)
{
    static struct membership self;
    (void)argument;
    if (member_claim(&self, table, (uint32_t)getpid(), bury_nothing, NULL) < 0) {
        return 2;
    }
    stage.map->self = &self;
    if (swap_map_fork_child(stage.map, stage.map->memory.account)) {
        return 3;
    }
    live(stage.map);
}

TEST(processes_are_killed_and_the_map_stays_whole)
{
    static struct membership self;
    static struct swap_map map;
    pid_t children[CHILDREN] = {0};
    uint64_t random = 3, first[20];
    uint8_t slots[20];
    table = shared_memory(sizeof *table);
    stage.owners = shared_memory(KILLED_SLOTS * sizeof(uint64_t));
    stage.faults = shared_memory(sizeof(uint32_t));
    stage.memory.account = &stage.account;
    stage.map = &map;
    REQUIRE(member_claim(&self, table, (uint32_t)getpid(), bury_nothing, NULL) == 0);
    REQUIRE(swap_map_init(&map, &stage.memory, KILLED_SLOTS * SLOT_BYTES, &self) == 0);
    memset(slots, 5, sizeof slots);
    CHECK_EQUAL(swap_map_alloc(&map, slots, 20, first), 0);
    for (int round = 0; round < KILLS && !harness_failures; round++) {
        pid_t *child = &children[harness_random(&random) % CHILDREN];
        if (*child) {
            usleep((useconds_t)(harness_random(&random) % 3000));
            shared_kill(*child);
            shared_reap(*child);
        }
        *child = shared_fork(become_child, NULL);
        CHECK_EQUAL(swap_map_used_here(&map), 100);
        CHECK(swap_map_consistent(&map));
    }
    for (int i = 0; i < CHILDREN; i++) {
        if (children[i]) {
            shared_kill(children[i]);
            shared_reap(children[i]);
        }
    }
    swap_map_bury_dead(&map);
    CHECK_EQUAL(swap_map_used(&map), 100);
    CHECK(swap_map_consistent(&map));
    CHECK_EQUAL(*stage.faults, 0);
    swap_map_destroy(&map);
    member_thread_leave();
}

int main(void)
{
    RUN(a_child_uses_what_its_parent_uses);
    RUN(a_sum_is_the_family_s);
    RUN(the_dead_are_buried_when_the_map_is_full);
    RUN(a_burial_takes_the_dead_s_uses_and_memory);
    RUN(the_dead_s_bits_go_back_to_the_kernel);
    RUN(a_map_outlives_its_founder);
    RUN(a_fork_by_the_dead_counts_until_they_are_buried);
    RUN(without_a_seat_there_is_no_fork);
    RUN(a_fork_without_memory_changes_nothing);
    RUN(a_fork_leaves_the_parent_s_charges_alone);
    RUN(a_private_map_is_not_forked);
    RUN(an_object_of_very_many_users_is_freed_after_the_last);
    RUN(what_a_dead_holder_left_is_put_in_order);
    RUN(between_the_pieces_of_a_burial_others_use_the_map);
    RUN(a_recovery_is_gone_on_with_by_others);
    RUN(a_recovery_amid_which_its_maker_dies_begins_anew);
    RUN(consistent_finds_planted_faults);
    RUN(random_lives_and_deaths_agree_with_the_model);
    RUN(processes_are_killed_and_the_map_stays_whole);
    return harness_finish();
}
