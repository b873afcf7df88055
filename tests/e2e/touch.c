/* SPDX-License-Identifier: MIT */
/*
 * A plain program that needs memory: fills pages, touches them at random from several threads, reads them in order, and
 * checks every byte at the end. It knows nothing of uzswap; tests run it under `uzswap run`, and bench/ also in
 * a memory cgroup with the kernel's zswap.
 *
 * A thread writes its own pages only (page number modulo threads), and reads all. versions[page] is what the page
 * must hold; the owner raises it after the page's first stamp, so that a reader who looks at it before and
 * after knows which stamps are neither stale nor from the future.
 *
 * Prints one JSON object. The exit status is 1 if a byte was wrong.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "base/atomic.h"
#include "histogram.h"
#include "page_content.h"

struct settings {
    uint64_t pages;
    unsigned threads;
    double seconds;   /* of random touches; 0: `touches` counts */
    uint64_t touches; /* of all threads */
    unsigned write_percent;
    unsigned sequential_passes;
    bool incompressible;
    bool verify;
};

struct toucher {
    const struct settings *settings;
    uint64_t *memory;
    uint32_t *versions; /* of all pages; written by the owner of each, atomic */
    unsigned number;
    uint64_t wrong_bytes;
    struct histogram touches;
    pthread_t thread;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t *page_at(const struct toucher *t, uint64_t page)
{
    return t->memory + page * CONTENT_WORDS;
}

static void *fill_own_pages(void *argument)
{
    struct toucher *t = argument;
    for (uint64_t page = t->number; page < t->settings->pages; page += t->settings->threads) {
        content_make(page_at(t, page), page, 0, t->settings->incompressible);
    }
    return NULL;
}

/* The page is another thread's, who may be writing it. */
static void read_touch(struct toucher *t, uint64_t page)
{
    uint64_t *at = page_at(t, page);
    /* Acquire: the versions bracket the stamp read between them. */
    uint32_t before = atomic_read_acquire(&t->versions[page]);
    uint64_t start = now_ns();
    uint64_t stamp = atomic_read_acquire(at);
    histogram_add(&t->touches, now_ns() - start);
    uint32_t after = atomic_read_acquire(&t->versions[page]);
    if (stamp < content_stamp(page, before) || stamp > content_stamp(page, after + 1)) {
        t->wrong_bytes += sizeof stamp;
    }
}

static void write_touch(struct toucher *t, uint64_t page)
{
    uint64_t *at = page_at(t, page);
    uint32_t version = t->versions[page];
    uint64_t old = content_stamp(page, version), new = content_stamp(page, version + 1);
    uint64_t start = now_ns();
    atomic_set_release(at, new);
    histogram_add(&t->touches, now_ns() - start);
    /* Release: the stamp is written before. */
    atomic_set_release(&t->versions[page], version + 1);
    for (int i = 1; i < CONTENT_STAMPS; i++) {
        if (at[STAMP_WORD(i)] != old) {
            t->wrong_bytes += sizeof old;
        }
        at[STAMP_WORD(i)] = new;
    }
    if ((version + 1) % PAGE_REWRITE == 0) {
        uint64_t whole[CONTENT_WORDS];
        content_make(whole, page, version + 1, t->settings->incompressible);
        memcpy(at + 1, whole + 1, CONTENT_PAGE - sizeof *at);
    }
}

static void *touch_at_random(void *argument)
{
    struct toucher *t = argument;
    const struct settings *s = t->settings;
    uint64_t own_pages = (s->pages - t->number + s->threads - 1) / s->threads;
    uint64_t seed = (uint64_t)(t->number + 1) << 40;
    uint64_t end = now_ns() + (uint64_t)(s->seconds * 1e9);
    uint64_t touches = s->touches / s->threads;
    for (uint64_t i = 0; s->seconds > 0 ? now_ns() < end : i < touches; i++) {
        uint64_t r = content_mix(++seed);
        if ((r >> 32) % 100 < s->write_percent) {
            write_touch(t, (uint32_t)r % own_pages * s->threads + t->number);
        } else {
            read_touch(t, (uint32_t)r % s->pages);
        }
    }
    return NULL;
}

static void *verify_own_pages(void *argument)
{
    struct toucher *t = argument;
    for (uint64_t page = t->number; page < t->settings->pages; page += t->settings->threads) {
        t->wrong_bytes +=
            content_wrong_bytes(page_at(t, page), page, t->versions[page], t->settings->incompressible);
    }
    return NULL;
}

/* Runs `work` in all threads (in this one if there is only one) and returns how long it took. */
static uint64_t run_all(struct toucher *touchers, void *(*work)(void *))
{
    unsigned threads = touchers->settings->threads;
    uint64_t start = now_ns();
    for (unsigned i = 1; i < threads; i++) {
        int error = pthread_create(&touchers[i].thread, NULL, work, &touchers[i]);
        if (error) {
            fprintf(stderr, "touch: cannot start a thread: %s\n", strerror(error));
            exit(2);
        }
    }
    work(&touchers[0]);
    for (unsigned i = 1; i < threads; i++) {
        pthread_join(touchers[i].thread, NULL);
    }
    return now_ns() - start;
}

/* Reads all pages in order: the time of all, which readahead may spread over several pages. */
static uint64_t read_in_order(const struct toucher *t)
{
    uint64_t start = now_ns(), sum = 0;
    for (uint64_t page = 0; page < t->settings->pages; page++) {
        sum += atomic_read_relaxed(page_at(t, page));
    }
    if (sum == 1) {
        puts("");
    }
    return now_ns() - start;
}

static uint64_t highest_resident_bytes(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %lu kB", &kib) != 1) {
    }
    if (f) {
        fclose(f);
    }
    return (uint64_t)kib * 1024;
}

