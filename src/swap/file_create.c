/* SPDX-License-Identifier: MIT */
/* From "file:..." to an open, unlinked file, or a message that says why not. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "swap/file.h"

#define NAME_BYTES 32

int file_check_location(const char *location, struct swap_open_error *error)
{
    const char *wrong = NULL;
    if (strpbrk(location, "?#")) {
        wrong = "it takes no '?' or '#'";
    } else if (location[0] == '/' && location[1] == '/' && location[2] != '/') {
        wrong = "it takes no host";
    } else if (location[0] && location[0] != '/') {
        wrong = "the folder's path must begin with '/'";
    }
    if (!wrong) {
        return 0;
    }
    snprintf(error->text, sizeof error->text,
             "swap device 'file:%.100s': %s; write 'file:' or 'file:/FOLDER'", location, wrong);
    return -EINVAL;
}

/* The path of the folder, "file:///folder" included. */
static const char *folder_path(const char *location)
{
    if (location[0]) {
        return strncmp(location, "//", 2) == 0 ? location + 2 : location;
    }
    const char *temporary = getenv("TMPDIR");
    return temporary && temporary[0] == '/' ? temporary : "/tmp";
}

static const char *cause(int result)
{
    switch (-result) {
    case ENOENT:
        return "there is no such folder";
    case ENOTDIR:
        return "it is not a folder";
    case EACCES:
    case EPERM:
        return "no permission to create files there";
    case EROFS:
        return "its file system is read-only";
    case ENOSPC:
    case EDQUOT:
        return "its file system is full";
    default:
        return strerror(-result);
    }
}

static int explain(const char *path, const char *why, int result, struct swap_open_error *error)
{
    snprintf(error->text, sizeof error->text,
             "cannot swap to folder '%.100s': %s; choose another with --swap file:/FOLDER", path, why);
    return result;
}

int file_open_folder(const char *location, struct swap_open_error *error)
{
    const char *path = folder_path(location);
    int folder = (int)sys_call6(SYS_openat, AT_FDCWD, (long)path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (folder < 0) {
        return explain(path, cause(folder), folder, error);
    }
    return folder;
}

int file_explain_create(const char *location, int result, struct swap_open_error *error)
{
    /* The folder is there; some file systems (proc) say ENOENT to whoever wants to create a file. */
    const char *why = result == -ENOENT ? "its file system takes no new files" : cause(result);
    return explain(folder_path(location), why, result, error);
}

/* A name that nobody can guess. 0 or -errno. */
static int random_name(char name[NAME_BYTES])
{
    static const char prefix[] = ".uzswap-";
    uint8_t random[8];
    long got = sys_call3(SYS_getrandom, (long)random, sizeof random, 0);
    if (got != (long)sizeof random) {
        return got < 0 ? (int)got : -EIO;
    }
    char *p = name;
    for (const char *from = prefix; *from; from++) {
        *p++ = *from;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        *p++ = "0123456789abcdef"[random[i] >> 4];
        *p++ = "0123456789abcdef"[random[i] & 15];
    }
    *p = 0;
    return 0;
}

/* For file systems without O_TMPFILE: a name for as short as can be. */
static int create_and_unlink(int folder)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        char name[NAME_BYTES];
        int result = random_name(name);
        if (result) {
            return result;
        }
        int fd = (int)sys_call6(SYS_openat, folder, (long)name,
                                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600, 0, 0);
        if (fd == -EEXIST || fd == -EINTR) {
            continue;
        }
        if (fd < 0) {
            return fd;
        }
        result = (int)sys_call3(SYS_unlinkat, folder, (long)name, 0);
        if (result < 0) {
            sys_close(fd);
            return result;
        }
        return fd;
    }
    return -EEXIST;
}

int file_create(int folder, unsigned flags)
{
    int fd = -EOPNOTSUPP;
    if (!(flags & FILE_WITHOUT_TMPFILE)) {
        fd = (int)sys_call6(SYS_openat, folder, (long)".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600, 0, 0);
    }
    if (fd == -EOPNOTSUPP || fd == -EISDIR) {
        fd = create_and_unlink(folder);
    }
    if (fd >= 0) {
        sys_call3(SYS_fchmod, fd, 0600, 0); /* whatever the umask has taken away */
    }
    return fd;
}

int file_identify(int fd, struct file_identity *identity)
{
    struct stat status;
    int result = (int)sys_call3(SYS_fstat, fd, (long)&status, 0);
    if (!result) {
        *identity = (struct file_identity){.device = status.st_dev, .inode = status.st_ino};
    }
    return result;
}
