# SPDX-License-Identifier: MIT
"""sort, ripgrep, xz and zstd: what they write must be the same, byte for byte, and must be read back."""
import random

from harness.program import Program


def lines(count):
    """Lines that look alike, in no order."""
    numbers, filler = random.Random(1), "".join(f" filler {n}" for n in range(60))
    return "".join(f"{numbers.randrange(10**8):08d} {i % 97} line {i}{filler[i % 50:i % 50 + 300]}\n" for i in range(count))


class Sort(Program):
    """GNU sort, all lines in memory"""
    name = "sort"
    packages = ["coreutils"]
    small = True

    def prepare(self, place):
        place.write("lines", lines(160_000 if place.small else 600_000))

    def run(self, run):
        done = run.program(["sort", "-S", "1G", "--parallel=2", run.prepared / "lines"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("sorted lines", done.output)


class Ripgrep(Program):
    """rg over lines that it holds in memory (-U): a program in Rust"""
    name = "ripgrep"
    packages = ["ripgrep"]

    def prepare(self, place):
        place.write("lines", lines(600_000))

    def run(self, run):
        for words in ("-c 0[0-9]+1.[0-9]+.line", "-U -c 7.*\\n.*line.[0-9]*8", "-U --multiline-dotall -o line.99.*line.103"):
            done = run.program(["rg", *words.split()], input=run.prepared / "lines")
            run.test(f"rg {words}: ends well", done.status == 0, f"status {done.status}")
            run.same(f"rg {words}", done.output)


class Compressor(Program):
    """What xz and zstd share: texts of so many lines go there and back"""
    seconds = 900
    there, back = {}, []

    def prepare(self, place):
        for count in set(self.there.values()):
            place.write(f"text{count}", lines(count))

    def run(self, run):
        for words, count in self.there.items():
            text, path = run.prepared / f"text{count}", run.folder / "packed"
            packed = run.program([*words.split(), "-c", text])
            run.test(f"{words} ends well", packed.status == 0, f"status {packed.status}")
            run.same(f"what {words} writes", packed.output)
            path.write_bytes(packed.output)
            plain = run.program([*self.back, "-c", path])
            run.test(f"{words} and back", plain.status == 0 and plain.output == text.read_bytes())


class Xz(Compressor):
    """xz -9, and with two threads"""
    name = "xz"
    packages = ["xz-utils"]
    there, back = {"xz -9": 24_000, "xz -6 -T2": 24_000}, ["xz", "-d"]


class Zstd(Compressor):
    """zstd with a window of 128 MiB"""
    name = "zstd"
    packages = ["zstd"]
    there, back = {"zstd -q --long=27 -12": 40_000, "zstd -q --long=27 --ultra -20": 6_000}, ["zstd", "-q", "-d", "--long=27"]
