/* SPDX-License-Identifier: MIT */
#include "zswap/area.h"

#include <errno.h>
#include <stdio.h>

#define WORDS_PER_PAGE (PAGE_BYTES / sizeof(uint64_t))

_Static_assert(sizeof(struct lru_links) == sizeof(uint64_t),
               "a page of words and one of links hold the same offsets");

int area_init(struct area *area, struct memory *memory, uint64_t pages)
{
    if (!pages || pages > AREA_PAGES_MAX) {
        return -EINVAL;
    }
    *area = (struct area){.pages = pages};
    mutex_init(&area->lru_lock, LOCK_RANK_LRU);
    int error = sparse_init(&area->words, memory, pages, sizeof(uint64_t), ACCOUNT_TABLES);
    if (!error) {
        error = sparse_init(&area->links, memory, pages, sizeof(struct lru_links), ACCOUNT_TABLES);
    }
    if (error) {
        area_destroy(area);
        return error;
    }
    sparse_allow_huge(&area->words);
    return 0;
}

void area_destroy(struct area *area)
{
    sparse_destroy(&area->words);
    sparse_destroy(&area->links);
    *area = (struct area){0};
}

uint64_t *area_word_for_store(struct area *area, uint64_t offset, bool linked)
{
    if (linked && !sparse_get_for_write(&area->links, offset)) {
        return NULL;
    }
    return sparse_get_for_write(&area->words, offset);
}

bool area_confirm(struct area *area, uint64_t offset)
{
    return likely(sparse_is_committed(&area->words, offset)) || sparse_get_for_write(&area->words, offset);
}

/* The links of an offset that is linked, or has been: the page is there. */
static struct lru_links *links_of(struct area *area, uint32_t link)
{
    return (struct lru_links *)area->links.slots + (link - 1);
}

void area_prefetch_neighbours(struct area *area, uint64_t offset)
{
    /* Relaxed: a hint, and without the lock perhaps an old one. Link 0, none, is an address just before the array. */
    if (!sparse_is_committed(&area->links, offset)) {
        return;
    }
    struct lru_links *links = links_of(area, (uint32_t)offset + 1);
    __builtin_prefetch(links_of(area, atomic_read_relaxed(&links->older)), 1);
    __builtin_prefetch(links_of(area, atomic_read_relaxed(&links->newer)), 1);
}

static bool is_linked(struct area *area, uint32_t link)
{
    struct lru_links *links = links_of(area, link);
    return links->older || links->newer || area->oldest == link;
}

/* Relaxed: who acts upon it has the lock. */
static void set_link(uint32_t *end, uint32_t link)
{
    atomic_set_relaxed(end, link);
}

static void set_links(struct lru_links *links, uint32_t older, uint32_t newer)
{
    set_link(&links->older, older);
    set_link(&links->newer, newer);
}

static void unlink_entry(struct area *area, uint32_t link)
{
    mutex_assert_held(&area->lru_lock);
    struct lru_links *links = links_of(area, link);
    set_link(links->older ? &links_of(area, links->older)->newer : &area->oldest, links->newer);
    set_link(links->newer ? &links_of(area, links->newer)->older : &area->newest, links->older);
    set_links(links, 0, 0);
    area->linked--;
}

static void link_newest(struct area *area, uint32_t link)
{
    mutex_assert_held(&area->lru_lock);
    set_links(links_of(area, link), area->newest, 0);
    set_link(area->newest ? &links_of(area, area->newest)->newer : &area->oldest, link);
    area->newest = link;
    area->linked++;
}

static void link_oldest(struct area *area, uint32_t link)
{
    mutex_assert_held(&area->lru_lock);
    set_links(links_of(area, link), 0, area->oldest);
    set_link(area->oldest ? &links_of(area, area->oldest)->older : &area->newest, link);
    area->oldest = link;
    area->linked++;
}

static bool is_in_pool(struct area *area, uint64_t offset)
{
    uint64_t *word = area_word(area, offset);
    /* Relaxed: only the kind is looked at, and a change of it after this is followed by its own add or drop. */
    return word && entry_kind(atomic_read_relaxed(word)) == ENTRY_POOL;
}

void area_lru_add(struct area *area, uint64_t offset)
{
    uint32_t link = (uint32_t)offset + 1;
    SCOPED_LOCK(&area->lru_lock);
    /* area_release may have taken the page of links since area_word_for_store: without memory for a new one
     * the entry stays unlinked, which only means that it is not written back. */
    if (!is_in_pool(area, offset) || !sparse_get_for_write(&area->links, offset)) {
        return;
    }
    if (is_linked(area, link)) {
        unlink_entry(area, link);
    }
    link_newest(area, link);
}

void area_lru_restore(struct area *area, uint64_t offset)
{
    uint32_t link = (uint32_t)offset + 1;
    SCOPED_LOCK(&area->lru_lock);
    /* As in area_lru_add. */
    if (is_in_pool(area, offset) && sparse_get_for_write(&area->links, offset) && !is_linked(area, link)) {
        link_oldest(area, link);
    }
}

void area_lru_drop(struct area *area, uint64_t offset)
{
    uint32_t link = (uint32_t)offset + 1;
    SCOPED_LOCK(&area->lru_lock);
    if (sparse_is_committed(&area->links, offset) && is_linked(area, link) && !is_in_pool(area, offset)) {
        unlink_entry(area, link);
    }
}

