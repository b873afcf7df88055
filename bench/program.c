/* SPDX-License-Identifier: MIT */
#include "bench/program.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 8

_Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

unsigned number_of(const char *what, const char *text, unsigned least, unsigned most)
{
    errno = 0;
    unsigned long n = strtoul(text, NULL, 10);
    if (!*text || text[strspn(text, "0123456789")] || errno || n < least || n > most) {
        die("%s %s: wanted is a number from %u to %u", what, text, least, most);
    }
    return (unsigned)n;
}

static void take_option(const struct program_option *option, const char *value)
{
    if (option->number) {
        *option->number = number_of(option->name, value, option->least, option->most);
    } else if (option->text) {
        *option->text = value;
    } else {
        *option->flag = true;
    }
}

int program_start(int argc, char **argv, const char *usage, const struct program_option *options, int least,
                  int most)
{
    struct option long_options[OPTIONS_MAX + 2] = {{"help", no_argument, NULL, OPTIONS_MAX}};
    for (int i = 0; i < OPTIONS_MAX && options[i].name; i++) {
        long_options[i + 1] =
            (struct option){options[i].name + 2, options[i].flag ? no_argument : required_argument, NULL, i};
    }
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (c == '?') {
            die("--help says what is possible");
        }
        if (c == OPTIONS_MAX) {
            fputs(usage, stdout);
            exit(0);
        }
        take_option(&options[c], optarg);
    }
    if (argc - optind < least) {
        die("an argument is missing\n%s", usage);
    }
    if (argc - optind > most) {
        die("%s: one argument too many\n%s", argv[optind + most], usage);
    }
    return optind;
}
