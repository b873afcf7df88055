/* SPDX-License-Identifier: MIT */
/*
 * The inside of zsmalloc, for its own files and their tests; the design stands at the head of zsmalloc.c.
 *
 *   chain      up to 16 neighbouring pages that hold objects of one class
 *   class      the objects of a range of sizes, and their chains
 *   shape      how the chains of a class look: how many pages, how many slots, where they begin
 *   slot       the place of one object; its bytes are a multiple of 16
 *   reached    slots of a chain that have been given out since it was opened. The others are not even backed by memory
 *   group      the chains of a class that are filled to about the same eighth
 *   isolated   said of the one chain of a class that is being emptied: nobody allocates from it
 */
#ifndef UZSWAP_POOL_ZSMALLOC_H
#define UZSWAP_POOL_ZSMALLOC_H

#include "base/inherited.h"
#include "base/lock.h"
#include "pool/page_set.h"
#include "pool/pool.h"

#define ZS_UNIT_SHIFT 4 /* of sizes and addresses: 16 bytes */
#define ZS_UNIT_BYTES (1u << ZS_UNIT_SHIFT)
#define ZS_UNITS_MAX (PAGE_BYTES / ZS_UNIT_BYTES)

#define ZS_CHAIN_SHIFT 4 /* of pages */
#define ZS_CHAIN_PAGES (1u << ZS_CHAIN_SHIFT)
#define ZS_CHAIN_PAGES_MIN (ZS_CHAIN_PAGES / 2 + 1) /* of a full one */
#define ZS_CHAIN_BYTES (ZS_CHAIN_PAGES << PAGE_SHIFT)

#define ZS_SMALL_BYTES 256               /* slots of up to so many are small: zsmalloc_huge.c */
#define ZS_BLOCK_BYTES ((size_t)2 << 20) /* of chains of small slots: a huge page */
#define ZS_BLOCK_CHAINS ((uint32_t)(ZS_BLOCK_BYTES / ZS_CHAIN_BYTES))
#define ZS_RAW_SLOTS 12 /* of a chain of raw pages */
#define ZS_CLASSES_MAX 256
#define ZS_GROUPS 8
#define ZS_RESERVE_MAX 8 /* chains: half a megabyte */

/*
 * A handle: the object's address, in units, from where chain 0 would be; so `map` needs nothing else. Never 0, as chain
 * numbers begin at 1.
 *
 *    38             12 11            0
 *   |  chain number   |  unit in chain |
 */
#define ZS_HANDLE_CHAIN_SHIFT (ZS_CHAIN_SHIFT + PAGE_SHIFT - ZS_UNIT_SHIFT)
#define ZS_CHAINS_MAX ((1u << (POOL_HANDLE_BITS - ZS_HANDLE_CHAIN_SHIFT)) - 1)

/*
 * What a chain knows of a slot, in 5 bytes: a live object's owner, or the next free slot.
 *
 *    39    38                     0
 *   |LIVE|  owner                  |   live
 *   | 0  |  number + 1, 0 = none   |   free
 */
#define ZS_OWNER_BYTES 5
#define ZS_LIVE (1ull << (8 * ZS_OWNER_BYTES - 1))

_Static_assert(POOL_OWNER_BITS < 8 * ZS_OWNER_BYTES, "an owner fits, and says so");

#define ZS_INVERSE_SHIFT 31

/* Immutable. */
struct zs_shape {
    uint16_t slot_bytes;
    uint16_t slots;
    uint16_t start; /* of slot 0; before it lie the owners */
    uint8_t pages;
    bool owners_outside; /* raw pages leave no room for them */
    uint32_t inverse;    /* of slot_bytes in units: multiply and shift instead of dividing */
    uint32_t group_scale;
};

/* The record of a chain. All zero, except `pages`, while no class has the chain. Guard: the class's lock; `class` is
 * immutable while an object lives in the chain. */
