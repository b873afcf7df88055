# SPDX-License-Identifier: MIT
"""Leaving by an exception when interrupted, so that what was switched on in the kernel is switched off again, and what was
started is ended."""
import signal
import sys

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_by_exception(name):
    """Once: what is put back is undisturbed by a second signal. nohup is respected."""
    def interrupted(*_):
        for number in INTERRUPTIONS:
            signal.signal(number, signal.SIG_IGN)
        sys.exit(f"{name}: interrupted")

    for number in INTERRUPTIONS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupted)
