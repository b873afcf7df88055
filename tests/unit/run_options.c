/* SPDX-License-Identifier: MIT */
#include "base/run_options.h"

#include "base/size.h"
#include "harness.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static struct run_options options;
static struct run_options_error error;

/* Reads words, ended by NULL, over the defaults. How many were options, or -errno. */
static int read_words(char *const words[])
{
    int n = 0, used = -1;
    while (words[n]) {
        n++;
    }
    run_options_default(&options);
    error.text[0] = 0;
    int result = run_options_from_arguments(&options, n, words, &used, &error);
    return result ? result : used;
}
#define WORDS(...) read_words((char *[]){__VA_ARGS__, NULL})

static int read_variables(char *const variables[])
{
    error.text[0] = 0;
    return run_options_from_environment(&options, variables, &error);
}
#define VARIABLES(...) read_variables((char *[]){__VA_ARGS__, NULL})

#define CHECK_TEXT(found, expected)                                                                          \
    do {                                                                                                     \
        const char *found_ = (found);                                                                        \
        if (!found_ || strcmp(found_, (expected)) != 0) {                                                    \
            harness_fail(__FILE__, __LINE__, "%s is \"%s\" and not \"%s\"", #found,                          \
                         found_ ? found_ : "(null)", (expected));                                            \
        }                                                                                                    \
    } while (0)

/* The error names each of these. */
static void check_error(int line, int result, const char *const parts[])
{
    if (result != -EINVAL) {
        harness_fail(__FILE__, line, "was not refused (%d)", result);
    }
    for (; *parts; parts++) {
        if (!strstr(error.text, *parts)) {
            harness_fail(__FILE__, line, "\"%s\" does not say \"%s\"", error.text, *parts);
        }
    }
}
#define CHECK_REFUSED(result, ...) check_error(__LINE__, result, (const char *[]){__VA_ARGS__, NULL})

TEST(defaults)
{
    run_options_default(&options);
    CHECK_EQUAL(options.memory, (run_options_machine_memory() / 100 * 75) & ~(PAGE_BYTES - 1));
    CHECK_TEXT(options.pool, "zsmalloc");
    CHECK_TEXT(options.compressor, "lz4");
    CHECK_TEXT(options.swap, "file:");
    CHECK_EQUAL(options.swap_size, 64 * GIB);
    CHECK_EQUAL(options.writeback, RUN_WRITEBACK_COMPRESSED);
    CHECK(!options.deduplicate && !options.stats && !options.force && !options.quiet && !options.verbose &&
          !options.help);
}

TEST(every_option_is_read_from_the_command_line)
{
    CHECK_EQUAL(WORDS("--memory=2G", "--pool=p", "--compressor=zstd:3", "--swap=none", "--swap-size=3G",
                      "--writeback=page", "--deduplicate", "--stats=s", "--force", "--quiet", "--verbose",
                      "--help", "program"),
                12);
    CHECK_EQUAL(options.memory, 2 * GIB);
    CHECK_TEXT(options.pool, "p");
    CHECK_TEXT(options.compressor, "zstd:3");
    CHECK_TEXT(options.swap, "none");
    CHECK_EQUAL(options.swap_size, 3 * GIB);
    CHECK_EQUAL(options.writeback, RUN_WRITEBACK_PAGE);
    CHECK_TEXT(options.stats, "s");
    CHECK(options.deduplicate && options.force && options.quiet && options.verbose && options.help);
}

TEST(a_value_may_be_the_next_word)
{
    CHECK_EQUAL(WORDS("--memory", "1G", "--stats", "--odd", "program", "--quiet"), 4);
    CHECK_EQUAL(options.memory, GIB);
    CHECK_TEXT(options.stats, "--odd");
    CHECK(!options.quiet);
}

TEST(a_value_may_hold_an_equals_sign)
{
    CHECK_EQUAL(WORDS("--stats=a=b"), 1);
    CHECK_TEXT(options.stats, "a=b");
}

TEST(options_end_at_the_program)
{
    CHECK_EQUAL(WORDS("program", "--memory", "x"), 0);
    CHECK_EQUAL(WORDS("-", "--memory", "x"), 0);
    CHECK_EQUAL(WORDS("", "--memory", "x"), 0);
}

TEST(options_end_at_two_dashes)
{
    CHECK_EQUAL(WORDS("--quiet", "--", "--memory", "x"), 2);
    CHECK(options.quiet);
    CHECK_EQUAL(WORDS("--", "--", "x"), 1);
}

TEST(the_last_one_counts)
{
    CHECK_EQUAL(WORDS("--memory=1G", "--memory=2G"), 2);
    CHECK_EQUAL(options.memory, 2 * GIB);
}

