# SPDX-License-Identifier: MIT
"""One run of a program, without uzswap or under it: what Program.run() is given."""
import collections
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import traceback

from harness import memory, processes
from harness.program import MIB, OutOfTime

DISK_LEFT = 1 << 30  # bytes: a run that leaves less is ended,
DISK_SECONDS = 3  # unless that lasts for moments: others fill the disk, too
ENDS_WITHIN = 3  # seconds that what a program started may outlive it
NOBODY = "nobody", "nogroup"
# Needs a way to userfaultfd (CAP_SYS_PTRACE), and into /proc of `uzswap run`, to its figures.
BECOME_NOBODY = ["setpriv", f"--reuid={NOBODY[0]}", f"--regid={NOBODY[1]}", "--clear-groups",
                 "--inh-caps=+sys_ptrace,+dac_read_search", "--ambient-caps=+sys_ptrace,+dac_read_search"]
ENVIRONMENT = ["PATH", "LANG", "USER", "LOGNAME", "TERM"]

# status: as of subprocess, negative for a signal; output: the bytes of standard output; errors: where standard error is
Done = collections.namedtuple("Done", "status output errors")


class Managed:
    """How a command is run under uzswap. `counting` goes to memory.Watch."""
    counting = {}

    def __init__(self, uzswap, budget):
        self.uzswap, self.budget = uzswap, budget

    def command(self, argv, stats):
        return [str(self.uzswap), "run", "--quiet", "--memory", f"{self.budget // MIB}M", "--swap-size", "4G",
                "--stats", str(stats), "--", *argv]


