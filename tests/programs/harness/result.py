# SPDX-License-Identifier: MIT
"""What the two runs of a program say together."""
import fnmatch

from harness.program import MIB

MISSED = "not run under uzswap"
DIFFERS = "not the same as without uzswap"
FAILURES_SHOWN = 25
NO_PAGES = "no page left the program: nothing was tested"


def complaint(native, managed, name):
    """Why a test that passed without uzswap has not passed under it; None if it has."""
    if name not in managed.tests:
        return MISSED
    if not managed.tests[name]:
        return managed.whys.get(name, "failed")
    if native.sames.get(name) != managed.sames.get(name):
        return DIFFERS
    return None


class Result:
    """Of one program: failed, excepted, unsteady (test name: why), the row of the table; or skipped (why)."""

    def __init__(self, program, skipped=None):
        self.program, self.skipped = program, skipped
        self.native = self.managed = None
        self.failed, self.excepted, self.unsteady, self.passed = {}, {}, {}, []

    def compare(self, native, managed, budget):
        self.native, self.managed, self.budget = native, managed, budget
        for name, passed in native.tests.items():
            if not passed:
                continue
            why = complaint(native, managed, name)
            if why is None:
                self.passed.append(name)
            elif reason := self.exception(name):
                self.excepted[name] = reason
            else:
                self.failed[name] = why
        if not native.tests or not any(native.tests.values()):
            self.failed["without uzswap"] = "nothing passes: " + "; ".join(native.whys.values())
        if native.ended_for:
            self.failed["without uzswap"] = native.ended_for
        if self.program.keeps_budget and managed.peak_in_budget > budget * self.program.passes_budget:
            self.failed["within its budget"] = f"{managed.peak_in_budget / MIB:.0f} MiB of {budget / MIB:.0f} MiB"
        if self.program.pressed and not managed.evicted:
            self.failed["under pressure"] = NO_PAGES

    def failed_tests(self):
        return [name for name in self.failed if name in self.native.tests]

    def set_aside(self, again):
        """What a second run without uzswap says: a test that fails there says nothing about uzswap."""
        for name in self.failed_tests():
            if not again.tests.get(name):
                why = again.whys.get(name, "failed" if name in again.tests else "not run")
            elif again.sames.get(name) != self.native.sames.get(name):
                why = "not the same as the first time"
            else:
                continue
            self.unsteady[name] = f"the second time: {why}; under uzswap: {self.failed.pop(name)}"

    def exception(self, name):
        return next((why for pattern, why in self.program.exceptions.items() if fnmatch.fnmatchcase(name, pattern)), None)

    def row(self):
        native, managed = self.native, self.managed
        passed = sum(native.tests.values())
        count = f"{len(self.passed)}" + "".join(f" + {len(others)} {word}" for word, others in
                                                [("excepted", self.excepted), ("unsteady", self.unsteady)] if others)
        ratio = f"{managed.seconds / max(native.seconds, 0.01):.1f}" if self.program.timed else "-"
        return [self.program.name, len(native.tests), passed, count, f"{native.peak / MIB:.0f} MiB",
                f"{100 * self.budget / max(native.peak, 1):.0f} %", f"{managed.peak / MIB:.0f} MiB",
                f"{managed.evicted:,}", ratio]


HEADER = ["program", "tests run natively", "passed natively", "passed under uzswap", "native peak", "budget",
          "peak of the tree", "pages out", "time ratio"]


def print_table(results):
    rows = [HEADER, *([str(cell) for cell in r.row()] for r in results if r.managed)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.rjust(width) if i else cell.ljust(width)
                                for i, (cell, width) in enumerate(zip(row, widths))) + " |")
        if number == 0:
            print("| " + " | ".join("-" * (width - 1) + (":" if i else "-") for i, width in enumerate(widths)) + " |")


def print_details(results, logs):
    for result in results:
        name = result.program.name
        for why in sorted(set(result.excepted.values())):
            names = [test for test, reason in result.excepted.items() if reason == why]
            print(f"excepted: {name}: {', '.join(names)}: {why}")
        if result.native:
            for test in sorted(test for test, passed in result.native.tests.items() if not passed):
                print(f"fails without uzswap: {name}: {test}: {result.native.whys.get(test, '')}")
        for test, why in result.unsteady.items():
            print(f"unsteady without uzswap: {name}: {test}: {why}")
        if result.skipped:
            print(f"skipped: {name}: {result.skipped}")
        print_failures(name, result.failed, logs)


def print_failures(name, failed, logs):
    for test, why in list(failed.items())[:FAILURES_SHOWN]:
        print(f"FAILED: {name}: {test}: {why}")
    if len(failed) > FAILURES_SHOWN:
        print(f"FAILED: {name}: {len(failed) - FAILURES_SHOWN} more")
    if failed:
        print(f"        details in {logs / name}, all failures in its file `failed`")
        (logs / name / "failed").write_text("".join(f"{test}: {why}\n" for test, why in failed.items()), encoding="utf-8")


def print_tap(results):
    """For meson: each test of each program is one line."""
    number = 0

    def line(ok, text):
        nonlocal number
        number += 1
        print(f"{'ok' if ok else 'not ok'} {number} - {text}")

    for result in results:
        name = result.program.name
        if result.skipped:
            line(True, f"{name} # SKIP {result.skipped}")
        for test in result.passed:
            line(True, f"{name}: {test}")
        for test, why in result.excepted.items():
            line(True, f"{name}: {test} # SKIP excepted: {why}")
        for test, why in result.unsteady.items():
            line(True, f"{name}: {test} # SKIP fails without uzswap, too: {why}")
        for test, why in result.failed.items():
            line(False, f"{name}: {test}: {why}")
    print(f"1..{number}")
