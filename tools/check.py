#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make check: builds the project in every way it must build, runs every test, and counts.

The last line is `N passed, N failed, N skipped`, over all single tests of all builds; a build or a check of the
sources counts as one test. The exit status is 0 only if something passed, nothing failed, and nothing was skipped for a
reason that tests/expected-skips.txt does not know.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULT = re.compile(r"(not )?ok\b(?: +(\d+))?(?: *-? *)(.*?)(?: *# *(SKIP|TODO)\b *(.*))?$", re.IGNORECASE)
PLAN = re.compile(r"1\.\.(\d+)(?: *# *SKIP\b *(.*))?$", re.IGNORECASE)

# name, compiler, meson options, suites, how much more time the tests get
Build = collections.namedtuple("Build", "name compiler options suites slowness")
BUILDS = [
    Build("gcc", "gcc", ["-Dlock_checks=enabled"], ["unit", "stress", "verify", "e2e"], 1),
    Build("clang", "clang-14", [], ["unit"], 1),
    Build("asan", "clang-14", ["-Db_sanitize=address,undefined", "-Db_lundef=false"], ["unit", "stress", "fuzz"], 5),
    Build("tsan", "clang-14", ["-Db_sanitize=thread", "-Db_lundef=false"], ["unit", "stress"], 10),
]
SOURCE_CHECKS = ["check-format.sh", "check-headers.sh", "check-docs.py"]


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def ok(self):
        self.passed += 1

    def fail(self, name):
        print(f"FAILED: {name}", flush=True)
        self.failed.append(name)

    def skip(self, name, reason):
        self.skipped.append((name, reason))


def parse_tap(tally, program, text, ended_well):
    """Counts the single tests of one program's output."""
    planned, seen, failures = None, 0, 0
    failed_before = len(tally.failed)
    for line in text.splitlines():
        plan, result = PLAN.match(line), RESULT.match(line)
        if plan:
            planned = int(plan[1])
            if planned == 0:
                tally.skip(program, plan[2] or "no reason given")
        elif result:
            seen += 1
            name = f"{program}: {result[3]}"
            if result[1]:
                failures += 1
                tally.fail(name)
            elif (result[4] or "").upper() == "SKIP":
                tally.skip(name, result[5])
            else:
                tally.ok()
    if planned is None:
        tally.fail(f"{program}: stopped before its end, after {seen} tests")
    elif planned != seen:
        tally.fail(f"{program}: {planned} tests planned, {seen} run")
    elif not ended_well and not failures:
        tally.fail(f"{program}: bad exit status, or out of time")
    if len(tally.failed) > failed_before:
        print("\n".join(text.splitlines()[-60:]), flush=True)


def step(tally, name, command, **kwargs):
    """Runs a command that counts as one test. Its output is shown only if it fails."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          **kwargs)
    print(f"{name}: {'ok' if done.returncode == 0 else 'failed'} ({time.monotonic() - start:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout[-20000:], flush=True)
        tally.fail(name)
        return False
    tally.ok()
    return True


def thread_sanitizer_wrapper():
    """Before LLVM 18, TSan cannot place its shadow when addresses are more random than 28 bits."""
    bits = pathlib.Path("/proc/sys/vm/mmap_rnd_bits")
    try:
        too_random = int(bits.read_text()) > 28
    except OSError:
        too_random = False
    return ["--wrapper", "setarch -R"] if too_random else []


def run_build(tally, build, folder, jobs):
    where = folder / build.name
    setup = ["meson", "setup", "--buildtype=debugoptimized", *build.options]
    setup += ["--reconfigure"] if (where / "build.ninja").exists() else []
    if not step(tally, f"{build.name}: configure", [*setup, where], env={**os.environ, "CC": build.compiler}):
        return
    if not step(tally, f"{build.name}: build", ["ninja", "-C", where]):
        return
    log = where / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", where, "--no-rebuild", "--timeout-multiplier", str(build.slowness),
               "--num-processes", str(jobs), "--print-errorlogs"]
    for suite in build.suites:
        command += ["--suite", suite]
    command += thread_sanitizer_wrapper() if build.name == "tsan" else []
    subprocess.run(command, check=False)
    if not log.exists():
        tally.fail(f"{build.name}: no test was run")
        return
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            name = entry["name"].rpartition(" / ")[2]
            program = f"{build.name}/{name}"
            ended_well = entry["returncode"] == 0 and entry["result"] != "TIMEOUT"
            if not name.startswith("fuzz-"):
                parse_tap(tally, program, entry.get("stdout", ""), ended_well)
            elif ended_well:
                tally.ok()
            else:
                tally.fail(program)


def unexpected_skips(skipped):
    patterns = [re.compile(line) for line in (ROOT / "tests/expected-skips.txt").read_text().splitlines()
                if line and not line.startswith("#")]
    return [(name, reason) for name, reason in skipped if not any(p.search(reason or "") for p in patterns)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help=f"only these: {', '.join(b.name for b in BUILDS)}, sources")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build-check")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    tally, start = Tally(), time.monotonic()

    def wanted(name):
        return not options.only or name in options.only

    for build in BUILDS:
        if wanted(build.name):
            run_build(tally, build, options.folder, options.jobs)
    if wanted("gcc"):
        step(tally, "check-symbols.sh", [ROOT / "tools/check-symbols.sh", options.folder / "gcc"])
    if wanted("sources"):
        for check in SOURCE_CHECKS:
            step(tally, check, [ROOT / "tools" / check])

    for name, reason in tally.skipped:
        print(f"skipped: {name}: {reason}")
    unexpected = unexpected_skips(tally.skipped)
    for name, reason in unexpected:
        print(f"UNEXPECTED SKIP: {name}: {reason}")
    for name in tally.failed:
        print(f"failed: {name}")
    print(f"took {time.monotonic() - start:.0f} s")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or unexpected or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
