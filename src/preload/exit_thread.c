/* SPDX-License-Identifier: MIT */
#include "preload/exit_thread.h"

#include "base/sys.h"
#include "preload/filters.h"
#include "preload/last_thread.h"
#include "preload/mailbox.h"
#include "preload/runtime.h"

struct leave {
    int tid, status;
};

static long leave(void *argument)
{
    const struct leave *l = argument;
    last_thread_leaves(l->tid, l->status);
    return 0;
}

long exit_thread(long status)
{
    if (filters_are_installed()) {
        last_thread_note((int)status);
    } else if (runtime_answers_caller()) {
        struct leave l = {.tid = sys_gettid(), .status = (int)status};
        mailbox_call(leave, &l, sizeof l);
    }
    return sys_call3(SYS_exit, status, 0, 0);
}
