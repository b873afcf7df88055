/* SPDX-License-Identifier: MIT */
#include "cli/sessions.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define LINK_PREFIX "/memfd:uzswap-session"
#define OWNER_NAME "uzswap"

uint32_t parse_pid(const char *text)
{
    char *end;
    unsigned long pid = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && pid <= INT_MAX ? (uint32_t)pid : 0;
}

const char *process_name(uint32_t pid, char name[32])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    strcpy(name, "?");
    FILE *file = fopen(path, "re");
    if (file) {
        if (fgets(name, 32, file)) {
            name[strcspn(name, "\n")] = 0;
        }
        fclose(file);
    }
    return name;
}

/* Only the `uzswap run` that made a session holds its descriptor. */
static int find_owned(uint32_t pid, struct session **session)
{
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%u/fd", pid);
    DIR *folder = opendir(path);
    if (!folder) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    int error = -ENOENT;
    const struct dirent *entry;
    while (error && (entry = readdir(folder))) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        if (length > 0 && strncmp(link, LINK_PREFIX, strlen(LINK_PREFIX)) == 0) {
            snprintf(path, sizeof path, "/proc/%u/fd/%.16s", pid, entry->d_name);
            error = session_open(path, session);
        }
    }
    closedir(folder);
    return error;
}

static int find_by_environment(uint32_t pid, struct session **session)
{
    static const char name[] = SESSION_ENVIRONMENT "=";
    char path[64], *variable = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "/proc/%u/environ", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    int error = -ENOENT;
    while (error && getdelim(&variable, &room, 0, file) > 0) {
        if (strncmp(variable, name, sizeof name - 1) == 0) {
            error = session_open(variable + sizeof name - 1, session);
            break;
        }
    }
    free(variable);
    fclose(file);
    return error;
}

void sessions_each(void (*visit)(uint32_t pid, const struct session *session, void *context), void *context)
{
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char name[32];
        struct session *session;
        uint32_t pid = parse_pid(entry->d_name);
        if (pid && strcmp(process_name(pid, name), OWNER_NAME) == 0 && find_owned(pid, &session) == 0) {
            visit(pid, session, context);
            session_close(session);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

/* ---- by what the sessions themselves say: programs that change their title overwrite their environment */

struct search {
    uint32_t pid, owner;
};

static void look_for_member(uint32_t owner, const struct session *session, void *context)
{
    struct search *search = context;
    for (uint32_t i = 0; i < SESSION_PROCESSES; i++) {
        /* Relaxed: nothing is reached through it. */
        if (atomic_read_relaxed(&session->processes[i].pid) == search->pid) {
            search->owner = owner;
        }
    }
}

static int find_by_member(uint32_t pid, struct session **session)
{
    struct search search = {.pid = pid};
    sessions_each(look_for_member, &search);
    return search.owner ? find_owned(search.owner, session) : -ENOENT;
}

int sessions_find(uint32_t pid, struct session **session, bool *owned)
{
    int error = find_owned(pid, session);
    *owned = !error;
    if (error == -ENOENT) {
        error = find_by_environment(pid, session);
    }
    return error == -ENOENT ? find_by_member(pid, session) : error;
}
