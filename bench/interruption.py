# SPDX-License-Identifier: MIT
"""Leaving by an exception when interrupted, so that what was switched on in the kernel is switched off again."""
import signal
import sys

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(*_):
    """Undisturbed by a second signal."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit("bench: interrupted")


def leave_by_exception():
    for number in INTERRUPTIONS:
        signal.signal(number, interrupted)
