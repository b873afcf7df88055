#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the explorer over the four lifecycles and the whole cache, and says whether each does what it must.

    lifecycle    must
    baseline     show both races of 2013, by name, and the third that was found here
    the others   have no violation in any schedule

A lifecycle that makes others wait for a device that never answers is told so ("waits for I/O"), which is a violation for
production and the whole cache only: the proposal of 2013 had others try again.

With --all also Spin, relacy and the planted faults, which is what `make verify` does.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
LIFECYCLES = ["baseline", "getput", "cas", "production"]
RACES = {"leak": ("leak of 2013, reclaim against invalidate", "pool: writeback | invalidate"),
         "stale data": ("stale data of 2013, reclaim against store", "pool: writeback | store load"),
         "use after free": ("use after free, reclaim against store and load", "pool: load | store | writeback")}
SHORT_SETS = ["races", "pairs", "hang", "keys", "triples"]
LONG_SETS = [*SHORT_SETS, "double", "fours"]
MUST_NOT_WAIT = ["production", "whole"]

# preemptions: None = any number
Task = collections.namedtuple("Task", "program lifecycle set preemptions", defaults=[None])


def tasks(short):
    """The longest first, so that two workers end at about the same time."""
    if not short:
        yield Task("explore-lifecycles", "production", "sixfold")
    sets = SHORT_SETS if short else LONG_SETS
    for name in reversed(sets):
        for lifecycle in reversed(LIFECYCLES):
            yield Task("explore-lifecycles", lifecycle, name)
    if not short:
        for name, preemptions in [("trios", 2), ("alike-many", 1), ("double", 1), ("triples", 1), ("keys", None)]:
            yield Task("explore-whole", "whole", name, preemptions)
    for name in ["races", "pairs", "hang"]:
        yield Task("explore-whole", "whole", name)
    yield Task("explore-whole", "whole", "alike", 1 if short else None)
    for name in ["overflow", "pairs"] if short else ["overflow", "pairs", "double", "triples"]:
        yield Task("explore-narrow", "production", name)


def explore(build, task):
    command = [build / task.program, "--lifecycle", task.lifecycle, "--set", task.set, "--json"]
    if task.preemptions is not None:
        command += ["--preemptions", str(task.preemptions)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"check: {task.program} --set {task.set} ends with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


class Report:
    """Prints a line a result, as TAP if wanted, and counts."""
    def __init__(self, tap):
        self.tap, self.count, self.bad = tap, 0, 0

    def line(self, good, text):
        self.count += 1
        self.bad += not good
        mark = "ok" if good else "not ok"
        print(f"{mark} {self.count} - {text}" if self.tap else f"{text}{'' if good else '    <-- FAILED'}", flush=True)

    def note(self, text):
        print(f"# {text}" if self.tap else text, flush=True)


def judge(report, task, result):
    waits = [v for v in result["violations"] if v["kind"] == "deadlock" and task.set == "hang"]
    others = [v for v in result["violations"] if v not in waits]
    numbers = (f"{result['scenarios']} scenarios, {result['schedules']:.4g} schedules, {result['states']:,} states, "
               f"{result['seconds']:.1f} s")
    narrow = " with a word that counts one load" if task.program == "explore-narrow" else ""
    bound = f" with at most {task.preemptions} preemption{'s' if task.preemptions > 1 else ''}" if task.preemptions is not None else ""
    name = f"{task.lifecycle}{narrow}, {task.set}{bound}: {numbers}"
    if task.lifecycle == "baseline":
        kinds = ", ".join(f"{v['kind']} in {v['scenarios']} scenarios" for v in result["violations"])
        report.line(task.set != "races" or {"leak", "stale data"} == {v["kind"] for v in others},
                    f"{name}; {kinds or 'nothing found'}")
        return
    good = not others and result["complete"] and not (waits and task.lifecycle in MUST_NOT_WAIT)
    report.line(good, f"{name}; {len(others)} kinds of violations{'; waits for I/O' if waits else ''}")
    for v in result["violations"]:
        report.note(f"    {v['violation']}: --lifecycle {task.lifecycle} --scenario \"{v['scenario']}\" --replay {v['seed']}")


def judge_races(report, build):
    """Each race in the scenario that has its name."""
    for kind, (name, scenario) in RACES.items():
        for lifecycle in LIFECYCLES:
            command = [build / "explore-lifecycles", "--lifecycle", lifecycle, "--scenario", scenario, "--json"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            found = [v for v in json.loads(done.stdout)["violations"] if v["kind"] == kind]
            expected = lifecycle == "baseline"
            text = f"{name}, in {lifecycle}: {'found' if found else 'impossible'}"
            report.line(bool(found) == expected, text)
            if found:
                command += ["--replay", found[0]["seed"]]
                replay = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
                report.line(replay.returncode == 1, f"{name}: comes again when replayed from its seed")
                if not report.tap:
                    print("    " + "\n    ".join(replay.stdout.splitlines()))


def print_table(results):
    print(f"\n{'lifecycle':<12}{'scenarios':>10}{'schedules':>13}{'states':>13}{'leak':>7}{'stale':>7}{'use after free':>16}"
          f"{'other':>7}  waits for I/O")
    for lifecycle in [*LIFECYCLES, "whole"]:
        rows = [(t, r) for t, r in results if t.lifecycle == lifecycle and t.program != "explore-narrow"]
        sums = collections.Counter()
        waits = False
        for task, r in rows:
            for v in r["violations"]:
                if v["kind"] == "deadlock" and task.set == "hang":
                    waits = True
                else:
                    sums[v["kind"] if v["kind"] in RACES else "other"] += v["scenarios"]
        print(f"{lifecycle:<12}{sum(r['scenarios'] for _, r in rows):>10,}{sum(r['schedules'] for _, r in rows):>13.4g}"
              f"{sum(r['states'] for _, r in rows):>13,}{sums['leak']:>7}{sums['stale data']:>7}{sums['use after free']:>16}{sums['other']:>7}  "
              f"{'yes' if waits else 'no'}")
    print("(violations: scenarios in which one was found)\n")


def run_part(name, command):
    """Whether it went well, and its last line."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, flush=True)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1].lstrip("# ")
    return done.returncode == 0, f"{name}: {last} ({time.monotonic() - start:.0f} s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="folder of the explorer's programs")
    parser.add_argument("--short", action="store_true", help="what takes half a minute")
    parser.add_argument("--all", action="store_true", help="Spin, relacy and planted faults too")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, help="write all results to this file")
    options = parser.parse_args()
    report, start = Report(options.tap), time.monotonic()
    wanted = list(tasks(options.short))
    results, parts = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for task, result in zip(wanted, pool.map(lambda task: explore(options.build, task), wanted)):
            judge(report, task, result)
            results.append((task, result))
    judge_races(report, options.build)
    if options.all:
        short = ["--short"] if options.short else []
        parts = [run_part("planted faults", [HERE / "mutations.py", "--build", options.build]),
                 run_part("relacy", [HERE / "relacy/check.py", "--mutants", *short]),
                 run_part("Spin", [HERE / "spin/check.py", *short]),
                 run_part("Spin, planted faults", [HERE / "spin/check.py", "--mutants"])]
    if options.json:
        options.json.write_text(json.dumps([{**t._asdict(), **r} for t, r in results], indent=1))
    if not options.tap:
        print_table(results)
    for part in parts:
        report.line(*part)
    print(f"1..{report.count}" if options.tap else
          f"took {time.monotonic() - start:.0f} s; {report.count - report.bad} right, {report.bad} wrong")
    return 1 if report.bad or not report.count else 0


if __name__ == "__main__":
    sys.exit(main())
