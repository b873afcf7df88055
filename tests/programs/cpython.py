# SPDX-License-Identifier: MIT
"""CPython's own tests: those of memory, threads, processes, signals, and what lies on the system's interface."""
import xml.etree.ElementTree

from harness.program import Program

PYTHON = "/usr/bin/python3"  # Debian's, which the tests belong to
# Its signals are the tests': a shell starts what runs in the background with SIGINT ignored.
START = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


def last_line(text):
    return (text or "").strip().rpartition("\n")[2]


def outcomes(report):
    """Name: why it failed, "" if it did not. What is skipped has not passed: natively it does not count, else it is missed."""
    found = {}
    if report.is_file():
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            bad = [last_line(part.text) or part.tag for part in case if part.tag in ("failure", "error")]
            if case.find("skipped") is None:
                found[case.get("name")] = " / ".join(filter(None, [found.get(case.get("name")), *bad]))
    return found


class CPython(Program):
    """A test that fails is run a second time, without the others, as CPython's own builders do (-w): many of them wait for a
    fixed time, which a loaded machine does not keep."""
    packages = ["python3", "libpython3.11-testsuite"]
    share = 0.5  # of tests of 20 MiB, each of which starts others: uzswap's tables are 1 MiB of each process
    seconds = 900
    modules = ""

    def run(self, run):
        found = self.suite(run, "report.xml")
        run.test("reports", found)
        failed = [name for name, why in found.items() if why]
        if failed:
            found.update(self.suite(run, "second.xml", *(word for name in failed for word in ("-m", name))))
        for name, why in found.items():
            run.test(name, not why, why)

    def suite(self, run, report, *options):
        run.program([PYTHON, "-c", START, PYTHON, "-m", "test", "-v", "-j1", "--timeout", "240", "--tempdir", run.folder,
                     "--junit-xml", run.folder / report, *options, *self.modules.split()])
        return outcomes(run.folder / report)


class Memory(CPython):
    """CPython's tests of mappings, buffers, containers and the garbage collector, which walks through all again and again."""
    name = "cpython-memory"
    share = 0.25
    modules = ("test_mmap test_gc test_array test_bytes test_dict test_list test_set test_deque test_memoryview test_buffer "
               "test_weakref test_tracemalloc test_resource test_io test_pickle test_marshal test_zlib test_ctypes test_decimal")


class System(CPython):
    """CPython's tests of threads, signals, system calls, and children."""
    name = "cpython-system"
    modules = ("test_thread test_threading test_threading_local test_threadsignals test_signal test_faulthandler test_atexit "
               "test_fork1 test_wait3 test_wait4 test_popen test_subprocess test_pty test_openpty test_os test_posix "
               "test_fcntl test_ioctl test_select test_epoll test_shutil test_tempfile test_eintr")


class Processes(CPython):
    """CPython's tests of multiprocessing, by fork, and by a server that forks."""
    name = "cpython-processes"
    share = 0.4  # of twenty processes at once, some of which are ended 100 s after they began
    passes_budget = 1.25  # while a hundred start in a second: each begins even where the others have not given back yet
    modules = "test_multiprocessing_fork test_multiprocessing_forkserver"