struct zs_chain {
    uint32_t next; /* a ring of the group's chains, by number; both 0 if not listed */
    uint32_t prev;
    uint16_t used;    /* live slots */
    uint16_t reached; /* slots 0 .. reached - 1 are live or on the list of free ones */
    uint16_t free;    /* number + 1 of the slot freed last, 0 = none */
    uint8_t class;
    uint8_t pages; /* the first so many hold memory */
};

_Static_assert(sizeof(struct zs_chain) == 16, "shared by tens of objects");

struct zs_class {
    struct mutex lock;          /* not the objects' bytes: those are the callers' */
    uint32_t isolated;          /* chain, 0 = none. Guard: lock */
    uint32_t groups_filled;     /* bit n: groups[n] is not empty. Guard: lock */
    uint32_t groups[ZS_GROUPS]; /* [n]: first chain, 0 = none. Full chains are in none. Guard: lock */
    uint32_t pages; /* with memory, in all chains. Guard for writing: lock; atomic, a hint for others */
    uint32_t used;  /* likewise: live slots */
} __attribute__((aligned(64)));

/* Neighbours first .. first + chains - 1, on their way back to the kernel. */
struct zs_run {
    uint32_t first;
    uint32_t chains; /* 0 = no run */
    uint32_t pages;  /* with memory, in all of them */
};

/* Chains of each kind have numbers of their own, all in a row. Those of small slots: so they fill huge pages. Those of raw pages: so
 * the table of their owners is as long as there are such chains. */
enum zs_kind { ZS_PACKED, ZS_RAW, ZS_SMALL, ZS_KINDS };

/* Chains first .. first + total - 1. In the set, they are numbers 1 .. total. */
struct zs_range {
    uint32_t first;       /* immutable */
    uint32_t total;       /* immutable */
    uint32_t high_water;  /* so many, the lowest, have been taken at least once. Guard: the source's lock */
    struct page_set free; /* empty chains without memory. The same */
};

/* Where chains come from. */
struct zs_source {
    char *base;                 /* immutable; where chain 0 would be, which is never used */
    uint32_t pages_max;         /* immutable; that may hold memory at one time */
    uint32_t reserve_max;       /* immutable; less in a small pool */
    struct inherited inherited; /* thread-safe */
    uint32_t ripe_block;        /* of small slots: to be collapsed, 0 = none; atomic */

    /* From here on written by whoever's chain grows, while all read what stands above. */
    uint32_t held __attribute__((aligned(64))); /* pages with memory; atomic */

    struct mutex lock;
    uint32_t releasing;                   /* chains. Guard: lock */
    uint32_t reserve_count;               /* Guard: lock */
    uint32_t reserve[ZS_RESERVE_MAX + 1]; /* empty chains with memory, highest first. Guard: lock */
    struct zs_range ranges[ZS_KINDS];
    struct mutex huge_lock; /* zsmalloc_huge.c */
};

struct zs {
    struct pool pool;
    struct memory *memory;    /* immutable */
    struct zs_class *classes; /* `class_count` of them */
    unsigned class_count;     /* immutable */
    uint32_t compact_next;    /* the class that compaction looks at next; atomic hint */
    struct sparse chains;     /* struct zs_chain by chain number */
    struct sparse raw_owners; /* struct zs_raw_owners by zs_raw_index. Guard: the class's lock */
    struct sparse blocks;     /* uint32_t by ZS_BLOCK_CHAINS chains of small slots; atomic; zsmalloc_huge.c */
    struct zs_source source;

    struct zs_shape shapes[ZS_CLASSES_MAX]; /* immutable */
    uint8_t class_of_units[ZS_UNITS_MAX];   /* [units - 1]; immutable */
};

struct zs_raw_owners {
    uint8_t bytes[64];
};

_Static_assert(ZS_RAW_SLOTS *ZS_OWNER_BYTES <= sizeof(struct zs_raw_owners), "they fit");
_Static_assert(ZS_RAW_SLOTS >= ZS_CHAIN_PAGES_MIN && ZS_RAW_SLOTS <= ZS_CHAIN_PAGES, "like any full chain");