TEST(every_option_has_a_twin)
{
    CHECK_EQUAL(VARIABLES("UZSWAP_MEMORY=2G", "UZSWAP_POOL=p", "UZSWAP_COMPRESSOR=zstd:3", "UZSWAP_SWAP=none",
                          "UZSWAP_SWAP_SIZE=3G", "UZSWAP_WRITEBACK=off", "UZSWAP_STATS=s", "UZSWAP_FORCE=1",
                          "UZSWAP_QUIET=yes", "UZSWAP_VERBOSE=on", "UZSWAP_OTHER=?", "HOME=/"),
                0);
    CHECK_EQUAL(options.memory, 2 * GIB);
    CHECK_TEXT(options.pool, "p");
    CHECK_TEXT(options.compressor, "zstd:3");
    CHECK_TEXT(options.swap, "none");
    CHECK_EQUAL(options.swap_size, 3 * GIB);
    CHECK_EQUAL(options.writeback, RUN_WRITEBACK_OFF);
    CHECK_TEXT(options.stats, "s");
    CHECK(options.force && options.quiet && options.verbose);
}

TEST(an_empty_variable_is_none)
{
    CHECK_EQUAL(VARIABLES("UZSWAP_MEMORY=", "UZSWAP_QUIET=", "UZSWAP_SWAP="), 0);
    CHECK(!options.quiet);
    CHECK_TEXT(options.swap, "file:");
}

TEST(a_flag_may_be_switched_off)
{
    CHECK_EQUAL(VARIABLES("UZSWAP_QUIET=0", "UZSWAP_FORCE=false"), 0);
    CHECK(!options.quiet && !options.force);
    CHECK_REFUSED(VARIABLES("UZSWAP_QUIET=maybe"), "UZSWAP_QUIET", "maybe", "1", "0");
}

TEST(no_environment_at_all)
{
    CHECK_EQUAL(run_options_from_environment(&options, NULL, &error), 0);
    CHECK_TEXT(options.compressor, "lz4");
}

TEST(the_command_line_goes_before_the_environment)
{
    int used;
    CHECK_EQUAL(VARIABLES("UZSWAP_MEMORY=2G", "UZSWAP_COMPRESSOR=zstd"), 0);
    CHECK_EQUAL(run_options_from_arguments(&options, 1, (char *[]){"--memory=1G", NULL}, &used, &error), 0);
    CHECK_EQUAL(options.memory, GIB);
    CHECK_TEXT(options.compressor, "zstd");
}

TEST(a_percentage_is_of_the_machine)
{
    CHECK_EQUAL(WORDS("--memory=50%"), 1);
    CHECK_EQUAL(options.memory, (run_options_machine_memory() / 100 * 50) & ~(PAGE_BYTES - 1));
}

TEST(sizes_are_whole_pages)
{
    CHECK_EQUAL(WORDS("--memory=104857601"), 1);
    CHECK_EQUAL(options.memory, 100 * MIB);
}

TEST(an_unknown_option_is_named_and_the_nearest_suggested)
{
    CHECK_REFUSED(WORDS("--memroy=1G"), "--memroy", "--memory?");
    CHECK_REFUSED(WORDS("--Memory=1G"), "--Memory", "--memory?");
    CHECK_REFUSED(WORDS("-quiet"), "-quiet", "--quiet?");
    CHECK_REFUSED(WORDS("--compresser", "lz4"), "--compressor?");
    CHECK_REFUSED(WORDS("--swapsize", "1G"), "--swap-size?");
}

TEST(a_beginning_is_not_a_name)
{
    CHECK_REFUSED(WORDS("--mem", "1G"), "--mem", "--memory?");
    CHECK_REFUSED(WORDS("--swap-s", "1G"), "--swap-size?");
}

TEST(what_is_like_nothing_gets_no_suggestion)
{
    CHECK_REFUSED(WORDS("--utterly-unlike-it"), "--utterly-unlike-it", "--help");
    CHECK(!strstr(error.text, "mean"));
    CHECK_REFUSED(WORDS("-x"), "-x", "--help");
    CHECK_REFUSED(WORDS("---"), "---");
    CHECK_REFUSED(WORDS("--=5"), "--=5");
}

TEST(a_malformed_size_says_what_a_size_is)
{
    CHECK_REFUSED(WORDS("--memory", "lots"), "--memory", "\"lots\"", "512M", "75%");
    CHECK_REFUSED(WORDS("--memory="), "--memory", "\"\"");
    CHECK_REFUSED(WORDS("--memory", "-5M"), "--memory", "-5M");
    CHECK_REFUSED(VARIABLES("UZSWAP_SWAP_SIZE=1.5G"), "UZSWAP_SWAP_SIZE", "1.5G");
}

TEST(bounds_are_told)
{
    char least[16], text[64];
    snprintf(text, sizeof text, "--memory=%zu", RUN_MEMORY_MIN);
    CHECK_EQUAL(WORDS(text), 1);
    snprintf(text, sizeof text, "--memory=%zu", RUN_MEMORY_MIN - 1);
    CHECK_REFUSED(WORDS(text), "too little", size_format(RUN_MEMORY_MIN, least));
    CHECK_REFUSED(WORDS("--memory=65T"), "too much", "64 TiB");
    CHECK_REFUSED(WORDS("--memory=0"), "--memory", "out of range");
    CHECK_REFUSED(WORDS("--memory=101%"), "out of range", "100%");
    CHECK_REFUSED(WORDS("--swap-size=1"), "--swap-size", "too little", "1 MiB");
}

