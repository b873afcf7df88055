#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: programs that nobody here wrote, in a share of the memory they take, under `uzswap run` and under the kernel's zswap.

The programs are those of `make check-programs` (tests/programs/). Each runs without any limit first, which says how much memory it
takes; then in turn under uzswap and in a memory cgroup with the kernel's zswap, with a share of that. In a cgroup of version 1 the
kernel's pool does not count, so the two do not have the same memory: a third column ("equal") is uzswap with as much as the kernel's
side took at its peak, pool and all. What a program writes must be the same on all sides; exit status 1 if under uzswap it is not.

Times are of whole runs, medians of the rounds. A side that fails is "-": the reason is printed.
"""
import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

import command_line
import interruption
import kernel_zswap
import tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests/programs"
sys.path.append(str(PROGRAMS))
sys.dont_write_bytecode = True
from harness import catalogue, processes, result
from harness.place import Place
from harness.program import MIB, Missing
from harness.run import Managed, Run

NAME = "programs.py"
USUAL = ["sqlite", "sort", "python", "zstd"]
UZSWAP, KERNEL, EQUAL = SIDES = ["uzswap", "kernel", "equal"]
SLOWER_AT_MOST = 100  # times
TITLE = "Programs, in a share of their memory"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    positive = command_line.positive
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--rounds", default=1, type=positive, help="default 1")
    parser.add_argument("--only", action="append", metavar="NAME",
                        help=f"this program of tests/programs/check.py --list (may be repeated; default {', '.join(USUAL)})")
    parser.add_argument("--share", type=float, metavar="N", help="of the native peak (default: what check-programs takes, 0.25 for most)")
    parser.add_argument("--readahead", default=0, type=int, help="the kernel reads 2^N pages at once (default 0; with Linux's own, 3, "
                        "it ends some programs for want of memory)")
    parser.add_argument("--swap-folder", default="/var/tmp", help="where both sides' swap files go: a real disk")
    parser.add_argument("--update", type=pathlib.Path, metavar="FILE", help="put the table into this document")
    options = parser.parse_args()
    options.build = options.build.resolve()
    return options


class Kernel:
    """How a command is run in the cgroup: as it is; it is the cgroup that memory.Watch puts it into."""

    def __init__(self, zswap):
        self.counting = {"group": zswap.group, "beside": kernel_zswap.pool_bytes}

    @staticmethod
    def command(argv, _):
        return argv


class Bench:
    """One program's runs, in one folder."""

    def __init__(self, options, program, folder):
        self.options, self.program, self.folder = options, program, folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.place = Place(program, folder / "prepared", options.build / "programs" / "kept", self.logs)
        program.prepare(self.place)
        processes.kill_all()
        self.native = self.run("native", None)
        if not all(self.native.tests.values()):
            raise Missing(f"fails without a limit: {self.native.whys}")
        self.budget = program.budget_of(self.native.peak, options.share)
        self.runs = {side: [] for side in SIDES}
        self.right = True

    def run(self, name, managed):
        logs = self.logs / name
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        limit = 0 if managed is None else SLOWER_AT_MOST * self.native.seconds
        run = Run(self.program, self.place, logs, managed, seconds=limit)
        run.carry_out()
        return run

    def run_kernel(self):
        options = self.options
        with kernel_zswap.KernelZswap(self.budget, "lz4", options.swap_folder) as zswap:
            zswap.read_ahead(options.readahead)
            return self.run(KERNEL, Kernel(zswap))

    def run_uzswap(self, side):
        budget = self.budget if side == UZSWAP else self.kernels_peak()
        return self.run(side, Managed(self.options.build / "uzswap", budget))

    def kernels_peak(self):
        return max((run.peak for run in self.runs[KERNEL]), default=None)

    def run_side(self, side):
        """One round of it."""
        if side == EQUAL and not self.runs[KERNEL]:
            return
        try:
            run = self.run_kernel() if side == KERNEL else self.run_uzswap(side)
        except kernel_zswap.Unavailable as reason:
            print(f"# the kernel's zswap is not measured: {reason}", flush=True)
            return
        wrong = self.wrong(run)
        print(f"# {self.program.name}: {side}: {run.seconds:.1f} s, {run.peak / MIB:.0f} MiB{'; FAILED: ' + wrong if wrong else ''}",
              flush=True)
        if not wrong:
            self.runs[side].append(run)
        elif side != KERNEL:  # that the kernel's side comes to its end is not ours to answer for
            self.right = False

    def wrong(self, run):
        """The first thing that is not as without a limit."""
        complaints = ((name, result.complaint(self.native, run, name)) for name in self.native.tests)
        return next((f"{name}: {why}" for name, why in complaints if why is not None), "")

    def row(self):
        seconds = {side: statistics.median(run.seconds for run in runs) if runs else None for side, runs in self.runs.items()}
        peak = self.kernels_peak()

        def over(side, other):
            return f"{side / other:.2f}" if side is not None and other else "-"

        def cell(value, digits=1):
            return "-" if value is None else f"{value:,.{digits}f}"
        return [self.program.name, cell(self.native.peak / MIB, 0), cell(self.budget / MIB, 0), cell(self.native.seconds),
                cell(seconds[UZSWAP]), cell(seconds[KERNEL]), over(seconds[UZSWAP], seconds[KERNEL]),
                cell(peak and peak / MIB, 0), cell(seconds[EQUAL]), over(seconds[EQUAL], seconds[KERNEL])]


HEADER = ["program", "native peak, MiB", "memory, MiB", "native, s", "uzswap, s", "kernel, s", "uzswap / kernel",
          "the kernel's peak, MiB", "equal, s", "equal / kernel"]


def chosen(options):
    programs = {program.name: program for program in catalogue.load(PROGRAMS)}
    for name in options.only or []:
        if name not in programs:
            sys.exit(f"{NAME}: no program {name}; tests/programs/check.py --list names them")
    return [programs[name] for name in options.only or USUAL]


def measure(options, programs, folder):
    """[Bench] of those that can be had here."""
    done = []
    for program in programs:
        try:
            bench = Bench(options, program, folder / program.name)
        except Missing as why:
            print(f"# {program.name}: {why}", flush=True)
            continue
        print(f"# {program.name}: native: {bench.native.seconds:.1f} s, {bench.native.peak / MIB:.0f} MiB", flush=True)
        for _ in range(options.rounds):
            for side in SIDES:
                bench.run_side(side)
        shutil.rmtree(bench.folder)
        done.append(bench)
    return done


def main():
    options = arguments()
    interruption.leave_by_exception(NAME)
    command_line.require(NAME, options.build / "uzswap")
    programs = chosen(options)
    if options.update:
        tables.check_document(NAME, options.update, [TITLE])
    processes.adopt_orphans()
    print(f"# Linux {os.uname().release}, {os.cpu_count()} CPUs", flush=True)
    with contextlib.ExitStack() as stack:
        stack.callback(processes.kill_all)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="uzswap-programs-", dir=options.swap_folder))
        done = measure(options, programs, pathlib.Path(folder))
    table = (TITLE, HEADER, [bench.row() for bench in done])
    tables.print_table(table)
    if options.update:
        tables.update_document(options.update, [table])
    return 0 if all(bench.right for bench in done) else 1


if __name__ == "__main__":
    with command_line.errors_of_one_line(NAME):
        sys.exit(main())
