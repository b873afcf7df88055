#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the lifecycle's model with Spin, and that the model and the C code agree.

Each configuration is one exhaustive search (no bit states, no hash compaction): who does which verbs, from every first entry
(none, in the pool with and without REF, FILLED, on the device). Also checked: nothing of the model is unreached, so no
search looks at nothing. With --mutants: are the faults planted in the model, and in the C code, found?

    --short     any two verbs, once each (seconds)
    (nothing)   each pair, each triple, two keys, two actors without end, three with two verbs each; G5 as LTL
"""
import argparse
import collections
import concurrent.futures
import itertools
import json
import pathlib
import sys
import tempfile
import time

import c_map
import pan

VERBS = dict(zip("12345678", ["store", "load", "exclusive", "invalidate", "writeback", "move", "fault", "freeze"]))

# model: safety, liveness, keys
Config = collections.namedtuple("Config", "name model verbs settings")
Mutant = collections.namedtuple("Mutant", "fault verbs liveness guarantees what settings", defaults=[{}])


def named(verbs):
    return "+".join(VERBS[v] for v in verbs)


ANY_TWO = [
    Config("any two", "safety", "00", {}),
    Config("any two, the first entry held", "safety", "00", {"phantoms": 1}),
    Config("any two, one load a word at most", "safety", "00", {"holders": 1}),
    Config("any two, each ends", "liveness", "00", {}),
    Config("any two, one load a word at most, each ends", "liveness", "00", {"holders": 1, "loads": 0}),
]


def long_configs():
    yield Config("two actors, any verbs, without end", "safety", "00", {"rounds": 0, "hash_bits": 24})
    yield Config("three actors, two verbs each, loads and writebacks", "safety", "000",
                 {"rounds": 2, "any": "25", "hash_bits": 23})
    for pair in itertools.combinations_with_replacement(sorted(VERBS), 2):
        verbs = "".join(sorted([*pair, "5"]))
        yield Config(f"{named(verbs)}, each ends", "liveness", verbs, {})
    yield Config("any two, two keys", "keys", "00", {"hash_bits": 22})
    yield from ANY_TWO
    for n in (3, 2):
        for verbs in itertools.combinations_with_replacement(sorted(VERBS), n):
            yield Config(named(verbs), "safety", "".join(verbs), {})


BUILDS = {
    "safety": {},
    "liveness": {"liveness": True},
    "keys": {"defines": ["KEYS=2", "POOL_OBJECTS=4"]},
}
# Statements that the short set does not reach, by text: another verb after the first, a pool that is full.
NOT_IN_SHORT = {"verb = 0", "next = 0"}

MUTANTS = [
    Mutant("PUBLISH_EARLY", "12", False, "G7", "a store publishes its object before it is filled"),
    Mutant("FINISH_BLIND", "15", False, "G3", "finish_writeback does not compare the content"),
    Mutant("FAILED_STORE_KEEPS", "12", False, "G3", "a failed store leaves the older entry"),
    Mutant("ERROR_IGNORED", "25", False, "G3", "a write error is taken for a success"),
    Mutant("BIRTH_UNLOCKED", "12", False, "G2", "an orphan is born after the swap, outside the lock"),
    Mutant("ORPHAN_LEAKS", "45", False, "G2", "the last holder of an orphan does not free it (the leak of 2013)"),
    Mutant("UNHOLD_BLIND", "24", False, "G2 G7", "unhold frees what it finds gone, without looking at the orphan"),
    Mutant("DEVICE_SLOT_LEAKS", "45", False, "G2", "a writeback that came too late keeps its device slot"),
    Mutant("COPY_LEAKS", "46", False, "G2", "a move that came too late keeps its copy"),
    Mutant("REMOVE_FILLED_BLIND", "13", False, "G2", "remove_filled does not compare the word"),
    Mutant("FREED_THOUGH_HELD", "12", False, "G2 G7", "replace frees at once what others hold"),
    Mutant("WB_NOT_COUNTED", "15", False, "G7", "a writeback does not count as a holder"),
    Mutant("READ_UNHELD", "12", False, "G1", "a load reads after it has let go"),
    Mutant("SLOT_KEPT", "45", False, "G4", "the swap cache's slot is not released when the entry is gone"),
    Mutant("EXIST_GOES_ON", "57", False, "G4", "a writeback goes on after the answer EXIST"),
    Mutant("BEGIN_TWICE", "00", False, "G4", "begin_writeback does not look at WB", {"rounds": 0, "any": "57"}),
    Mutant("ABORT_KEEPS_WB", "25", False, "G8", "abort_writeback leaves WB set"),
    Mutant("REPLACE_WAITS", "45", True, "G5", "invalidate and store wait while WB is set"),
]

# For the comparison with C: texts of lifecycle.c and what to put there; and a fault of the model that no assertion sees.
C_CHANGES = [
    ("seen & ~ENTRY_WB", "seen & ~(ENTRY_WB | ENTRY_REF)", "abort_writeback clears REF too"),
    ("holders_of(seen) - 1)", "holders_of(seen))", "swap_held counts its own hold"),
    ("entry_holders(word) + !!(word & ENTRY_WB)", "entry_holders(word)", "holders_of forgets the writeback"),
    ("second_chance ? 0 : next", "next", "begin_writeback says held when it took REF only"),
]
MODEL_FAULT = "HOLD_MARKS_NOTHING"


class Report:
    """Prints a line a result, as TAP if wanted, and counts."""
    def __init__(self, tap):
        self.tap, self.count, self.bad, self.results = tap, 0, 0, []

    def line(self, good, text, notes=(), **data):
        self.count += 1
        self.bad += not good
        mark = "ok" if good else "not ok"
        print(f"{mark} {self.count} - spin {text}" if self.tap else f"{text}{'' if good else '    <-- FAILED'}")
        for note in notes:
            print(f"# {note}" if self.tap else f"    {note}")
        sys.stdout.flush()
        self.results.append({"test": text, "ok": good, "notes": list(notes), **data})


def build_models(folder, models, short):
    """pan of each model, built side by side."""
    optimize = "-O0" if short else "-O2"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = {m: pool.submit(pan.build, folder / m, optimize=optimize, **BUILDS[m]) for m in models}
        return {m: f.result() for m, f in futures.items()}


def check_configs(report, folder, configs, short):
    """Runs all; {model: results}."""
    programs = build_models(folder, list(dict.fromkeys(c.model for c in configs)), short)
    results = collections.defaultdict(list)

    def one(config):
        return pan.check(programs[config.model], config.verbs, config.model == "liveness", **config.settings)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for config, r in zip(configs, pool.map(one, configs)):
            numbers = f"{r.states:,} states, {r.transitions:,} transitions, depth {r.depth:,}, {r.seconds:.1f} s"
            report.line(not r.error, f"{config.name}: {numbers}", [r.error] if r.error else (), states=r.states,
                        transitions=r.transitions, depth=r.depth, seconds=r.seconds)
            results[config.model].append((config, r))
    return results


def check_reached(report, results, short):
    """Every statement is reached by one of the runs at least."""
    left = set.intersection(*(r.unreached for _, r in results["safety"]))
    left = {u for u in left if not short or u[4] not in NOT_IN_SHORT}
    lines = [f"{file}:{line}: {text} ({process})" for process, _, file, line, text in sorted(left, key=str)]
    report.line(not left, "every statement of the model is reached", lines)


def check_map(report, folder, results):
    report.line(*first_lines(c_map.differences_of_names(*c_map.read_sources()), "each function of C has its step in the model, "
                             "and each step its function"))
    c, calls, error = c_map.c_transitions(folder / "c")
    if error:
        report.line(False, "the transitions of C", [error])
        return
    model = set().union(*(r.table for config, r in results["safety"] if config.settings.get("phantoms")))
    report.line(*first_lines(c_map.differences(c, model),
                             f"the model's words and those of C make the same {len(c)} transitions ({calls:,} calls of C)"))
    others = set().union(*(r.table for runs in results.values() for _, r in runs))
    report.line(*first_lines(sorted(others - c), f"no run of the model makes another ({len(others)} made)"))


def first_lines(wrong, text):
    return not wrong, text, wrong[:20]


def check_mutants(report, folder):
    def one(mutant):
        program = pan.build(folder / mutant.fault, [f"FAULT_{mutant.fault}"], mutant.liveness, "-O0")
        return pan.check(program, mutant.verbs, mutant.liveness, **mutant.settings)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for mutant, r in zip(MUTANTS, pool.map(one, MUTANTS)):
            good = bool(r.found) and r.found[0] in mutant.guarantees.split()
            report.line(good, f"fault {mutant.fault} ({mutant.what}) in {named(mutant.settings.get('any', mutant.verbs))}: "
                        f"{r.error or 'NOT FOUND'}", states=r.states, found=r.found)
    check_map_mutants(report, folder)


def check_map_mutants(report, folder):
    program = pan.build(folder / MODEL_FAULT, [f"FAULT_{MODEL_FAULT}"], False, "-O0")
    wrong = pan.check(program, "00", phantoms=1)
    right = pan.check(pan.build(folder / "none", [], False, "-O0"), "00", phantoms=1)
    c, _, error = c_map.c_transitions(folder / "c")
    report.line(bool(pan.check(program, "22").unreached), "a search that leaves statements unreached is seen")
    shallow = pan.check(program, "11", depth=50)
    report.line("not complete" in (shallow.error or ""), f"a search that is not complete is seen: {shallow.error}")
    same = not error and not right.error and c == right.table
    report.line(same, "without a fault the model and C agree", [error] if error else ())
    found = c_map.differences(c, wrong.table)
    report.line(bool(found) and not wrong.error, f"fault {MODEL_FAULT} in the model: {len(found)} transitions differ", found[:2])
    for i, (old, new, what) in enumerate(C_CHANGES):
        changed, _, error = c_map.c_transitions(folder / f"c{i}", (old, new))
        found = [error] if error else c_map.differences(changed, right.table)
        report.line(bool(found) and not (error and ("compile" in error or "just one" in error)), f"fault in C ({what}): "
                    f"{'stopped by the driver' if error else f'{len(found)} transitions differ'}", found[:2])
    header, source, model = c_map.read_sources()
    more = header.replace("void lifecycle_destroy(", "void lifecycle_new(void);\nvoid lifecycle_destroy(")
    report.line(bool(c_map.differences_of_names(more, source, model)), "a function that only C has is seen")
    less = model.replace("/* C: orphan_add */", "/* C: orphan_sum */")
    report.line(len(c_map.differences_of_names(header, source, less)) == 2, "a function that only the model has is seen")


def work(options, report, folder):
    pan.require_tools()
    if options.mutants:
        check_mutants(report, folder)
        return
    configs = ANY_TWO if options.short else list(long_configs())
    results = check_configs(report, folder, configs, options.short)
    check_reached(report, results, options.short)
    check_map(report, folder, results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--mutants", action="store_true", help="only the planted faults: each must be found")
    parser.add_argument("--build", type=pathlib.Path, help="build here, and leave what was built")
    parser.add_argument("--json", type=pathlib.Path, help="write all results to this file")
    parser.add_argument("--tap", action="store_true")
    options = parser.parse_args()
    report, start = Report(options.tap), time.monotonic()
    try:
        if options.build:
            work(options, report, options.build.resolve() / "spin-model")
        else:
            with tempfile.TemporaryDirectory(prefix="uzswap-spin-") as folder:
                work(options, report, pathlib.Path(folder))
    except pan.Missing as missing:
        report.line(False, str(missing))
    seconds = time.monotonic() - start
    states = sum(r.get("states", 0) for r in report.results)
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "states": states, "results": report.results}, indent=1))
    if options.tap:
        print(f"1..{report.count}")
    else:
        print(f"total: {states:,} states, {seconds:.0f} s; {report.count - report.bad} right, {report.bad} wrong")
    return 1 if report.bad or not report.count else 0


if __name__ == "__main__":
    sys.exit(main())
