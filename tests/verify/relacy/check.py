#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the memory orders of src/zswap/lifecycle.c with relacy.

Every scenario (scenarios.hpp) must run without a data race, a use after free, a leak or a wrong version: in every schedule,
or in those with so many context switches; each relaxed read also in its stale form. A part runs again with room for one
load at a time in a word. Unless --short, the whole also runs again with failed swaps relaxed, and their values perhaps stale:
nothing is to rest on them.

With --mutants each order is weakened by one step, one at a time; every one must be found, even with all failed swaps acquire.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
SOURCE = ROOT / "src/zswap/lifecycle.c"
RELACY = "relacy/relacy.hpp"

# In `function`, `old` must be there exactly once.
Mutation = collections.namedtuple("Mutation", "name function old new")
LOCKED, UNLOCKED = "bool swapped = atomic_cas_{}(", "if (!atomic_cas_{}("


def weaken(function, order, weaker, text="atomic_cas_{}(", label=""):
    name = f"{function}{label}: {order} -> {weaker}"
    return Mutation(name, function, text.format(order), text.format(weaker))


MUTATIONS = [
    weaken("lifecycle_try_hold", "acquire", "relaxed"),
    weaken("lifecycle_unhold", "release", "relaxed"),
    weaken("lifecycle_begin_writeback", "acquire", "relaxed"),
    weaken("lifecycle_abort_writeback", "release", "relaxed"),
    weaken("swap_out", "acq_rel", "acquire", UNLOCKED, ", nobody holds"),
    weaken("swap_out", "acq_rel", "release", UNLOCKED, ", nobody holds"),
    weaken("swap_out", "acq_rel", "acquire", LOCKED, ", held"),
    weaken("swap_out", "acq_rel", "release", LOCKED, ", held"),
    # The table of orphans is watched too.
    Mutation("leave_orphan: without the lock", "leave_orphan",
             "    mutex_lock(&lc->lock);\n    bool last = orphan_drop(lc, content);\n    mutex_unlock(&lc->lock);\n",
             "    bool last = orphan_drop(lc, content);\n"),
    Mutation("swap_out: the orphan born after the lock", "swap_out",
             "    if (swapped) {\n        orphan_add(lc, content, holders_left);\n    }\n    mutex_unlock(&lc->lock);\n",
             "    mutex_unlock(&lc->lock);\n    if (swapped) {\n        orphan_add(lc, content, holders_left);\n    }\n"),
]

# With one load at a time in a word, these are where a load waits for another's.
NARROW_SCENARIOS = ["held: end load, load", "held: end load, store, load", "load, load, store"]

Result = collections.namedtuple("Result", "good scenario search executions ms found history")


class Report:
    """A line a result, as TAP if wanted."""

    def __init__(self, tap):
        self.tap, self.count, self.bad = tap, 0, 0

    def line(self, good, text):
        self.count += 1
        self.bad += not good
        mark = "ok" if good else "not ok"
        print(f"{mark} {self.count} - {text}" if self.tap else f"{mark:<7}{text}", flush=True)

    def note(self, text):
        print(f"# {text}", flush=True)


def stop(message):
    print(f"relacy: {message}", file=sys.stderr)
    sys.exit(2)


class Builder:
    """Compiles the checker once, and the code under test as often as it is changed."""
    def __init__(self, folder, cxx):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not shutil.which(cxx):
            stop(f"there is no C++ compiler {cxx}; on Debian: apt-get install g++")
        # The unit is C compiled as C++: -fpermissive for its void pointers, and no warnings.
        self.command = [cxx, "-std=gnu++20", "-O2", "-w", "-fpermissive", "-D_GNU_SOURCE", f"-I{ROOT / 'src'}"]
        probe = [*self.command, "-E", "-x", "c++", "-"]
        if subprocess.run(probe, input=f"#include <{RELACY}>\n", text=True, capture_output=True, check=False).returncode:
            stop(f"there is no {RELACY}; on Debian: apt-get install relacy-dev")
        self.checker = folder / "main.o"
        self.run(*self.command, "-c", HERE / "main.cc", "-o", self.checker)

    @staticmethod
    def run(*command):
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode:
            stop(f"does not compile: {' '.join(map(str, command))}\n{done.stdout}")

    def program(self, name, source, *flags):
        unit, program = self.folder / f"{name}.o", self.folder / name
        self.run(*self.command, *flags, f'-DLIFECYCLE_SOURCE="{source.resolve()}"', "-c", HERE / "production.cc", "-o", unit)
        self.run(self.command[0], self.checker, unit, "-o", program)
        return program


