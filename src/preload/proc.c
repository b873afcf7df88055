/* SPDX-License-Identifier: MIT */
#include "preload/proc.h"

#include <fcntl.h>

#include "base/sys.h"

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
