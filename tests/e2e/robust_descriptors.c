/* SPDX-License-Identifier: MIT */
/* robust: a program closes its descriptors, all of them if it likes, and lowers its limits while it runs. */
#include "tests/e2e/robust.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- descriptors */

static void close_range_all(void)
{
    MUST(close_range(3, ~0u, 0) == 0);
}

static void close_range_from_zero(void)
{
    MUST(close_range(0, ~0u, 0) == 0);
}

static void close_range_unshare(void)
{
    MUST(close_range(3, ~0u, CLOSE_RANGE_UNSHARE) == 0);
}

static void close_range_cloexec(void)
{
    MUST(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0);
}

static void close_loop(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        close(fd);
    }
}

static void dup2_over_all(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 3; fd < 1024; fd++) {
        dup2(null, fd);
    }
}

static void closing(void (*close_all)(void))
{
    begin();
    pid_t pid = fork(); /* the child closes, too, before its parent did */
    if (pid == 0) {
        close_all();
        work_in_grandchild();
        _exit(0);
    }
    must_end_well(pid);
    close_all();
    work_everywhere();
    close_all();
    work_everywhere();
}

static void test_close_range(void)
{
    closing(close_range_all);
}

static void test_close_range_from_zero(void)
{
    closing(close_range_from_zero);
}

static void test_close_range_unshare(void)
{
    closing(close_range_unshare);
}

static void test_close_range_cloexec(void)
{
    closing(close_range_cloexec);
}

static void test_close_loop(void)
{
    closing(close_loop);
}

static void test_dup2(void)
{
    closing(dup2_over_all);
}

/* As a classic daemon begins: its ancestor adopts it here, to hear how it ended. */
static void test_daemon(void)
{
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    begin();
    pid_t pid = fork();
    if (pid == 0) {
        MUST(setsid() > 0);
        pid_t daemon = fork();
        MUST(daemon >= 0);
        if (daemon) {
            _exit(0);
        }
        MUST(chdir("/") == 0);
        close_loop();
        for (int i = 0; i < 3; i++) {
            work_in_grandchild();
            usleep(150 * 1000);
        }
        _exit(0);
    }
    must_end_well(pid);
    int status;
    MUST(wait(&status) > 0 && status == 0);
}

/* ---- limits, set while it runs */

static void limit(int resource, rlim_t value)
{
    struct rlimit l = {value, value};
    MUST(setrlimit((__rlimit_resource_t)resource, &l) == 0);
}

static void limited(int resource, rlim_t value)
{
    begin();
    limit(resource, value);
    work_where_fork_may_fail();
}

static void test_limit_nofile(void)
{
    limited(RLIMIT_NOFILE, 3);
}

static void test_limit_nofile_20(void)
{
    begin();
    limit(RLIMIT_NOFILE, 20);
    work_everywhere();
}

static void test_no_descriptor_left(void)
{
    begin();
    struct rlimit l = {64, 4096};
    MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    MUST(errno == EMFILE);
    work_everywhere();
    MUST(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == 64);
}

static uint32_t setter_stops; /* atomic */

/* Nobody else sets the limit: each value stays until the next. */
static void *set_limit_often(void *argument)
{
    struct rlimit l, now;
    (void)argument;
    MUST(getrlimit(RLIMIT_NOFILE, &l) == 0);
    rlim_t least = l.rlim_cur - 50;
    for (unsigned i = 0; !__atomic_load_n(&setter_stops, __ATOMIC_ACQUIRE); i++) {
        l.rlim_cur = least + i % 50;
        MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
        usleep(100);
        MUST(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == l.rlim_cur);
    }
    return NULL;
}