static inline struct zs *zs_of(struct pool *pool)
{
    return container_of(pool, struct zs, pool);
}

/* The record of a chain that has been taken, and is not in the set of free ones. */
static inline struct zs_chain *zs_chain(const struct zs *z, uint32_t chain)
{
    return (struct zs_chain *)z->chains.slots + chain;
}

static inline char *zs_chain_address(const struct zs *z, uint32_t chain)
{
    return z->source.base + (size_t)chain * ZS_CHAIN_BYTES;
}

static inline uint64_t zs_handle(const struct zs_shape *shape, uint32_t chain, unsigned slot)
{
    return (uint64_t)chain << ZS_HANDLE_CHAIN_SHIFT |
           (shape->start + (size_t)slot * shape->slot_bytes) >> ZS_UNIT_SHIFT;
}

static inline uint32_t zs_handle_chain(uint64_t handle)
{
    return (uint32_t)(handle >> ZS_HANDLE_CHAIN_SHIFT);
}

static inline unsigned zs_handle_slot(const struct zs_shape *shape, uint64_t handle)
{
    uint64_t unit = (handle & ((1u << ZS_HANDLE_CHAIN_SHIFT) - 1)) - (shape->start >> ZS_UNIT_SHIFT);
    return (unsigned)(unit * shape->inverse >> ZS_INVERSE_SHIFT);
}

static inline void *zs_address(const struct zs *z, uint64_t handle)
{
    return z->source.base + (handle << ZS_UNIT_SHIFT);
}

/* Pages that must hold memory so that the first `reached` slots do. */
static inline unsigned zs_pages_for(const struct zs_shape *shape, unsigned reached)
{
    return reached ? (unsigned)((shape->start + (size_t)reached * shape->slot_bytes + PAGE_BYTES - 1) >>
                                PAGE_SHIFT)
                   : 0;
}

/* The group of a chain with so many live slots, ZS_GROUPS if it belongs in none. */
static inline unsigned zs_group_of(const struct zs_shape *shape, unsigned used)
{
    return used == shape->slots ? ZS_GROUPS : used * shape->group_scale >> 16;
}

static inline enum zs_kind zs_kind(const struct zs_source *source, uint32_t chain)
{
    return chain < source->ranges[ZS_RAW].first     ? ZS_PACKED
           : chain < source->ranges[ZS_SMALL].first ? ZS_RAW
                                                    : ZS_SMALL;
}

static inline enum zs_kind zs_shape_kind(const struct zs_shape *shape)
{
    return shape->owners_outside ? ZS_RAW : shape->slot_bytes <= ZS_SMALL_BYTES ? ZS_SMALL : ZS_PACKED;
}

/* Chain numbers go from 1 up to here, not included; the last range ends there. */
static inline uint32_t zs_numbers_end(const struct zs_source *source)
{
    return source->ranges[ZS_KINDS - 1].first + source->ranges[ZS_KINDS - 1].total;
}

/* 1 .. total */
static inline uint32_t zs_number_in(const struct zs_range *range, uint32_t chain)
{
    return chain - range->first + 1;
}

/* Where in the table of raw owners. */
static inline uint32_t zs_raw_index(const struct zs *z, uint32_t chain)
{
    return chain - z->source.ranges[ZS_RAW].first;
}

/* The chain's owners; of a chain that a class has. */
static inline uint8_t *zs_owners(const struct zs *z, const struct zs_shape *shape, uint32_t chain)
{
    return shape->owners_outside ? ((struct zs_raw_owners *)z->raw_owners.slots)[zs_raw_index(z, chain)].bytes
                                 : (uint8_t *)zs_chain_address(z, chain);
}

/* The owners are about to be written. (Those of raw pages are a table, which is never lent.) */
static inline void zs_own_owners(struct zs *z, const struct zs_shape *shape, uint32_t chain)
{
    if (!shape->owners_outside) {
        inherited_end(&z->source.inherited, zs_chain_address(z, chain),
                      (size_t)shape->slots * ZS_OWNER_BYTES);
    }
}

