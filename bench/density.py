#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: how densely pools pack the memory of real programs, what they need beside it, and how fast they are.

Takes page images of running programs (tools/page-images.py; kept in BUILD/bench-images, so that a second run is quick),
and runs bench-density on each with each pool, a process a pool: zbud and zsmalloc, jemalloc and mimalloc as references,
and, as root, the kernel's zsmalloc by way of a zram device. Density is compressed bytes over the memory that the process has
grown by, as the kernel counts it, tables and all.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import command_line
import interruption
import kernel_zram
import plots
import tables

NAME = "density.py"
ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "bench/bench-density"  # in the build folder
MIB = 1 << 20
DATA = ["redis", "sqlite", "python", "compiler", "java", "chromium"]
LIBRARIES = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2"}  # loaded before the program
POOLS = {"zbud": "#999999", "zsmalloc": "#009e73", "jemalloc": "#e69f00", "mimalloc": "#56b4e9", "kernel": "#cc79a7"}
STAGES = ["filled", "half freed", "half freed, compacted", "churned", "churned, compacted"]
SIZES = [16, 64, 256]  # MiB of payload, for zsmalloc
LOSSES = ["rounding", "owners", "ends", "unfilled", "reserve"]
TARGETS = {"filled": 98, "churned, compacted": 95}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="folder for plot and figures (default BUILD/bench)")
    parser.add_argument("--images", type=pathlib.Path, help="folder of the page images (default BUILD/bench-images)")
    parser.add_argument("--fresh", action="store_true", help="take the images anew")
    parser.add_argument("--image-mib", default=96, type=command_line.positive, help="memory of each program (default 96)")
    parser.add_argument("--mib", default=128, type=command_line.positive, help="compressed bytes in the pool (default 128)")
    parser.add_argument("--codec", default="lz4", help="default lz4; the kernel is measured with lz4 only")
    parser.add_argument("--data", action="append", choices=DATA, help="only these programs")
    parser.add_argument("--pools", action="append", choices=list(POOLS), help="only these pools")
    parser.add_argument("--update", type=pathlib.Path, metavar="FILE", help="put the tables into this document (docs/pools.md)")
    options = parser.parse_args()
    if options.update and (options.data or options.pools):
        parser.error("--update needs all programs and pools: without --data and --pools")
    options.out = options.out or options.build / "bench"
    options.images = options.images or options.build / "bench-images"
    options.data, options.pools = options.data or DATA, options.pools or list(POOLS)
    return options


def say(text):
    """What happens, beside the tables."""
    print(f"# {text}", file=sys.stderr, flush=True)


# ---- images

def run_to_its_end(command):
    """The status. If we are interrupted, the program is told, and given the time to end what it has started."""
    process = None
    try:
        process = subprocess.Popen(command, stdout=sys.stderr)
        return process.wait()
    except BaseException:
        if process:
            process.terminate()
            process.wait()
        raise


def take_images(options):
    """{data set: path} of those that this machine can make."""
    folder = options.images / str(options.image_mib)
    paths = {name: folder / f"{name}.pages" for name in options.data}
    missing = [name for name, path in paths.items() if options.fresh or not path.exists()]
    if missing:
        say(f"taking page images: {', '.join(missing)}")
        status = run_to_its_end([ROOT / "tools/page-images.py", "make", *missing, "--folder", folder, "--mib", str(options.image_mib)])
        if status not in (0, 1):
            sys.exit(f"{NAME}: page-images.py failed (status {status})")
    found = {name: path for name, path in paths.items() if path.exists()}
    if not found:
        sys.exit(f"{NAME}: no page image could be taken")
    return found


# ---- measurements

def measure(options, pool, image, mib, speed=True):
    environment = {"LD_PRELOAD": LIBRARIES[pool]} if pool in LIBRARIES else {}
    return command_line.run_json(NAME, options.build / PROGRAM, "--pool", pool, "--codec", options.codec, "--mib", mib, image,
                                 *([] if speed else ["--no-speed"]), **environment)


def measure_kernel(image, payload):
    with kernel_zram.KernelZram(image) as zram:
        return {"pool": "kernel", "stages": zram.run(payload)}