TEST(a_wrong_word_says_the_right_ones)
{
    CHECK_REFUSED(WORDS("--writeback=never"), "--writeback", "never", "compressed|page|off");
    CHECK_REFUSED(WORDS("--writeback=OFF"), "OFF");
}

TEST(a_missing_value_is_told)
{
    CHECK_REFUSED(WORDS("--memory"), "--memory", "SIZE");
    CHECK_REFUSED(WORDS("--quiet", "--stats"), "--stats", "FILE");
    CHECK_REFUSED(WORDS("--stats="), "--stats", "empty");
}

TEST(a_flag_takes_no_value)
{
    CHECK_REFUSED(WORDS("--force=1"), "--force", "no value");
}

TEST(errors_of_any_length_are_cut)
{
    char text[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    memcpy(text, "--memory=", 9);
    CHECK_REFUSED(WORDS(text), "--memory", "xxx");
    CHECK_EQUAL(strlen(error.text), sizeof error.text - 1);
    memcpy(text, "--xxxxxxx", 9);
    CHECK_REFUSED(WORDS(text), "--xxx");
}

/* What one process writes to the environment, its children read as the same. */
TEST(values_go_through_the_environment_unchanged)
{
    static char room[16][64];
    char *variables[17] = {0};
    size_t n = 0;
    CHECK_EQUAL(WORDS("--memory=100M", "--pool=p", "--compressor=c:1", "--swap=none", "--swap-size=1G",
                      "--writeback=off", "--stats=s", "--quiet"),
                8);
    struct run_options before = options;
    for (size_t i = 0; i < run_option_count; i++) {
        char text[24];
        const char *value = run_option_value(&before, &run_option_table[i], text);
        if (value && run_option_table[i].environment) {
            snprintf(room[n], sizeof room[n], "%s=%s", run_option_table[i].environment, value);
            variables[n] = room[n];
            n++;
        }
    }
    CHECK_EQUAL(read_variables(variables), 0);
    CHECK_EQUAL(options.memory, 100 * MIB);
    CHECK_EQUAL(options.swap_size, GIB);
    CHECK_EQUAL(options.writeback, RUN_WRITEBACK_OFF);
    CHECK_TEXT(options.compressor, "c:1");
    CHECK_TEXT(options.stats, "s");
    CHECK(options.quiet && !options.force && !options.verbose);
}

/* uzswap_swap_size is the twin of --swap-size, and so on; and no row lacks what its kind needs. */
TEST(the_table_is_well_formed)
{
    for (size_t i = 0; i < run_option_count; i++) {
        const struct run_option *option = &run_option_table[i];
        char twin[64] = "UZSWAP_";
        for (size_t j = 0; option->name[j]; j++) {
            char letter = option->name[j];
            twin[7 + j] = letter == '-' ? '_' : (char)(letter - 'a' + 'A');
        }
        if (strcmp(option->name, "help") != 0) {
            CHECK_TEXT(option->environment, twin);
        }
        CHECK(option->help && *option->help);
        CHECK((option->kind == RUN_OPTION_FLAG) == !option->argument);
        CHECK(option->kind != RUN_OPTION_SIZE || (option->least < option->most && option->default_value));
        CHECK(option->kind != RUN_OPTION_WORD || option->words);
        for (size_t j = 0; j < i; j++) {
            CHECK(option->offset != run_option_table[j].offset);
            CHECK(strcmp(option->name, run_option_table[j].name) != 0);
        }
    }
}

int main(void)
{
    RUN(defaults);
    RUN(every_option_is_read_from_the_command_line);
    RUN(a_value_may_be_the_next_word);
    RUN(a_value_may_hold_an_equals_sign);
    RUN(options_end_at_the_program);
    RUN(options_end_at_two_dashes);
    RUN(the_last_one_counts);
    RUN(every_option_has_a_twin);
    RUN(an_empty_variable_is_none);
    RUN(a_flag_may_be_switched_off);
    RUN(no_environment_at_all);
    RUN(the_command_line_goes_before_the_environment);
    RUN(a_percentage_is_of_the_machine);
    RUN(sizes_are_whole_pages);
    RUN(an_unknown_option_is_named_and_the_nearest_suggested);
    RUN(a_beginning_is_not_a_name);
    RUN(what_is_like_nothing_gets_no_suggestion);
    RUN(a_malformed_size_says_what_a_size_is);
    RUN(bounds_are_told);
    RUN(a_wrong_word_says_the_right_ones);
    RUN(a_missing_value_is_told);
    RUN(a_flag_takes_no_value);
    RUN(errors_of_any_length_are_cut);
    RUN(values_go_through_the_environment_unchanged);
    RUN(the_table_is_well_formed);
    return harness_finish();
}
