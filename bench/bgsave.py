#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: a Redis server that saves itself while it is used, with half of the memory that its data needs.

Debian's redis-server gets records (bench/redis_values.c), is put under a steady mix of GET and SET (bench/bgsave_load.c), and
is told to BGSAVE in the middle of it: it forks, and the child writes all data to a file while the parent goes on.
In turn: without any limit ("native"), under `uzswap run`, and in a memory cgroup with the kernel's zswap. The table shows
the median of the rounds, and uzswap's over the kernel's. Where the kernel's side cannot be run, the reason is printed, and
the others are measured.

Data is checked: each value that is read under load; every key of the server at its end; and every key of the dump, once a native
server has read it: there must be one moment, between the sending of BGSAVE and its answer, at which all of them were current. Exit
status 1 if anything is wrong.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import command_line
import interruption
import kernel_zswap
import tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/programs"))
from harness import memory, processes, redis_client

NAME = "bgsave.py"
PROGRAM = "bench/bench-bgsave"  # in the build folder
MIB = 1 << 20
BYTES_A_KEY = 1260  # of the server's memory
SIDES = ["native", "uzswap", "kernel"]
EQUAL = "uzswap, equal"  # with as much memory as the kernel's side took
PHASES = ["before", "during", "after"]
ANSWERS_WITHIN = 120  # seconds
TITLE = "BGSAVE under load"


class Failed(Exception):
    """Why a side could not be measured to its end."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    positive = command_line.positive
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--rounds", default=3, type=positive, help="default 3")
    parser.add_argument("--data", default=512, type=positive, metavar="MIB", help="memory of the server's data (default 512)")
    parser.add_argument("--memory", default=256, type=positive, metavar="MIB", help="what it is given (default 256)")
    parser.add_argument("--connections", default=4, type=positive, help="default 4")
    parser.add_argument("--sets", default=20, type=int, metavar="PERCENT", help="of the requests, the others are GET (default 20)")
    parser.add_argument("--seconds", default=4, type=positive, help="of load before and after BGSAVE, each (default 4)")
    parser.add_argument("--compressor", default="lz4", help="for both sides (default lz4)")
    parser.add_argument("--readahead", default=0, type=int, help="the kernel reads 2^N pages at once (default 0: the keys are random)")
    parser.add_argument("--swap-folder", default="/var/tmp", help="where both swap files and the dumps go: a real disk")
    parser.add_argument("--minutes", default=4, type=positive, help="no round is begun that would end after this time (default 4)")
    parser.add_argument("--equal", action="store_true", help="one more side: uzswap with as much memory as the kernel's side took, "
                        "pool and all")
    parser.add_argument("--only", action="append", choices=SIDES, help="measure this side (may be repeated)")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    parser.add_argument("--update", type=pathlib.Path, metavar="FILE", help="put the table into this document (docs/bgsave.md)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.keys = options.data * MIB // BYTES_A_KEY
    if options.update and options.only:
        parser.error("--update needs all sides: without --only")
    options.sides = (options.only or SIDES) + ([EQUAL] if options.equal else [])
    return options


class Scene:
    """One side of one round: its folder, the processes started for it, and the client."""

    def __init__(self, options, folder, budget=None):
        self.options, self.folder, self.memory, self.started = options, folder, budget or options.memory, []
        self.journal = folder / "journal"
        folder.mkdir()

    def pids(self):
        return {process.pid for process in self.started}

    def start(self, argv, start=subprocess.Popen, **kwargs):
        process = start([str(word) for word in argv], cwd=self.folder, **kwargs)
        self.started.append(process)
        return process

    def server(self, start):
        """Starts one, and waits until it answers: (process, connection)"""
        path = self.folder / "redis.sock"
        path.unlink(missing_ok=True)
        process, end = start(), time.monotonic() + ANSWERS_WITHIN
        while not redis_client.answers(path):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"redis-server does not answer{how_it_ended(process)}")
            time.sleep(0.05)
        return process, redis_client.Client(path)

    def client(self, verb, *words):
        """The figures that bench-bgsave prints. A check that finds something wrong prints it, too."""
        process = self.start([self.options.build / PROGRAM, verb, "--socket", "redis.sock", *words], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        output, errors = process.communicate()
        try:
            found = json.loads(output)
        except ValueError:
            raise Failed(errors.strip() or f"bench-bgsave {verb} ended with status {process.returncode}") from None
        sys.stderr.write(errors)
        return found

    @staticmethod
    def stop(process, connection):
        connection.send("SHUTDOWN", "NOSAVE")
        if process.wait():
            raise Failed(f"redis-server{how_it_ended(process)}")


def how_it_ended(process):
    status = process.poll()
    if status is None:
        return ""
    return f": killed by signal {-status}" if status < 0 else f": ended with status {status}"


# ---- one side of one round

@contextlib.contextmanager
def launcher(scene, side, zswap, watch):
    """A function that starts the server as the side has it."""
    options, log = scene.options, open(scene.folder / "server.log", "wb")
    kwargs = {"stdout": log, "stderr": log}
    command = redis_client.SERVER
    if side in ("uzswap", EQUAL):
        command = [options.build / "uzswap", "run", "--quiet", "--memory", f"{scene.memory}M", "--compressor", options.compressor,
                   "--swap", f"file:{options.swap_folder}", "--stats", scene.folder / "stats", "--", *command]
    with log:
        if side == "kernel":
            yield lambda: scene.start(command, lambda argv, **more: zswap.start(argv, options.readahead, **more), **kwargs)
        else:
            yield lambda: scene.start(watch.command([str(word) for word in command]), **kwargs)


def load(scene, side, zswap, figures):
    """The server's life; leaves journal and dump.rdb in the folder."""
    options = scene.options
    group, beside = (zswap.group, kernel_zswap.pool_bytes) if side == "kernel" else (None, lambda: 0)
    with memory.Watch(scene.pids, group=group, beside=beside) as watch, launcher(scene, side, zswap, watch) as start:
        process, connection = scene.server(start)
        try:
            figures["fill"] = scene.client("fill", "--keys", options.keys)["seconds"]
            figures["rss"] = int(connection.info("used_memory_rss"))
            figures.update(scene.client(
                "load", "--keys", options.keys, "--journal", scene.journal, "--connections", options.connections, "--sets",
                options.sets, "--before", int(1000 * options.seconds), "--after",
                int(1000 * options.seconds)))
            figures["live"] = scene.client("check", "--journal", scene.journal)
            scene.stop(process, connection)
        except (Failed, OSError) as reason:
            time.sleep(0.5)  # its end may be the reason
            said = (scene.folder / "server.log").read_text(errors="replace").splitlines()[-3:]
            raise Failed("\n#     ".join([f"{reason}{how_it_ended(process)}", *said])) from reason
        finally:
            figures["peak"] = watch.peak


