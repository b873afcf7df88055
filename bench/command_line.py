# SPDX-License-Identifier: MIT
"""What the Python programs have in common: arguments, errors of one line, and figures that a C program prints as JSON."""
import argparse
import contextlib
import errno
import json
import os
import subprocess
import sys


def positive(text):
    """The type of an argument that counts something."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no positive integer")
    return int(text)


@contextlib.contextmanager
def errors_of_one_line(name):
    """A file that cannot be read or written is no fault of the program: it is named, without a traceback."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{name}: {where}{error.strerror or error}")


def make_folder(path):
    """Before anything is measured, so that it is known early that figures can be kept."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def require(name, program):
    if not program.exists():
        sys.exit(f"{name}: {program} is not there: build first (make)")


def run_json(name, program, *words, **environment):
    """The figures that a program prints, with these variables more in its environment."""
    require(name, program)
    try:
        done = subprocess.run([program, *map(str, words)], check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
        return json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{name}: {program.name} failed (status {error.returncode}): {' '.join(map(str, error.cmd[1:]))}")
    except ValueError as error:
        sys.exit(f"{name}: {program.name} printed no figures: {error}")
