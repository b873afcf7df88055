/* SPDX-License-Identifier: MIT */
/*
 * A treap: a search tree by address that is a heap by random priorities, so that it is balanced whatever the
 * program does. Each node also knows the longest free range below it, which makes "lowest place that
 * fits" one walk down.
 *
 *          [managed 40..56, rw]            longest_free = 100
 *         /                    \
 *   [free 0..40]             [foreign 56..60]
 *   longest_free = 40          \
 *                             [free 60..160]
 *
 * All changes are made of split and join, the two operations that keep every invariant by themselves:
 * cut the tree at both ends of the range, replace the middle, join again. A change needs at most three
 * nodes (the new one and a second half on either side); they are set aside first, so that a full table
 * is found before anything has moved.
 *
 * Why free ranges have nodes, too: the ranges then cover the arena without gaps, find never fails, and
 * consistent() has a simple law to check. They at most double the nodes, at 64 bytes each.
 */
#include "preload/address_space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct node {
    uint64_t first;
    uint64_t pages;
    uint64_t longest_free; /* longest free range of this node and all below it */
    uint32_t left, right;  /* 0 = none */
    uint32_t priority;     /* not lower than that of any node below */
    uint8_t kind;
    uint8_t protection;
    uint8_t flags;
    uint8_t padding[21];
};
_Static_assert(sizeof(struct node) == 64, "nodes are slots of a sparse array: a power of two");

#define NODES_PER_CHANGE 3

static struct node *node_at(const struct address_space *space, uint32_t i)
{
    return (struct node *)space->nodes.slots + i;
}