uint64_t zs_owner_get(const uint8_t *owners, unsigned slot);
void zs_owner_set(uint8_t *owners, unsigned slot, uint64_t value);

/* zsmalloc_shape.c: fills the tables; returns how many classes there are. */
unsigned zs_make_shapes(struct zs_shape shapes[ZS_CLASSES_MAX], uint8_t class_of_units[ZS_UNITS_MAX]);

/* The slot, and what its chain knows of it, are about to be written. */
static inline void zs_own_slot(struct zs *z, const struct zs_shape *shape, uint32_t chain, uint64_t handle)
{
    zs_own_owners(z, shape, chain);
    inherited_end(&z->source.inherited, zs_address(z, handle), shape->slot_bytes);
}

/* zsmalloc_source.c. With `chains` of each kind at most. 0, -EINVAL, -ENOMEM. */
int zs_source_init(struct zs *z, uint64_t pages_max, const uint64_t chains[ZS_KINDS]);
void zs_source_destroy(struct zs *z);

/* A chain that no class has, perhaps with memory from its last use; 0 if there is none. */
uint32_t zs_source_take(struct zs *z, enum zs_kind kind);

/* Sees to it that the chain's first `pages` pages hold memory. False if there is none. */
bool zs_source_grow(struct zs *z, uint32_t chain, unsigned pages);

/* Gives the kernel all but the chain's first `pages` pages; bytes given back. Calls the kernel: hold no lock. */
size_t zs_source_shrink(struct zs *z, uint32_t chain, unsigned pages);

/* Takes an empty chain back; bytes that went on to the kernel. The same. */
size_t zs_source_give(struct zs *z, uint32_t chain);
size_t zs_source_trim(struct zs *z);

/* At a fork, with everything at rest. */
void zs_source_lend(struct zs *z);

/* Is that a chain at all, taken at least once? And is it in the set of free ones? Guard: the source's lock. */
bool zs_source_has(const struct zs *z, uint32_t chain);
bool zs_source_is_free(const struct zs *z, uint32_t chain);

/* Is the chain a class's? With nothing being released. Guard: the source's lock. */
bool zs_source_is_taken(const struct zs *z, uint32_t chain);
bool zs_source_consistent(const struct zs *z, uint64_t taken_pages, uint64_t taken_chains);

/* zsmalloc_huge.c, for chains of small slots. What a chain needs before its first use; false if there is no memory. */
bool zs_huge_prepare(struct zs *z, uint32_t chain);

/* The chain has got the last of its pages. */
void zs_huge_chain_full(struct zs *z, uint32_t chain);

/* Pages of these chains are about to go back to the kernel. Calls it: hold no lock. */
void zs_huge_break(struct zs *z, uint32_t first, uint32_t chains);

/* Makes a huge page of the block that is ripe. The same. */
void zs_huge_collapse(struct zs *z);
bool zs_huge_consistent(const struct zs *z);

/* zsmalloc.c, for compaction. Each asserts the class's lock. */
void zs_list(struct zs *z, unsigned class, uint32_t chain, bool first);
void zs_unlist(struct zs *z, unsigned class, uint32_t chain);

/* 0 and a slot of a listed chain, the fullest first; -ENOENT if all are full; -ENOMEM. */
int zs_take_slot(struct zs *z, unsigned class, uint64_t owner, uint64_t *handle);

/* The class has the chain no more; give it to the source next. */
void zs_detach(struct zs *z, unsigned class, uint32_t chain);

/* What free does, for a caller without the lock. Bytes that went back to the kernel. */
size_t zs_free(struct zs *z, uint64_t handle);

size_t zs_compact(struct pool *pool, size_t bytes, const struct pool_mover *mover,
                  void *context); /* zsmalloc_compact.c */

size_t zs_compactable(struct pool *pool);

/* What compaction could win in the class, in pages. A hint without the lock. */
uint32_t zs_class_slack(const struct zs *z, unsigned class);

bool zs_consistent(struct pool *pool); /* zsmalloc_check.c */

#endif
