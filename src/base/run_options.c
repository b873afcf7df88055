/* SPDX-License-Identifier: MIT */
/*
 * One table, three readers: the command line, the environment and the help text. A value goes the same way from
 * wherever it comes (defaults too): find the row, set the field by the row's kind, or say what is wrong with it.
 *
 * Names are matched whole, never by prefix: a script that says --mem must not change its meaning with a new option.
 */
#include "base/run_options.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/machine.h"
#include "base/size.h"

#define SIZE_MOST ((size_t)64 << 40)
#define NAME_MAX_BYTES 32

static const char *const writeback_words[] = {"compressed", "page", "off", NULL};

#define FIELD(name) .offset = offsetof(struct run_options, name)

const struct run_option run_option_table[] = {
    {"memory", "UZSWAP_MEMORY", RUN_OPTION_SIZE, FIELD(memory), .least = RUN_MEMORY_MIN, .most = SIZE_MOST,
     .argument = "SIZE", .default_value = "75%",
     .help = "The budget: all the RAM that the program's pages, the pool and\nuzswap's tables may take."},
    {"pool", "UZSWAP_POOL", RUN_OPTION_TEXT, FIELD(pool), .argument = "NAME", .default_value = "zsmalloc",
     .help = "The allocator that holds compressed pages."},
    {"compressor", "UZSWAP_COMPRESSOR", RUN_OPTION_TEXT, FIELD(compressor), .argument = "NAME[:LEVEL]",
     .default_value = "lz4", .help = "How pages are compressed."},
    {"swap", "UZSWAP_SWAP", RUN_OPTION_TEXT, FIELD(swap), .argument = "URI", .default_value = "file:",
     .help =
         "Where the coldest pages go: file: (an unlinked file in $TMPDIR or\n/tmp), file:/FOLDER, or none."},
    {"swap-size", "UZSWAP_SWAP_SIZE", RUN_OPTION_SIZE, FIELD(swap_size), .least = (size_t)1 << 20,
     .most = SIZE_MOST, .argument = "SIZE", .default_value = "64G",
     .help = "The most that the swap device may grow to."},
    {"writeback", "UZSWAP_WRITEBACK", RUN_OPTION_WORD, FIELD(writeback), .words = writeback_words,
     .argument = "compressed|page|off", .default_value = "compressed",
     .help = "How pages are written to the swap device."},
    {"deduplicate", "UZSWAP_DEDUPLICATE", RUN_OPTION_FLAG, FIELD(deduplicate),
     .help = "Keep equal pages once: costs some time at each page, saves memory where many\nare equal."},
    {"stats", "UZSWAP_STATS", RUN_OPTION_TEXT, FIELD(stats), .argument = "FILE",
     .help = "Write all figures as one JSON object to FILE when the program ends."},
    {"force", "UZSWAP_FORCE", RUN_OPTION_FLAG, FIELD(force),
     .help = "Start a program whose memory cannot be managed all the same, unmanaged."},
    {"quiet", "UZSWAP_QUIET", RUN_OPTION_FLAG, FIELD(quiet),
     .help = "No summary on standard error when the program ends."},
    {"verbose", "UZSWAP_VERBOSE", RUN_OPTION_FLAG, FIELD(verbose),
     .help = "Say what is used: libraries, budget, swap device."},
    {"help", NULL, RUN_OPTION_FLAG, FIELD(help), .help = "Print this text."},
};
const size_t run_option_count = ARRAY_LENGTH(run_option_table);

/* Joins the parts, ended by NULL, to the error's text, and answers -EINVAL. What does not fit is cut. */
__attribute__((sentinel)) static int refuse(struct run_options_error *error, const char *part, ...)
{
    size_t filled = 0;
    va_list more;
    va_start(more, part);
    for (; part; part = va_arg(more, const char *)) {
        size_t length = min_size(strlen(part), sizeof error->text - 1 - filled);
        memcpy(error->text + filled, part, length);
        filled += length;
    }
    va_end(more);
    error->text[filled] = 0;
    return -EINVAL;
}