static uint64_t longest_free_of(const struct address_space *space, uint32_t i)
{
    return i ? node_at(space, i)->longest_free : 0;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t derive_longest_free(const struct address_space *space, const struct node *n)
{
    uint64_t below = max_u64(longest_free_of(space, n->left), longest_free_of(space, n->right));
    return n->kind == RANGE_FREE ? max_u64(below, n->pages) : below;
}

static void update(struct address_space *space, uint32_t i)
{
    struct node *n = node_at(space, i);
    n->longest_free = derive_longest_free(space, n);
}

/* Nodes for one change, in the chain of unused ones. */
int address_space_reserve(struct address_space *space)
{
    uint32_t have = 0;
    for (uint32_t i = space->unused; i && have < NODES_PER_CHANGE; i = node_at(space, i)->left) {
        have++;
    }
    for (; have < NODES_PER_CHANGE; have++) {
        struct node *n =
            space->fresh < space->limit ? sparse_get_for_write(&space->nodes, space->fresh) : NULL;
        if (!n) {
            return -ENOMEM;
        }
        n->left = space->unused;
        space->unused = space->fresh++;
    }
    return 0;
}

static uint32_t next_priority(struct address_space *space)
{
    uint64_t x = space->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    space->random = x;
    return (uint32_t)(x >> 32);
}

/* From the nodes set aside, so it cannot fail. */
static uint32_t new_node(struct address_space *space, struct range r)
{
    uint32_t i = space->unused;
    struct node *n = node_at(space, i);
    space->unused = n->left;
    space->count++;
    *n = (struct node){.first = r.first,
                       .pages = r.pages,
                       .priority = next_priority(space),
                       .kind = (uint8_t)r.kind,
                       .protection = (uint8_t)r.protection,
                       .flags = (uint8_t)r.flags};
    update(space, i);
    return i;
}

static void free_node(struct address_space *space, uint32_t i)
{
    node_at(space, i)->left = space->unused;
    space->unused = i;
    space->count--;
}

/* Nodes that begin below `page` go to *low, the others to *high. */
static void split(struct address_space *space, uint32_t tree, uint64_t page, uint32_t *low, uint32_t *high)
{
    if (!tree) {
        *low = *high = 0;
        return;
    }
    struct node *n = node_at(space, tree);
    if (n->first < page) {
        split(space, n->right, page, &n->right, high);
        *low = tree;
    } else {
        split(space, n->left, page, low, &n->left);
        *high = tree;
    }
    update(space, tree);
}

/* All of `low` lies below all of `high`. */
static uint32_t join(struct address_space *space, uint32_t low, uint32_t high)
{
    if (!low || !high) {
        return low ? low : high;
    }
    struct node *a = node_at(space, low), *b = node_at(space, high);
    if (a->priority >= b->priority) {
        a->right = join(space, a->right, high);
        update(space, low);
        return low;
    }
    b->left = join(space, low, b->left);
    update(space, high);
    return high;
}

static uint32_t first_node(const struct address_space *space, uint32_t tree)
{
    while (tree && node_at(space, tree)->left) {
        tree = node_at(space, tree)->left;
    }
    return tree;
}

static uint32_t last_node(const struct address_space *space, uint32_t tree)
{
    while (tree && node_at(space, tree)->right) {
        tree = node_at(space, tree)->right;
    }
    return tree;
}

static struct range range_of(const struct node *n)
{
    return (struct range){n->first, n->pages, (enum range_kind)n->kind, n->protection, n->flags};
}

/* Takes the last node off *tree and frees it; what it was. */
static struct range take_last(struct address_space *space, uint32_t *tree)
{
    uint32_t last = last_node(space, *tree), none;
    struct node *n = node_at(space, last);
    struct range was = range_of(n);
    split(space, *tree, n->first, tree, &none);
    free_node(space, last);
    return was;
}

static struct range take_first(struct address_space *space, uint32_t *tree)
{
    uint32_t first = first_node(space, *tree), alone;
    struct node *n = node_at(space, first);
    struct range was = range_of(n);
    split(space, *tree, n->first + 1, &alone, tree);
    free_node(space, first);
    return was;
}

/* Pages by what they are, as the space counts them. */
struct counts {
    uint64_t free, locked, fork_flagged;
};

static void count_range(struct counts *c, struct range r)
{
    c->free += r.kind == RANGE_FREE ? r.pages : 0;
    c->locked += r.flags & RANGE_LOCKED ? r.pages : 0;
    c->fork_flagged += r.flags & (RANGE_WIPED_BY_FORK | RANGE_NOT_FORKED) ? r.pages : 0;
}

/* Adds what the tree had to *freed. */
static void free_tree(struct address_space *space, uint32_t tree, struct counts *freed)
{
    if (tree) {
        struct node *n = node_at(space, tree);
        free_tree(space, n->left, freed);
        free_tree(space, n->right, freed);
        count_range(freed, range_of(n));
        free_node(space, tree);
    }
}

static bool alike(const struct node *n, struct range r)
{
    return n->kind == r.kind && n->protection == r.protection && n->flags == r.flags;
}

/* Makes a range begin at `page`: cuts the one that spans it in two. */
static void cut(struct address_space *space, uint64_t page)
{
    uint32_t low, high;
    split(space, space->root, page, &low, &high);
    uint32_t last = last_node(space, low);
    if (last && node_at(space, last)->first + node_at(space, last)->pages > page) {
        struct range r = take_last(space, &low);
        struct range second = r;
        second.first = page;
        second.pages = r.first + r.pages - page;
        r.pages = page - r.first;
        high = join(space, new_node(space, second), high);
        low = join(space, low, new_node(space, r));
    }
    space->root = join(space, low, high);
}

int address_space_put(struct address_space *space, struct range r)
{
    struct counts before = {0}, now = {0};
    if (!r.pages || r.first >= space->pages || r.pages > space->pages - r.first) {
        return -EINVAL;
    }
    if (address_space_reserve(space)) {
        return -ENOMEM;
    }
    cut(space, r.first);
    cut(space, r.first + r.pages);
    uint32_t low, middle, high;
    split(space, space->root, r.first, &low, &middle);
    split(space, middle, r.first + r.pages, &middle, &high);
    free_tree(space, middle, &before);
    count_range(&now, r);
    space->free_pages += now.free - before.free;
    space->locked_pages += now.locked - before.locked;
    space->fork_flagged_pages += now.fork_flagged - before.fork_flagged;

    /* Neighbours that are alike become one with it. */
    if (low && alike(node_at(space, last_node(space, low)), r)) {
        struct range neighbour = take_last(space, &low);
        r.first = neighbour.first;
        r.pages += neighbour.pages;
    }
    if (high && alike(node_at(space, first_node(space, high)), r)) {
        r.pages += take_first(space, &high).pages;
    }
    low = join(space, low, new_node(space, r));
    space->root = join(space, low, high);
    return 0;
}

int address_space_init(struct address_space *space, struct memory *memory, uint64_t pages)
{
    if (!pages) {
        return -EINVAL;
    }
    *space = (struct address_space){.pages = pages,
                                    .fresh = 1, /* node 0 is none */
                                    .random = 0x9e3779b97f4a7c15ull,
                                    .free_pages = pages,
                                    .limit = ADDRESS_SPACE_RANGES};
    int error = sparse_init(&space->nodes, memory, ADDRESS_SPACE_RANGES, sizeof(struct node), ACCOUNT_TABLES);
    if (error) {
        return error;
    }
    if (address_space_reserve(space)) {
        address_space_destroy(space);
        return -ENOMEM;
    }
    space->root = new_node(space, (struct range){.pages = pages, .kind = RANGE_FREE});
    return 0;
}

void address_space_destroy(struct address_space *space)
{
    sparse_destroy(&space->nodes);
    *space = (struct address_space){0};
}

struct range address_space_find(const struct address_space *space, uint64_t page)
{
    uint32_t i = space->root;
    for (;;) {
        const struct node *n = node_at(space, i);
        if (page < n->first) {
            i = n->left;
        } else if (page - n->first >= n->pages) {
            i = n->right;
        } else {
            return range_of(n);
        }
    }
}

struct range address_space_part(const struct address_space *space, uint64_t first, uint64_t end)
{
    struct range r = address_space_find(space, first);
    r.pages = min_size(r.first + r.pages, end) - first;
    r.first = first;
    return r;
}

bool address_space_is(const struct address_space *space, uint64_t first, uint64_t pages, enum range_kind kind)
{
    if (first >= space->pages || pages > space->pages - first) {
        return false;
    }
    uint64_t end = first + pages;
    while (first < end) {
        struct range r = address_space_part(space, first, end);
        if (r.kind != kind) {
            return false;
        }
        first += r.pages;
    }
    return true;
}

/* The lowest place in `n` itself. */
static bool fits(const struct node *n, uint64_t pages, uint64_t alignment, uint64_t *first)
{
    uint64_t at = round_up(n->first, alignment);
    if (n->kind != RANGE_FREE || at - n->first >= n->pages || n->pages - (at - n->first) < pages) {
        return false;
    }
    *first = at;
    return true;
}

/* One walk down where alignment takes nothing away; else subtrees that are long enough are tried in order. */
static bool find_free_below(const struct address_space *space, uint32_t tree, uint64_t pages,
                            uint64_t alignment, uint64_t *first)
{
    if (longest_free_of(space, tree) < pages) {
        return false;
    }
    const struct node *n = node_at(space, tree);
    return find_free_below(space, n->left, pages, alignment, first) || fits(n, pages, alignment, first) ||
           find_free_below(space, n->right, pages, alignment, first);
}

bool address_space_find_free(const struct address_space *space, uint64_t pages, uint64_t alignment,
                             uint64_t *first)
{
    return pages && alignment && find_free_below(space, space->root, pages, alignment, first);
}

/* What a walk in order has found so far. */
struct walk {
    uint64_t next; /* where the next range must begin */
    struct counts pages;
    uint32_t count;
    struct range before; /* `pages` is 0 at the start */
    bool good;
};

__attribute__((format(printf, 2, 3))) static void mismatch(struct walk *walk, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("address space: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    walk->good = false;
}

static void check_node(const struct address_space *space, uint32_t i, struct walk *walk)
{
    const struct node *n = node_at(space, i);
    if (n->first != walk->next || !n->pages) {
        mismatch(walk, "range %#" PRIx64 " + %#" PRIx64 " should begin at %#" PRIx64, n->first, n->pages,
                 walk->next);
    }
    if (walk->before.pages && alike(n, walk->before)) {
        mismatch(walk, "range %#" PRIx64 " is like the one before it", n->first);
    }
    if (n->longest_free != derive_longest_free(space, n)) {
        mismatch(walk, "range %#" PRIx64 ": longest free %" PRIu64 ", derived %" PRIu64, n->first,
                 n->longest_free, derive_longest_free(space, n));
    }
    if (n->kind != RANGE_MANAGED && (n->protection || n->flags)) {
        mismatch(walk, "range %#" PRIx64 " of kind %d has a protection or flags", n->first, n->kind);
    }
    walk->next = n->first + n->pages;
    walk->before = range_of(n);
    count_range(&walk->pages, walk->before);
    walk->count++;
}

static void check_tree(const struct address_space *space, uint32_t i, uint32_t priority, struct walk *walk)
{
    if (!i || walk->count > space->count) {
        return;
    }
    const struct node *n = node_at(space, i);
    if (n->priority > priority) {
        mismatch(walk, "range %#" PRIx64 " stands below one of lower priority", n->first);
    }
    check_tree(space, n->left, n->priority, walk);
    check_node(space, i, walk);
    check_tree(space, n->right, n->priority, walk);
}

static void check_count(struct walk *walk, const char *what, uint64_t counted, uint64_t found)
{
    if (counted != found) {
        mismatch(walk, "%" PRIu64 " %s pages counted, %" PRIu64 " found", counted, what, found);
    }
}

bool address_space_consistent(const struct address_space *space)
{
    struct walk walk = {.good = true};
    check_tree(space, space->root, UINT32_MAX, &walk);
    if (walk.next != space->pages) {
        mismatch(&walk, "ranges end at %#" PRIx64 " and not at %#" PRIx64, walk.next, space->pages);
    }
    if (walk.count != space->count) {
        mismatch(&walk, "%u ranges counted, %u found", space->count, walk.count);
    }
    check_count(&walk, "free", space->free_pages, walk.pages.free);
    check_count(&walk, "locked", space->locked_pages, walk.pages.locked);
    check_count(&walk, "fork-flagged", space->fork_flagged_pages, walk.pages.fork_flagged);
    uint32_t unused = 0;
    for (uint32_t i = space->unused; i && unused <= space->fresh; i = node_at(space, i)->left) {
        unused++;
    }
    if (unused + space->count + 1 != space->fresh) {
        mismatch(&walk, "%u nodes in use and %u unused are not the %u that were taken", space->count, unused,
                 space->fresh - 1);
    }
    return walk.good;
}
