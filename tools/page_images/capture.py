# SPDX-License-Identifier: MIT
"""Which pages of a process are its own, and what is in them.

Taken are resident pages of anonymous private writable mappings: heaps, arenas, and the stacks of threads. Not taken are the
main thread's stack (it holds the environment) and all that belongs to a file, written to or not. `uzswap estimate`
(src/cli/sample.c) looks at files' private pages too: it asks what uzswap would manage, this asks what the program made.
"""
import array
import errno
import os
import random

PAGE = 4096
PRESENT, FILE_OR_SHARED = 1 << 63, 1 << 61
BATCH = 1 << 16  # pagemap entries read at once
PF_KTHREAD = 0x200000


class CaptureError(Exception):
    """Why a process's memory cannot be taken."""


def mappings(pid):
    """(begin, end) of the mappings that hold nothing but the process's own data."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            span, rights, _, _, inode, *name = line.split(maxsplit=5)
            name = name[0].strip() if name else ""
            if rights == "rw-p" and inode == "0" and (not name or name == "[heap]" or name.startswith("[anon:")):
                begin, end = (int(word, 16) for word in span.split("-"))
                found.append((begin, end))
    return found


def resident(pagemap, begin, end):
    """Addresses of the resident private pages in [begin, end)."""
    addresses = []
    for at in range(begin, end, BATCH * PAGE):
        count = min(BATCH, (end - at) // PAGE)
        raw = os.pread(pagemap, count * 8, at // PAGE * 8)
        if not any(raw):
            continue
        for i, entry in enumerate(array.array("Q", raw[:len(raw) // 8 * 8])):
            if entry & PRESENT and not entry & FILE_OR_SHARED:
                addresses.append(at + i * PAGE)
    return addresses


def is_kernel_thread(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return bool(int(file.read().rpartition(b")")[2].split()[6]) & PF_KTHREAD)
    except OSError:
        return False


def why_not(pid, error):
    if isinstance(error, PermissionError):
        return f"the memory of process {pid} may not be read ({error.strerror}): run as its owner or root (in a container: with CAP_SYS_PTRACE)"
    if error.errno in (errno.ENOENT, errno.ESRCH):
        return f"there is no process {pid}"
    return f"cannot read the memory of process {pid}: {error.strerror}"


class Process:
    """An open process. Its memory may change meanwhile, unless it is stopped: a page that has gone is left out."""

    def __init__(self, pid):
        self.fds = []
        if is_kernel_thread(pid):
            raise CaptureError(f"process {pid} is a kernel thread: it has no memory of its own")
        try:
            for name in ("pagemap", "mem"):
                self.fds.append(os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC))
            pagemap, self.memory = self.fds
            self.addresses = [a for span in mappings(pid) for a in resident(pagemap, *span)]
        except OSError as error:
            self.close()
            raise CaptureError(why_not(pid, error)) from error

    def read(self, address):
        """The page, None if it has gone."""
        try:
            page = os.pread(self.memory, PAGE, address)
        except OSError:
            return None
        return page if len(page) == PAGE else None

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def children(pid):
    try:
        return [int(child) for task in os.listdir(f"/proc/{pid}/task")
                for child in open(f"/proc/{pid}/task/{task}/children", encoding="ascii").read().split()]
    except OSError:
        return []


def tree(pid):
    """The process and all its descendants."""
    return [pid] + [p for child in children(pid) for p in tree(child)]


def resident_bytes(pid):
    """Private memory that is no file's, as the kernel counts it; 0 for a process that has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
    except OSError:
        return 0


def take(pids, pages=None, seed=1, refuse=lambda page: None):
    """(pages, resident, refused): the pages of the processes in the order of their addresses; `pages` of them, if there are more,
    at random but alike for the same seed. A page for which `refuse` gives a reason is left out, and another
    taken for it. `resident` counts what there was, `refused` pages by reason."""
    processes = [Process(pid) for pid in pids]
    try:
        places = [(p, address) for p in range(len(processes)) for address in processes[p].addresses]
        resident_pages = len(places)
        if pages is not None and pages < resident_pages:
            random.Random(seed).shuffle(places)
        taken, refused = {}, {}
        for place in places:
            if len(taken) == pages:
                break
            page = processes[place[0]].read(place[1])
            reason = refuse(page) if page else None
            if reason:
                refused[reason] = refused.get(reason, 0) + 1
            elif page:
                taken[place] = page
        return [taken[place] for place in sorted(taken)], resident_pages, refused
    finally:
        for process in processes:
            process.close()
