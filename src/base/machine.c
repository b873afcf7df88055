/* SPDX-License-Identifier: MIT */
/*
 * A container may see its cgroup's host path in /proc/self/cgroup while its own cgroup is mounted as the root of
 * /sys/fs/cgroup. So the limit is looked for at the path and at every folder above it: folders that do not exist
 * count for nothing, and the mounted root is always among them. Neither malloc nor stdio: preload reads this early.
 */
#include "base/machine.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/size.h"
#include "base/sys.h"

#define PATH_ROOM 1024
#define GROUPS_ROOM 4096

struct hierarchy {
    const char *folder;
    const char *file;
};

static const struct hierarchy version1 = {"/sys/fs/cgroup/memory", "/memory.limit_in_bytes"};
static const struct hierarchy version2[] = {
    {"/sys/fs/cgroup", "/memory.max"},
    {"/sys/fs/cgroup/unified", "/memory.max"},
};

/* The file's content as a string without its last newline; how many bytes, or -errno. */
static long read_text(const char *path, char *text, size_t room)
{
    long fd = sys_call6(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) {
        return fd;
    }
    size_t filled = 0;
    long got;
    while (filled < room - 1 && (got = sys_read((int)fd, text + filled, room - 1 - filled)) > 0) {
        filled += (size_t)got;
    }
    sys_close((int)fd);
    if (filled && text[filled - 1] == '\n') {
        filled--;
    }
    text[filled] = 0;
    return (long)filled;
}

/* Puts the parts one behind the other; false if they do not fit. */
static bool join(char path[PATH_ROOM], const char *const parts[], size_t n)
{
    size_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(parts[i]);
        if (filled + length >= PATH_ROOM) {
            return false;
        }
        memcpy(path + filled, parts[i], length);
        filled += length;
    }
    path[filled] = 0;
    return true;
}

/* The limit that one cgroup's file states, SIZE_MAX if it states none. */
static size_t limit_at(const char *root, const struct hierarchy *h, const char *group)
{
    char path[PATH_ROOM], text[32];
    size_t limit;
    const char *parts[] = {root, h->folder, group, h->file};
    if (!join(path, parts, ARRAY_LENGTH(parts)) || read_text(path, text, sizeof text) <= 0 ||
        size_parse(text, 0, &limit)) {
        return SIZE_MAX; /* also "max" */
    }
    return limit;
}

/* The least limit of `group` and the groups above it. Shortens `group`. */
static size_t limit_up_from(const char *root, const struct hierarchy *h, char *group)
{
    size_t least = SIZE_MAX;
    for (;;) {
        least = min_size(least, limit_at(root, h, group));
        char *slash = strrchr(group, '/');
        if (!slash) {
            return least;
        }
        *slash = 0;
    }
}

static bool names_memory(const char *controllers, size_t length)
{
    static const char word[] = "memory";
    const char *end = controllers + length;
    for (const char *p = controllers; p < end; p++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t bytes = (size_t)((comma ? comma : end) - p);
        if (bytes == sizeof word - 1 && memcmp(p, word, bytes) == 0) {
            return true;
        }
        p += bytes;
    }
    return false;
}

/* One line of /proc/self/cgroup: "ID:CONTROLLERS:/GROUP", controllers empty for version 2. */
static size_t limit_of_line(const char *root, const char *line)
{
    const char *controllers = strchr(line, ':');
    const char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    char path[PATH_ROOM];
    if (!group || strlen(group + 1) >= sizeof path) {
        return SIZE_MAX;
    }
    size_t length = (size_t)(group - controllers - 1);
    if (length && names_memory(controllers + 1, length)) {
        return limit_up_from(root, &version1, strcpy(path, group + 1));
    }
    size_t least = SIZE_MAX;
    for (size_t i = 0; !length && i < ARRAY_LENGTH(version2); i++) {
        least = min_size(least, limit_up_from(root, &version2[i], strcpy(path, group + 1)));
    }
    return least;
}

static size_t cgroup_limit(const char *root)
{
    char path[PATH_ROOM], groups[GROUPS_ROOM];
    const char *parts[] = {root, "/proc/self/cgroup"};
    if (!join(path, parts, ARRAY_LENGTH(parts)) || read_text(path, groups, sizeof groups) <= 0) {
        return SIZE_MAX;
    }
    size_t least = SIZE_MAX;
    for (char *line = groups; line;) {
        char *newline = strchr(line, '\n');
        if (newline) {
            *newline = 0;
        }
        least = min_size(least, limit_of_line(root, line));
        line = newline ? newline + 1 : NULL;
    }
    return least;
}

size_t machine_memory(const char *root)
{
    struct sysinfo info = {0};
    sys_call3(SYS_sysinfo, (long)&info, 0, 0);
    return min_size((size_t)info.totalram * info.mem_unit, cgroup_limit(root));
}
