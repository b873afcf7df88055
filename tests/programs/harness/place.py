# SPDX-License-Identifier: MIT
"""Where a program's input, sources and builds are: what Program.prepare() is given."""
import shutil
import subprocess

from harness import debian
from harness.program import Missing


class Place:
    """
    folder   for prepare(); run.prepared later
    source   the unpacked source package, if the program has one
    kept     outlives this run of check.py, for what takes long to make (keep())
    small    whether the quick form is wanted
    """

    def __init__(self, program, folder, kept, logs, small=False):
        self.folder, self.kept, self.small = folder, kept, small
        self.log = logs / "prepare.log"
        self.source = None
        folder.mkdir(parents=True)
        debian.install(program.packages + (["dpkg-dev"] if program.source else []), self.log)
        if program.source:
            self.source = self.keep(f"source-{program.source}", lambda where: debian.unpack_source(
                program.source, where, self.log))

    def keep(self, name, make):
        """The folder that make(new folder) returns, made by the first who asks for this name."""
        folder, mark = self.kept / name, self.kept / f"{name}.made"
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(str(make(folder)), encoding="utf-8")
        return folder / mark.read_text(encoding="utf-8")

    def command(self, argv, folder=None, seconds=900, **environment):
        """Runs one step of the preparation; its output goes to the log. Missing, if it fails."""
        with self.log.open("ab") as file:
            file.write(f"+ {' '.join(map(str, argv))}\n".encode())
            file.flush()
            try:
                done = subprocess.run(list(map(str, argv)), cwd=folder or self.folder, stdin=subprocess.DEVNULL, stdout=file,
                                      stderr=file, timeout=seconds, check=False, env=environment or None)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Missing(f"{argv[0]}: {error}") from error
        if done.returncode:
            raise Missing(f"{argv[0]} failed with status {done.returncode} (see {self.log})")

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
