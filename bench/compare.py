#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: 1 GiB of memory in 256 MiB, under `uzswap run` and under the kernel's zswap.

One program (tests/e2e/touch.c) is run in turn under the one and the other, so that whatever else the machine does
falls on both; the table shows the median of the rounds, and uzswap's over the kernel's. Where the kernel's side
cannot be run, the reason is printed and uzswap's side alone is measured.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import interruption
import kernel_zswap

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20

# What touch is to do after it has filled the memory, and how many pages (2^n) the kernel reads ahead meanwhile: the
# better setting for each. (With its default of 3, Linux 6.18 ends the random one as out of memory.)
WORK = {
    "random": (["--touches", "{touches}"], 0),
    "order": (["--touches", "0", "--sequential", "1"], 3),
}

# Title, work, key of touch's JSON, target for the ratio.
ROWS = [
    ("random touch, mean", "random", "touch_mean_ns", 0.5),
    ("random touch, p50", "random", "touch_p50_ns", None),
    ("random touch, p99", "random", "touch_p99_ns", 0.1),
    ("read in order, a page", "order", "sequential_ns", 0.3),
    ("first fill, a page", "order", "fill_ns", 1.0),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--size", default=1024, type=int, metavar="MIB")
    parser.add_argument("--memory", default=256, type=int, metavar="MIB")
    parser.add_argument("--touches", default=400000, type=int)
    parser.add_argument("--compressor", default="lz4", help="for both sides (default lz4)")
    parser.add_argument("--swap-folder", default="/var/tmp", help="where the kernel's swap file goes: a real disk")
    parser.add_argument("--only", choices=["uzswap", "kernel"], help="measure one side")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    return parser.parse_args()


def touch_command(options, work):
    return [options.build / "tests/e2e/touch", "--size", f"{options.size}M",
            *(word.format(touches=options.touches) for word in WORK[work][0])]


def finish(process, what):
    """The JSON that touch printed."""
    try:
        output, _ = process.communicate(timeout=600)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode or not output:
        sys.exit(f"bench: {what} failed with status {process.returncode}")
    return json.loads(output)


def run_uzswap(options, work):
    with tempfile.NamedTemporaryFile(suffix=".json") as stats:
        command = [options.build / "uzswap", "run", "--quiet", "--memory", f"{options.memory}M", "--compressor",
                   options.compressor, "--stats", stats.name, "--", *touch_command(options, work)]
        result = finish(subprocess.Popen(command, stdout=subprocess.PIPE, text=True), "uzswap run")
        result["memory"] = json.load(open(stats.name, encoding="utf-8"))["peak_bytes"]
        return result


def run_kernel(options, work, zswap):
    process = zswap.start(touch_command(options, work), WORK[work][1], stdout=subprocess.PIPE, text=True)
    highest = 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        highest = max(highest, kernel_zswap.pool_bytes())
    result = finish(process, "the program under the kernel's zswap")
    result["memory"] = highest
    return result


def measure(options, zswap):
    """A B A B ...: {(side, work): [figures of each round]}"""
    figures = {(side, work): [] for side in ("uzswap", "kernel") for work in WORK}
    for turn in range(options.rounds):
        for work in WORK:
            for side in ("uzswap", "kernel"):
                if options.only not in (None, side) or (side == "kernel" and not zswap):
                    continue
                start = time.monotonic()
                figures[side, work].append(run_uzswap(options, work) if side == "uzswap"
                                           else run_kernel(options, work, zswap))
                print(f"# round {turn + 1} of {options.rounds}: {work}, {side}: {time.monotonic() - start:.0f} s",
                      flush=True)
    return figures


def median(rounds, key):
    return statistics.median(r[key] for r in rounds) if rounds else None


def print_table(figures):
    def cell(value, text="{:,.0f}"):
        return "-" if value is None else text.format(value)

    print(f"\n{'median, ns':<24}{'uzswap':>12}{'kernel':>12}{'ratio':>8}{'target':>8}")
    for title, work, key, target in ROWS:
        ours, theirs = (median(figures[side, work], key) for side in ("uzswap", "kernel"))
        ratio = ours / theirs if ours and theirs else None
        print(f"{title:<24}{cell(ours):>12}{cell(theirs):>12}{cell(ratio, '{:.2f}'):>8}{cell(target, '{:g}'):>8}")
    wrong = sum(r["wrong_bytes"] for side in figures.values() for r in side)
    print(f"{'wrong bytes':<24}{wrong:>12}")


def print_memory(options, figures, zswap):
    def highest(side):
        return max((r["memory"] for work in WORK for r in figures[side, work]), default=0) / MIB

    if highest("uzswap"):
        print(f"uzswap: highest budget {highest('uzswap'):.0f} MiB of {options.memory} MiB, everything counted")
    if highest("kernel"):
        charged = "beside" if "/memory/" in str(zswap.group) else "counted in"
        print(f"kernel: compressor {zswap.compressor}; its pool took {highest('kernel'):.0f} MiB {charged} the "
              f"cgroup's {options.memory} MiB")


def main():
    options = arguments()
    interruption.leave_by_exception("bench")
    needed = [options.build / "tests/e2e/touch"] + ([options.build / "uzswap"] if options.only != "kernel" else [])
    for path in needed:
        if not path.exists():
            sys.exit(f"bench: {path} is missing; run make first")
    print(f"# {options.size} MiB in {options.memory} MiB, {options.touches:,} touches, Linux {os.uname().release}, "
          f"{os.cpu_count()} CPUs", flush=True)
    with contextlib.ExitStack() as stack:
        zswap = None
        if options.only != "uzswap":
            try:
                zswap = stack.enter_context(kernel_zswap.KernelZswap(
                    options.memory * MIB, options.compressor, options.swap_folder))
            except kernel_zswap.Unavailable as reason:
                print(f"# the kernel's zswap is not measured: {reason}", flush=True)
                if options.only == "kernel":
                    return 1
        figures = measure(options, zswap)
        print_table(figures)
        print_memory(options, figures, zswap)
    if options.json:
        options.json.write_text(json.dumps({f"{s} {w}": v for (s, w), v in figures.items()}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
