/* SPDX-License-Identifier: MIT */
/*
 * What an ELF file says about itself. Everything read from it is bounded and may be nonsense: a field that leads
 * nowhere ends the search, as if it named nothing.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/program_check.h"

#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#define NATIVE_NAME "x86-64"
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#define NATIVE_NAME "AArch64"
#else
#error "unknown machine"
#endif

#define NAMES_BYTES_MAX (1u << 20)
#define DYNAMIC_BYTES_MAX (1u << 16)
#define RUN_ANYWAY "uzswap run --force runs it unmanaged"

struct elf {
    const char *path;
    int fd;
    Elf64_Ehdr header;
    char loader[PATH_MAX]; /* "" if it names none */
};

static bool read_at(const struct elf *e, void *to, size_t bytes, uint64_t position)
{
    return position <= INT64_MAX && pread(e->fd, to, bytes, (off_t)position) == (ssize_t)bytes;
}

/* The first segment of this type; false if there is none. */
static bool find_segment(const struct elf *e, uint32_t type, Elf64_Phdr *segment)
{
    for (unsigned i = 0; i < e->header.e_phnum; i++) {
        if (!read_at(e, segment, sizeof *segment, e->header.e_phoff + (uint64_t)i * sizeof *segment)) {
            return false;
        }
        if (segment->p_type == type) {
            return true;
        }
    }
    return false;
}

static void read_loader(struct elf *e)
{
    Elf64_Phdr segment;
    if (find_segment(e, PT_INTERP, &segment)) {
        size_t bytes = segment.p_filesz < sizeof e->loader ? segment.p_filesz : sizeof e->loader - 1;
        if (!read_at(e, e->loader, bytes, segment.p_offset)) {
            e->loader[0] = 0;
        }
    }
}

/* Does it ask the loader for any library? */
static bool needs_library(const struct elf *e)
{
    Elf64_Phdr segment;
    if (!find_segment(e, PT_DYNAMIC, &segment)) {
        return false;
    }
    Elf64_Dyn entry;
    for (uint64_t at = 0; at < segment.p_filesz && at < DYNAMIC_BYTES_MAX; at += sizeof entry) {
        if (!read_at(e, &entry, sizeof entry, segment.p_offset + at) || entry.d_tag == DT_NULL) {
            return false;
        }
        if (entry.d_tag == DT_NEEDED) {
            return true;
        }
    }
    return false;
}

/* The names of all sections, one behind the other, with a 0 more at the end; NULL if there are none. */
static char *read_section_names(const struct elf *e, size_t *bytes)
{
    Elf64_Shdr table;
    if (!e->header.e_shnum ||
        !read_at(e, &table, sizeof table,
                 e->header.e_shoff + (uint64_t)e->header.e_shstrndx * sizeof table) ||
        table.sh_size > NAMES_BYTES_MAX) {
        return NULL;
    }
    *bytes = table.sh_size;
    char *names = calloc(1, *bytes + 1);
    if (names && !read_at(e, names, *bytes, table.sh_offset)) {
        free(names);
        return NULL;
    }
    return names;
}

static bool has_section(const struct elf *e, const char *const wanted[])
{
    size_t bytes = 0;
    char *names = read_section_names(e, &bytes);
    bool found = false;
    for (size_t at = 0; names && at < bytes; at += strlen(names + at) + 1) {
        for (size_t i = 0; wanted[i]; i++) {
            found |= strcmp(names + at, wanted[i]) == 0;
        }
    }
    free(names);
    return found;
}

static bool is_foreign(const struct elf *e)
{
    return e->header.e_machine != NATIVE_MACHINE || e->header.e_ident[EI_CLASS] != ELFCLASS64 ||
           e->header.e_ident[EI_DATA] != ELFDATA2LSB;
}

static bool is_static(const struct elf *e)
{
    return !e->loader[0];
}

/*
 * A Go program that has C in it (cgo) asks libc for its memory, and so needs it. It gives pages back by system calls of
 * its own (madvise), which leave what is out of them as it is: it expects no zeros there, since MADV_FREE promises none.
 */
static bool is_go_alone(const struct elf *e)
{
    static const char *const sections[] = {".note.go.buildid", ".go.buildinfo", NULL};
    return has_section(e, sections) && !needs_library(e);
}

static bool is_musl(const struct elf *e)
{
    return strstr(e->loader, "ld-musl") != NULL;
}

static bool lacks_loader(const struct elf *e)
{
    return access(e->loader, X_OK) != 0;
}

/* In this order: each relies on what the ones above it have excluded. */
static const struct finding {
    bool (*applies)(const struct elf *e);
    enum program_verdict verdict;
    int exit_status;
    const char *text;
} findings[] = {
    {is_foreign, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
     "is not a 64-bit " NATIVE_NAME
     " program, and uzswap's runtime is: use a build for this machine; " RUN_ANYWAY},
    {is_go_alone, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
     "is a Go program, which asks the kernel for memory without the C library, where uzswap cannot see it: "
     "limit it by GOMEMLIMIT, or build it with cgo (CGO_ENABLED=1, and import \"C\"); " RUN_ANYWAY},
    {is_static, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
     "is linked statically, so that no library can be loaded into it: use a dynamically linked "
     "build; " RUN_ANYWAY},
    {is_musl, PROGRAM_UNMANAGEABLE, EXIT_FAILED,
     "is linked to musl, and uzswap's runtime needs glibc: use a build for glibc; " RUN_ANYWAY},
    {lacks_loader, PROGRAM_CANNOT_RUN, EXIT_NOT_FOUND,
     "the loader it names is not on this machine: it was built for another system"},
};

enum program_verdict elf_check(const char *path, int fd, struct program_check *check)
{
    struct elf e = {.path = path, .fd = fd};
    if (!read_at(&e, &e.header, sizeof e.header, 0)) {
        return program_refuse(check, PROGRAM_CANNOT_RUN, EXIT_CANNOT_RUN,
                              "%s: is a damaged program: it is cut off", path);
    }
    if (!is_foreign(&e)) {
        read_loader(&e);
    }
    for (size_t i = 0; i < sizeof findings / sizeof findings[0]; i++) {
        const struct finding *f = &findings[i];
        if (f->applies(&e)) {
            return program_refuse(check, f->verdict, f->exit_status, "%s: %s", path, f->text);
        }
    }
    return PROGRAM_MANAGEABLE;
}
