/* SPDX-License-Identifier: MIT */
/*
 * uzswap estimate: how well would this memory compress, how long does that take, and what budget follows.
 *
 * The budget is a rule of thumb: a share of the pages stays as it is (what the program works on), the rest lies in the
 * pool, and nothing goes to disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/run_options.h"
#include "cli/cli.h"
#include "cli/sample.h"
#include "cli/sessions.h"
#include "codec/codec.h"

/* Compressed pages that shrink less are kept as they are. */
#define WORTHWHILE_BYTES (PAGE_BYTES - 64)
#define HOT_SHARE 0.25

/* Beside the names of codec_list, at their usual levels. */
static const char *const further_codecs[] = {"zstd:-5", "zstd:9"};

struct trial {
    char name[CODEC_NAME_MAX];
    uint64_t bytes;    /* of all compressed pages, incompressible ones as a whole */
    size_t pages;      /* that were tried: all but same-filled ones */
    size_t poor;       /* of them, incompressible */
    double compress;   /* seconds */
    double decompress; /* seconds, for pages - poor */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool is_same_filled(const unsigned char *page)
{
    return memcmp(page, page + 8, PAGE_BYTES - 8) == 0;
}

static int try_page(struct trial *t, struct codec_context *context, enum codec_format format,
                    const void *page)
{
    static unsigned char packed[PAGE_BYTES], unpacked[PAGE_BYTES];
    double begin = now();
    int bytes = codec_compress(context, packed, WORTHWHILE_BYTES, page);
    double middle = now();
    t->compress += middle - begin;
    t->pages++;
    if (bytes < 0) {
        return bytes;
    }
    if (bytes == 0) {
        t->poor++;
        t->bytes += PAGE_BYTES;
        return 0;
    }
    int error = codec_decompress(context, format, unpacked, packed, (size_t)bytes);
    t->decompress += now() - middle;
    t->bytes += (unsigned)bytes;
    return error;
}

static int try_codec(struct trial *t, const struct sample *sample, const char *name)
{
    struct account account = {.limit = 0};
    struct memory memory = {.account = &account};
    struct codec codec;
    struct codec_context *context;
    int error = codec_parse(name, &codec);
    if (!error) {
        error = codec_context_create(&context, &memory, &codec);
    }
    if (error) {
        return error;
    }
    *t = (struct trial){.bytes = 0};
    codec_format_name(&codec, t->name);
    for (size_t i = 0; !error && i < sample->count; i++) {
        const unsigned char *page = sample->pages + i * PAGE_BYTES;
        error = is_same_filled(page) ? 0 : try_page(t, context, codec_output_format(&codec), page);
    }
    codec_context_destroy(context);
    return error;
}

static double per(double a, size_t n)
{
    return n ? a / (double)n : 0;
}

static void print_trial(const struct trial *t, const struct sample *sample)
{
    double share = (double)t->bytes / ((double)sample->count * (double)PAGE_BYTES);
    double whole = (double)sample->population * (double)PAGE_BYTES;
    double budget = whole * (HOT_SHARE + (1 - HOT_SHARE) * share);
    double ratio = t->bytes ? (double)t->pages * (double)PAGE_BYTES / (double)t->bytes : 0;
    printf("%-12s %8.2f %13.1f %% %13.1f %13.1f %16s\n", t->name, ratio, 100 * per((double)t->poor, t->pages),
           1e6 * per(t->compress, t->pages), 1e6 * per(t->decompress, t->pages - t->poor),
           sized(max_size((size_t)budget, RUN_MEMORY_MIN)));
}

static int print_codec(const struct sample *sample, const char *name)
{
    struct trial trial;
    int error = try_codec(&trial, sample, name);
    if (error) {
        return fail("compressor %s: %s", name, strerror(-error));
    }
    print_trial(&trial, sample);
    return 0;
}

/* All that codec_list names ("lz4:1..64, zstd:-10..22"), without levels. */
static int print_codecs(const struct sample *sample)
{
    int status = 0;
    for (const char *at = codec_list(); *at && !status; at += strspn(at, ", ")) {
        char name[CODEC_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ":,"), at);
        status = print_codec(sample, name);
        at += strcspn(at, ",");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(further_codecs) && !status; i++) {
        status = print_codec(sample, further_codecs[i]);
    }
    return status;
}

static int print_estimate(const struct sample *sample)
{
    size_t same = 0;
    for (size_t i = 0; i < sample->count; i++) {
        same += is_same_filled(sample->pages + i * PAGE_BYTES);
    }
    printf("%s pages (%s), of which %s were looked at; %.1f %% of them are same-filled and take no room.\n\n",
           grouped(sample->population), sized(sample->population * PAGE_BYTES), grouped(sample->count),
           100 * per((double)same, sample->count));
    printf("%-12s %8s %15s %13s %13s %16s\n", "COMPRESSOR", "RATIO", "INCOMPRESSIBLE", "COMPRESS us",
           "DECOMPRESS us", "BUDGET");
    int status = print_codecs(sample);
    if (!status) {
        printf("\nRATIO is of the pages that are not same-filled. BUDGET is the least --memory that keeps "
               "all in RAM\n"
               "if %.0f %% of the pages stay uncompressed.\n",
               100 * HOT_SHARE);
    }
    return status;
}

static int fail_process(uint32_t pid, int error)
{
    switch (error) {
    case -ENOENT:
    case -ESRCH:
        return fail("process %u: there is no such process", pid);
    case -EACCES:
    case -EPERM:
        return fail("process %u: its memory may be read by its user with ptrace rights, or root, only", pid);
    case -ENODATA:
        return fail("process %u: it has no private memory (a kernel thread, or a process that has ended)",
                    pid);
    default:
        return fail("process %u: %s", pid, strerror(-error));
    }
}

static int take_sample(struct sample *sample, int argc, char *argv[])
{
    if (strncmp(argv[0], "--pid", 5) == 0) {
        const char *text = argv[0][5] == '=' ? argv[0] + 6 : argc == 2 && !argv[0][5] ? argv[1] : "";
        uint32_t pid = parse_pid(text);
        if (!pid) {
            return fail("write: uzswap estimate --pid PID");
        }
        int error = sample_process(sample, pid);
        return error ? fail_process(pid, error) : 0;
    }
    const char *failed;
    int first = strcmp(argv[0], "--") == 0;
    int error = sample_files(sample, argv + first, (size_t)(argc - first), &failed);
    if (error == -ENODATA) {
        return fail("the files are empty: there is nothing to estimate from");
    }
    return error ? fail("%s: %s", failed, strerror(-error)) : 0;
}

int command_estimate(int argc, char *argv[])
{
    if (!argc || (argv[0][0] == '-' && strncmp(argv[0], "--pid", 5) != 0 && strcmp(argv[0], "--") != 0)) {
        return fail("write: uzswap estimate --pid PID, or uzswap estimate FILE...");
    }
    struct sample sample;
    int status = take_sample(&sample, argc, argv);
    if (!status) {
        status = print_estimate(&sample);
        sample_free(&sample);
    }
    return status;
}
