/* SPDX-License-Identifier: MIT */
#include "base/sparse.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

#define HUGE_PAGES (HUGE_BYTES >> PAGE_SHIFT)

static uint64_t slot_pages(const struct sparse *s)
{
    return round_up(s->slots_total * s->slot_bytes, PAGE_BYTES) >> PAGE_SHIFT;
}

static size_t committed_bytes(const struct sparse *s)
{
    return round_up(slot_pages(s), 64) / 8;
}

static size_t bitmap_page_count(const struct sparse *s)
{
    return round_up(committed_bytes(s), PAGE_BYTES) >> PAGE_SHIFT;
}

/* Whole huge pages, which are aligned then. */
static size_t reserved_bytes(const struct sparse *s)
{
    size_t bytes = s->slots_total * s->slot_bytes;
    return bytes < HUGE_BYTES ? bytes : round_up(bytes, HUGE_BYTES);
}

int sparse_init(struct sparse *s, struct memory *memory, uint64_t slots, size_t slot_bytes,
                enum account_kind kind)
{
    if (!slots || !slot_bytes || slot_bytes > PAGE_BYTES || (slot_bytes & (slot_bytes - 1)) ||
        slots > (UINT64_MAX >> 16) / slot_bytes) {
        return -EINVAL;
    }
    *s = (struct sparse){.memory = memory, .slot_bytes = slot_bytes, .slots_total = slots, .kind = kind};
    s->slots = memory_reserve(memory, reserved_bytes(s));
    s->committed = memory_reserve(memory, committed_bytes(s));
    s->bitmap_pages = memory_map(memory, bitmap_page_count(s), ACCOUNT_TABLES);
    if (!s->slots || !s->committed || !s->bitmap_pages) {
        sparse_destroy(s);
        return -ENOMEM;
    }
    return 0;
}

void sparse_destroy(struct sparse *s)
{
    if (!s->memory) {
        return;
    }
    if (s->slots && s->committed && s->bitmap_pages) {
        for (uint64_t i = 0; (i = sparse_next_committed(s, i)) < s->slots_total;
             i += sparse_slots_per_page(s)) {
            memory_uncharge(s->memory, PAGE_BYTES, s->kind);
        }
        for (size_t page = 0; page < bitmap_page_count(s); page++) {
            if (s->bitmap_pages[page]) {
                memory_uncharge(s->memory, PAGE_BYTES, ACCOUNT_TABLES);
            }
        }
    }
    memory_unreserve(s->memory, s->slots, reserved_bytes(s));
    memory_unreserve(s->memory, s->committed, committed_bytes(s));
    memory_unmap(s->memory, s->bitmap_pages, bitmap_page_count(s), ACCOUNT_TABLES);
    *s = (struct sparse){0};
}

/* Charges the page of `committed` that holds word `word`, once. */
static bool commit_bitmap_page(struct sparse *s, uint64_t word)
{
    uint8_t *flag = &s->bitmap_pages[word * 8 >> PAGE_SHIFT];
    if (likely(atomic_read_relaxed(flag))) {
        return true;
    }
    if (!memory_commit(s->memory, PAGE_BYTES, ACCOUNT_TABLES)) {
        return false;
    }
    if (atomic_swap_acq_rel(flag, 1)) {
        memory_uncharge(s->memory, PAGE_BYTES, ACCOUNT_TABLES); /* another was first */
    }
    return true;
}

void sparse_allow_huge(struct sparse *s)
{
    s->huge = !((uintptr_t)s->slots % HUGE_BYTES);
}

/* The huge page around the page that has just been committed, if that was the last of it. */
static void collapse_around(struct sparse *s, uint64_t page)
{
    uint64_t first = page / HUGE_PAGES * HUGE_PAGES;
    for (uint64_t word = first / 64; word < (first + HUGE_PAGES) / 64; word++) {
        /* Relaxed: pages that are not touched yet read as zero, collapsed or not. */
        if (~atomic_read_relaxed(&s->committed[word])) {
            return;
        }
    }
    memory_collapse(s->slots + (first << PAGE_SHIFT), HUGE_BYTES);
}

static bool commit_page(struct sparse *s, uint64_t page)
{
    if (!commit_bitmap_page(s, page / 64) || !memory_commit(s->memory, PAGE_BYTES, s->kind)) {
        return false;
    }
    uint64_t bit = 1ull << (page % 64);
    if (atomic_fetch_or_acq_rel(&s->committed[page / 64], bit) & bit) {
        memory_uncharge(s->memory, PAGE_BYTES, s->kind); /* another was first */
    } else if (s->huge) {
        collapse_around(s, page);
    }
    return true;
}

void *sparse_get_for_write(struct sparse *s, uint64_t i)
{
    if (unlikely(i >= s->slots_total)) {
        return NULL;
    }
    if (unlikely(!sparse_is_committed(s, i)) && !commit_page(s, i * s->slot_bytes >> PAGE_SHIFT)) {
        return NULL;
    }
    return s->slots + i * s->slot_bytes;
}

void sparse_release_page(struct sparse *s, uint64_t i)
{
    uint64_t page = i * s->slot_bytes >> PAGE_SHIFT;
    uint64_t bit = 1ull << (page % 64);
    char *at = s->slots + (page << PAGE_SHIFT);
    if (atomic_fetch_and_acq_rel(&s->committed[page / 64], ~bit) & bit) {
        memory_release(s->memory, at, PAGE_BYTES, s->kind);
    } else {
        memory_drop(s->memory, at, PAGE_BYTES); /* given back before, and written since, uncharged */
    }
}

uint64_t sparse_next_committed(const struct sparse *s, uint64_t i)
{
    uint64_t pages = slot_pages(s);
    uint64_t page = i * s->slot_bytes >> PAGE_SHIFT;
    while (page < pages) {
        /* An uncharged page of the bitmap holds zeros only: step over it without touching it. */
        if (!atomic_read_relaxed(&s->bitmap_pages[page / 8 >> PAGE_SHIFT])) {
            page = (page / 8 / PAGE_BYTES + 1) * PAGE_BYTES * 8;
            continue;
        }
        uint64_t bits = atomic_read_acquire(&s->committed[page / 64]) >> (page % 64);
        if (bits) {
            page += (uint64_t)__builtin_ctzll(bits);
            uint64_t first = (page << PAGE_SHIFT) / s->slot_bytes;
            return first < i ? i : first < s->slots_total ? first : s->slots_total;
        }
        page = (page / 64 + 1) * 64;
    }
    return s->slots_total;
}