static int run(const struct settings *s)
{
    uint64_t *memory = mmap(NULL, s->pages * CONTENT_PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct toucher *touchers = calloc(s->threads, sizeof *touchers);
    uint32_t *versions = calloc(s->pages, sizeof *versions);
    if (memory == MAP_FAILED || !touchers || !versions) {
        perror("touch: no memory");
        return 2;
    }
    for (unsigned i = 0; i < s->threads; i++) {
        touchers[i] = (struct toucher){.settings = s, .memory = memory, .versions = versions, .number = i};
    }
    content_init();

    uint64_t fill_ns = run_all(touchers, fill_own_pages);
    uint64_t random_ns = run_all(touchers, touch_at_random);
    uint64_t sequential_ns = 0, verify_ns = 0;
    for (unsigned pass = 0; pass < s->sequential_passes; pass++) {
        sequential_ns += read_in_order(&touchers[0]);
    }
    if (s->verify) {
        verify_ns = run_all(touchers, verify_own_pages);
    }
    struct histogram *all = &touchers[0].touches;
    uint64_t wrong_bytes = touchers[0].wrong_bytes;
    for (unsigned i = 1; i < s->threads; i++) {
        histogram_merge(all, &touchers[i].touches);
        wrong_bytes += touchers[i].wrong_bytes;
    }
    printf(
        "{\"pages\": %lu, \"threads\": %u, \"fill_ns\": %lu, \"touches\": %lu, \"touches_per_second\": %.0f, "
        "\"touch_mean_ns\": %lu, \"touch_p50_ns\": %lu, \"touch_p99_ns\": %lu, \"touch_max_ns\": %lu, "
        "\"sequential_ns\": %lu, \"verify_ns\": %lu, \"wrong_bytes\": %lu, \"vm_hwm\": %lu}\n",
        s->pages, s->threads, fill_ns / s->pages, all->count,
        random_ns ? (double)all->count * 1e9 / (double)random_ns : 0.0, histogram_mean(all),
        histogram_percentile(all, 50), histogram_percentile(all, 99), all->max,
        s->sequential_passes ? sequential_ns / s->pages / s->sequential_passes : 0, verify_ns / s->pages,
        wrong_bytes, highest_resident_bytes());
    return wrong_bytes ? 1 : 0;
}

static uint64_t parse_size(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    return *end == 'G' ? value << 30 : *end == 'M' ? value << 20 : *end == 'K' ? value << 10 : value;
}

int main(int argc, char *argv[])
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 'd'},
        {"touches", required_argument, NULL, 'n'},
        {"writes", required_argument, NULL, 'w'},
        {"sequential", required_argument, NULL, 'q'},
        {"incompressible", no_argument, NULL, 'i'},
        {"no-verify", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct settings s = {
        .pages = (1ul << 30) / CONTENT_PAGE, .threads = 1, .write_percent = 50, .verify = true};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            s.pages = parse_size(optarg) / CONTENT_PAGE;
            break;
        case 't':
            s.threads = (unsigned)atoi(optarg);
            break;
        case 'd':
            s.seconds = atof(optarg);
            break;
        case 'n':
            s.touches = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            s.write_percent = (unsigned)atoi(optarg);
            break;
        case 'q':
            s.sequential_passes = (unsigned)atoi(optarg);
            break;
        case 'i':
            s.incompressible = true;
            break;
        case 'v':
            s.verify = false;
            break;
        default:
            fprintf(stderr,
                    "usage: touch [--size N] [--threads N] [--seconds S | --touches N] [--writes PERCENT]\n"
                    "             [--sequential PASSES] [--incompressible] [--no-verify]\n");
            return 2;
        }
    }
    if (!s.pages || !s.threads || s.threads > s.pages) {
        fprintf(stderr, "touch: --size and --threads must be at least one page and one thread\n");
        return 2;
    }
    return run(&s);
}
