#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: what the calls that change mappings cost under uzswap, over what they cost without.

bench/mappings.c is run in turn without and with uzswap; the table has the medians of the rounds, and the median of the ratios:
of the time that passes, and of the CPU time that the whole process takes. Areas are of 64 KiB, the smallest that are managed.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--rounds", default=9, type=int)
    parser.add_argument("--calls", default=5000, type=int, help="of each kind, a round")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    return parser.parse_args()


def measure(options, before):
    done = subprocess.run([*before, str(options.build / "bench/bench-mappings"), str(options.calls)], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"bench: bench-mappings failed with status {done.returncode}")
    return json.loads(done.stdout)


def main():
    options = arguments()
    managed = [str(options.build / "uzswap"), "run", "--quiet", "--memory", "256M", "--"]
    rounds = [(measure(options, []), measure(options, managed)) for _ in range(options.rounds)]
    table = {}
    print(f"{'a call':<36} {'native':>10} {'uzswap':>10} {'ratio':>6} {'CPU: native':>13} {'uzswap':>10} {'ratio':>6}")
    for name in rounds[0][0]:
        line = f"{name:<36}"
        for kind, what in enumerate(("time", "cpu")):
            native, ours = ([r[side][name][kind] for r in rounds] for side in (0, 1))
            ratio = statistics.median(b / a for a, b in zip(native, ours))
            table[f"{name}: {what}"] = {"native_ns": native, "uzswap_ns": ours, "ratio": ratio}
            line += f" {statistics.median(native):>{10 if kind else 7}.0f} ns {statistics.median(ours):>7.0f} ns {ratio:>6.2f}"
        print(line)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
