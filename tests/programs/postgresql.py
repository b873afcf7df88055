# SPDX-License-Identifier: MIT
"""PostgreSQL: a server of many processes that fork and never exec, by a user who is not root."""
import os
import re
import shutil
import signal

from harness.program import Missing, Program
from harness.run import NOBODY

VERSION = 15
BINARIES = f"/usr/lib/postgresql/{VERSION}/bin"

SORTS = """
SET work_mem = '256MB';
SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (
    SELECT md5(i::text) x FROM generate_series(1, 400000) i ORDER BY md5(i::text || 's')) s;
SELECT count(*), sum(n), max(k) FROM (SELECT md5((i % 200000)::text) k, count(*) n FROM generate_series(1, 600000) i GROUP BY 1) s;
"""
# What each transaction adds to a row of three tables it writes into a fourth.
INVARIANT = " AND ".join(f"(SELECT sum({column}) FROM {table}) = (SELECT sum(delta) FROM pgbench_history)" for column, table in
                         [("abalance", "pgbench_accounts"), ("bbalance", "pgbench_branches"), ("tbalance", "pgbench_tellers")])


class PostgreSQL(Program):
    """initdb; eight clients of pgbench, whose books balance; sorts and groups in memory; and its own regular end."""
    name = "postgresql"
    packages = [f"postgresql-{VERSION}", f"postgresql-client-{VERSION}"]
    share = 0.5  # a third of the memory is shared (buffers), and not managed
    timed = False  # pgbench runs for a time

    def prepare(self, place):
        if os.geteuid():
            raise Missing("it needs root, to become another user")

    def run(self, run):
        self.sockets = run.folder / "sockets"
        data = run.folder / "data"
        for folder in (self.sockets, data):
            folder.mkdir(mode=0o700)
            shutil.chown(folder, *NOBODY)
        done = run.program(run.as_nobody([f"{BINARIES}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]))
        run.test("initdb", done.status == 0, f"status {done.status}")
        server = run.start(run.as_nobody([f"{BINARIES}/postgres", "-D", data, "-k", self.sockets, "-c", "listen_addresses=",
                                          "-c", "shared_buffers=24MB", "-c", "work_mem=64MB", "-c", "jit=off"]))
        if not run.wait_until(lambda: (data / "postmaster.pid").exists() and self.ask(run, "SELECT 1") == b"1\n"):
            run.test("server starts", False, "no answer")
            return
        self.use(run)
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
        run.test("server ends well", run.wait(server) == 0, f"status {server.returncode}")

    def client(self, run, tool, *arguments, **options):
        return run.helper(run.as_nobody([f"{BINARIES}/{tool}", "-h", self.sockets, "-U", "postgres", *arguments]), **options)

    def ask(self, run, question):
        return self.client(run, "psql", "-XAtc", question, "postgres").output

    def use(self, run):
        done = self.client(run, "pgbench", "-i", "-s", "5", "postgres")
        run.test("pgbench fills its tables", done.status == 0, f"status {done.status}")
        done = self.client(run, "pgbench", "-c", "8", "-j", "2", "-T", "20", "postgres")
        failed = re.search(rb"number of failed transactions: (\d+)", done.output)
        run.test("pgbench, eight clients", done.status == 0 and failed and failed[1] == b"0", f"status {done.status}")
        run.test("the books balance", self.ask(run, f"SELECT {INVARIANT}") == b"t\n")
        run.same("sorts and groups", self.client(run, "psql", "-XAt", "postgres", input=SORTS.encode()).output)