def check_dump(scene):
    """By a server that has no limit."""
    process, connection = scene.server(lambda: scene.start(redis_client.SERVER, stdout=subprocess.DEVNULL))
    verdict = scene.client("check", "--journal", scene.journal, "--save")
    scene.stop(process, connection)
    return verdict


def run_side(options, side, zswap, folder, budget=None):
    """`budget`, in MiB, in place of --memory."""
    scene, figures = Scene(options, folder, budget), {}
    try:
        load(scene, side, zswap, figures)
        figures["dump"] = check_dump(scene)
        if side in ("uzswap", EQUAL):
            figures["stats"] = json.loads((folder / "stats").read_text(encoding="utf-8"))
    finally:
        for process in scene.started:
            kernel_zswap.end(process)
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def wrong(figures):
    """What is wrong with the data; empty if it is right."""
    found = [f"{figures['wrong_values']} values read under load"] if figures["wrong_values"] else []
    for what in ("live", "dump"):
        verdict = figures[what]
        if not verdict["right"]:
            found.append(f"{what}: " + ", ".join(f"{key} {value}" for key, value in verdict.items()
                                                 if key not in ("right", "keys", "rewritten")))
    return found


def run_and_say(options, side, zswap, folder, figures, what):
    """Adds the figures, if there are any. Whether all was well; that the kernel's side comes to its end is not ours to answer for."""
    start = time.monotonic()
    budget = figures["kernel"][-1]["peak"] // MIB if side == EQUAL else None
    try:
        found = run_side(options, side, zswap, folder / "run", budget)
        figures[side].append(found)
        problems = wrong(found)
        result, well = "; ".join(problems) or "data right", not problems
    except Failed as reason:
        result, well = f"FAILED: {reason}", side == "kernel"
    print(f"# {what}: {side}: {time.monotonic() - start:.0f} s: {result}", flush=True)
    return well


