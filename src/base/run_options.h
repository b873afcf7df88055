/* SPDX-License-Identifier: MIT */
/*
 * The options of `uzswap run`: one table with names, environment twins, bounds, defaults and help texts, read
 * from the command line by cli/ and from the environment by preload/. Strings point into argv or environ.
 *
 * Neither malloc nor stdio is used: the runtime reads its options before the program's allocator works.
 */
#ifndef UZSWAP_BASE_RUN_OPTIONS_H
#define UZSWAP_BASE_RUN_OPTIONS_H

#include "base/types.h"

/* The least budget that works: buffers and tables of the runtime, and some pages for the program. */
#define RUN_MEMORY_MIN ((size_t)16 << 20)

enum run_writeback { RUN_WRITEBACK_COMPRESSED, RUN_WRITEBACK_PAGE, RUN_WRITEBACK_OFF };

struct run_options {
    size_t memory;          /* the budget in bytes; default 75 % of the machine's or cgroup's memory */
    const char *pool;       /* name of a pool */
    const char *compressor; /* "lz4", "zstd:3" */
    const char *swap;       /* URI, "file:" by default */
    size_t swap_size;       /* bytes the device may grow to; default 64G */
    enum run_writeback writeback;
    bool deduplicate;
    const char *stats; /* file for JSON at exit, NULL = none */
    bool force;
    bool quiet;
    bool verbose;
    bool help; /* the command line alone can say this */
};

enum run_option_kind { RUN_OPTION_SIZE, RUN_OPTION_TEXT, RUN_OPTION_WORD, RUN_OPTION_FLAG };

/* A row of the table. */
struct run_option {
    const char *name;        /* "memory", for --memory */
    const char *environment; /* "UZSWAP_MEMORY", NULL if there is no twin */
    enum run_option_kind kind;
    size_t offset;             /* of the field in run_options: size_t, const char *, enum, bool */
    size_t least, most;        /* bounds of a size */
    const char *const *words;  /* of a WORD, in the order of its enum, ended by NULL */
    const char *argument;      /* "SIZE", NULL for a flag */
    const char *default_value; /* as it would be written, NULL = none */
    const char *help;          /* lines of a help text, '\n' between them */
};

extern const struct run_option run_option_table[];
extern const size_t run_option_count;

/* A message for a person: names the thing, the cause and the way out. */
struct run_options_error {
    char text[320];
};

/* All defaults. */
void run_options_default(struct run_options *options);

/* Defaults, then what the UZSWAP_* variables in `environment` say. 0 or -EINVAL with error->text set. */
int run_options_from_environment(struct run_options *options, char *const environment[],
                                 struct run_options_error *error);

/*
 * Reads the options at the head of argv[0 .. argc-1] up to the first word that is no option, or "--". 0 and *used =
 * how many words were options (a "--" included); -EINVAL with error->text set.
 */
int run_options_from_arguments(struct run_options *options, int argc, char *const argv[], int *used,
                               struct run_options_error *error);

/* The value of one option as its environment twin says it, in `text` where it has to be written; NULL if it is unset
 * (a flag that is false, no file). */
const char *run_option_value(const struct run_options *options, const struct run_option *option,
                             char text[24]);

/* The memory this process may use: the smaller of the machine's memory and its cgroup's limit (v1 or v2). */
size_t run_options_machine_memory(void);

#endif
