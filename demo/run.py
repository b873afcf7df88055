#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make demo: sqlite3 builds a full-text search engine, in memory, over the text that lies on this machine.

Debian's sqlite3, unchanged, reads headers, Python and Perl modules, package lists and documentation into an in-memory
database, indexes every word, merges the index, answers searches, and ends with a SHA3 sum over all it holds. It is run
twice: without uzswap, which tells how much memory it needs, and under `uzswap run` with a quarter of that. What it
prints must be the same, byte for byte.
"""
import argparse
import filecmp
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
WIDTH = 60
FOLDERS = ["/usr/include", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/share/perl", "/usr/share/perl5",
           "/var/lib/dpkg/info", "/usr/share/doc", "/usr/share/common-licenses", "/usr/share/vim"]
ENDINGS = ["h", "hpp", "c", "py", "pm", "pl", "pod", "list", "md5sums", "templates", "copyright", "txt", "md",
           "html", "vim"]
TEXT_MAX = 220 * MIB
SHRINK = 4

SQL = """
CREATE VIRTUAL TABLE texts USING fts5(name UNINDEXED, body);
BEGIN;
{inserts}
COMMIT;
SELECT count(*) || ' files, ' || sum(length(body)) || ' characters' FROM texts;
INSERT INTO texts(texts) VALUES('optimize');
.print
.print Where do locks meet condition variables?
SELECT '  ' || name FROM texts WHERE texts MATCH 'NEAR(mutex condition, 8)' ORDER BY rank, name LIMIT 5;
.print Who speaks of pages, swap and compression?
SELECT '  ' || name FROM texts WHERE texts MATCH 'page* AND swap* AND compress*' ORDER BY rank, name LIMIT 5;
.print The words in most files:
CREATE VIRTUAL TABLE words USING fts5vocab(texts, row);
SELECT '  ' || term || ' ' || doc || ' files, ' || cnt || ' times' FROM words ORDER BY doc DESC, term LIMIT 5;
SELECT count(*) || ' different words' FROM words;
.print The sum of it all:
.sha3sum
"""


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def list_texts():
    """Plain files with a text's name, up to TEXT_MAX bytes in all, in an order that both runs share."""
    chosen, total = [], 0
    for folder in FOLDERS:
        for where, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(where, name)
                if name.rsplit(".", 1)[-1] in ENDINGS and os.path.isfile(path) and not os.path.islink(path):
                    size = os.path.getsize(path)
                    if total + size > TEXT_MAX:
                        return chosen, total
                    chosen.append(path)
                    total += size
    return chosen, total


def program(texts):
    inserts = "\n".join(f"INSERT INTO texts SELECT {quoted(path)}, cast(readfile({quoted(path)}) AS text);"
                        for path in texts)
    return SQL.format(inserts=inserts)


def run(command, script, output, sample=None):
    """Seconds, and the highest resident size of the program as the kernel counts it, in bytes."""
    start = time.monotonic()
    with open(script, "rb") as stdin, open(output, "wb") as stdout:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout)
        if sample:
            sample(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"demo: {command[0]} failed (wait status {status})")
    return time.monotonic() - start, usage.ru_maxrss * 1024


class Sampler:
    """Asks `uzswap stat` a few times a second, and keeps the answer with the most pages out of the program."""

    def __init__(self, uzswap):
        self.uzswap, self.fullest, self.done = uzswap, {}, threading.Event()

    def __call__(self, pid):
        self.thread = threading.Thread(target=self.watch, args=(pid,))
        self.thread.start()

    def watch(self, pid):
        while not self.done.wait(0.25):
            answer = subprocess.run([self.uzswap, "stat", str(pid)], capture_output=True, text=True, check=False)
            pairs = [line.split() for line in answer.stdout.splitlines()]
            now = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
            if out_pages(now) >= out_pages(self.fullest):
                self.fullest = now

    def stop(self):
        self.done.set()
        self.thread.join()
        return self.fullest


def out_pages(figures):
    return figures.get("stored_pages", 0) + figures.get("device_pages", 0)


def bar(label, value, whole, text, fill="█"):
    cells = max(1, round(WIDTH * value / whole))
    print(f"  {label:<9} {fill * cells}{' ' * (WIDTH - cells)} {text}")


def mib(value):
    return f"{value / MIB:,.0f} MiB"


def print_result(native, managed, budget, stats, fullest):
    print(f"\n  {'':<34}{'without':>12}{'uzswap':>12}")
    print(f"  {'memory the kernel saw at most':<34}{mib(native[1]):>12}{mib(managed[1]):>12}")
    print(f"  {'budget':<34}{'-':>12}{mib(budget):>12}")
    print(f"  {'highest use of the budget':<34}{'-':>12}{mib(stats['peak_bytes']):>12}")
    print(f"  {'seconds':<34}{native[0]:>12.1f}{managed[0]:>12.1f}")
    print(f"  {'faults served':<34}{'-':>12}{stats['faults']:>12,}")
    print("\n  when most pages were out of the program:")
    objects = fullest.get("stored_pages", 0) - fullest.get("same_filled_pages", 0)
    ratio = objects * 4096 / max(1, fullest.get("pool_payload", 0))
    print(f"  {'pages in RAM, compressed':<34}{'':>12}{fullest.get('stored_pages', 0):>12,}"
          f"   {ratio:.1f} : 1, in {mib(fullest.get('pool_total_size', 0))}")
    print(f"  {'pages on disk':<34}{'':>12}{fullest.get('device_pages', 0):>12,}"
          f"   in {mib(fullest.get('device_bytes', 0))}")
    print()
    bar("without", native[1], native[1], mib(native[1]))
    bar("budget", budget, native[1], mib(budget), "░")
    bar("uzswap", stats["peak_bytes"], native[1], mib(stats["peak_bytes"]))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    options = parser.parse_args()
    uzswap = options.build.resolve() / "uzswap"
    sqlite = "/usr/bin/sqlite3"
    for path in (uzswap, sqlite):
        if not os.access(path, os.X_OK):
            sys.exit(f"demo: {path} is missing; `make demo` builds and installs what is needed")
    texts, total = list_texts()
    print(f"sqlite3 indexes {len(texts):,} files of this machine, {mib(total)} of text, in memory", flush=True)

    with tempfile.TemporaryDirectory(prefix="uzswap-demo-") as folder:
        work = pathlib.Path(folder)
        script, stats = work / "search.sql", work / "stats.json"
        script.write_text(program(texts), encoding="utf-8")
        print("  without uzswap ...", flush=True)
        native = run([sqlite, ":memory:"], script, work / "native")
        budget = native[1] // SHRINK // MIB * MIB
        command = [uzswap, "run", "--quiet", "--memory", f"{budget // MIB}M", "--stats", stats, "--", sqlite, ":memory:"]
        print(f"  uzswap run --memory {budget // MIB}M -- sqlite3 :memory: ...", flush=True)
        sampler = Sampler(uzswap)
        try:
            managed = run(command, script, work / "managed", sampler)
        finally:
            fullest = sampler.stop()
        print()
        print((work / "native").read_text(encoding="utf-8", errors="replace"), end="")
        print_result(native, managed, budget, json.loads(stats.read_text(encoding="utf-8")), fullest)
        if not filecmp.cmp(work / "native", work / "managed", shallow=False):
            print("  The outputs DIFFER.")
            return 1
        print(f"  The outputs are the same, byte for byte; the program had 1/{native[1] / budget:.1f} of its memory.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
