# SPDX-License-Identifier: MIT
"""memtester: patterns over 100 MiB, in a third of that. It locks its memory if it is allowed to, and goes on if not."""
import re

from harness.program import Program


class Memtester(Program):
    """memtester over 100 MiB"""
    name = "memtester"
    packages = ["memtester"]
    share = 0.33
    seconds = 900
    small = True

    def run(self, run):
        done = run.program(["memtester", "16M" if run.small else "100M", "1"])
        text = re.sub("[^\n]\b", "", done.output.decode(errors="replace"))
        run.test("ends well", done.status == 0, f"status {done.status}")
        for line in text.splitlines():
            if match := re.match(r"  ([A-Z][A-Za-z ]*?) *: (.*)", line):
                run.test(match[1], match[2].rstrip().endswith("ok"), match[2][-80:])
