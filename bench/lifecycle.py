#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The four lifecycles of an entry, measured: runs bench-lifecycle and bench-lifecycle-count, prints tables and ratios,
and draws plots with gnuplot.

Every figure is the median of interleaved rounds; a ratio is the median of the rounds' ratios, so that what else
the machine does falls on both sides.
"""
import argparse
import json
import math
import pathlib
import re
import statistics

import command_line
import plots

NAME = "lifecycle.py"
ROOT = pathlib.Path(__file__).resolve().parent.parent
LIFECYCLES = ["baseline", "getput", "cas", "production"]
COLOURS = ["#999999", "#e69f00", "#56b4e9", "#009e73"]

# The lines that make each of them up. The 2013 pair shares all but the writeback.
CLASSIC = ["tests/lifecycles/classic.h", "tests/lifecycles/classic.c"]
SOURCES = {
    "baseline": [*CLASSIC, "tests/lifecycles/baseline.c"],
    "getput": [*CLASSIC, "tests/lifecycles/getput.c"],
    "cas": ["tests/lifecycles/cas.c"],
    "production": ["src/zswap/entry_word.h", "src/zswap/lifecycle.h", "src/zswap/lifecycle.c",
                   "tests/lifecycles/production.c"],
}

# Title, measure, and how many threads or which of them.
VERBS = ["load", "store", "exclusive load, store", "invalidate, store", "writeback"]
LOADS = [
    ("one entry, 1 thread", "loads of one entry", 1),
    ("one entry, 2 threads", "loads of one entry", 2),
    ("two entries, 1 thread", "loads of different entries", 1),
    ("two entries, 2 threads", "loads of different entries", 2),
    ("neighbours, 2 threads", "loads of neighbours", 2),
]
FIGHTS = [
    ("loads, against writebacks", "loads against writebacks", 0),
    ("the writebacks", "loads against writebacks", 1),
    ("loads, against invalidations", "loads against invalidations", 0),
    ("the invalidations with stores", "loads against invalidations", 1),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="folder for plots and figures (default BUILD/bench)")
    parser.add_argument("--rounds", default=15, type=command_line.positive)
    parser.add_argument("--milliseconds", default=10, type=command_line.positive, help="of each measure in each round")
    options = parser.parse_args()
    options.out = options.out or options.build / "bench"
    return options


class Rates:
    """Operations a second, by measure, object, number of threads and lifecycle."""

    def __init__(self, results):
        self.by_key = {(r["measure"], r["object"], len(r["rates"]), r["lifecycle"]): r["rates"] for r in results}

    def rounds(self, measure, obj, threads, lifecycle, thread=None):
        rates = self.by_key[measure, obj, threads, lifecycle]
        return rates[thread] if thread is not None else [sum(of_round) for of_round in zip(*rates)]

    def median(self, *key, **kwargs):
        return statistics.median(self.rounds(*key, **kwargs))


def ratio(over, under):
    """A round in which `under` got nothing done at all counts as infinite."""
    return statistics.median(a / b if b else math.inf for a, b in zip(over, under))


def count_lines(path):
    """Lines that are neither blank nor comment."""
    text = (ROOT / path).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(1 for line in text.splitlines() if line.split("//")[0].strip())


# ---- tables

def print_rows(title, rows, digits):
    print(f"\n{title:<44}" + "".join(f"{name:>12}" for name in LIFECYCLES))
    for name, values in rows:
        cells = (f"{value:.{digits}f}" if isinstance(value, float) else str(value) for value in values)
        print(f"{name:<44}" + "".join(f"{cell:>12}" for cell in cells))


def verb_rows(rates, obj):
    return [(verb, [1e9 / max(rates.median(verb, obj, 1, name), 1) for name in LIFECYCLES]) for verb in VERBS]


def load_rows(rates, obj):
    return [(title, [rates.median(measure, obj, threads, name) / 1e6 for name in LIFECYCLES])
            for title, measure, threads in LOADS]


def fight_rows(rates):
    return [(title, [rates.median(measure, "page", 2, name, thread=thread) / 1e6 for name in LIFECYCLES])
            for title, measure, thread in FIGHTS]


def count_rows(counts):
    def cell(name, verb):
        c = next(c for c in counts if c["lifecycle"] == name and c["verb"] == verb)
        return f"{c['updates']} + {c['locks']}"

    verbs = dict.fromkeys(c["verb"] for c in counts)
    return [(verb, [cell(name, verb) for name in LIFECYCLES]) for verb in verbs]


def line_rows():
    return [("with what they share", [sum(map(count_lines, SOURCES[name])) for name in LIFECYCLES])]


def ratios(rates):
    """(what, value, target or None)"""
    hot = {name: rates.rounds("loads of one entry", "page", 2, name) for name in LIFECYCLES}
    rows = [(f"one entry, 2 threads: production over {name}", ratio(hot["production"], hot[name]),
             1.5 if name == "cas" else None) for name in ("cas", "getput", "baseline")]
    for name in LIFECYCLES:
        rows.append((f"two entries: {name}, 2 threads over 1",
                     ratio(rates.rounds("loads of different entries", "page", 2, name),
                           rates.rounds("loads of different entries", "page", 1, name)),
                     1.9 if name == "production" else None))
    for name in ("cas", "getput"):
        rows.append((f"loads against writebacks: production over {name}",
                     ratio(rates.rounds("loads against writebacks", "page", 2, "production", thread=0),
                           rates.rounds("loads against writebacks", "page", 2, name, thread=0)), None))
    return rows


def print_ratios(rows):
    print(f"\n{'ratio':<56}{'':>12}{'target':>12}")
    for what, value, target in rows:
        print(f"{what:<56}{value:>12.2f}" + (f"{'>= ' + format(target, 'g'):>12}" if target else ""))


# ---- plots

def grouped(path, panels):
    return plots.grouped(path, list(zip(LIFECYCLES, COLOURS)), panels)


def single_bars(path, rows):
    """A panel a row, each with its own scale: four bars with their names."""
    script = plots.HEAD.format(width=960, height=560, path=path) + "unset key\nset multiplot layout 2,2\n"
    script += 'set ylabel "millions a second"\nset xrange [-0.6:3.6]\nset style data boxes\n'
    for n, (title, values) in enumerate(rows):
        bars = "\n".join(f'{i} {value:.5f} {COLOURS[i].replace("#", "0x")} "{LIFECYCLES[i]}"'
                         for i, value in enumerate(values))
        script += f'$data{n} << EOD\n{bars}\nEOD\nset title "{title}"\n'
        script += f"plot $data{n} using 1:2:3:xtic(4) with boxes lc rgb variable\n"
    return script + "unset multiplot\n"


def draw(out, rates):
    plots.draw(out, {
        "lifecycle-throughput": lambda path: grouped(path, [
            ("loads that decompress a page", "millions a second", load_rows(rates, "page")),
            ("loads of 8 bytes: hardly more than the lifecycle", "millions a second", load_rows(rates, "bare"))]),
        "lifecycle-contention": lambda path: single_bars(path, fight_rows(rates)),
        "lifecycle-verbs": lambda path: grouped(path, [
            ("one thread, objects of 8 bytes", "ns", verb_rows(rates, "bare"))]),
    })


def main():
    options = arguments()
    folder = options.build / "bench"
    command_line.require(NAME, folder / "bench-lifecycle-count")
    command_line.make_folder(options.out)
    counts = command_line.run_json(NAME, folder / "bench-lifecycle-count")
    results = command_line.run_json(NAME, folder / "bench-lifecycle", "--json", "--rounds", options.rounds,
                                    "--milliseconds", options.milliseconds)
    rates = Rates(results)
    rows = ratios(rates)
    print_rows("ns a verb, 1 thread, 8 bytes", verb_rows(rates, "bare"), 1)
    print_rows("ns a verb, 1 thread, a page", verb_rows(rates, "page"), 1)
    print_rows("millions of loads a second, 8 bytes", load_rows(rates, "bare"), 2)
    print_rows("millions of loads a second, a page", load_rows(rates, "page"), 2)
    print_rows("millions a second, 4 entries, 2 threads", fight_rows(rates), 3)
    print_rows("atomic updates + locks (two updates each)", count_rows(counts), 0)
    print_rows("lines of code", line_rows(), 0)
    print_ratios(rows)
    (options.out / "lifecycle.json").write_text(json.dumps(
        {"results": results, "counts": counts, "lines": dict(zip(LIFECYCLES, line_rows()[0][1])),
         "ratios": [{"what": what, "value": None if math.isinf(value) else value, "target": target} for what, value, target in rows]}) + "\n")
    draw(options.out, rates)


if __name__ == "__main__":
    with command_line.errors_of_one_line(NAME):
        main()
