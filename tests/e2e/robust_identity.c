/* SPDX-License-Identifier: MIT */
/* robust: users, capabilities, root folders and name spaces change; programs are exec'ed. */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_setuid(void)
{
    begin();
    MUST(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    work_everywhere();
}

static void test_capset(void)
{
    begin();
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    MUST(syscall(SYS_capset, &header, none) == 0);
    work_everywhere();
}

static void test_chroot(void)
{
    char folder[] = "/tmp/robust-XXXXXX";
    begin();
    MUST(mkdtemp(folder) && chdir(folder) == 0 && rmdir(folder) == 0 && chroot(".") == 0);
    work_everywhere();
}

static void test_prctl(void)
{
    begin();
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
    MUST(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
    MUST(prctl(PR_SET_NAME, "renamed") == 0);
    MUST(prctl(PR_SET_TIMERSLACK, 1000000) == 0);
    work_everywhere();
}

static void test_unshare(void)
{
    begin();
    MUST(unshare(CLONE_FILES | CLONE_FS | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) == 0);
    work_everywhere();
}

static void test_new_pid_space(void)
{
    begin();
    MUST(unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        MUST(getpid() == 1);
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    work();
}

static void test_new_user_space(void)
{
    begin();
    if (unshare(CLONE_NEWUSER)) {
        MUST(errno == EPERM || errno == EINVAL ||
             errno == ENOSPC); /* an only thread may; we cannot have that */
        pid_t pid = fork();
        if (pid == 0) {
            work();
            _exit(0);
        }
        must_end_well(pid);
    }
    work_everywhere();
}

/* ---- exec */

static void test_empty_environment(void)
{
    begin();
    exec_and_wait((char *[]){"/bin/true", NULL}, (char *[]){NULL});
    exec_and_wait((char *[]){"/proc/self/exe", "setuid", NULL}, (char *[]){NULL});
    exec_and_wait((char *[]){"/bin/sh", "-c", "env -i /bin/sh -c 'true; /bin/true'", NULL}, environ);
    MUST(clearenv() == 0);
    work_everywhere();
}

/* A user who may not open /dev/userfaultfd execs. */
static void test_exec_after_setuid(void)
{
    begin();
    MUST(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    exec_and_wait((char *[]){"/bin/sh", "-c", "/bin/true; /bin/true", NULL}, environ);
    work_everywhere();
}

const struct robust_test robust_identity[] = {
    {"setuid", test_setuid},
    {"capset", test_capset},
    {"chroot", test_chroot},
    {"prctl", test_prctl},
    {"unshare", test_unshare},
    {"new_pid_space", test_new_pid_space},
    {"new_user_space", test_new_user_space},
    {"empty_environment", test_empty_environment},
    {"exec_after_setuid", test_exec_after_setuid},
    {NULL, NULL},
};
