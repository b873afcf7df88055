/* SPDX-License-Identifier: MIT */
#include "preload/proc.h"

#include <fcntl.h>
#include <string.h>

#include "base/sys.h"
#include "base/types.h"

#define DECIMALS 10 /* of a number of 32 bits */

static int proc = -1; /* -1 = there is none. Written by the first root thread, before others run */

void proc_keep(void)
{
    if (proc < 0) {
        proc = (int)sys_call6(SYS_openat, AT_FDCWD, (long)"/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    }
}

int proc_open(const char *path)
{
    return proc < 0 ? -ENOENT : (int)sys_call6(SYS_openat, proc, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

long proc_read(const char *path, char *text, size_t room)
{
    int fd = proc_open(path);
    long bytes = fd < 0 ? fd : sys_read(fd, text, room - 1);
    if (fd >= 0) {
        sys_close(fd);
    }
    text[bytes > 0 ? bytes : 0] = 0;
    return bytes;
}

size_t proc_address_space(void)
{
    char text[64];
    size_t pages = 0;
    proc_read("self/statm", text, sizeof text);
    for (const char *at = text; *at >= '0' && *at <= '9'; at++) {
        pages = pages * 10 + (size_t)(*at - '0');
    }
    return pages << PAGE_SHIFT;
}

void proc_append_number(char *path, unsigned number)
{
    char digits[DECIMALS + 1] = "";
    int at = DECIMALS;
    do {
        digits[--at] = (char)('0' + number % 10);
    } while (number /= 10);
    strcat(path, digits + at);
}

const char *proc_field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? at + strlen(name) : "";
}

int proc_last_number(const char *line)
{
    int number = 0;
    bool inside = false;
    for (; *line && *line != '\n'; line++) {
        bool is_digit = *line >= '0' && *line <= '9';
        if (is_digit) {
            number = inside ? number * 10 + (*line - '0') : *line - '0';
        }
        inside = is_digit;
    }
    return number;
}
