/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/grown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ARENA_BYTES ((size_t)64 << 20)
#define PAGE ((size_t)4096)
#define PAGES (ARENA_BYTES / PAGE)
#define BLOCK ((size_t)128)

#define STACKS_AT PAGE
#define HEAP_AT (STACKS_AT + EXPLORE_THREADS_MAX * (PAGE + ARENA_STACK_BYTES))

_Static_assert(sizeof(char *) * EXPLORE_THREADS_MAX + ARENA_CONTROL_BYTES <= PAGE,
               "control fits in its page");

struct undo {
    uint32_t block;
    char before[BLOCK];
};

static struct {
    char *memory;    /* where the program runs; always at the same address */
    char *reference; /* as large */
    size_t used;     /* bytes from `memory` on */
    bool sealed;

    uint32_t live_pages[PAGES]; /* of the heap, that were ever written */
    uint32_t live_count;
    bool is_live[PAGES];
    char *stack_touched[EXPLORE_THREADS_MAX]; /* the lowest page of each stack that was ever written */

    struct hash hash, looked_at; /* of the reference, of the state at arena_look */
    uint32_t *changed;           /* blocks that arena_look found */
    size_t changed_count, changed_room;

    struct undo *undo;
    size_t undo_count, undo_room;
    struct mark {
        size_t undo_count;
        struct hash hash;
    } * marks; /* one a keep */
    size_t marks_count, marks_room;
} arena;

static char *map_arena(void)
{
    /* The same addresses in every run, so that printed steps can be compared. Any of them will do. */
    static const uintptr_t places[] = {0x510000000000, 0x520000000000, 0x2a0000000000, 0x1500000000};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char *at = mmap((void *)places[i], ARENA_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (at == (char *)places[i]) {
            return at;
        }
    }
    fprintf(stderr, "explorer: no room for the arena\n");
    exit(1);
}

void arena_begin(void)
{
    arena.memory = map_arena();
    arena.reference =
        mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena.reference == MAP_FAILED) {
        fprintf(stderr, "explorer: no memory\n");
        exit(1);
    }
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        mprotect(arena.memory + STACKS_AT + i * (PAGE + ARENA_STACK_BYTES), PAGE, PROT_NONE);
        *arena_stack_low(i) = arena_stack_top(i);
    }
    arena.used = HEAP_AT;
    arena.sealed = false;
    arena.live_count = 0;
    memset(arena.is_live, 0, sizeof arena.is_live);
    arena.hash = (struct hash){0};
    arena.undo_count = arena.marks_count = arena.changed_count = 0;
}

void arena_end(void)
{
    munmap(arena.memory, ARENA_BYTES);
    munmap(arena.reference, ARENA_BYTES);
    arena.memory = NULL;
}

void *arena_alloc(size_t bytes)
{
    if (arena.sealed || bytes > ARENA_BYTES - 16 - arena.used) {
        return NULL;
    }
    void *at = arena.memory + arena.used;
    arena.used += (bytes + 15) & ~(size_t)15;
    return at;
}

char **arena_stack_low(unsigned number)
{
    return (char **)arena.memory + number;
}

void *arena_control(void)
{
    return arena_stack_low(EXPLORE_THREADS_MAX);
}

char *arena_stack_top(unsigned number)
{
    return arena.memory + STACKS_AT + (number + 1) * (PAGE + ARENA_STACK_BYTES);
}

void arena_scrub_stack(unsigned number)
{
    char *low = *arena_stack_low(number);
    if (low > arena.stack_touched[number]) {
        memset(arena.stack_touched[number], 0, (size_t)(low - arena.stack_touched[number]));
    }
}

void arena_seal(void)
{
    arena.sealed = true;
    memcpy(arena.reference, arena.memory, PAGE);
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        char *low = *arena_stack_low(i), *top = arena_stack_top(i);
        memcpy(arena.reference + (low - arena.memory), low, (size_t)(top - low));
        arena.stack_touched[i] = low < top ? (char *)((uintptr_t)low & ~(PAGE - 1)) : top;
        mprotect(top - ARENA_STACK_BYTES, (size_t)(arena.stack_touched[i] - (top - ARENA_STACK_BYTES)),
                 PROT_READ);
    }
    size_t heap_pages = (arena.used - HEAP_AT + PAGE - 1) / PAGE;
    mprotect(arena.memory + HEAP_AT, heap_pages * PAGE, PROT_READ);
}

/* The same for a stack: all between the page and those written before. */
static bool stack_fault(const char *address)
{
    char *page = (char *)((uintptr_t)address & ~(PAGE - 1));
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        char *touched = arena.stack_touched[i];
        if (page < touched && page >= arena_stack_top(i) - ARENA_STACK_BYTES) {
            arena.stack_touched[i] = page;
            return !mprotect(page, (size_t)(touched - page), PROT_READ | PROT_WRITE);
        }
    }
    return false;
}

