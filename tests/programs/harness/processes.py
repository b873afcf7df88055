# SPDX-License-Identifier: MIT
"""All that was started here, and what that has started: also what has lost its parent, which this process adopts."""
import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Process:
    """A line of the process table."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            text = file.read()
        self.pid = pid
        self.name = text[text.index("(") + 1:text.rindex(")")]
        fields = text[text.rindex(")") + 2:].split()
        self.state, self.parent = fields[0], int(fields[1])


def table():
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = Process(int(entry))
            except (OSError, ValueError):
                pass  # it has just ended
    return found


def descendants():
    """Every process below this one, parents before their children."""
    children = {}
    for process in table().values():
        children.setdefault(process.parent, []).append(process)
    below, todo = [], [os.getpid()]
    while todo:
        for process in children.get(todo.pop(), []):
            below.append(process)
            todo.append(process.pid)
    return below


def living(except_pids=()):
    return [p for p in descendants() if p.state not in "ZX" and p.pid not in except_pids]


def reap_adopted(own):
    """Ends the zombies that were adopted; those of `own` are waited for by who started them. A program that looks whether
    its daemon is gone must not see one for ever."""
    me = os.getpid()
    for process in descendants():
        if process.parent == me and process.state == "Z" and process.pid not in own:
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                pass


def kill_all(except_pids=()):
    """Until nothing is left: what is killed may have just started another one."""
    for _ in range(100):
        left = living(except_pids)
        if not left:
            return
        for process in left:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
