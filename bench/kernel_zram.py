# SPDX-License-Identifier: MIT
"""The kernel's zsmalloc, by way of a zram device of our own: the same pages, filled, freed, churned and compacted.

The device is added for the measurement and removed after it, also when that is interrupted (the caller turns signals into
exceptions). Other zram devices are not touched. Its figures are the kernel's: compr_data_size and mem_used_total of mm_stat.
What the kernel needs beside the pool's pages (handles, the device's table) is in neither.
"""
import contextlib
import fcntl
import gzip
import mmap
import os
import pathlib
import random
import struct
import time

from kernel_switch import KernelSwitch, Unavailable, write

CONTROL = pathlib.Path("/sys/class/zram-control")
PAGE = 4096
BLKDISCARD = 0x1277
BATCH = 256  # pages between two looks at the size


def chain_size():
    """CONFIG_ZSMALLOC_CHAIN_SIZE of this kernel, None if it does not say."""
    with contextlib.suppress(OSError), gzip.open("/proc/config.gz", "rt") as config:
        for line in config:
            if line.startswith("CONFIG_ZSMALLOC_CHAIN_SIZE="):
                return int(line.partition("=")[2])
    return None


def remove(number):
    """Somebody may be looking at a new device (udev): so more than once."""
    for attempt in range(50):
        try:
            pathlib.Path(f"/sys/block/zram{number}/reset").write_text("1")
            (CONTROL / "hot_remove").write_text(str(number))
            return
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.1)


def require_usable():
    if os.geteuid() != 0:
        raise Unavailable("a zram device needs root")
    if not CONTROL.exists():
        raise Unavailable("this kernel has no zram (/sys/class/zram-control is missing)")


class KernelZram(KernelSwitch):
    """with KernelZram(image, ...) as zram: stages = zram.run(payload)"""

    def __init__(self, image, compressor="lz4", seed=42):
        super().__init__()
        self.image, self.compressor = pathlib.Path(image), compressor
        self.random = random.Random(seed)

    def switch_on(self):
        require_usable()
        self.add_device()
        self.load_pages()

    def add_device(self):
        try:
            number = int((CONTROL / "hot_add").read_text())
        except OSError as error:
            raise Unavailable(f"cannot add a zram device: {error.strerror}") from error
        self.undo.callback(remove, number)
        self.sys = pathlib.Path(f"/sys/block/zram{number}")
        write(self.sys / "comp_algorithm", self.compressor)
        self.device = f"/dev/zram{number}"
        if not os.path.exists(self.device):
            raise Unavailable(f"{self.device} does not appear")

    def load_pages(self):
        """Into memory at page boundaries, as O_DIRECT wants it."""
        size = self.image.stat().st_size // PAGE * PAGE
        if not size:
            raise Unavailable(f"{self.image} holds no pages")
        self.memory = mmap.mmap(-1, size)
        with open(self.image, "rb") as file:
            file.readinto(self.memory)
        view = memoryview(self.memory)
        self.pages = [view[at:at + PAGE] for at in range(0, size, PAGE)]
        # As everywhere, same-filled pages are left out.
        self.pages = [page for page in self.pages if bytes(page[:8]) * (PAGE // 8) != bytes(page)]

    def write_page(self, number, page):
        os.pwrite(self.fd, page, number * PAGE)

    def discard(self, number):
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", number * PAGE, PAGE))

    def stage(self, name):
        fields = [int(word) for word in (self.sys / "mm_stat").read_text().split()]
        self.stages.append({"stage": name, "payload": fields[1], "pool": fields[2], "resident": fields[2]})
        return fields[1]

    def draw(self):
        return self.random.choice(self.pages)

    def fill(self, payload, most):
        count = 0
        while count < most:
            for _ in range(BATCH):
                self.write_page(count, self.pages[count] if count < len(self.pages) else self.draw())
                count += 1
            if int((self.sys / "mm_stat").read_text().split()[1]) >= payload:
                return count
        return count

    def compact(self, name):
        begin = time.monotonic()
        (self.sys / "compact").write_text("1")
        seconds = time.monotonic() - begin
        self.stage(name)
        self.stages[-1]["seconds"] = seconds

    def run(self, payload):
        """The stages of bench-density, with `payload` bytes of compressed pages."""
        self.stages = []
        most = payload // 64 // BATCH * BATCH
        write(self.sys / "disksize", str(most * PAGE))
        self.fd = os.open(self.device, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        self.undo.callback(os.close, self.fd)
        count = self.fill(payload, most)
        payload = self.stage("filled")
        freed = [number for number in range(count) if self.random.random() < 0.5]
        for number in freed:
            self.discard(number)
        self.stage("half freed")
        self.compact("half freed, compacted")
        for number in freed:
            self.write_page(number, self.draw())
        for _ in range(10 * count):
            self.write_page(self.random.randrange(count), self.draw())
        self.stage("churned")
        self.compact("churned, compacted")
        return self.stages
