# SPDX-License-Identifier: MIT
"""Do the model and the C code agree? By name, function for function; and by what each does to a word."""
import pathlib
import re

import pan

ROOT = pan.HERE.parents[2]
HEADER, SOURCE = ROOT / "src/zswap/lifecycle.h", ROOT / "src/zswap/lifecycle.c"
# The model's table is an array by object: nothing is hashed.
NOT_IN_MODEL = {"bucket_of"}


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def functions_of(header, source):
    """What the header declares and the source defines static."""
    declared = re.findall(r"^[a-z]\w*[\s*]+(?:\w+[\s*]+)*?(lifecycle_\w+)\(", without_comments(header), re.MULTILINE)
    static = re.findall(r"^static [\w\s*]*?(\w+)\(", without_comments(source), re.MULTILINE)
    return set(declared), set(static)


def tags_of(model):
    return {name for tag in re.findall(r"/\* C: ([^*]*?) \*/", model) for name in re.findall(r"\b\w+\b", tag.split(",  ")[0])
            if "_" in name}


def differences_of_names(header, source, model):
    """One line for each function that the one side has and the other has not."""
    declared, static = functions_of(header, source)
    tags = tags_of(model)
    if not declared or not static:
        return ["no function found in lifecycle.h or lifecycle.c"]
    wanted = (declared | static) - NOT_IN_MODEL
    head = model[:model.index("*/\n#ifndef")]
    lines = [f"{name} of C is not in the model" for name in sorted(wanted - tags)]
    lines += [f"{name} of the model is not in C" for name in sorted(tags - wanted)]
    lines += [f"{name} is not in the model's table of functions" for name in sorted(declared | static)
              if not re.search(rf"\b{name}\b", head)]
    return lines


def read_sources():
    model = "".join((pan.HERE / name).read_text() for name in pan.MODEL if name.endswith(".pml"))
    return HEADER.read_text(), SOURCE.read_text(), model


def c_transitions(folder, change=None):
    """(set of transitions, calls, error). `change`: (old, new) text, put into a copy of lifecycle.c first."""
    (folder / "zswap").mkdir(parents=True, exist_ok=True)
    text = SOURCE.read_text()
    if change:
        if text.count(change[0]) != 1:
            return set(), 0, f"lifecycle.c does not have just one {change[0]!r}"
        text = text.replace(*change)
    (folder / "zswap/lifecycle.c").write_text(text)
    program = folder / "transitions"
    done = pan.run([*pan.compiler(), "-std=gnu11", "-D_GNU_SOURCE", "-DENTRY_HOLDERS_BITS=2", "-O1", "-Wall", "-Wextra",
                    f"-I{folder}", f"-I{ROOT}", f"-I{ROOT / 'src'}", "-o", str(program), str(pan.HERE / "transitions.c")],
                   folder)
    if done.returncode:
        return set(), 0, f"transitions.c does not compile: {done.stdout[-2000:]}"
    done = pan.run([str(program)], folder, seconds=60)
    if done.returncode:
        return set(), 0, " ".join(re.findall(r"^error: (.*)$", done.stdout, re.MULTILINE)) or f"status {done.returncode}"
    calls = re.search(r"^calls: (\d+)$", done.stdout, re.MULTILINE)
    return set(re.findall(r"^transition: (.*)$", done.stdout, re.MULTILINE)), int(calls[1]), None


def differences(c, model):
    return [f"only in C: {line}" for line in sorted(c - model)] + [f"only in the model: {line}" for line in sorted(model - c)]