bool area_lru_take_oldest(struct area *area, uint64_t *offset)
{
    SCOPED_LOCK(&area->lru_lock);
    uint32_t link = area->oldest;
    if (!link) {
        return false;
    }
    unlink_entry(area, link);
    *offset = link - 1;
    return true;
}

bool area_lru_take(struct area *area, uint64_t offset)
{
    uint32_t link = (uint32_t)offset + 1;
    SCOPED_LOCK(&area->lru_lock);
    if (offset >= area->pages || !sparse_is_committed(&area->links, offset) || !is_linked(area, link)) {
        return false;
    }
    unlink_entry(area, link);
    return true;
}

uint64_t area_lru_count(struct area *area)
{
    SCOPED_LOCK(&area->lru_lock);
    return area->linked;
}

static void thaw(uint64_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t frozen = ENTRY_FROZEN;
        atomic_cas_acq_rel(&words[i], &frozen, 0);
    }
}

/* Makes every word of an empty page FROZEN; false, and nothing frozen, if one is not empty. */
static bool freeze(uint64_t *words)
{
    for (size_t i = 0; i < WORDS_PER_PAGE; i++) {
        uint64_t empty = 0;
        if (!atomic_cas_acq_rel(&words[i], &empty, ENTRY_FROZEN)) {
            thaw(words, i);
            return false;
        }
    }
    return true;
}

static bool any_linked(struct area *area, uint64_t first)
{
    for (uint64_t i = 0; i < WORDS_PER_PAGE && first + i < area->pages; i++) {
        if (is_linked(area, (uint32_t)(first + i) + 1)) {
            return true;
        }
    }
    return false;
}

static size_t release_links(struct area *area, uint64_t first)
{
    SCOPED_LOCK(&area->lru_lock);
    /* A linked entry here is one whose remover has not come to its drop yet: leave the links to it. */
    if (sparse_is_committed(&area->links, first) && !any_linked(area, first)) {
        sparse_release_page(&area->links, first);
        return PAGE_BYTES;
    }
    return 0;
}

/* The words and links from `first` on, if there are no entries. Links may have been left without words: see
 * release_links. */
static size_t release_page(struct area *area, uint64_t first)
{
    uint64_t *words = area_word(area, first);
    if (words && !freeze(words)) {
        return 0;
    }
    size_t bytes = release_links(area, first);
    if (words) {
        /* Also if another has given the page back since we found it: that thaws the words we froze in it after him. */
        sparse_release_page(&area->words, first);
        bytes += PAGE_BYTES;
    }
    return bytes;
}

/* The first index page at or after `first`, which begins one, that has memory for words or links. */
static uint64_t next_page(struct area *area, uint64_t first)
{
    return min_size(sparse_next_committed(&area->words, first), sparse_next_committed(&area->links, first));
}

void area_release(struct area *area, uint64_t first, uint64_t pages)
{
    uint64_t end = first + pages >= area->pages ? round_up(area->pages, WORDS_PER_PAGE) : first + pages;
    uint64_t page = next_page(area, round_up(first, WORDS_PER_PAGE));
    while (page < area->pages && page + WORDS_PER_PAGE <= end) {
        release_page(area, page);
        page = next_page(area, page + WORDS_PER_PAGE);
    }
}

/* Worth freezing: a glance, which sees the first entry that there is. */
static bool looks_empty(struct area *area, uint64_t first)
{
    const uint64_t *words = area_word(area, first);
    for (size_t i = 0; words && i < WORDS_PER_PAGE; i++) {
        if (atomic_read_relaxed(&words[i])) { /* a hint */
            return false;
        }
    }
    return true;
}

size_t area_sweep(struct area *area, unsigned pages)
{
    uint64_t page = atomic_read_relaxed(&area->sweep_at);
    size_t bytes = 0;
    for (; pages > 0; pages--) {
        page = next_page(area, page);
        if (page >= area->pages) {
            page = 0;
            break;
        }
        bytes += looks_empty(area, page) ? release_page(area, page) : release_links(area, page);
        page += WORDS_PER_PAGE;
    }
    atomic_set_relaxed(&area->sweep_at, page);
    return bytes;
}

static bool list_is_whole(struct area *area)
{
    uint64_t count = 0;
    uint32_t before = 0;
    for (uint32_t link = area->oldest; link; link = links_of(area, link)->newer) {
        if (links_of(area, link)->older != before || count > area->linked) {
            fprintf(stderr, "area: the LRU is broken at offset %u\n", link - 1);
            return false;
        }
        if (!is_in_pool(area, link - 1)) {
            fprintf(stderr, "area: offset %u is in the LRU and not in the pool\n", link - 1);
            return false;
        }
        before = link;
        count++;
    }
    if (count != area->linked || before != area->newest) {
        fprintf(stderr, "area: the LRU has %llu entries and counts %llu\n", (unsigned long long)count,
                (unsigned long long)area->linked);
        return false;
    }
    return true;
}

bool area_consistent(struct area *area)
{
    SCOPED_LOCK(&area->lru_lock);
    bool good = list_is_whole(area);
    uint64_t in_pool = 0;
    for (uint64_t i = 0; (i = sparse_next_committed(&area->words, i)) < area->pages; i++) {
        in_pool += is_in_pool(area, i);
    }
    if (in_pool != area->linked) {
        fprintf(stderr, "area: %llu entries in the pool, %llu in the LRU\n", (unsigned long long)in_pool,
                (unsigned long long)area->linked);
        good = false;
    }
    return good;
}
