/* SPDX-License-Identifier: MIT */
/* The exec family: libc's, with the program's own limits (interpose_limit.c). */
#include "preload/interpose.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>

/* The errno of an exec that has failed is the result. */
#define WITH_OWN_LIMITS(call)                                                                                \
    ({                                                                                                       \
        limit_before_exec();                                                                                 \
        long result_ = (call);                                                                               \
        int saved_ = errno;                                                                                  \
        limit_after_exec();                                                                                  \
        errno = saved_;                                                                                      \
        result_;                                                                                             \
    })

long call_execve(const char *path, char *const *argv, char *const *environment)
{
    return WITH_OWN_LIMITS(sys_call3(SYS_execve, (long)path, (long)argv, (long)environment));
}

long call_execveat(int folder, const char *path, char *const *argv, char *const *environment, int flags)
{
    return WITH_OWN_LIMITS(
        sys_call6(SYS_execveat, folder, (long)path, (long)argv, (long)environment, flags, 0));
}

/* libc's: they look through PATH, and run scripts without an interpreter. */
static int search(const char *file, char *const *argv, char *const *environment)
{
    static int (*original)(const char *, char *const[], char *const[]); /* each finds the same */
    if (!original) {
        original = dlsym(RTLD_NEXT, "execvpe");
    }
    return (int)WITH_OWN_LIMITS(original(file, argv, environment));
}

EXPORT int execve(const char *path, char *const argv[], char *const environment[])
{
    return (int)answer(call_execve(path, argv, environment));
}

EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const environment[])
{
    return search(file, argv, environment);
}

EXPORT int execvp(const char *file, char *const argv[])
{
    return search(file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const environment[])
{
    return (int)answer(call_execveat(fd, "", argv, environment, AT_EMPTY_PATH));
}

EXPORT int execveat(int folder, const char *path, char *const argv[], char *const environment[], int flags)
{
    return (int)answer(call_execveat(folder, path, argv, environment, flags));
}

/* The arguments from `first` on as a vector on the stack of the caller; in *more what comes after the NULL. */
#define VECTOR_OF(first, more)                                                                               \
    ({                                                                                                       \
        size_t count_ = 1;                                                                                   \
        va_list counted_;                                                                                    \
        va_copy(counted_, more);                                                                             \
        while (va_arg(counted_, char *)) {                                                                   \
            count_++;                                                                                        \
        }                                                                                                    \
        va_end(counted_);                                                                                    \
        char **vector_ = __builtin_alloca((count_ + 1) * sizeof *vector_);                                   \
        vector_[0] = (char *)(first);                                                                        \
        for (size_t i_ = 1; i_ <= count_; i_++) {                                                            \
            vector_[i_] = va_arg(more, char *);                                                              \
        }                                                                                                    \
        vector_;                                                                                             \
    })

EXPORT int execl(const char *path, const char *first, ...)
{
    va_list more;
    va_start(more, first);
    int result = execv(path, VECTOR_OF(first, more));
    va_end(more);
    return result;
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    va_list more;
    va_start(more, first);
    int result = execvp(file, VECTOR_OF(first, more));
    va_end(more);
    return result;
}

EXPORT int execle(const char *path, const char *first, ...)
{
    va_list more;
    va_start(more, first);
    char **argv = VECTOR_OF(first, more);
    int result = execve(path, argv, va_arg(more, char **));
    va_end(more);
    return result;
}
