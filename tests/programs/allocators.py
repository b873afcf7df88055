# SPDX-License-Identifier: MIT
"""Other allocators than the one that is preloaded, on managed memory: their own tests, and Python on each of them."""
import re

from harness.program import Program
from runtimes import Python

LIBRARIES = "/usr/lib/x86_64-linux-gnu"


class Mimalloc(Program):
    """mimalloc's stress program and its tests of each call, of Debian's source package, with Debian's libmimalloc"""
    name = "mimalloc-tests"
    packages = ["gcc", "libc6-dev", "libmimalloc-dev"]
    source = "mimalloc"

    def prepare(self, place):
        for name in ("test-stress", "test-api"):
            place.command(["gcc", "-O1", f"-I{place.source / 'include'}", "-o", name,
                           place.source / "test" / f"{name}.c", "-lmimalloc", "-lpthread"])

    def run(self, run):
        done = run.program([run.prepared / "test-stress", "8", "60", "10"])
        run.test("stress", done.status == 0, f"status {done.status}, {done.errors.read_text()[-300:]}")
        done = run.program([run.prepared / "test-api"])
        run.test("api: ends well", done.status == 0, f"status {done.status}")
        for match in re.finditer(r"^test: (.*?)\.\.\.\s+(\w+)", done.errors.read_text() + done.output.decode(), re.MULTILINE):
            run.test(f"api: {match[1]}", match[2] == "ok", match[0])


class Jemalloc(Program):
    """jemalloc's integration tests, of Debian's source package, with Debian's libjemalloc (its stress programs only measure)"""
    name = "jemalloc-tests"
    packages = ["gcc", "g++", "libc6-dev", "make", "autoconf", "libjemalloc2"]
    source = "jemalloc"
    seconds = 600
    environment = {"LD_PRELOAD": f"{LIBRARIES}/libjemalloc.so.2"}  # not the one that is built with the tests
    pressed = False  # tests of a few MiB each

    def prepare(self, place):
        def build(folder):
            place.command(["sh", "-c", f"cp -a '{place.source}/.' . && {{ [ -x configure ] || autoconf; }} && ./configure CFLAGS=-O1 "
                           "&& make -j2 tests_integration"], folder)
            return ""
        self.folder = place.keep("jemalloc-tests", build)

    def run(self, run):
        tests = sorted(path for path in (self.folder / "test/integration").rglob("*") if path.is_file() and not path.suffix)
        done = run.program(["sh", "test/test.sh", *(path.relative_to(self.folder) for path in tests)], folder=self.folder)
        run.test("ends well", done.status == 0, f"status {done.status}")
        program = ""
        for line in (done.output.decode() + done.errors.read_text()).splitlines():
            if match := re.match(r"=== test/(.*) ===", line):
                program = match[1]
            elif match := re.match(r"(\w+ \([a-z-]+\)): (pass|fail)", line):
                run.test(f"{program}: {match[1]}", match[2] == "pass", line)


class PythonMimalloc(Python):
    """Python on mimalloc"""
    name = "python on mimalloc"
    packages = ["python3", "libmimalloc2.0"]
    small = False
    environment = {name: f"{LIBRARIES}/libmimalloc.so.2" for name in ("LD_PRELOAD", "UZSWAP_ALLOCATOR")}


class PythonTcmalloc(Python):
    """Python on tcmalloc"""
    name = "python on tcmalloc"
    packages = ["python3", "libtcmalloc-minimal4"]
    small = False
    environment = {name: f"{LIBRARIES}/libtcmalloc_minimal.so.4" for name in ("LD_PRELOAD", "UZSWAP_ALLOCATOR")}
