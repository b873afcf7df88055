/* SPDX-License-Identifier: MIT */
/* What the subcommands of uzswap share: their names, exit statuses, and how they speak. */
#ifndef UZSWAP_CLI_CLI_H
#define UZSWAP_CLI_CLI_H

#include <stdarg.h>
#include <stdio.h>

#ifndef UZSWAP_VERSION
#define UZSWAP_VERSION "0.1.0"
#endif

/* As env, nohup and timeout have them. */
enum {
    EXIT_FAILED = 125,     /* uzswap itself failed; the program was not started */
    EXIT_CANNOT_RUN = 126, /* the program was found and cannot be run */
    EXIT_NOT_FOUND = 127,
};

/* Each gets the words behind the subcommand's name, and answers the exit status. */
int command_run(int argc, char *argv[]);
int command_stat(int argc, char *argv[]);
int command_top(int argc, char *argv[]);
int command_estimate(int argc, char *argv[]);
int command_bench(int argc, char *argv[]);

/* Prints the help text of everything, or of `uzswap run` alone. */
void print_help(FILE *to);
void print_run_help(FILE *to);

/* One line on standard error, "uzswap: " and the text, in one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and answers EXIT_FAILED. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `n` with commas between thousands, in one of a few buffers that are used in turn. */
const char *grouped(unsigned long long n);

/* `bytes` as "1.5 GiB", likewise. */
const char *sized(unsigned long long bytes);

/* The descriptor itself, or another of 3 or more in its place: standard streams that are closed must stay so. The
 * result is close-on-exec. */
int above_standard_streams(int fd);

#endif
