# SPDX-License-Identifier: MIT
"""Programs whose memory cannot be managed: `uzswap run` says so and does not start them; below another program they run as ever."""
from harness.program import Program
from runtimes import GO, Go, go_environment

C = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    unsigned long sum = 0, bytes = 24 << 20;
    unsigned char *memory = malloc(bytes);
    for (unsigned long i = 0; i < bytes; i += 4096) {
        memset(memory + i, (int)(i / 4096), 4096);
    }
    for (unsigned long i = 0; i < bytes; i++) {
        sum = sum * 31 + memory[i];
    }
    free(memory);
    printf("%lx\\n", sum);
    return 0;
}
"""


class Unmanageable(Program):
    """What they share: `refusal` is what `uzswap run` says, `why` its reason."""
    pressed = False
    refusal = ""

    def run(self, run):
        for name in self.programs:
            self.one(run, name, run.prepared / name)

    def one(self, run, name, path):
        done = run.program([path])
        run.test(f"{name}: runs by itself", done.status == 0, f"status {done.status}")
        said = done.errors.read_text()
        run.test(f"{name}: is refused, and the reason said", not run.managed or (done.status == 125 and self.refusal in said), said)
        done = run.program(["sh", "-c", '"$0" && "$0"', path])
        run.test(f"{name}: runs below a program that is managed", done.status == 0,
                 f"status {done.status}, {done.errors.read_text()[-300:]}")
        run.same(f"{name}: what it prints", done.output)


class Static(Unmanageable):
    """A program without a loader: linked statically to glibc, and to musl"""
    name = "static"
    packages = ["gcc", "libc6-dev", "musl-tools"]
    small = True
    programs = ["glibc", "glibc-pie", "musl"]
    refusal = "is linked statically"
    exceptions = {"*: runs by itself": "linked statically: no library can be loaded into it"}

    def prepare(self, place):
        source = place.write("program.c", C)
        for name, words in {"glibc": "gcc -static", "glibc-pie": "gcc -static-pie", "musl": "musl-gcc -static"}.items():
            place.command([*words.split(), "-O1", "-o", name, source])


class Musl(Unmanageable):
    """A program that is linked to musl"""
    name = "musl"
    packages = ["gcc", "libc6-dev", "musl-tools"]
    small = True
    programs = ["musl"]
    refusal = "needs glibc"
    exceptions = {"*: runs by itself": "linked to musl: the runtime needs glibc"}

    def prepare(self, place):
        place.command(["musl-gcc", "-O1", "-o", "musl", place.write("program.c", C)])


class GoAlone(Unmanageable):
    """A Go program without libc"""
    name = "go without libc"
    packages = Go.packages
    programs = ["static", "pie"]
    refusal = "is a Go program"
    exceptions = {"*: runs by itself": "Go asks the kernel for memory itself, where no library sees it"}

    def prepare(self, place):
        source = place.write("program.go", GO)
        for name in self.programs:
            place.command(["go", "build", *(["-buildmode=pie"] if name == "pie" else []), "-o", name, source],
                          **go_environment(place.folder), CGO_ENABLED="0", PATH="/usr/bin:/bin")
