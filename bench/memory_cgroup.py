# SPDX-License-Identifier: MIT
"""A memory cgroup of our own, of version 1 or 2."""
import os
import pathlib

from kernel_switch import Unavailable, write

ROOT = pathlib.Path("/sys/fs/cgroup")


def has_version_2():
    controllers = ROOT / "cgroup.controllers"
    return controllers.exists() and "memory" in controllers.read_text().split()


def make(undo, name, limit=None):
    """A new group, limited to `limit` bytes if given: its folder, whose cgroup.procs takes processes. `undo` removes it."""
    if (ROOT / "memory/memory.limit_in_bytes").exists():
        parent, limit_name = ROOT / "memory", "memory.limit_in_bytes"
    elif has_version_2():
        parent, limit_name = ROOT, "memory.max"
        control = parent / "cgroup.subtree_control"
        if "memory" not in control.read_text().split():
            write(control, "+memory")
            undo.callback(control.write_text, "-memory")
    else:
        raise Unavailable("no memory cgroup is mounted at /sys/fs/cgroup")
    group = parent / f"{name}-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise Unavailable(f"cannot make the cgroup {group}: {error.strerror}") from error
    undo.callback(group.rmdir)
    if limit is not None:
        write(group / limit_name, str(limit))
    return group