def run(program, *arguments):
    done = subprocess.run([str(program), *arguments], stdout=subprocess.PIPE, text=True, check=False)
    results = []
    for line in done.stdout.splitlines():
        if line.startswith("#"):
            results[-1].history.append(line[2:])
        else:
            mark, scenario, search, executions, ms, found = line.split("\t")
            results.append(Result(mark == "ok", scenario, search, int(executions), int(ms), found, []))
    if done.returncode < 0:
        where = f"the one after \"{results[-1].scenario}\"" if results else "the first"
        results.append(Result(False, where, "?", 0, 0, f"signal {-done.returncode}", []))
    elif done.returncode > 1 or not results or (done.returncode == 0) != all(r.good for r in results):
        stop(f"{program} ended with status {done.returncode}")
    return results


def judge(report, label, results):
    for r in results:
        violations = "0 violations" if r.good else f"VIOLATION: {r.found}"
        report.line(r.good, f"{label}{r.scenario}: {r.search}, {r.executions:,} executions, {r.ms / 1000:.1f} s, {violations}")
        for line in r.history:
            report.note(line)
    executions, seconds = sum(r.executions for r in results), sum(r.ms for r in results) / 1000
    report.note(f"{label}{len(results)} scenarios, {executions:,} executions, {seconds:.1f} s")


def mutate(text, mutation):
    start = re.search(rf"^[a-z].*\b{mutation.function}\([^;]*?\n{{\n", text, re.M)
    if not start:
        stop(f"mutation '{mutation.name}': there is no function {mutation.function}")
    end = text.index("\n}\n", start.end())
    body = text[start.end():end + 1]
    if body.count(mutation.old) != 1:
        stop(f"mutation '{mutation.name}': {mutation.function} has this {body.count(mutation.old)} times, not once:\n"
             f"{mutation.old}")
    return text[:start.end()] + body.replace(mutation.old, mutation.new) + text[end + 1:]


def hunt(builder, text, number, mutation):
    source = builder.folder / f"mutant{number}.c"
    source.write_text(mutate(text, mutation))
    program = builder.program(f"mutant{number}", source)
    return [r for r in run(program, "--short", "--failed-swaps=acquire") if not r.good]


def judge_mutants(report, builder, source, pool):
    text = source.read_text()
    found = pool.map(lambda pair: hunt(builder, text, *pair), enumerate(MUTATIONS))
    for mutation, failures in zip(MUTATIONS, found):
        what = "NOT FOUND"
        if failures:
            others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            what = f"{failures[0].found}, found by \"{failures[0].scenario}\"{others}"
        report.line(bool(failures), f"mutant {mutation.name}: {what}")


def check(options, folder, report):
    builder = Builder(folder, options.cxx)
    short = ["--short"] if options.short else []
    program = builder.program("production", options.source)
    narrow = builder.program("narrow", options.source, "-DENTRY_HOLDERS_BITS=1", "-DONE_HOLD_AT_A_TIME")
    runs = [("", program, short),
            ("one load at a time: ", narrow, ["--short", *NARROW_SCENARIOS])]
    if not options.short:
        runs.insert(1, ("failed swaps relaxed: ", program, ["--short", "--failed-swaps=relaxed"]))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        started = [(label, pool.submit(run, what, *arguments)) for label, what, arguments in runs]
        for label, results in started:
            judge(report, label, results.result())
        if options.mutants:
            judge_mutants(report, builder, options.source, pool)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer context switches where the search is bounded")
    parser.add_argument("--mutants", action="store_true", help="weaken each order too, and require that it is found")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--build", type=pathlib.Path, help="folder for what is compiled (default: a temporary one)")
    parser.add_argument("--source", type=pathlib.Path, default=SOURCE, help="what to check (default: %(default)s)")
    parser.add_argument("--cxx", default=os.environ.get("CXX", "g++"))
    options = parser.parse_args()
    if not options.source.is_file():
        stop(f"there is no {options.source}")
    report, start = Report(options.tap), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        check(options, options.build or pathlib.Path(temporary), report)
    report.note(f"took {time.monotonic() - start:.0f} s; {report.count - report.bad} right, {report.bad} wrong")
    if options.tap:
        print(f"1..{report.count}")
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
