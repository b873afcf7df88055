/* SPDX-License-Identifier: MIT */
/*
 * What src/zswap/lifecycle.c, the file itself and not a copy, is compiled with (production.cc), as C++ on top of relacy.
 *
 * Its headers are the real ones, base/atomic.h too: the builtins that its macros come down to (__atomic_load_n and the
 * rest) are redirected, with the order they name. So what is checked is what is written in both files. Only these are
 * replaced:
 *
 *   a shared word    an rl::atomic, found by the word's address; the `uint64_t` itself is never touched
 *   struct mutex     an rl::mutex; there is one, the orphans'
 *   memory_map       a static buffer, for the table of orphans
 *   plain fields     every `uint32_t` of struct lifecycle and struct orphan is a `plain32` here: each access to it is
 *                    checked for races. `content` of an orphan is not; it is written and read beside `next`, which is.
 *   waiting          a yield of relacy
 *
 * No header of relacy is included here: they take ten times as long to compile as this.
 */
#ifndef UZSWAP_TESTS_VERIFY_RELACY_SHIM_HPP
#define UZSWAP_TESTS_VERIFY_RELACY_SHIM_HPP

#define _Static_assert static_assert
#include "base/atomic.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/sys.h"
#include "zswap/entry_word.h"

/* Where in the source an access stands, for relacy's report. */
struct place {
    const char *function, *file;
    unsigned line;
};
#define HERE (place{__func__, __FILE__, __LINE__})

uint64_t checked_load(uint64_t *word, int order, place at);
void checked_store(uint64_t *word, uint64_t value, int order, place at);
uint64_t checked_exchange(uint64_t *word, uint64_t value, int order, place at);
bool checked_cas(uint64_t *word, uint64_t *expected, uint64_t next, int success, int failure, place at);
void checked_plain(const void *field, bool store);
void checked_yield(place at);

/* A `uint32_t` whose accesses are checked where it is shared. */
class plain32
{
  public:
    plain32() : value_(0)
    {
    }
    plain32(uint32_t value) : value_(value)
    {
    }
    plain32(const plain32 &from) : value_(from.read())
    {
    }
    plain32 &operator=(const plain32 &from)
    {
        return write(from.read());
    }
    operator uint32_t() const
    {
        return read();
    }
    plain32 &operator++()
    {
        return write(read() + 1);
    }
    plain32 &operator--()
    {
        return write(read() - 1);
    }
    uint32_t operator++(int)
    {
        uint32_t before = read();
        write(before + 1);
        return before;
    }
    uint32_t operator--(int)
    {
        uint32_t before = read();
        write(before - 1);
        return before;
    }

  private:
    uint32_t read() const
    {
        checked_plain(this, false);
        return value_;
    }
    plain32 &write(uint32_t value)
    {
        checked_plain(this, true);
        value_ = value;
        return *this;
    }

    uint32_t value_;
};
static_assert(sizeof(plain32) == sizeof(uint32_t), "one cell a field");

#define uint32_t plain32
#include "zswap/lifecycle.h"
#undef uint32_t

#endif
