/* SPDX-License-Identifier: MIT */
#include "preload/exit_thread.h"

#include "base/sys.h"
#include "preload/last_thread.h"
#include "preload/mailbox.h"
#include "preload/runtime.h"

static long leave(void *argument)
{
    last_thread_leaves(*(const int *)argument);
    return 0;
}

long exit_thread(long status)
{
    int code = (int)status;
    if (runtime_answers_caller()) {
        mailbox_call(leave, &code, sizeof code);
    }
    return sys_call3(SYS_exit, status, 0, 0);
}
