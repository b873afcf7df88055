/* SPDX-License-Identifier: MIT */
/* The help texts. That of `uzswap run` is made from the option table, so that it cannot fall behind it. */
#include <string.h>

#include "base/run_options.h"
#include "cli/cli.h"
#include "codec/codec.h"
#include "pool/pool.h"

#define INDENT 8

static void print_indented(FILE *to, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        fprintf(to, "%*s%.*s\n", INDENT, "", (int)line, text);
        text += line + (text[line] == '\n');
    }
}

/* The names that a pool or a compressor may have are known above base/. */
static const char *known_values(const struct run_option *option)
{
    if (strcmp(option->name, "pool") == 0) {
        return pool_list();
    }
    if (strcmp(option->name, "compressor") == 0) {
        return codec_list();
    }
    return NULL;
}

static void print_option(FILE *to, const struct run_option *option)
{
    const char *values = known_values(option);
    fprintf(to, "  --%s%s%s\n", option->name, option->argument ? " " : "",
            option->argument ? option->argument : "");
    print_indented(to, option->help);
    if (values) {
        fprintf(to, "%*sKnown: %s.\n", INDENT, "", values);
    }
    if (option->default_value) {
        fprintf(to, "%*sDefault: %s.\n", INDENT, "", option->default_value);
    }
    if (option->environment) {
        fprintf(to, "%*sVariable: %s.\n", INDENT, "", option->environment);
    }
}

void print_run_help(FILE *to)
{
    fputs("uzswap run [OPTION...] [--] PROGRAM [ARGUMENT...]\n\n"
          "Runs PROGRAM within a budget of RAM. Pages beyond it are compressed, and the coldest of them are\n"
          "written to a swap device. Standard streams, signals and exit status pass through.\n\n",
          to);
    for (size_t i = 0; i < run_option_count; i++) {
        print_option(to, &run_option_table[i]);
    }
    fprintf(
        to,
        "\nA SIZE is a number with K, M, G or T behind it (powers of 1024), or N%% of the memory of the\n"
        "machine or its cgroup, now %s. Variables of the environment stand in for options that\n"
        "are not given; a flag's variable is 1 or 0.\n\n"
        "UZSWAP_ALLOCATOR names the allocator library to run the program with (default: jemalloc), or\n"
        "is \"none\": then only memory that the program itself maps is managed.\n\n"
        "Exit status: PROGRAM's; 125 if uzswap failed; 126 if PROGRAM cannot be run; 127 if there is none.\n",
        sized(run_options_machine_memory()));
}

void print_help(FILE *to)
{
    fputs("uzswap: zswap in user space\n\n"
          "  uzswap run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
          "        Runs a program within a budget of RAM.\n"
          "  uzswap stat PID\n"
          "        Prints the figures of a program that runs under uzswap (or of uzswap run itself).\n"
          "  uzswap top [--once]\n"
          "        Shows all programs that run under uzswap.\n"
          "  uzswap estimate (--pid PID | FILE...)\n"
          "        Shows how well a process's memory, or files, would compress.\n"
          "  uzswap bench\n"
          "        Says how to measure.\n"
          "  uzswap --help | --version\n\n",
          to);
    print_run_help(to);
}