bool arena_write_fault(const void *address)
{
    if (arena.memory && arena.sealed && stack_fault(address)) {
        return true;
    }
    size_t at = (size_t)((const char *)address - arena.memory) & ~(PAGE - 1);
    if (!arena.memory || !arena.sealed || (const char *)address < arena.memory || at < HEAP_AT ||
        at >= arena.used || arena.is_live[at / PAGE]) {
        return false;
    }
    arena.is_live[at / PAGE] = true;
    arena.live_pages[arena.live_count++] = (uint32_t)(at / PAGE);
    memcpy(arena.reference + at, arena.memory + at, PAGE);
    return !mprotect(arena.memory + at, PAGE, PROT_READ | PROT_WRITE);
}

/* ---- comparing */

static bool same_block(const char *a, const char *b)
{
    uint64_t difference = 0;
    for (size_t i = 0; i < BLOCK; i += 8) {
        uint64_t x, y;
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        difference |= x ^ y;
    }
    return !difference;
}

/* Lists the blocks of [at, at + bytes) that differ. */
static void compare(size_t at, size_t bytes)
{
    for (size_t end = at + bytes; at < end; at += BLOCK) {
        if (!same_block(arena.memory + at, arena.reference + at)) {
            arena.changed =
                grown(arena.changed, arena.changed_count + 1, &arena.changed_room, sizeof arena.changed[0]);
            arena.changed[arena.changed_count++] = (uint32_t)(at / BLOCK);
        }
    }
}

/* The stack as it is and as it is in the reference, whichever is deeper. */
static void compare_stack(unsigned number)
{
    char *now = *arena_stack_low(number);
    char *top = arena_stack_top(number);
    if (now > top || now < top - ARENA_STACK_BYTES) {
        now = top - ARENA_STACK_BYTES; /* overwritten by the program */
    }
    char *before = *(char **)(arena.reference + ((char *)arena_stack_low(number) - arena.memory));
    char *low = now < before ? now : before;
    size_t at = (size_t)(low - arena.memory) & ~(BLOCK - 1);
    memset(arena.memory + at, 0, (size_t)(now - arena.memory) - at);
    compare(at, (size_t)(top - arena.memory) - at);
}

static void compare_all(void)
{
    arena.changed_count = 0;
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        compare_stack(i);
    }
    compare(0, (sizeof(char *) * EXPLORE_THREADS_MAX + ARENA_CONTROL_BYTES + BLOCK - 1) & ~(BLOCK - 1));
    for (uint32_t i = 0; i < arena.live_count; i++) {
        size_t at = arena.live_pages[i] * PAGE;
        size_t bytes = arena.used - at < PAGE ? arena.used - at : PAGE;
        if (bytes < PAGE || memcmp(arena.memory + at, arena.reference + at, PAGE)) {
            compare(at, (bytes + BLOCK - 1) & ~(BLOCK - 1));
        }
    }
}

static struct hash block_hash(const char *content, uint32_t block)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(content, BLOCK, block);
    return (struct hash){h.low64, h.high64};
}

struct hash arena_look(void)
{
    compare_all();
    struct hash sum = arena.hash;
    for (size_t i = 0; i < arena.changed_count; i++) {
        uint32_t block = arena.changed[i];
        struct hash before = block_hash(arena.reference + block * BLOCK, block);
        struct hash now = block_hash(arena.memory + block * BLOCK, block);
        sum.low += now.low - before.low;
        sum.high += now.high - before.high;
    }
    arena.looked_at = sum;
    return sum;
}

/* ---- going on and coming back */

void arena_keep(void)
{
    arena.marks = grown(arena.marks, arena.marks_count + 1, &arena.marks_room, sizeof arena.marks[0]);
    arena.marks[arena.marks_count++] = (struct mark){.undo_count = arena.undo_count, .hash = arena.hash};
    arena.undo =
        grown(arena.undo, arena.undo_count + arena.changed_count, &arena.undo_room, sizeof arena.undo[0]);
    for (size_t i = 0; i < arena.changed_count; i++) {
        size_t at = arena.changed[i] * BLOCK;
        struct undo *undo = &arena.undo[arena.undo_count++];
        undo->block = arena.changed[i];
        memcpy(undo->before, arena.reference + at, BLOCK);
        memcpy(arena.reference + at, arena.memory + at, BLOCK);
    }
    arena.hash = arena.looked_at;
}

void arena_undo(void)
{
    struct mark mark = arena.marks[--arena.marks_count];
    while (arena.undo_count > mark.undo_count) {
        const struct undo *undo = &arena.undo[--arena.undo_count];
        memcpy(arena.reference + undo->block * BLOCK, undo->before, BLOCK);
        memcpy(arena.memory + undo->block * BLOCK, undo->before, BLOCK);
    }
    arena.hash = mark.hash;
}

void arena_rewind(bool after_look)
{
    if (!after_look) {
        compare_all();
    }
    for (size_t i = 0; i < arena.changed_count; i++) {
        size_t at = arena.changed[i] * BLOCK;
        memcpy(arena.memory + at, arena.reference + at, BLOCK);
    }
}

size_t arena_live_bytes(void)
{
    size_t bytes = arena.live_count * PAGE;
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        bytes += (size_t)(arena_stack_top(i) - *arena_stack_low(i));
    }
    return bytes;
}
