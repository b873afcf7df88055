/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

static int command_help(int argc, char *argv[])
{
    (void)argc, (void)argv;
    print_help(stdout);
    return 0;
}

static int command_version(int argc, char *argv[])
{
    (void)argc, (void)argv;
    printf("uzswap %s\n", UZSWAP_VERSION);
    return 0;
}

int command_bench(int argc, char *argv[])
{
    (void)argc, (void)argv;
    printf("The measurements live in the source tree: run `make bench` there.\n");
    return 0;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char *argv[]);
} commands[] = {
    {"run", command_run},           {"stat", command_stat},   {"top", command_top},
    {"estimate", command_estimate}, {"bench", command_bench}, {"--version", command_version},
    {"help", command_help},         {"--help", command_help}, {"-h", command_help},
};

int main(int argc, char *argv[])
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0) {
            int status = commands[i].run(argc - 2, argv + 2);
            if ((fflush(stdout) || ferror(stdout)) && !status) {
                return fail("standard output: the text could not be written");
            }
            return status;
        }
    }
    if (argv[1][0] == '-') {
        return fail("%s: no such option; options of run stand behind it: uzswap run %s ...", argv[1],
                    argv[1]);
    }
    return fail("%s: no such command; to run a program write: uzswap run -- %s ...", argv[1], argv[1]);
}
