/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"

static void say_arguments(const char *format, va_list arguments)
{
    char line[2048] = "uzswap: ";
    size_t filled = strlen(line);
    vsnprintf(line + filled, sizeof line - 1 - filled, format, arguments);
    strcat(line, "\n");
    if (write(STDERR_FILENO, line, strlen(line)) < 0) {
        return; /* nobody listens */
    }
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_arguments(format, arguments);
    va_end(arguments);
}

int fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_arguments(format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

/* A few texts may be in use at once, as arguments of one printf. */
static char *next_text(void)
{
    static char texts[16][32];
    static unsigned next;
    return texts[next++ % 16];
}

const char *grouped(unsigned long long n)
{
    char digits[24], *to = next_text();
    size_t length = (size_t)snprintf(digits, sizeof digits, "%llu", n);
    char *p = to;
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) {
            *p++ = ',';
        }
        *p++ = digits[i];
    }
    *p = 0;
    return to;
}

const char *sized(unsigned long long bytes)
{
    return size_format(bytes, next_text());
}

int above_standard_streams(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return higher;
}
