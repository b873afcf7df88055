# SPDX-License-Identifier: MIT
"""sort, xz and zstd: what they write must be the same, byte for byte."""
import random

from harness.program import Program


def lines(count):
    """Lines that look alike, in no order."""
    numbers, filler = random.Random(1), "".join(f" filler {n}" for n in range(60))
    return "".join(f"{numbers.randrange(10**8):08d} {i % 97} line {i}{filler[i % 50:i % 50 + 300]}\n" for i in range(count))


class Sort(Program):
    """GNU sort, all lines in memory."""
    name = "sort"
    packages = ["coreutils"]
    small = True

    def prepare(self, place):
        place.write("lines", lines(200_000 if place.small else 900_000))

    def run(self, run):
        done = run.program(["sort", "-S", "1G", "--parallel=2", run.prepared / "lines"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("sorted lines", done.output)
