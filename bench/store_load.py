#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Store and load through the cache, over the bare codec and over RocksDB's compressed cache, on the same pages: runs bench-store-load and,
where it was built, bench-against-rocksdb, and prints tables with targets.

Every ratio is the median of the rounds' ratios, so that what else the machine does falls on both sides.
"""
import argparse
import json
import pathlib
import statistics
import sys

import command_line

NAME = "store_load.py"
ROOT = pathlib.Path(__file__).resolve().parent.parent

# Group, what, over which pass of the group; at most.
COSTS = [
    (0, "store, fresh", "compress", 1.10),
    (0, "store, fresh", "compress, kept", None),
    (0, "compress, again", "compress", None),
    (1, "store, replace", "compress", 1.10),
    (2, "load", "decompress", 1.10),
    (2, "decompress, again", "decompress", None),
    (3, "load, random", "decompress, random", 1.10),
    (4, "load, exclusive", "decompress, random", None),
]
# At least.
SCALING = [
    (0, "store, fresh", "compress, kept", 1.9),
    (1, "store, replace", "compress", 1.9),
    (2, "load", "decompress", 1.9),
    (3, "load, random", "decompress, random", 1.9),
    (4, "load, exclusive", "decompress, random", None),
]


def verdict(value, target, at_most):
    if target is None:
        return ""
    met = value <= target if at_most else value >= target
    return f"{'<=' if at_most else '>='} {target:.2f}  {'met' if met else 'missed'}"


class Passes:
    """Rates of each pass, by group, name and number of threads, a list by round."""

    def __init__(self, results):
        self.rates = {(p["group"], p["pass"], p["threads"]): p["rates"] for p in results["passes"]}
        self.waited = statistics.mean(statistics.median(p["waited"]) for p in results["passes"])

    def ns(self, group, name):
        return 1e9 / statistics.median(self.rates[group, name, 1])

    def cost(self, group, name, bare, threads=1):
        return statistics.median(b / a for a, b in zip(self.rates[group, name, threads],
                                                       self.rates[group, bare, threads]))

    def scaling(self, group, name):
        return statistics.median(two / one for one, two in zip(self.rates[group, name, 1], self.rates[group, name, 2]))


def print_table(results, passes):
    print(f"\n{results['pages']} pages, {results['codec']} makes {100 * results['compressed_to']:.1f} % of them, "
          f"{results['pool']}; {passes.waited:.0%} of the time went to other programs")
    print(f"{'ns a page, 1 thread':<20}{'':>8}   {'over':<20}{'':>8}{'ratio':>8}   target")
    for group, name, bare, target in COSTS:
        value = passes.cost(group, name, bare)
        print(f"{name:<20}{passes.ns(group, name):>8.0f}   {bare:<20}{passes.ns(group, bare):>8.0f}{value:>8.3f}   "
              f"{verdict(value, target, True)}")
    if (0, "compress", 2) not in passes.rates:
        return
    print(f"\n{'2 threads over 1':<20}{'':>8}   {'bare':<20}{'':>8}{'ratio':>8}   target")
    for group, name, bare, target in SCALING:
        value, of_bare = passes.scaling(group, name), passes.scaling(group, bare)
        print(f"{name:<20}{value:>8.2f}   {bare:<20}{of_bare:>8.2f}{value / of_bare:>8.2f}   "
              f"{verdict(value, target, False)}")


def print_rocksdb(results):
    times = {(t["cache"], t["verb"]): t for t in results["times"]}
    pages = results["pages"]
    print(f"\n{'against RocksDB ' + results['rocksdb']:<32}{'uzswap':>10}{'RocksDB':>10}{'ratio':>8}")

    def row(what, ours, theirs, ratio=None, digits=0):
        ratio = ours / theirs if ratio is None else ratio
        print(f"{what:<32}{ours:>10.{digits}f}{theirs:>10.{digits}f}{ratio:>8.2f}")

    for verb in ("store", "load"):
        for quantile in ("p50", "p99"):
            ours, theirs = times["uzswap", verb][quantile], times["rocksdb", verb][quantile]
            row(f"{verb}, {quantile}, ns", statistics.median(ours), statistics.median(theirs),
                statistics.median(a / b for a, b in zip(ours, theirs)))
    memory, small, kept = results["memory"], results["memory_of_budget"], results["pages_in_budget"]
    row("resident bytes a page", *(memory[who] / pages for who in ("uzswap", "rocksdb")))
    row("LZ4's bytes over resident, %", *(100 * results["packed"] / memory[who] for who in ("uzswap", "rocksdb")), digits=1)
    row("pages in half the memory", kept["uzswap"], kept["rocksdb"])
    row("   and what it takes, KiB", small["uzswap"] / 1024, small["rocksdb"] / 1024)


def page_images():
    images = sorted((ROOT / "tests/data").glob("*.pages"))
    if not images:
        sys.exit("store_load.py: no page images in tests/data: name some, or take them (tools/page-images.py)")
    return images


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="folder for the figures (default BUILD/bench)")
    parser.add_argument("--rounds", default=9, type=command_line.positive)
    parser.add_argument("--mib", default=128, type=command_line.positive, help="of pages")
    parser.add_argument("--threads", default=2, type=int, choices=(1, 2), help="at most")
    parser.add_argument("--codec", default="lz4")
    parser.add_argument("--pool", default="zsmalloc")
    parser.add_argument("pages", nargs="*", type=pathlib.Path, help="files of raw pages (default: those of tests/data)")
    return parser.parse_args()


def main():
    options = arguments()
    folder = options.build / "bench"
    out = options.out or folder
    command_line.require(NAME, folder / "bench-store-load")
    command_line.make_folder(out)
    pages = options.pages or page_images()
    size = ("--mib", options.mib)
    results = command_line.run_json(NAME, folder / "bench-store-load", "--rounds", options.rounds, *size,
                                    "--threads", options.threads, "--codec", options.codec, "--pool", options.pool, *pages)
    print_table(results, Passes(results))
    rocksdb = None
    if (folder / "bench-against-rocksdb").exists():
        rocksdb = command_line.run_json(NAME, folder / "bench-against-rocksdb", "--rounds", options.rounds, *size, *pages)
        print_rocksdb(rocksdb)
    else:
        print("\n# not against RocksDB: bench-against-rocksdb needs librocksdb-dev and a C++ compiler")
    (out / "store-load.json").write_text(json.dumps({"bare": results, "rocksdb": rocksdb}) + "\n")


if __name__ == "__main__":
    with command_line.errors_of_one_line(NAME):
        main()