/* A value on its way to its field: the option, and the name under which it was given ("--memory"). */
struct setting {
    const struct run_option *option;
    const char *origin;
    const char *value;
};

static void *field(struct run_options *options, const struct run_option *option)
{
    return (char *)options + option->offset;
}

static int set_size(struct run_options *options, const struct setting *s, struct run_options_error *error)
{
    size_t bytes;
    char given[16], bound[16];
    size_t whole = strchr(s->value, '%') ? run_options_machine_memory() : 1;
    int result = size_parse(s->value, whole, &bytes);
    if (result == -ERANGE) {
        return refuse(error, s->origin, ": ", s->value, " is out of range: a SIZE is more than 0, at most ",
                      size_format(s->option->most, bound), ", and at most 100%", NULL);
    }
    if (result) {
        return refuse(error, s->origin, ": \"", s->value,
                      "\" is not a SIZE: write a number with K, M, G or T behind it, or N% of the machine's "
                      "memory, such as 512M, 2G or 75%",
                      NULL);
    }
    if (bytes < s->option->least) {
        return refuse(error, s->origin, ": ", size_format(bytes, given),
                      " is too little: ", size_format(s->option->least, bound), " is the least that works",
                      NULL);
    }
    if (bytes > s->option->most) {
        return refuse(error, s->origin, ": ", size_format(bytes, given),
                      " is too much: ", size_format(s->option->most, bound), " is the most", NULL);
    }
    *(size_t *)field(options, s->option) = bytes & ~(PAGE_BYTES - 1);
    return 0;
}

static int set_text(struct run_options *options, const struct setting *s, struct run_options_error *error)
{
    if (!*s->value) {
        return refuse(error, s->origin, ": the value is empty: write ", s->option->argument, NULL);
    }
    *(const char **)field(options, s->option) = s->value;
    return 0;
}

static int set_word(struct run_options *options, const struct setting *s, struct run_options_error *error)
{
    for (int i = 0; s->option->words[i]; i++) {
        if (strcmp(s->option->words[i], s->value) == 0) {
            *(enum run_writeback *)field(options, s->option) = (enum run_writeback)i;
            return 0;
        }
    }
    return refuse(error, s->origin, ": \"", s->value, "\" is not one of ", s->option->argument, NULL);
}

/* A flag has a value in the environment only. */
static int set_flag(struct run_options *options, const struct setting *s, struct run_options_error *error)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"1", true},  {"yes", true}, {"true", true},   {"on", true},
                 {"0", false}, {"no", false}, {"false", false}, {"off", false}};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(words[i].word, s->value) == 0) {
            *(bool *)field(options, s->option) = words[i].value;
            return 0;
        }
    }
    return refuse(error, s->origin, ": \"", s->value, "\" is neither 1 nor 0", NULL);
}

static int set(struct run_options *options, const struct setting *s, struct run_options_error *error)
{
    static int (*const setters[])(struct run_options *, const struct setting *,
                                  struct run_options_error *) = {
        [RUN_OPTION_SIZE] = set_size,
        [RUN_OPTION_TEXT] = set_text,
        [RUN_OPTION_WORD] = set_word,
        [RUN_OPTION_FLAG] = set_flag,
    };
    return setters[s->option->kind](options, s, error);
}

size_t run_options_machine_memory(void)
{
    return machine_memory("");
}

void run_options_default(struct run_options *options)
{
    struct run_options_error error;
    *options = (struct run_options){.memory = RUN_MEMORY_MIN}; /* stays on a machine of less than 21 MiB */
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        if (option->default_value) {
            struct setting s = {option, option->name, option->default_value};
            set(options, &s, &error);
        }
    }
}

/* The value of the variable (the first one, as getenv); NULL if it is unset or empty. */
static const char *environment_value(char *const environment[], const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            const char *value = *environment + length + 1;
            return *value ? value : NULL;
        }
    }
    return NULL;
}

