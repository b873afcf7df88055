/* SPDX-License-Identifier: MIT */
#include "cli/program_check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/program_find.h"

/* The kernel follows as many interpreters of interpreters. */
#define INTERPRETERS_MAX 5
/* The kernel reads this much of a script's first line. */
#define FIRST_LINE_BYTES 256

#define RUN_ANYWAY "uzswap run --force runs it unmanaged"

enum program_verdict program_refuse(struct program_check *check, enum program_verdict verdict,
                                    int exit_status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->reason, sizeof check->reason, format, arguments);
    va_end(arguments);
    check->exit_status = exit_status;
    return verdict;
}

static enum program_verdict refuse_missing(const char *name, struct program_check *check)
{
    if (strchr(name, '/')) {
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_NOT_FOUND, "%s: there is no such file", name);
    }
    bool is_here = *name && access(name, X_OK) == 0;
    return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_NOT_FOUND,
                          "%s: not found in any folder of PATH%s%s", *name ? name : "\"\"",
                          is_here ? "; for the one in this folder write ./" : "", is_here ? name : "");
}

/* Finds the file that is to be run. */
static enum program_verdict find(const char *name, char path[PATH_MAX], struct program_check *check)
{
    int error = program_find(name, path);
    switch (error) {
    case 0:
        return PROGRAM_MANAGEABLE;
    case -ENOENT:
    case -ENOTDIR:
        return refuse_missing(name, check);
    case -EISDIR:
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN, "%s: is a folder, not a program",
                              path);
    case -EACCES:
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN,
                              "%s: may not be executed; chmod +x makes a file a program", path);
    default:
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN, "%s: %s", path, strerror(-error));
    }
}

/*
 * Does the file raise privileges for this user? Then the loader drops LD_PRELOAD. Root gains nothing by either, and
 * where privileges cannot be gained (nosuid, no_new_privs) the kernel looks at neither.
 */
static const char *raised_privilege(const char *path, int fd)
{
    struct stat status;
    struct statvfs system;
    if (fstat(fd, &status) || (fstatvfs(fd, &system) == 0 && system.f_flag & ST_NOSUID) ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
        return NULL;
    }
    if (status.st_mode & S_ISUID && status.st_uid != getuid()) {
        return "setuid";
    }
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getgid()) {
        return "setgid";
    }
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0) {
        return "given file capabilities";
    }
    return NULL;
}

/* To the loader the same as raised privileges, whatever the file is. */
static bool has_two_identities(void)
{
    return getuid() != geteuid() || getgid() != getegid();
}

static enum program_verdict check_binary(const char *path, int fd, struct program_check *check)
{
    const char *privilege = raised_privilege(path, fd);
    if (privilege) {
        return program_refuse(
            check, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
            "%s: is %s, and for such programs the loader ignores LD_PRELOAD, by which uzswap gets "
            "in: run a copy without it, or run uzswap as the user it becomes; " RUN_ANYWAY,
            path, privilege);
    }
    if (has_two_identities()) {
        return program_refuse(
            check, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
            "%s: would run with real and effective ids that differ, and for such programs the loader ignores "
            "LD_PRELOAD, by which uzswap gets in: become one user and group before (setpriv --reuid ID "
            "--regid ID); " RUN_ANYWAY,
            path);
    }
    return elf_check(path, fd, check);
}

/* The next word at *at, ended by a 0, NULL if there is none. Moves *at behind it. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    size_t length = strcspn(word, " \t");
    if (!length) {
        return NULL;
    }
    *at = word + length + (word[length] != 0);
    word[length] = 0;
    return word;
}

static bool is_env(const char *interpreter)
{
    const char *slash = strrchr(interpreter, '/');
    return strcmp(slash ? slash + 1 : interpreter, "env") == 0;
}

/* The program that "env [-S] [NAME=VALUE...] PROGRAM" runs, NULL if that is not plain to see. */
static const char *program_of_env(char *rest)
{
    char *word;
    while ((word = next_word(&rest))) {
        if (strcmp(word, "-S") != 0 && !strchr(word, '=')) {
            return *word == '-' ? NULL : word;
        }
    }
    return NULL;
}

/*
 * Puts the interpreter of the script whose first line (behind "#!") is `line` into `path`. False if there is
 * nothing more to follow; *verdict says why.
 */
static bool follow_script(char *line, char path[PATH_MAX], struct program_check *check,
                          enum program_verdict *verdict)
{
    char script[PATH_MAX], *rest = line;
    strcpy(script, path);
    const char *interpreter = next_word(&rest);
    if (!interpreter) {
        *verdict = program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN,
                                  "%s: its first line names no interpreter behind #!", script);
        return false;
    }
    /* The kernel does not look into PATH for it. */
    char direct[PATH_MAX], resolved[PATH_MAX];
    snprintf(direct, sizeof direct, "%s%s", strchr(interpreter, '/') ? "" : "./", interpreter);
    if (program_find(direct, resolved)) {
        *verdict = program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_NOT_FOUND,
                                  "%s: its interpreter %s cannot be run; mend the first line, or run it as: "
                                  "uzswap run -- INTERPRETER %s",
                                  script, interpreter, script);
        return false;
    }
    strcpy(path, resolved);
    const char *program = is_env(interpreter) ? program_of_env(rest) : NULL;
    if (program && program_find(program, resolved) == 0) {
        strcpy(path, resolved); /* else env will say what is wrong */
    }
    return true;
}

/* Looks at one file. False if it decides (*verdict), true if `path` is now the next one to look at. */
static bool check_one(char path[PATH_MAX], struct program_check *check, enum program_verdict *verdict)
{
    char head[FIRST_LINE_BYTES] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *verdict = PROGRAM_MANAGEABLE;
    if (fd < 0) {
        return false; /* may be executed and not read: the kernel will tell */
    }
    ssize_t bytes = read(fd, head, sizeof head - 1);
    bool more = false;
    if (bytes >= 2 && memcmp(head, "#!", 2) == 0) {
        head[strcspn(head, "\n")] = 0;
        more = follow_script(head + 2, path, check, verdict);
    } else if (bytes >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) {
        *verdict = check_binary(path, fd, check);
    } else {
        strcpy(path, "/bin/sh"); /* which execvp runs the file with */
        more = access(path, X_OK) == 0;
    }
    close(fd);
    return more;
}

enum program_verdict program_check(const char *name, struct program_check *check)
{
    *check = (struct program_check){0};
    enum program_verdict verdict = find(name, check->path, check);
    if (verdict != PROGRAM_MANAGEABLE) {
        return verdict;
    }
    char path[PATH_MAX];
    strcpy(path, check->path);
    int left = INTERPRETERS_MAX;
    while (check_one(path, check, &verdict) && left--) {
    }
    if (left < 0) {
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN,
                              "%s: its interpreters are scripts, one of the other, too many times", name);
    }
    return verdict;
}
