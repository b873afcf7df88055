/* SPDX-License-Identifier: MIT */
/*
 * exit(2), the system call: the calling thread ends, and with the last thread the process. But ours would live on, and the
 * process with them, for ever. So the program's last thread ends the process.
 *
 * Who else is there is read from /proc; where there is none, the thread ends and that is all. libc counts the threads that
 * end by pthread_exit, and ends the process itself.
 */
#include "preload/exit_thread.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"
#include "preload/runtime.h"

#define NAMES_BYTES 2048

struct entry {
    uint64_t number;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

static int number_of(const char *text)
{
    int number = 0;
    while (*text >= '0' && *text <= '9') {
        number = number * 10 + (*text++ - '0');
    }
    return number;
}

/* Workers of io_uring are the kernel's, and are listed. */
static bool is_kernel_worker(int folder, const char *tid)
{
    char path[32], name[16] = {0};
    size_t length = strnlen(tid, 16);
    memcpy(path, tid, length);
    memcpy(path + length, "/comm", sizeof "/comm");
    long fd = sys_call6(SYS_openat, folder, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd >= 0) {
        sys_read((int)fd, name, sizeof name - 1);
        sys_close((int)fd);
    }
    return strncmp(name, "iou-", 4) == 0;
}

static bool is_programs(int folder, const char *tid)
{
    int number = number_of(tid);
    return number && !runtime_thread_has_tid(number) && !is_kernel_worker(folder, tid);
}

/* How many threads the program has, 0 = unknown. */
static unsigned programs_threads(void)
{
    _Alignas(struct entry) char names[NAMES_BYTES];
    unsigned count = 0;
    long bytes, folder = sys_call6(SYS_openat, AT_FDCWD, (long)"/proc/self/task",
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (folder < 0) {
        return 0;
    }
    while ((bytes = sys_call3(SYS_getdents64, folder, (long)names, sizeof names)) > 0) {
        for (long at = 0; at < bytes;) {
            const struct entry *e = (const struct entry *)(names + at);
            count += is_programs((int)folder, e->name);
            at += e->bytes;
        }
    }
    sys_close((int)folder);
    return count;
}

long exit_thread(long status)
{
    if (runtime_serves_caller() && programs_threads() == 1) {
        runtime_publish_figures();
        return sys_call3(SYS_exit_group, status, 0, 0);
    }
    return sys_call3(SYS_exit, status, 0, 0);
}
