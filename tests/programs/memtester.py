# SPDX-License-Identifier: MIT
"""memtester: patterns over 40 MiB, which it locks as far as it may."""
import re

from harness.program import Program


class Memtester(Program):
    """memtester that may not lock memory, in two fifths of what it looks at"""
    name = "memtester"
    packages = ["memtester"]
    seconds = 900
    # As root it may lock whatever it likes, so it gives up that right.
    command = ["setpriv", "--inh-caps", "-ipc_lock", "--bounding-set", "-ipc_lock", "prlimit", "--memlock=0:0"]

    def run(self, run):  # with 16 MiB, the least budget there is
        done = run.program([*self.command, "memtester", "40M", "1"])
        text = re.sub("[^\n]\b", "", done.output.decode(errors="replace"))
        run.test("ends well", done.status == 0, f"status {done.status}")
        for line in text.splitlines():
            if match := re.match(r"  ([A-Z][A-Za-z0-9 -]*?) *: (.*)", line):
                run.test(match[1], match[2].rstrip().endswith("ok"), match[2][-80:])


class MemtesterLocked(Memtester):
    """memtester that may: it takes less until what it takes can be locked"""
    name = "memtester locked"
    pressed = keeps_budget = False
    command = []
