# SPDX-License-Identifier: MIT
"""Chromium without a window: many processes and threads, an allocator and a garbage collector of its own, compiled JavaScript."""
import shutil

from harness.program import Program

PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><body><div id=out></div>
<canvas id=canvas width=400 height=300></canvas>
<script>
let seed = 1;
function random() { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed; }
const kept = new Map();
for (let i = 0; i < 400000; i++) kept.set('k' + random() % 1000003, {i, text: 'value ' + i, list: [i, i + 1]});
let sum = 0;
for (const [key, value] of kept) sum = (sum + value.i * key.length + value.list[1]) % 1000000007;
const table = document.createElement('table');
for (let i = 0; i < 5000; i++) {
  const row = table.insertRow();
  for (let j = 0; j < 6; j++) row.insertCell().textContent = (random() % 10000) + '-' + i;
}
document.body.append(table);
const pen = document.getElementById('canvas').getContext('2d');
for (let i = 0; i < 200; i++) {
  pen.fillStyle = `rgb(${i},${255 - i},${i * 7 % 255})`;
  pen.fillRect(random() % 400, random() % 300, 30, 20);
}
document.getElementById('out').textContent =
    [kept.size, sum, table.offsetHeight, document.getElementById('canvas').toDataURL().length].join(' ');
</script></body>
"""

# The zygote, which forks the page's processes, ends if its process has more than one thread; the runtime's count. As root no
# sandbox can be had.
FLAGS = ("--headless --no-zygote --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions "
         "--disable-background-networking --hide-scrollbars --virtual-time-budget=10000").split()


class Chromium(Program):
    """The document that a page's script builds, and a picture of the page."""
    name = "chromium"
    packages = ["chromium"]
    share = 0.5  # of eight processes at once

    def prepare(self, place):
        place.write("page.html", PAGE)

    def run(self, run):
        page = f"file://{run.prepared / 'page.html'}"
        self.one(run, "document", "--dump-dom", page)
        self.one(run, "picture", "--screenshot=picture.png", "--window-size=800,600", page)

    def one(self, run, name, *arguments):
        profile = run.folder / f"profile-{name}"
        done = run.program(["chromium", *FLAGS, f"--user-data-dir={profile}", *arguments])
        run.test(f"{name}: ends well", done.status == 0, f"status {done.status}")
        run.same(name, done.output if name == "document" else "picture.png")
        shutil.rmtree(profile, ignore_errors=True)


class ChromiumOneProcess(Chromium):
    """The same, everything in one process."""
    name = "chromium-single-process"
    share = 0.25

    def run(self, run):
        self.one(run, "document", "--single-process", "--dump-dom", f"file://{run.prepared / 'page.html'}")
