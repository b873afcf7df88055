/* SPDX-License-Identifier: MIT */
#include "preload/message.h"

#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "base/sys.h"
#include "preload/descriptors.h"

static void append(struct message *m, const char *part)
{
    /* One byte stays free for the newline. */
    size_t length = min_size(strlen(part), sizeof m->text - 1 - m->length);
    memcpy(m->text + m->length, part, length);
    m->length += length;
}

void message_set(struct message *m, const char *part, ...)
{
    va_list parts;
    m->length = 0;
    append(m, "uzswap: ");
    va_start(parts, part);
    for (; part; part = va_arg(parts, const char *)) {
        append(m, part);
    }
    va_end(parts);
}

static void write_to(int fd, const struct message *m)
{
    struct message line = *m;
    line.text[line.length] = '\n';
    sys_write(fd, line.text, line.length + 1);
}

void message_write(const struct message *m)
{
    write_to(STDERR_FILENO, m);
}

void message_write_to_program(const struct message *m)
{
    int process = (int)sys_call3(SYS_getpid, 0, 0, 0);
    int fd = descriptor_of_thread(process, process, STDERR_FILENO);
    if (fd < 0) {
        return;
    }
    /* The root thread must not wait for whoever reads the program's messages. */
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    struct timespec now = {0};
    if (sys_call6(SYS_ppoll, (long)&writable, 1, (long)&now, 0, 0, 0) == 1 && (writable.revents & POLLOUT)) {
        write_to(fd, m);
    }
    sys_close(fd);
}
