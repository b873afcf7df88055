# SPDX-License-Identifier: MIT
"""The kernel's zswap, switched on around one program and put back as it was.

A memory cgroup holds the program to its memory, a swap file on a disk takes what does not fit, and zswap
stands between them. Everything that is changed is undone in reverse order, also when the program is interrupted
(the caller turns SIGTERM into an exception).
"""
import os
import pathlib
import subprocess

import memory_cgroup
from kernel_switch import KernelSwitch, Unavailable, write

PARAMETERS = pathlib.Path("/sys/module/zswap/parameters")
READAHEAD = pathlib.Path("/proc/sys/vm/page-cluster")
SWAP_BYTES = 2 << 30


def set_parameter(undo, name, value):
    path = PARAMETERS / name
    old = path.read_text().strip()
    if old != value:
        write(path, value)
        undo.callback(path.write_text, old)


def make_swap(undo, folder):
    path = pathlib.Path(folder) / f"uzswap-bench-{os.getpid()}.swap"
    undo.callback(path.unlink, missing_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.posix_fallocate(fd, 0, SWAP_BYTES)
    except OSError as error:
        raise Unavailable(f"no room for a swap file of 2 GiB in {folder}: {error.strerror}") from error
    finally:
        os.close(fd)
    for command in (["mkswap", path], ["swapon", path]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{command[0]}: {done.stderr.strip()}")
    undo.callback(subprocess.run, ["swapoff", path], check=True)


def pool_bytes():
    """The size of the kernel's pool now."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Zswap:"):
            return int(line.split()[1]) * 1024
    return 0


def end(process):
    if process.poll() is None:
        process.kill()
        process.wait()


class KernelZswap(KernelSwitch):
    """with KernelZswap(...) as z: z.run(command)"""

    def __init__(self, limit, compressor, folder):
        super().__init__()
        self.limit, self.folder = limit, folder
        self.compressor = compressor

    def switch_on(self):
        if os.geteuid() != 0:
            raise Unavailable("switching the kernel's zswap on needs root")
        if not PARAMETERS.exists():
            raise Unavailable("this kernel has no zswap (/sys/module/zswap is missing)")
        try:
            set_parameter(self.undo, "compressor", self.compressor)
        except Unavailable:
            self.compressor = (PARAMETERS / "compressor").read_text().strip()
        set_parameter(self.undo, "enabled", "Y")
        self.undo.callback(READAHEAD.write_text, READAHEAD.read_text())
        make_swap(self.undo, self.folder)
        self.group = memory_cgroup.make(self.undo, "uzswap-bench", self.limit)

    @staticmethod
    def read_ahead(exponent):
        """The kernel reads 2^exponent pages at once, until it is put back as it was."""
        write(READAHEAD, str(exponent))

    def start(self, command, readahead, **kwargs):
        """Starts the command in the cgroup, the kernel reading 2^readahead pages at once."""
        self.read_ahead(readahead)

        def join():
            (self.group / "cgroup.procs").write_text("0")
        process = subprocess.Popen(command, preexec_fn=join, **kwargs)
        self.undo.callback(end, process)
        return process