int run_options_from_environment(struct run_options *options, char *const environment[],
                                 struct run_options_error *error)
{
    run_options_default(options);
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        if (!option->environment) {
            continue;
        }
        struct setting s = {option, option->environment, environment_value(environment, option->environment)};
        int result = s.value ? set(options, &s, error) : 0;
        if (result) {
            return result;
        }
    }
    return 0;
}

static size_t min_of_three(size_t a, size_t b, size_t c)
{
    return min_size(min_size(a, b), c);
}

/* How many letters must be put in, left out or changed to make one word the other (Levenshtein). */
static size_t word_distance(const char *a, size_t length, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], width = strlen(b);
    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t above = row[j];
            row[j] = min_of_three(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[width];
}

/* The option that was most likely meant, NULL if none is near. A beginning of its name is near. */
static const struct run_option *nearest_option(const char *name, size_t length)
{
    const struct run_option *nearest = NULL;
    size_t best = max_size(2, length / 3) + 1;
    for (size_t i = 0; length && length <= NAME_MAX_BYTES && i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        bool begins = length >= 2 && strncmp(option->name, name, length) == 0;
        size_t distance = begins ? 1 : word_distance(name, length, option->name);
        if (distance < best) {
            best = distance;
            nearest = option;
        }
    }
    return nearest;
}

static const struct run_option *find_option(const char *name, size_t length)
{
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0) {
            return option;
        }
    }
    return NULL;
}

static int refuse_unknown(const char *word, struct run_options_error *error)
{
    size_t dashes = strspn(word, "-");
    const struct run_option *nearest = nearest_option(word + dashes, strcspn(word + dashes, "="));
    if (nearest) {
        return refuse(error, word, ": no such option; did you mean --", nearest->name, "?", NULL);
    }
    return refuse(error, word, ": no such option; uzswap run --help lists all", NULL);
}

/* Reads the option at argv[0]; *used becomes how many words it took. */
static int read_option(struct run_options *options, int argc, char *const argv[], int *used,
                       struct run_options_error *error)
{
    const char *word = argv[0];
    size_t length = strcspn(word, "=");
    const struct run_option *option = strncmp(word, "--", 2) == 0 ? find_option(word + 2, length - 2) : NULL;
    if (!option) {
        return refuse_unknown(word, error);
    }
    char origin[NAME_MAX_BYTES] = "--";
    strcat(origin, option->name);
    const char *value = word[length] ? word + length + 1 : NULL;
    *used = 1;
    if (option->kind == RUN_OPTION_FLAG) {
        if (value) {
            return refuse(error, origin, " takes no value; \"", value, "\" is one too many", NULL);
        }
        value = "1";
    } else if (!value) {
        if (argc < 2) {
            return refuse(error, origin, " needs a value: ", origin, " ", option->argument, NULL);
        }
        value = argv[1];
        *used = 2;
    }
    struct setting s = {option, origin, value};
    return set(options, &s, error);
}

int run_options_from_arguments(struct run_options *options, int argc, char *const argv[], int *used,
                               struct run_options_error *error)
{
    int i = 0;
    while (i < argc && argv[i][0] == '-' && argv[i][1]) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        int words = 0;
        int result = read_option(options, argc - i, argv + i, &words, error);
        if (result) {
            return result;
        }
        i += words;
    }
    *used = i;
    return 0;
}

static const char *write_digits(size_t n, char text[24])
{
    char *p = text + 23;
    *p = 0;
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return p;
}

const char *run_option_value(const struct run_options *options, const struct run_option *option,
                             char text[24])
{
    const void *from = (const char *)options + option->offset;
    switch (option->kind) {
    case RUN_OPTION_SIZE:
        return write_digits(*(const size_t *)from, text);
    case RUN_OPTION_TEXT:
        return *(const char *const *)from;
    case RUN_OPTION_WORD:
        return option->words[*(const enum run_writeback *)from];
    case RUN_OPTION_FLAG:
        return *(const bool *)from ? "1" : NULL;
    }
    return NULL;
}