def measure(options, zswap, folder):
    """A B C A B C ...: ({side: [figures of each round]}, whether all was well)"""
    figures, well = {side: [] for side in [*SIDES, *([EQUAL] if options.equal else [])]}, True
    begun = time.monotonic()
    for turn in range(options.rounds):
        for side in options.sides:
            if (side == "kernel" and not zswap) or (side == EQUAL and not figures["kernel"]):
                continue
            well = run_and_say(options, side, zswap, folder, figures, f"round {turn + 1} of {options.rounds}") and well
        took = time.monotonic() - begun
        if turn + 1 < options.rounds and took * (turn + 2) / (turn + 1) > 60 * options.minutes:
            print(f"# {turn + 1} of {options.rounds} rounds: more would take longer than --minutes {options.minutes}", flush=True)
            break
    return figures, well


# ---- the table

def rows():
    """(what, unit, function of the figures of a round, digits)"""
    def of(phase, key, scale):
        return lambda f: f[phase][key] / scale
    for phase in PHASES:
        yield f"requests/s, {phase}", of(phase, "rate", 1), 0
    for title, key in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns"), ("highest", "max_ns")):
        for phase in PHASES:
            yield f"{title}, {phase}, µs", of(phase, key, 1e3), 0
    yield "BGSAVE, s", lambda f: f["save_seconds"], 2
    yield "fork, ms", lambda f: f["fork_us"] / 1e3, 1
    yield "BGSAVE's answer, ms", lambda f: f["bgsave_answer_ns"] / 1e6, 1
    yield "peak, MiB", lambda f: f["peak"] / MIB, 0
    yield "keys rewritten, in the dump", lambda f: f["dump"]["rewritten"], 0
    yield "rounds with wrong data", lambda f: bool(wrong(f)), None


def make_table(figures):
    made = []
    for title, value, digits in rows():
        if digits is None:
            made.append([title, *(str(sum(map(value, rounds))) if rounds else "-" for rounds in figures.values()), ""])
            continue
        medians = {side: statistics.median(map(value, rounds)) if rounds else None for side, rounds in figures.items()}
        ours, theirs = medians["uzswap"], medians["kernel"]
        made.append([title, *("-" if m is None else f"{m:,.{digits}f}" for m in medians.values()),
                     f"{ours / theirs:.2f}" if ours is not None and theirs else "-"])
    rounds = max(map(len, figures.values()))
    return TITLE, [f"median of {rounds}" if rounds > 1 else "one round", *figures, "uzswap / kernel"], made


def print_memory(options, figures, zswap):
    if figures["native"]:
        rss = statistics.median(f["rss"] for f in figures["native"])
        print(f"data: {options.keys:,} keys, {rss / MIB:.0f} MiB of memory without a limit")
    if figures["uzswap"]:
        peak = max(f["stats"]["peak_bytes"] for f in figures["uzswap"])
        print(f"uzswap: highest budget {peak / MIB:.0f} MiB of {options.memory} MiB, by its own account")
    if figures["kernel"]:
        print(f"kernel: compressor {zswap.compressor}; files that are written count in the cgroup's {options.memory} MiB, the "
              f"pool {'beside' if '/memory/' in str(zswap.group) else 'too'}")


@contextlib.contextmanager
def kernel_side(options):
    """The kernel's zswap, or None."""
    with contextlib.ExitStack() as stack:
        zswap = None
        if "kernel" in options.sides:
            try:
                zswap = stack.enter_context(kernel_zswap.KernelZswap(options.memory * MIB, options.compressor, options.swap_folder))
            except kernel_zswap.Unavailable as reason:
                print(f"# the kernel's zswap is not measured: {reason}", flush=True)
        yield zswap


def main():
    options = arguments()
    interruption.leave_by_exception(NAME)
    for path in (options.build / PROGRAM, options.build / "uzswap"):
        command_line.require(NAME, path)
    if not shutil.which("redis-server"):
        sys.exit(f"{NAME}: redis-server is not there: make deps installs it")
    if options.update:
        tables.check_document(NAME, options.update, [TITLE])
    processes.adopt_orphans()
    print(f"# {options.data} MiB of data in {options.memory} MiB, {options.connections} connections, {options.sets} % SET, "
          f"Linux {os.uname().release}, {os.cpu_count()} CPUs", flush=True)
    with tempfile.TemporaryDirectory(prefix="uzswap-bgsave-", dir=options.swap_folder) as folder, kernel_side(options) as zswap:
        figures, well = measure(options, zswap, pathlib.Path(folder))
        table = make_table(figures)
        tables.print_table(table)
        print_memory(options, figures, zswap)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.update:
        if not all(figures.values()) or not well:
            sys.exit(f"{NAME}: {options.update} is left as it is")
        tables.update_document(options.update, [table])
    return 0 if well else 1


if __name__ == "__main__":
    with command_line.errors_of_one_line(NAME):
        sys.exit(main())