static void test_limit_set_while_it_forks(void)
{
    pthread_t setter;
    begin();
    MUST(pthread_create(&setter, NULL, set_limit_often, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        must_end_well(pid);
    }
    __atomic_store_n(&setter_stops, 1, __ATOMIC_RELEASE);
    MUST(pthread_join(setter, NULL) == 0);
    work();
}

static void test_limit_as(void)
{
    begin();
    limit(RLIMIT_AS, (rlim_t)1 << 30);
    work_everywhere();
    exec_and_wait((char *[]){"/bin/sh", "-c", "/bin/true; exec /bin/true", NULL}, environ);
}

static void test_limit_as_of_all(void)
{
    begin();
    limit(RLIMIT_AS, PAGE);
    work_where_fork_may_fail();
}

static void test_limit_data(void)
{
    limited(RLIMIT_DATA, (rlim_t)1 << 20);
}

static void test_limit_stack(void)
{
    begin();
    limit(RLIMIT_STACK, 64 << 10);
    work_everywhere();
}

static void test_limit_fsize(void)
{
    begin();
    limit(RLIMIT_FSIZE, 0);
    work_where_fork_may_fail();
}

static void test_limit_core(void)
{
    begin();
    limit(RLIMIT_CORE, 0);
    work_everywhere();
}

static void test_limit_memlock(void)
{
    begin();
    limit(RLIMIT_MEMLOCK, 0);
    work_everywhere();
}

static void test_limit_nproc(void)
{
    begin();
    limit(RLIMIT_NPROC, 1);
    MUST(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    work_where_fork_may_fail();
}

#define LIMIT_AS ((rlim_t)2 << 30)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

static void must_have_limit_as(rlim_t expected)
{
    struct rlimit l;
    MUST(getrlimit(RLIMIT_AS, &l) == 0 && l.rlim_cur == expected);
    MUST(prlimit(getpid(), RLIMIT_AS, NULL, &l) == 0 && l.rlim_cur == expected);
    MUST(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &l) == 0 && l.rlim_cur == expected);
    MUST(syscall(SYS_getrlimit, RLIMIT_AS, &l) == 0 && l.rlim_cur == expected);
}

static void *do_nothing(void *argument)
{
    return argument;
}

/* All kinds of mappings fit below the limit, and none above it. */
static void map_under_limit(void)
{
    const int kinds[] = {PRIVATE, MAP_SHARED | MAP_ANONYMOUS, PRIVATE | MAP_STACK};
    pthread_t thread;
    for (size_t i = 0; i < 3; i++) {
        char *at = mmap(NULL, LIMIT_AS / 4, RW, kinds[i] | MAP_NORESERVE, -1, 0);
        MUST(at != MAP_FAILED);
        at[PAGE] = 1;
        MUST(mremap(at, LIMIT_AS / 4, 2 * LIMIT_AS, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
        MUST(munmap(at, LIMIT_AS / 4) == 0);
        MUST(mmap(NULL, LIMIT_AS, RW, kinds[i] | MAP_NORESERVE, -1, 0) == MAP_FAILED && errno == ENOMEM);
    }
    char *at = map(LIMIT_AS / 4);
    at[PAGE] = 1;
    MUST(mmap(at, 2 * LIMIT_AS, RW, PRIVATE | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED &&
         errno == ENOMEM);
    MUST(at[PAGE] == 1);
    MUST(mmap(at, LIMIT_AS / 4, RW, PRIVATE | MAP_NORESERVE | MAP_FIXED, -1, 0) == at && at[PAGE] == 0);
    MUST(munmap(at, LIMIT_AS / 4) == 0);
    MUST(pthread_create(&thread, NULL, do_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

/* Lowered, read, kept by children and by exec, and raised again. */
static void test_limit_as_means_the_programs(void)
{
    struct rlimit before, l;
    begin();
    MUST(getrlimit(RLIMIT_AS, &before) == 0);
    l = (struct rlimit){LIMIT_AS, before.rlim_max};
    MUST(setrlimit(RLIMIT_AS, &l) == 0);
    must_have_limit_as(LIMIT_AS);
    map_under_limit();
    pid_t pid = fork();
    if (pid == 0) {
        must_have_limit_as(LIMIT_AS);
        map_under_limit();
        work();
        execlp("sh", "sh", "-c", "[ \"$(ulimit -v)\" = 2097152 ]", (char *)NULL);
        _exit(127);
    }
    must_end_well(pid);
    MUST(execv("/nowhere", (char *[]){"nowhere", NULL}) == -1 && errno == ENOENT);
    map_under_limit();
    MUST(setrlimit(RLIMIT_AS, &(struct rlimit){2, 1}) == -1 && errno == EINVAL);
    must_have_limit_as(LIMIT_AS);
    MUST(setrlimit(RLIMIT_AS, &before) == 0);
    must_have_limit_as(before.rlim_cur);
    MUST(munmap(map(2 * LIMIT_AS), 2 * LIMIT_AS) == 0);
    work_everywhere();
}

/* Where nothing is, what cannot be written, and across the end of memory. */
static void test_limit_as_at_bad_addresses(void)
{
    struct rlimit l;
    begin();
    char *at = map(BYTES);
    MUST(getrlimit(RLIMIT_AS, &l) == 0);
    l.rlim_cur = LIMIT_AS;
    MUST(mprotect(at, BYTES, PROT_READ) == 0);
    void *const bad[] = {(void *)8, at + PAGE, at + BYTES - PAGE - 8};
    MUST(munmap(at + BYTES - PAGE, PAGE) == 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        MUST(i == 1 || (setrlimit(RLIMIT_AS, bad[i]) == -1 && errno == EFAULT));
        MUST(i == 1 || (prlimit(0, RLIMIT_AS, bad[i], NULL) == -1 && errno == EFAULT));
        MUST(getrlimit(RLIMIT_AS, bad[i]) == -1 && errno == EFAULT);
        MUST(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, bad[i]) == -1 && errno == EFAULT);
    }
    MUST(prlimit(0, RLIMIT_AS, &l, bad[0]) == -1 && errno == EFAULT);
    must_have_limit_as(LIMIT_AS); /* it is set before that is seen */
    work();
}

#define LIMIT_DATA ((rlim_t)128 << 20)

/* As above, but what cannot be written is no data. */
static void map_under_limit_on_data(void)
{
    char *at = map(LIMIT_DATA / 4), *large = mmap(NULL, LIMIT_DATA, PROT_NONE, PRIVATE, -1, 0);
    at[PAGE] = 1;
    MUST(large != MAP_FAILED);
    MUST(mprotect(large, LIMIT_DATA, RW) == -1 && errno == ENOMEM);
    MUST(mprotect(large, LIMIT_DATA / 4, RW) == 0);
    large[PAGE] = 1;
    MUST(mmap(NULL, LIMIT_DATA, RW, PRIVATE, -1, 0) == MAP_FAILED && errno == ENOMEM);
    MUST(munmap(at, LIMIT_DATA / 4) == 0 && munmap(large, LIMIT_DATA) == 0);
}

static void test_limit_data_means_the_programs(void)
{
    struct rlimit before;
    begin();
    MUST(getrlimit(RLIMIT_DATA, &before) == 0);
    MUST(setrlimit(RLIMIT_DATA, &(struct rlimit){LIMIT_DATA, before.rlim_max}) == 0);
    map_under_limit_on_data();
    work_everywhere();
    pid_t pid = fork();
    if (pid == 0) {
        map_under_limit_on_data();
        work();
        exec_and_wait((char *[]){"/bin/sh", "-c", "/bin/true; exec /bin/true", NULL}, environ);
        _exit(0);
    }
    must_end_well(pid);
    map_under_limit_on_data();
    MUST(setrlimit(RLIMIT_DATA, &before) == 0);
    MUST(munmap(map(2 * LIMIT_DATA), 2 * LIMIT_DATA) == 0);
}

const struct robust_test robust_descriptors[] = {
    {"close_range", test_close_range},
    {"close_range_from_zero", test_close_range_from_zero},
    {"close_range_unshare", test_close_range_unshare},
    {"close_range_cloexec", test_close_range_cloexec},
    {"close_loop", test_close_loop},
    {"dup2", test_dup2},
    {"daemon", test_daemon},
    {"limit_nofile", test_limit_nofile},
    {"limit_nofile_20", test_limit_nofile_20},
    {"no_descriptor_left", test_no_descriptor_left},
    {"limit_set_while_it_forks", test_limit_set_while_it_forks},
    {"limit_as", test_limit_as},
    {"limit_as_of_all", test_limit_as_of_all},
    {"limit_data", test_limit_data},
    {"limit_stack", test_limit_stack},
    {"limit_fsize", test_limit_fsize},
    {"limit_core", test_limit_core},
    {"limit_memlock", test_limit_memlock},
    {"limit_nproc", test_limit_nproc},
    {"limit_as_means_the_programs", test_limit_as_means_the_programs},
    {"limit_as_at_bad_addresses", test_limit_as_at_bad_addresses},
    {"limit_data_means_the_programs", test_limit_data_means_the_programs},
    {NULL, NULL},
};
