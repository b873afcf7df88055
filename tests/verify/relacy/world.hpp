/* SPDX-License-Identifier: MIT */
/*
 * The world of one execution: two words, their lifecycle, objects in a pool and on a device.
 *
 * An object's bytes are one plain variable: written before it is published, read by holders, overwritten when it is
 * freed. relacy reports every pair of such accesses that no order of the code under test keeps apart. A freed name is the
 * first to be given out again, so that a late reader meets the next object's bytes. From free to that, and only there,
 * the name itself carries what its lock would in the real pool; nothing else here orders threads.
 *
 * What the checker knows of an object (is it live, its version) it keeps outside the memory model.
 */
#ifndef UZSWAP_TESTS_VERIFY_RELACY_WORLD_HPP
#define UZSWAP_TESTS_VERIFY_RELACY_WORLD_HPP

#include "ground.hpp"

struct object {
    bool live = false;
    uint64_t version = 0;
    rl::var<uint64_t> bytes;
    rl::atomic_data *last_freed = nullptr;

    ~object()
    {
        if (last_freed) {
            rl::ctx().atomic_dtor(last_freed);
        }
    }

    void make(uint64_t with_version)
    {
        if (last_freed) {
            rl::ctx().threadx_->atomic_load_acquire_rmw(last_freed);
        }
        live = true;
        version = with_version;
        bytes($) = version;
    }

    uint64_t read()
    {
        uint64_t found = bytes($);
        if (!live) {
            fail("read after free");
        }
        if (found != version) {
            fail("the object's bytes are not its own");
        }
        return found;
    }

    void free()
    {
        bytes($) = 0xdead;
        if (!live) {
            fail("freed twice");
        }
        live = false;
        if (!last_freed) {
            last_freed = rl::ctx().atomic_ctor(this);
            rl::ctx().threadx_->atomic_init(last_freed);
        }
        bool aba;
        rl::ctx().threadx_->atomic_rmw_release(last_freed, aba);
    }
};

/* A version is a small number; a set of versions is a mask of bits 1 << version. Version 0: there is no entry. */
#define V(version) (1u << (version))

struct world : ground {
    enum { OBJECTS = 4, HOLDERS = 3 };

    struct lifecycle lc;
    struct object pool[OBJECTS], device[OBJECTS];
    uint64_t held[HOLDERS]; /* taken before the threads run, for thread n to let go */
    unsigned taken = 0;     /* exclusive loads that got the entry */

    world()
    {
        the_ground = this;
        words[0].store(0, rl::mo_relaxed, $);
        words[1].store(0, rl::mo_relaxed, $);
        if (lifecycle_init(&lc, NULL, HOLDERS, release, this) != 0) {
            fail("lifecycle_init");
        }
        fields = (const char *)&lc;
        fields_bytes = sizeof lc;
    }

    static void release(void *owner, uint64_t content)
    {
        ((world *)owner)->object_of(content).free();
    }

    struct object &object_of(uint64_t word)
    {
        uint64_t name = entry_name(word);
        if (!entry_is_object(word) || !name || name > OBJECTS) {
            fail("a word that names no object");
        }
        return (entry_kind(word) == ENTRY_POOL ? pool : device)[name - 1];
    }

    /* A new object's word. */
    uint64_t make(enum entry_kind kind, uint64_t version)
    {
        struct object *objects = kind == ENTRY_POOL ? pool : device;
        for (uint64_t i = 0; i < OBJECTS; i++) {
            if (!objects[i].live) {
                objects[i].make(version);
                return entry_make(kind, i + 1, 100, 0);
            }
        }
        fail("out of names");
    }

    static uint64_t filled(uint64_t version)
    {
        return version << 3 | ENTRY_FILLED;
    }

    /* The version that `word`, which the caller holds, has now. */
    uint64_t version_of(uint64_t word)
    {
        return entry_is_object(word) ? object_of(word).read() : word >> 3;
    }

    /* The verbs, as src/zswap/ puts them together. */

    void store(uint64_t version, unsigned key = 0)
    {
        lifecycle_replace(&lc, &names[key], make(ENTRY_POOL, version));
    }

    void store_filled(uint64_t version)
    {
        lifecycle_replace(&lc, &names[0], filled(version));
    }

    void invalidate(unsigned key = 0)
    {
        lifecycle_replace(&lc, &names[key], 0);
    }

    uint64_t load(unsigned allowed, bool mark = false, unsigned key = 0)
    {
        uint64_t word = lifecycle_hold(&names[key], mark);
        uint64_t version = version_of(word);
        if (!(V(version) & allowed)) {
            fail("a load of the wrong version");
        }
        if (entry_is_object(word)) {
            lifecycle_unhold(&lc, &names[key], word);
        }
        return version;
    }

    void load_exclusive(unsigned allowed)
    {
        uint64_t word = lifecycle_hold(&names[0], false);
        if (!(V(version_of(word)) & allowed)) {
            fail("an exclusive load of the wrong version");
        }
        taken += entry_is_object(word) ? lifecycle_remove_held(&lc, &names[0], word)
                                       : word && lifecycle_remove_filled(&names[0], word);
    }

    /* The rest of a load that had its hold before the threads ran. */
    void end_load(unsigned thread)
    {
        version_of(held[thread]);
        lifecycle_unhold(&lc, &names[0], held[thread]);
    }

    bool writeback()
    {
        uint64_t word = lifecycle_begin_writeback(&names[0]);
        return word && end_writeback(word);
    }

    bool end_writeback(uint64_t word)
    {
        uint64_t on_device = make(ENTRY_DEVICE, version_of(word));
        if (lifecycle_finish_writeback(&lc, &names[0], word, on_device)) {
            return true;
        }
        object_of(on_device).free();
        return false;
    }

    void writeback_fails()
    {
        uint64_t word = lifecycle_begin_writeback(&names[0]);
        if (word) {
            version_of(word);
            lifecycle_abort_writeback(&lc, &names[0], word);
        }
    }

    void move()
    {
        uint64_t word = lifecycle_hold(&names[0], false);
        if (entry_kind(word) != ENTRY_POOL) {
            if (entry_is_object(word)) {
                lifecycle_unhold(&lc, &names[0], word);
            }
            return;
        }
        uint64_t moved = make(ENTRY_POOL, version_of(word));
        if (!lifecycle_move(&lc, &names[0], word, moved)) {
            object_of(moved).free();
        }
    }

    /* After the threads: nobody holds anything, and no object is left once the words are empty. */
    void finish(unsigned allowed)
    {
        threads_run = false;
        for (unsigned key = 0; key < WORDS; key++) {
            uint64_t word = words[key].load(rl::mo_relaxed, $);
            if (entry_is_object(word) && (entry_holders(word) || (word & ENTRY_WB))) {
                fail("a hold is left in the word");
            }
            if (key == 0 && !(V(version_of(word)) & allowed)) {
                fail("the wrong version is left");
            }
            lifecycle_replace(&lc, &names[key], 0);
        }
        if (lifecycle_orphans(&lc)) {
            fail("an orphan is left");
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            if (pool[i].live || device[i].live) {
                fail("an object leaked");
            }
        }
    }
};

#endif
