#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make check-programs: programs that nobody here wrote pass their own tests under `uzswap run`, in a fraction of their memory.

Each program of tests/programs/ is run twice: as it is, which shows what passes and how much memory it takes, and under
`uzswap run` with a budget of a share of that. What passes without uzswap has to pass under it. harness/program.py
says how a program is added.

Columns of the table: `native peak` and `peak of the tree` are anonymous and shared memory of all processes together, under
uzswap with its pool and tables, but not code and files; `budget` is in percent of the native peak; `pages out` counts pages that
left a program. If a test fails under uzswap the program is run without it once more: what fails there, too, is unsteady by
itself, and is listed as that. Exit status 1 if anything else passes natively and fails under uzswap, or is not run for want of time.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(HERE), str(ROOT / "bench")]
sys.dont_write_bytecode = True
import interruption
from harness import catalogue, processes, result
from harness.place import Place
from harness.program import MIB, Missing
from harness.run import Managed, Run

SLOWER_AT_MOST = 25  # times: a run under uzswap may take so much longer than without, or the program's `seconds`


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where uzswap is (build)")
    parser.add_argument("--only", metavar="NAME", action="append", help="only this program (may be repeated)")
    parser.add_argument("--list", action="store_true", help="name the programs, and go")
    parser.add_argument("--small", action="store_true", help="only the programs that have a quick form, in that form")
    parser.add_argument("--share", type=float, metavar="N", help="budgets are N of the native peak (0.25), whatever programs say")
    parser.add_argument("--minutes", type=float, default=120,
                        help="no program is begun after this time (120: all take about an hour on two CPUs)")
    parser.add_argument("--tap", action="store_true", help="print TAP instead of the table")
    parser.add_argument("--logs", type=pathlib.Path, help="what all commands print goes here (BUILD/programs/logs)")
    parser.add_argument("--work", type=pathlib.Path, help="a folder is made here, and removed at the end ($TMPDIR or /tmp)")
    options = parser.parse_args()
    options.logs = (options.logs or options.build / "programs" / "logs").resolve()
    return options


def chosen(options):
    programs = [p for p in catalogue.load(HERE) if p.small or not options.small]
    for name in options.only or []:
        if name not in [p.name for p in programs]:
            sys.exit(f"check-programs: no program {name}; --list names them")
    return [p for p in programs if not options.only or p.name in options.only]


def check(program, options, folder):
    logs = options.logs / program.name
    shutil.rmtree(logs, ignore_errors=True)
    for name in ("native", "managed", "native-again"):
        (logs / name).mkdir(parents=True)
    kept = options.build.resolve() / "programs" / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    try:
        place = Place(program, folder / program.name / "prepared", kept, logs, options.small)
        program.prepare(place)
        processes.kill_all()
        native = Run(program, place, logs / "native", small=options.small)
        native.carry_out()
        budget = program.budget_of(native.peak, options.share)
        managed = Run(program, place, logs / "managed", Managed(options.build.resolve() / "uzswap", budget), options.small,
                      SLOWER_AT_MOST * native.seconds)
        managed.carry_out()
        both = result.Result(program)
        both.compare(native, managed, budget)
        if both.failed_tests():
            again = Run(program, place, logs / "native-again", small=options.small, seconds=SLOWER_AT_MOST * native.seconds)
            again.carry_out()
            both.set_aside(again)
    except Missing as why:
        return result.Result(program, skipped=str(why))
    finally:
        shutil.rmtree(folder / program.name, ignore_errors=True)
    if not both.failed:
        remove_large(logs)
    return both


def remove_large(logs):
    """What a program that passes has printed is of no use if it is long."""
    for path in logs.rglob("*.out"):
        if path.stat().st_size > MIB:
            path.unlink()


def check_all(programs, options, folder):
    results, end = [], time.monotonic() + 60 * options.minutes
    for program in programs:
        start = time.monotonic()
        if start > end:
            one = result.Result(program)
            one.failed["in time"] = f"not run: {options.minutes:g} minutes are over"
        else:
            try:
                one = check(program, options, folder)
            except Exception:  # a mistake in one program's file must not hide what the others say
                one = result.Result(program)
                one.failed["its file in tests/programs"] = traceback.format_exc()
        word = "skipped" if one.skipped else f"{len(one.failed)} FAILED" if one.failed else "ok"
        print(f"# {program.name}: {word} ({time.monotonic() - start:.0f} s)", flush=True)
        results.append(one)
    return results


def main():
    options = arguments()
    programs = chosen(options)
    if options.list:
        for program in programs:
            print(f"{program.name:<24} {(program.__doc__ or '').strip().splitlines()[0]}")
        return 0
    if not os.access(options.build / "uzswap", os.X_OK):
        sys.exit(f"check-programs: {options.build / 'uzswap'} is not there: build first (make)")
    interruption.leave_by_exception("check-programs")
    processes.adopt_orphans()
    options.logs.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="uzswap-programs-", dir=options.work) as folder:
            results = check_all(programs, options, pathlib.Path(folder))
    finally:
        processes.kill_all()
    if options.tap:
        result.print_tap(results)
    else:
        result.print_table(results)
        result.print_details(results, options.logs)
        print(f"what all commands printed: {options.logs}")
    return 1 if any(r.failed for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