class Run:
    """
    folder     the working directory; empty at the start; the same path in both runs
    temporary  $TMPDIR
    prepared   what prepare() has made
    small      whether the quick form is wanted
    """

    def __init__(self, program, place, logs, managed=None, small=False, seconds=0):
        self.definition, self.managed, self.small, self.logs = program, managed, small, logs
        self.prepared, self.folder = place.folder, place.folder.parent / "run"
        self.temporary = self.folder.parent / "tmp"
        self.source = place.source
        self.limit = max(program.seconds, seconds)
        self.tests, self.sames, self.whys = {}, {}, {}
        self.own, self.helping, self.started = set(), set(), 0
        self.evicted = self.peak_in_budget = 0
        self.over, self.ended_for = threading.Event(), ""

    # What a program uses.

    def program(self, argv, **options):
        """Runs a command whose memory counts to its end. Options: input (bytes or path), folder, environment."""
        return self._finish(*self._launch(argv, counted=True, **options))

    def start(self, argv, **options):
        """The same in the background: a subprocess.Popen, whose end the caller waits for with run.wait()."""
        return self._launch(argv, counted=True, **options)[0]

    def helper(self, argv, **options):
        """Runs a command that is beside the point to its end: native in both runs, its memory not counted."""
        return self._finish(*self._launch(argv, counted=False, **options))

    def start_helper(self, argv, **options):
        """The same in the background."""
        return self._launch(argv, counted=False, **options)[0]

    def as_nobody(self, argv):
        """The command of a program that refuses root, by a user who may write to the folders: as it is, if this is not root."""
        if os.geteuid():
            return list(argv)
        self.folder.parent.parent.chmod(0o755)  # made for root alone
        for folder in (self.folder, self.temporary):
            folder.chmod(0o1777)
        return [*BECOME_NOBODY, *argv]

    def wait(self, process):
        """The exit status of what start() gave. It comes for certain: when the time is over, all is killed."""
        return process.wait()

    def wait_until(self, condition, seconds=60):
        """Whether condition() became true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self._check_time()
            time.sleep(0.05)
        return False

    def test(self, name, passed, why=""):
        """One test of the program. A name that comes twice has passed if it passed each time."""
        self.tests[name] = self.tests.get(name, True) and bool(passed)
        if not passed and why:
            self.whys[name] = str(why)

    def same(self, name, content):
        """One test: that this, bytes or the path of a file, is what it was without uzswap."""
        digest = hashlib.sha256()
        if isinstance(content, bytes):
            digest.update(content)
        else:
            path = self.folder / content
            if not path.is_file():
                self.test(name, False, f"there is no file {path.name}")
                return
            with path.open("rb") as file:
                while block := file.read(MIB):
                    digest.update(block)
        self.test(name, True)
        self.sames[name] = digest.hexdigest()

    # What check.py uses.

    def carry_out(self):
        """Runs it all; the results are in tests, sames, whys, seconds, peak."""
        for folder in (self.folder, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        start = self.disk_seen = time.monotonic()
        counting = self.managed.counting if self.managed else {}
        with memory.Watch(lambda: self.own, lambda: self.helping, self._look, **counting) as watch:
            self.watch = watch
            alarm = threading.Timer(self.limit, self._stop, ["its time is over"])
            alarm.start()
            try:
                self.definition.run(self)
            except OutOfTime:
                pass  # said below
            except Exception:  # a server that has died, an answer that is none
                self.test("runs to its end", False, traceback.format_exc())
            finally:
                alarm.cancel()
            self.seconds = time.monotonic() - start
            self._check_leftovers()
        self.peak = watch.peak
        self._add_figures()
        self.test("runs to its end", True)
        self.test("ends by itself", not self.over.is_set(),
                  f"{self.ended_for}: ended after {self.seconds:.0f} s of {self.limit:.0f} s")

    def _look(self):
        """Many times a second: nothing may fill this machine's disk."""
        state = os.statvfs(self.folder)
        if state.f_bavail * state.f_frsize >= DISK_LEFT:
            self.disk_seen = time.monotonic()
        elif time.monotonic() > self.disk_seen + DISK_SECONDS and not self.over.is_set():
            self._stop(f"less than {DISK_LEFT >> 30} GiB were left on the disk")

    def _stop(self, why):
        self.ended_for = why
        self.over.set()
        processes.kill_all()

    def _check_time(self):
        if self.over.is_set():
            raise OutOfTime

    def _launch(self, argv, counted, input=None, folder=None, environment=None):
        self._check_time()
        self.started += 1
        argv = [str(word) for word in argv]
        label = f"{self.started:03d}-{pathlib.Path(argv[0]).name}"
        with (self.logs / "commands").open("a", encoding="utf-8") as file:
            file.write(f"{label}{'' if counted else ' (helper)'}: {' '.join(argv)}\n")
        if counted:
            if self.managed:
                argv = self.managed.command(argv, self.logs / f"{label}.stats")
            argv = self.watch.command(argv)
        own = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        source = subprocess.PIPE if isinstance(input, bytes) else subprocess.DEVNULL if input is None else open(input, "rb")
        with open(self.logs / f"{label}.out", "wb") as output, open(self.logs / f"{label}.err", "wb") as errors:
            process = subprocess.Popen(
                argv, stdin=source, stdout=output, stderr=errors, cwd=folder or self.folder,
                env={**own, "HOME": str(self.folder), "TMPDIR": str(self.temporary), "LC_ALL": "C.UTF-8",
                     **self.definition.environment, **(environment or {})})
        if not isinstance(source, int):
            source.close()
        self.own.add(process.pid)
        if not counted:
            self.helping.add(process.pid)
        if isinstance(input, bytes):
            threading.Thread(target=self._feed, args=(process, input)).start()
        return process, label

    @staticmethod
    def _feed(process, content):
        try:
            process.stdin.write(content)
            process.stdin.close()
        except BrokenPipeError:
            pass

    def _finish(self, process, label):
        return Done(self.wait(process), (self.logs / f"{label}.out").read_bytes(), self.logs / f"{label}.err")

    def _check_leftovers(self):
        end = time.monotonic() + ENDS_WITHIN
        while (left := processes.living()) and time.monotonic() < end:
            time.sleep(0.1)
        self.test("leaves no process behind", not left, ", ".join(f"{p.name} ({p.pid})" for p in left))
        files = sorted(p.name for p in self.temporary.iterdir())
        self.test("leaves no temporary file behind", not files, ", ".join(files[:10]))

    def _add_figures(self):
        for path in self.logs.glob("*.stats"):
            try:
                figures = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue
            self.evicted += figures["evicted_pages"]
            self.peak_in_budget = max(self.peak_in_budget, figures["peak_bytes"])
