# SPDX-License-Identifier: MIT
"""What is switched on in the kernel for a measurement, and put back as it was."""
import contextlib


class Unavailable(Exception):
    """Why this part of the kernel cannot be measured here."""


def write(path, text):
    try:
        path.write_text(text)
    except OSError as error:
        raise Unavailable(f"cannot write {text!r} to {path}: {error.strerror}") from error


class KernelSwitch:
    """`with` calls switch_on() of the class that is made of this. What that puts on self.undo is done in reverse order at the end,
    also when switching on fails halfway."""

    def __init__(self):
        self.undo = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.switch_on()
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *_):
        self.undo.close()
