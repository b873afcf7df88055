# SPDX-License-Identifier: MIT
"""stress-ng: each of its stressors of memory and processes is one test, and checks what it does itself (--verify)."""
import re

from harness.program import Program

# stressor: its options. Sizes are such that pages must leave a budget of 64 MiB, and that a round is done in a few seconds.
MEMORY = {
    "bigheap": ["--bigheap-growth", "64K", "--bigheap-ops", "3000"],
    "brk": ["--brk-ops", "100000"],
    "fault": [],
    "madvise": ["--madvise-ops", "20"],
    # Pages far apart, whose tables cannot leave: so many that these fit, however long it takes.
    "malloc": ["--malloc-bytes", "128M", "--malloc-ops", "5000"],
    "memrate": ["--memrate-bytes", "128M"],
    "memthrash": [],
    "mincore": [],
    "misaligned": [],
    "mlock": [],
    "mmap": ["--mmap-bytes", "128M"],
    "mmapaddr": [],
    "mmapfixed": [],
    "mmaphuge": [],
    "mmapmany": [],
    "mremap": ["--mremap-bytes", "64M"],
    "msync": [],
    "munmap": [],
    "numa": [],
    "pageswap": [],
    "prefetch": ["--prefetch-l3-size", "128M"],
    "qsort": ["--qsort-size", "4000000"],
    "remap": [],
    "shm": ["--shm-bytes", "16M"],
    "shm-sysv": ["--shm-sysv-bytes", "16M"],
    "stack": [],
    "stackmmap": [],
    "stream": ["--stream-l3-size", "24M"],
    "tree": ["--tree-size", "1000000"],
    "userfaultfd": ["--userfaultfd-bytes", "16M"],
    "vm-addr": [],
    "vm-rw": ["--vm-rw-bytes", "64M"],
    "vm-segv": [],
    "vm-splice": ["--vm-splice-bytes", "32M"],
    "zlib": [],
}
# Not mmapfork (all memory of the machine), vforkmany (as many processes as there can be), resources and forkheavy (all of the disk).
PROCESSES = ["clone", "exec", "exit-group", "fork", "pthread", "session", "sigsegv", "spawn", "switch",
             "vfork", "wait", "zombie"]
REFUSE_ROOT = {"exec", "spawn"}
SMALL = ["madvise", "malloc", "mlock", "mmap", "mremap", "munmap"]
SECONDS = 3


class StressNg(Program):
    """What all parts of it share."""
    packages = ["stress-ng"]
    budget = 64
    seconds = 900
    timed = False

    def stress(self, run, name, stressor, *words):
        """One instance of a stressor is one test."""
        command = ["stress-ng", f"--{stressor}", "1", *words, "--verify", "--timeout", str(SECONDS), "--metrics-brief", "--oomable"]
        done = run.program(run.as_nobody(command) if stressor in REFUSE_ROOT else command)
        text = done.errors.read_text(errors="replace") + done.output.decode(errors="replace")
        trouble = re.findall(r"(?:fail|error): .*", text)
        run.test(name, done.status == 0 and not trouble, f"status {done.status}; {trouble[:1]}")


class StressNgMemory(StressNg):
    """stress-ng: stressors of memory, half of which want more than the budget"""
    name = "stress-ng memory"
    small = True

    def run(self, run):
        for stressor, words in MEMORY.items():
            if stressor in SMALL or not run.small:
                self.stress(run, stressor, stressor, *words)


class StressNgProcesses(StressNg):
    """stress-ng: forks, clones, threads"""
    name = "stress-ng processes"
    pressed = False

    def run(self, run):
        for stressor in PROCESSES:
            self.stress(run, stressor, stressor)


class StressNgVm(StressNg):
    """stress-ng --vm: each of its patterns, over 256 MiB"""
    name = "stress-ng vm"

    def run(self, run):
        for method in self.methods(run):
            self.stress(run, method, "vm", "--vm-bytes", "256M", "--vm-method", method, "--vm-keep")

    @staticmethod
    def methods(run):
        """It names them when it is asked for one that it does not know."""
        done = run.helper(["stress-ng", "--vm", "1", "--vm-method", "list"])
        text = (done.output.decode() + done.errors.read_text()).partition("must be one of:")[2]
        methods = text.split("\n", 1)[0].split()
        run.test("its methods are known", len(methods) > 20, text)
        return methods
