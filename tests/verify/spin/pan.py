# SPDX-License-Identifier: MIT
"""Builds Spin's checker (pan) from the model, runs it, and reads what it says."""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
MODEL = ["lifecycle.pml", "world.pml", "verbs.pml", "record.h"]
MEMORY_MIB = 2048
# Failed assertions are not to be reached: nor is what says so, nor the end of an actor without end.
NOT_TO_BE_REACHED = re.compile(r'assert\(0\)|r_guarantee = \d| broken\(r_guarantee')

Result = collections.namedtuple("Result", "states transitions depth seconds error found unreached table")


class Missing(Exception):
    pass


def compiler():
    return (os.environ.get("CC") or "cc").split()


def require_tools():
    if not shutil.which("spin"):
        raise Missing("spin is not installed: apt-get install spin")
    if not shutil.which(compiler()[0]):
        raise Missing(f"no C compiler {compiler()[0]}: apt-get install gcc")


def run(command, folder, seconds=600, **environment):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=seconds, env={**os.environ, **environment})


def build(folder, defines=(), liveness=False, optimize="-O2"):
    """The path of a pan built in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODEL:
        shutil.copy(HERE / name, folder)
    mode = ["-DLIVENESS"] if liveness else []
    done = run(["spin", "-a", *(f"-D{d}" for d in defines), *mode, "lifecycle.pml"], folder)
    if done.returncode or not (folder / "pan.c").exists():
        raise SystemExit(f"spin: the model does not compile:\n{done.stdout}")
    flags = [optimize, "-w", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}", *([] if liveness else ["-DSAFETY"])]
    done = run([*compiler(), *flags, "-I.", "-o", "pan", "pan.c"], folder)
    if done.returncode:
        raise SystemExit(f"spin: pan does not compile:\n{done.stdout}")
    return folder / "pan"


def broken(output):
    """Which guarantee, and what of it; None if there is no error."""
    said = re.search(r"^broken: (G\d) (.*)$", output, re.MULTILINE)
    if said:
        return said[1], said[2]
    if "acceptance cycle" in output:
        return "G5", "some verb does not end"
    if "invalid end state" in output and re.search(r"^pan:\d+: invalid end state", output, re.MULTILINE):
        return "G5", "nobody can go on"
    return None


def check(pan, verbs, liveness=False, hash_bits=20, depth=4000000, **settings):
    """Runs pan on one configuration; settings as record.h has them, in small letters."""
    environment = {f"SPIN_{k.upper()}": str(v) for k, v in settings.items()}
    flags = [*(["-a", "-f"] if liveness else []), f"-m{depth}"]
    start = time.monotonic()
    done = run([str(pan), *flags, f"-w{hash_bits}"], pan.parent, SPIN_VERBS=verbs, **environment)
    seconds = time.monotonic() - start
    text = done.stdout
    numbers = re.search(r"depth reached (\d+), errors: (\d+)\n\s*([\d.e+]+) states, stored.*?([\d.e+]+) transitions", text, re.DOTALL)
    if not numbers:
        return Result(0, 0, 0, seconds, f"pan ended with status {done.returncode}: {text[-300:]}", None, set(), set())
    found = broken(text)
    error = None
    if found:
        error = f"{found[0]} is broken: {found[1]}"
    elif numbers[2] != "0":
        error = "errors: " + " ".join(re.findall(r"^pan:.*$", text, re.MULTILINE))
    else:
        for bad in ("max search depth too small", "MEMLIM bound", "out of memory", "Search not completed"):
            if bad in text:
                error = f"the search was not complete: {bad}"
        if not re.search("^Full statespace search", text, re.MULTILINE):
            error = "the search was not of the full state space"
    unreached = set()
    for block in re.finditer(r"^unreached in (proctype|init) ?(\w*)\n((?:\t.*\n)*)", text, re.MULTILINE):
        for line in re.finditer(r'^\t(\S+):(\d+), state (\d+), "(.*)"$', block[3], re.MULTILINE):
            if not NOT_TO_BE_REACHED.search(line[4]) and line[4] != "-end-":
                unreached.add((block[2] or "init", int(line[3]), line[1], int(line[2]), line[4]))
    table = set(re.findall(r"^transition: (.*)$", text, re.MULTILINE))
    return Result(int(float(numbers[3])), int(float(numbers[4])), int(numbers[1]), seconds, error, found, unreached, table)