def can_preload(library):
    """The loader complains on standard error, and goes on."""
    trial = subprocess.run(["true"], env={"LD_PRELOAD": library, "PATH": "/usr/bin:/bin"}, stderr=subprocess.PIPE, check=True)
    return not trial.stderr


def usable_pools(options):
    usable = []
    for pool in options.pools:
        if pool in LIBRARIES and not can_preload(LIBRARIES[pool]):
            say(f"{pool} is not measured: {LIBRARIES[pool]} is not installed")
        elif pool == "kernel" and options.codec != "lz4":
            say("the kernel's zsmalloc is not measured: it is given lz4 only")
        elif pool == "kernel" and not kernel_usable():
            pass
        else:
            usable.append(pool)
    return usable


def kernel_usable():
    try:
        kernel_zram.require_usable()
    except kernel_zram.Unavailable as reason:
        say(f"the kernel's zsmalloc is not measured: {reason}")
        return False
    return True


def require_all(options, have, wanted):
    """A document gets all of its rows anew, or none."""
    missing = [name for name in wanted if name not in have]
    if options.update and missing:
        sys.exit(f"{NAME}: {options.update} is left as it is: {', '.join(missing)} missing")


def measure_all(options, images, pools):
    """{(data set, pool): figures}, {(data set, MiB): figures of zsmalloc}"""
    results, sizes = {}, {}
    for name, image in images.items():
        for pool in list(pools):
            start = time.monotonic()
            if pool != "kernel":
                results[name, pool] = measure(options, pool, image, options.mib)
            else:
                try:
                    results[name, pool] = measure_kernel(image, options.mib * MIB)
                except kernel_zram.Unavailable as reason:
                    say(f"the kernel's zsmalloc is not measured: {reason}")
                    pools.remove(pool)
                    require_all(options, pools, POOLS)
                    continue
            say(f"{name}, {pool}: {time.monotonic() - start:.0f} s")
        for mib in SIZES if "zsmalloc" in pools else []:
            known = mib == options.mib
            sizes[name, mib] = results[name, "zsmalloc"] if known else measure(options, "zsmalloc", image, mib, speed=False)
    return results, sizes


# ---- tables

def stage(figures, name):
    return next(s for s in figures["stages"] if s["stage"] == name)


def density(figures, name):
    s = stage(figures, name)
    return 100 * s["payload"] / s["resident"]


def percent(value):
    return f"{value:.1f}"


def data_table(results, images):
    rows = []
    for name in images:
        figures = next((f for (data, pool), f in results.items() if data == name and pool != "kernel"), None)
        if not figures:
            continue
        pages = figures["pages"]
        rows.append([name, f"{pages * 4096 / MIB:,.0f}", percent(100 * figures["same_filled"] / pages),
                     percent(100 * figures["raw"] / pages), f"{figures['mean_bytes']:,.0f}"])
    return "the images", ["program", "MiB", "same-filled, %", "kept raw, %", "mean object, bytes"], rows


def density_table(results):
    rows = [[name, pool, *(percent(density(figures, s)) for s in STAGES)] for (name, pool), figures in results.items()]
    return "compressed bytes / memory of the process, %", ["program", "pool", *STAGES], rows


def size_table(sizes):
    names = dict.fromkeys(name for name, _ in sizes)
    return ("zsmalloc by size: filled, churned, churned and compacted, %", ["program", *(f"{mib} MiB" for mib in SIZES)],
            [[name, *(" \u00b7 ".join(percent(density(sizes[name, mib], s)) for s in ("filled", "churned", "churned, compacted"))
                      for mib in SIZES)] for name in names])


def loss_table(results):
    rows = []
    for (name, pool), figures in results.items():
        if pool == "zsmalloc":
            last, losses = figures["stages"][-1], figures["losses"]
            rows.append([name, *(f"{100 * losses[key] / last['resident']:.2f}" for key in LOSSES),
                         f"{100 * (last['resident'] - last['pool']) / last['resident']:.2f}"])
    return "where the rest of zsmalloc's memory is, churned and compacted, %", ["program", *LOSSES, "tables"], rows


def metadata(figures):
    """(by the accounts, by the process's memory) in bytes an object, when filled."""
    s, objects, inside = stage(figures, "filled"), figures["objects"], figures["metadata_inside"]
    return s["tables"] / objects + inside, (s["resident"] - s["pool"]) / objects + inside


