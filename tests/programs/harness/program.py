# SPDX-License-Identifier: MIT
"""A program that nobody here wrote, and how it is tested. To add one:

Put a class that is made of Program into a new file of tests/programs/ (any name; several classes a file are fine):

    class Sort(Program):
        name = "sort"                           # what --only and the table call it
        packages = ["coreutils"]                # Debian packages; installed if they are missing
        share = 0.25                            # the budget, as a share of the program's peak without uzswap

        def prepare(self, place):               # once, not measured: input, sources, builds
            place.write("lines", make_lines())

        def run(self, run):                     # twice: without uzswap, then under `uzswap run`
            done = run.program(["sort", "-S", "500M", run.prepared / "lines"])
            run.test("ends well", done.status == 0)
            run.same("sorted lines", done.output)

check.py does the rest: run.program() puts `uzswap run --memory ...` before the command the second time, and only then. What
`run` calls passed without uzswap (run.test) has to pass under it, what was produced without it (run.same) has to be
the same, byte for byte; and it has to leave no process and no file in $TMPDIR behind, if it left none without. So a test suite
that fails here and there by itself needs no list of its failures. Both runs have the same environment, and the same folder
(run.folder, empty at the start) is their working directory. If a test fails under uzswap, a second run without it tells
whether it is steady at all; the table says which are not.

- Everything whose memory is limited is started by run.program() or, in the background, by run.start(); clients and tools
  beside it, which are native both times, by run.helper().
- What refuses to be root is started as run.as_nobody(argv).
- A command runs with the budget of its whole program: `share` of the highest memory of all that run.program() and run.start()
  started natively (or `budget`, in MiB, where a share makes no sense), and never less than `least`.
- When the time of a run (`seconds`; under uzswap 25 times what it took without, if that is more) is over all is killed:
  run.program() returns what there is by then, and whatever is called next raises OutOfTime. A program that waits by itself
  uses run.wait_until(). Sockets need timeouts of their own.
- Tests that cannot pass with memory that is managed go to `exceptions`, with the reason. The table shows them.
- A program of which a quick form makes sense says `small = True`, and looks at run.small (place.small): that form runs in
  `make check`, so all of these together take a minute, and their packages are in tools/packages.txt.
- prepare() may raise Missing("why") if what it needs cannot be had: the table says so.
"""

MIB = 1 << 20


class Missing(Exception):
    """Why a program cannot be tested here."""


class OutOfTime(Exception):
    """The time of a run is over; all that it started has been killed."""


class Program:
    name = ""  # what --only and the table call it
    packages = []  # Debian packages
    source = ""  # a Debian source package: prepare() finds it unpacked at place.source
    share = 0.25  # budget / native peak
    budget = 0  # MiB, instead of a share
    least = 16  # MiB: a budget is not made smaller than this
    seconds = 300  # the time of each run, at least
    small = False  # has a form for `make check`
    timed = True  # False: its time is given, not needed, so that a ratio of times says nothing
    pressed = True  # False: it is too small for pages to leave it, and is tested for other things
    passes_budget = 1.02  # times its budget, at most
    keeps_budget = True  # False: it locks memory, or pins it otherwise, so that the budget may be passed
    environment = {}  # variables of both runs
    exceptions = {}  # test name (a pattern of fnmatch): why it cannot pass under uzswap

    def budget_of(self, peak, share=None):
        """Bytes, for a native peak of so many; `share` in place of the program's own."""
        if self.budget and not share:
            return self.budget * MIB
        return max(int(peak * (share or self.share)), self.least * MIB) // MIB * MIB

    def prepare(self, place):
        """What both runs need, in place.folder. What takes long goes through place.keep()."""

    def run(self, run):
        """One run: starts the program through `run`, and reports through run.test() and run.same()."""
        raise NotImplementedError
