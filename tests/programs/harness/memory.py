# SPDX-License-Identifier: MIT
"""The highest memory of a tree of processes: anonymous and shared pages, neither files nor what the kernel takes for itself.

As root a memory cgroup counts it, which disturbs nobody and misses no process; else the tree's shares (Pss) are added up.
Either is looked at many times a second: a peak shorter than that is missed, which makes a budget smaller, never larger.
"""
import contextlib
import os
import pathlib
import sys
import threading
import time

from harness import processes

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "bench"))
import memory_cgroup
from kernel_switch import Unavailable

CGROUP_KEYS = ({"total_rss", "total_shmem"}, {"anon", "shmem"})  # versions 1 and 2
PSS_KEYS = {"Pss_Anon:", "Pss_Shmem:"}
GONE_WITHIN = 30  # seconds
LIMIT = 8 << 30  # a program that goes mad must not take the machine with it
SECONDS = {"cgroup": 0.03, "pss": 0.2}


def cgroup_bytes(group):
    figures = {}
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        figures[name] = int(value)
    return next(sum(figures[key] for key in keys) for keys in CGROUP_KEYS if keys <= figures.keys())


def pss_bytes(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return 0  # it has ended
    return sum(int(words[1]) * 1024 for words in lines if words and words[0] in PSS_KEYS)


class Watch:
    """with Watch(own) as watch: start processes by watch.command(argv); then watch.peak is in bytes.

    `own()` gives the pids that the caller waits for; `helpers()` those whose memory does not count; `look()` is called as often
    as memory is looked at. `group` is a cgroup of the caller's, if it shall be counted there; `beside()` gives bytes that
    count, too."""

    def __init__(self, own, helpers=set, look=lambda: None, group=None, beside=lambda: 0):
        self.own, self.helpers, self.look = own, helpers, look
        self.undo, self.group, self.beside, self.peak = contextlib.ExitStack(), group, beside, 0
        self.done = threading.Event()

    def __enter__(self):
        if not self.group and os.geteuid() == 0:
            try:
                self.group = memory_cgroup.make(self.undo, "uzswap-programs", LIMIT)
            except Unavailable:
                pass
        self.way = "cgroup" if self.group else "pss"
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        processes.kill_all()
        self.wait_until_empty()
        self.undo.close()

    def wait_until_empty(self):
        """What has been killed stays in the group until it is really gone, and the group cannot be removed before."""
        end = time.monotonic() + GONE_WITHIN
        while time.monotonic() < end:
            processes.reap_adopted(self.own())
            if not self.group or not (self.group / "cgroup.procs").read_text().split():
                break
            time.sleep(0.05)
        time.sleep(0.05 if self.group else 0)

    def command(self, argv):
        """The command that starts argv where its memory is counted."""
        if not self.group:
            return list(argv)
        return ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self.group / "cgroup.procs"), *argv]

    def watch(self):
        while not self.done.wait(SECONDS[self.way]):
            self.peak = max(self.peak, self.now() + self.beside())
            processes.reap_adopted(self.own())
            self.look()

    def now(self):
        if self.group:
            return cgroup_bytes(self.group)
        helpers = self.helpers()
        return sum(pss_bytes(p.pid) for p in processes.descendants() if p.pid not in helpers)
