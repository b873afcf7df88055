# SPDX-License-Identifier: MIT
"""The programs there are: every class made of Program in every file beside check.py."""
import importlib.util
import inspect

from harness.program import Program


def load(folder):
    programs = []
    for path in sorted(folder.glob("*.py")):
        if path.name == "check.py":
            continue
        spec = importlib.util.spec_from_file_location(f"programs_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        programs += [found() for _, found in inspect.getmembers(module, inspect.isclass)
                     if issubclass(found, Program) and found.name and found.__module__ == module.__name__]
    names = [program.name for program in programs]
    assert len(set(names)) == len(names), f"a name is given twice: {sorted(names)}"
    return programs
