/* SPDX-License-Identifier: MIT */
/* The swap map of a family beside a naive model of all its processes; and under real ones that are killed. */
#include "tests/unit/swap_map_family_fixture.h"

#if defined(SYS_THREAD_SANITIZER)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

/* ---- a model beside it: who uses what */

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

/* ---- real processes, killed anywhere */

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
    RUN(random_lives_and_deaths_agree_with_the_model);
    RUN(processes_are_killed_and_the_map_stays_whole);
    return harness_finish();
}
