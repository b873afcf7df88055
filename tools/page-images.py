#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Page images: the memory of running programs as files of 4096-byte pages, for tests and measurements.

  page-images.py take --pid PID FILE          of a process that runs (resident private memory that is no file's)
  page-images.py make [NAME...] --folder F    starts programs in a clean environment, fills them, takes NAME.pages
  page-images.py check FILE...                is there anything of this machine, or a secret, in an image?

Pages with anything of this machine, or with what looks like a secret, are left out; how many is said.
"""
import argparse
import contextlib
import os
import pathlib
import re
import sys
import time

from page_images import capture, privacy, workloads

sys.path.append(str(workloads.ROOT / "bench"))
import command_line
import interruption

NAME = "page-images"


def read_pages(path):
    data = path.read_bytes()
    if not data or len(data) % capture.PAGE:
        sys.exit(f"{NAME}: {path} has {len(data)} bytes, which are no pages")
    return [data[at:at + capture.PAGE] for at in range(0, len(data), capture.PAGE)]


@contextlib.contextmanager
def finished_whole(path):
    """A file that appears under its name when all of it is written. It holds a program's memory: no other user may read it."""
    if path.exists() and not path.is_file():
        sys.exit(f"{NAME}: {path}: not a regular file")
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def save(path, pids, options):
    pages, resident, refused = capture.take(pids, options.pages, options.seed, privacy.Rules(options.refuse))
    if not pages:
        raise capture.CaptureError("no page was taken")
    with finished_whole(path) as file:
        file.writelines(pages)
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    print(f"{path.name}: {len(pages):,} pages of {resident:,}" + (f"; left out: {left_out}" if left_out else ""), flush=True)


def take(options):
    try:
        save(options.file, capture.tree(options.pid) if options.tree else [options.pid], options)
    except capture.CaptureError as error:
        sys.exit(f"{NAME}: {error}")


def make(options):
    command_line.make_folder(options.folder)
    taken = 0
    if options.pages is None:
        options.pages = options.mib * workloads.MIB // capture.PAGE
    for name in options.names or workloads.WORKLOADS:
        start = time.monotonic()
        try:
            with workloads.running(name, options.mib) as pids:
                save(options.folder / f"{name}.pages", pids, options)
        except (workloads.Unavailable, capture.CaptureError) as reason:
            print(f"{name}: skipped: {reason}", flush=True)
        else:
            taken += 1
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return 0 if taken else f"{NAME}: no image was taken"


def check(options):
    rules, bad = privacy.Rules(options.refuse), 0
    for path in options.files:
        for number, page in enumerate(read_pages(path)):
            found = rules.match(page)
            if found:
                bad += 1
                print(f"{path.name}: page {number}: {found[0]}: {found[1][:60]!r}")
    return 1 if bad else 0


def pattern(text):
    try:
        re.compile(text.encode())
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from error
    return text


def workload(name):
    if name not in workloads.WORKLOADS:
        raise argparse.ArgumentTypeError(f"no program is called {name}")
    return name


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (take, make, check):
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        command.add_argument("--refuse", action="append", default=[], metavar="REGEX", type=pattern, help="leave pages with this out too")
        if function is check:
            command.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
            continue
        command.add_argument("--pages", type=command_line.positive, metavar="N",
                             help="so many pages, at random (take: default all; make: MIB)")
        command.add_argument("--seed", type=int, default=1)
        if function is take:
            command.add_argument("--pid", type=command_line.positive, required=True)
            command.add_argument("--tree", action="store_true", help="and of its children")
            command.add_argument("file", type=pathlib.Path, metavar="FILE")
        else:
            command.add_argument("names", nargs="*", type=workload, metavar="NAME",
                                 help=f"of {', '.join(workloads.WORKLOADS)} (default all)")
            command.add_argument("--folder", type=pathlib.Path, required=True)
            command.add_argument("--mib", type=command_line.positive, default=128,
                                 help="memory that each program is filled to (default 128)")
    return parser.parse_args()


def main():
    interruption.leave_by_exception(NAME)
    options = arguments()
    with command_line.errors_of_one_line(NAME):
        return options.function(options)


if __name__ == "__main__":
    sys.exit(main())
