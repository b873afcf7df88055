/* SPDX-License-Identifier: MIT */
/* process_madvise, which a process may use on itself. */
#include "preload/interpose.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

#include "preload/proc.h"

#define VECTOR_PART 16   /* entries that are looked at together */
#define VECTOR_MOST 1024 /* the kernel's limit */

/* Is the descriptor this process's? Negative ones that the kernel takes are (PIDFD_SELF). Where /proc does not say, it is not. */
static bool is_self(int pidfd)
{
    char path[64] = "/proc/self/fdinfo/", text[512];
    if (pidfd < 0) {
        return true;
    }
    proc_append_number(path, (unsigned)pidfd);
    long fd = sys_call6(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) {
        return false;
    }
    long bytes = sys_read((int)fd, text, sizeof text - 1);
    sys_close((int)fd);
    text[bytes > 0 ? bytes : 0] = 0;
    int pid = proc_last_number(proc_field(text, "\nNSpid:"));
    return (uint32_t)(pid ? pid : proc_last_number(proc_field(text, "\nPid:"))) == runtime.pid;
}

/* Copies `count` entries; a bad address is no SIGSEGV. */
static long copy_vector(struct iovec *to, const struct iovec *from, size_t count)
{
    struct iovec local = {to, count * sizeof *to}, remote = {(void *)from, count * sizeof *from};
    long copied = sys_call6(SYS_process_vm_readv, runtime.pid, (long)&local, 1, (long)&remote, 1, 0);
    if (copied < 0 && copied != -EFAULT) {
        memcpy(to, from, local.iov_len); /* not permitted here */
        copied = (long)local.iov_len;
    }
    return copied == (long)local.iov_len ? 0 : -EFAULT;
}

/* As madvise, entry by entry. How many bytes were advised before the first that could not be; its error if none. */
static long advise_vector(const struct iovec *vector, size_t count, int advice)
{
    struct iovec part[VECTOR_PART];
    long done = 0;
    for (size_t i = 0; i < count; i++) {
        long error = i % VECTOR_PART ? 0 : copy_vector(part, vector + i, min_size(count - i, VECTOR_PART));
        const struct iovec *v = &part[i % VECTOR_PART];
        error = error ? error : call_madvise(v->iov_base, v->iov_len, advice);
        if (error) {
            return done ? done : error;
        }
        done += (long)v->iov_len;
    }
    return done;
}

long call_process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice, unsigned flags)
{
    /* With nothing to advise, the kernel says what it thinks of the rest. */
    if (!count || count > VECTOR_MOST || !runtime_serves_caller() ||
        sys_call6(SYS_process_madvise, pidfd, 0, 0, advice, flags, 0) || !is_self(pidfd)) {
        return sys_call6(SYS_process_madvise, pidfd, (long)vector, (long)count, advice, flags, 0);
    }
    return advise_vector(vector, count, advice);
}

EXPORT ssize_t process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice,
                               unsigned flags)
{
    return answer(call_process_madvise(pidfd, vector, count, advice, flags));
}