def metadata_table(results):
    rows = []
    for (name, pool), figures in results.items():
        if pool in ("zbud", "zsmalloc"):
            rows.append([name, pool, *(f"{value:.1f}" for value in metadata(figures))])
    return "metadata of the pool, bytes an object", ["program", "pool", "by its accounts", "by the process's memory"], rows


SPEEDS = ["copy_ns_1", "read_ns_1", "read_ns_2", "alloc_ns_1", "alloc_ns_2"]


def speed_table(results):
    rows = []
    for pool in dict.fromkeys(pool for _, pool in results if pool != "kernel"):
        of_pool = [f for (_, p), f in results.items() if p == pool]
        medians = {key: statistics.median(f[key] for f in of_pool) for key in SPEEDS}
        over_copy = statistics.median(f["read_ns_1"] / f["copy_ns_1"] for f in of_pool)
        rows.append([pool, *(f"{medians[key]:.0f}" for key in SPEEDS), f"{over_copy:.2f}"])
    return ("ns, median of the programs", ["pool", "bare copy", "read, 1 thread", "read, 2 threads", "free + alloc, 1 thread",
                                           "free + alloc, 2 threads", "read / copy"], rows)


def compaction_table(results):
    rows = []
    for (name, pool), figures in results.items():
        if pool == "zsmalloc":
            for s in (stage(figures, STAGES[2]), stage(figures, STAGES[4])):
                won = max(s["won"], 1)
                rows.append([name, s["stage"], f"{s['won'] / MIB:.1f}", f"{s['moved'] / MIB:.1f}", f"{s['moved'] / won:.2f}",
                             f"{s['seconds'] * 1e3:.0f}", f"{s['seconds'] * 1e9 / (won / 4096):,.0f}"])
    return ("what compaction costs", ["program", "when", "given back, MiB", "moved, MiB", "moved / given back", "ms", "ns a page given back"], rows)


def all_tables(results, sizes, images):
    return [data_table(results, images), density_table(results), size_table(sizes), loss_table(results), metadata_table(results),
            speed_table(results), compaction_table(results)]


def print_targets(results):
    ours = {name: figures for (name, pool), figures in results.items() if pool == "zsmalloc"}
    for name, target in TARGETS.items() if ours else ():
        worst = min(ours, key=lambda data: density(ours[data], name))
        print(f"zsmalloc, {name}: at least {density(ours[worst], name):.1f} % ({worst}); target {target} %")


def draw(options, results, images):
    pools = list(dict.fromkeys(pool for _, pool in results))

    def rows(name):
        return [(data, [density(results[data, pool], name) if (data, pool) in results else 0 for pool in pools]) for data in images]
    plots.draw(options.out, {"density": lambda path: plots.grouped(
        path, [(pool, POOLS[pool]) for pool in pools],
        [(title, "% of memory is payload", rows(name)) for title, name in (
            ("filled", "filled"), ("half of it freed at random, compacted", "half freed, compacted"),
            ("churned ten times, compacted", "churned, compacted"))], "set yrange [0:100]\n")})


def main():
    options = arguments()
    interruption.leave_by_exception(NAME)
    command_line.require(NAME, options.build / PROGRAM)
    if options.update:
        tables.check_document(NAME, options.update, [title for title, _, _ in all_tables({}, {}, {})])
    pools = usable_pools(options)
    require_all(options, pools, POOLS)
    command_line.make_folder(options.out)
    start = time.monotonic()
    images = take_images(options)
    require_all(options, images, DATA)
    results, sizes = measure_all(options, images, pools)
    made = all_tables(results, sizes, images)
    for table in made:
        if table[2]:
            tables.print_table(table)
    print()
    if "kernel" in options.pools and any(pool == "kernel" for _, pool in results):
        print(f"kernel: Linux {os.uname().release.split('-')[0]}, chains of {kernel_zram.chain_size()} pages, "
              "without its tables")
    print_targets(results)
    (options.out / "density.json").write_text(json.dumps(
        {f"{data}, {what}": f for (data, what), f in [*results.items(), *sizes.items()]}, indent=1) + "\n")
    draw(options, results, images)
    if options.update:
        tables.update_document(options.update, made)
    say(f"took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    with command_line.errors_of_one_line(NAME):
        main()
