# SPDX-License-Identifier: MIT
"""Redis: a server with less memory than its values need, which saves them while it is used; and Redis's own tests."""
import random
import re

from harness import redis_client
from harness.program import Program
from harness.redis_client import Client, answers

SERVER = [*redis_client.SERVER, "--enable-debug-command", "yes"]


def value(i):
    """About a kilobyte that compresses like text."""
    numbers = random.Random(i)
    return b" ".join(b"word%d of value %d" % (numbers.randrange(5000), i) for _ in range(50))


def data(count):
    for i in range(count):
        yield "SET", f"key:{i}", value(i)
    for i in range(count // 10):
        yield ("HSET", f"hash:{i % 1000}", f"field:{i}", value(i)[:200])
        yield ("RPUSH", f"list:{i % 100}", value(i)[:300])
        yield ("ZADD", "sorted", i * 7919 % 10007, f"member:{i}")
        yield ("SADD", f"set:{i % 50}", f"member:{i}")


class Redis(Program):
    """redis-server with a third of the memory that its values need, saving them while it is used"""
    name = "redis"
    packages = ["redis-server"]
    share = 0.33
    passes_budget = 1.10  # for moments after a fork: what both share leaves memory only once both have evicted it
    seconds = 600
    small = True

    def run(self, run):
        count = 10_000 if run.small else 180_000
        server, client = self.connect(run, lambda: run.start(SERVER))
        answers = sum(1 for answer in client.all(data(count)) if answer is not None)
        run.test("takes all values", answers == count + 4 * (count // 10))

        client("BGSAVE")
        self.load(run, client, count, "BGSAVE")
        run.test("BGSAVE succeeds", run.wait_until(lambda: client.info("rdb_bgsave_in_progress") == "0", 300)
                 and client.info("rdb_last_bgsave_status") == "ok")
        client("CONFIG", "SET", "appendonly", "yes")
        self.load(run, client, count, "the first rewrite")
        run.test("appendonly is switched on", self.rewritten(run, client))
        client("BGREWRITEAOF")
        self.load(run, client, count, "BGREWRITEAOF")
        run.test("BGREWRITEAOF succeeds", self.rewritten(run, client))

        digest = self.digest(client)
        run.same("all values, read one by one", b"".join(client.all(("GET", f"key:{i}") for i in range(count))))
        run.same("digest of all data", digest)
        client.send("SHUTDOWN", "NOSAVE")
        run.test("ends well", run.wait(server) == 0)
        self.reload(run, digest, "dump.rdb", ["--appendonly", "no"])
        self.reload(run, digest, "append-only file", ["--appendonly", "yes"])

    @staticmethod
    def connect(run, start):
        path = run.folder / "redis.sock"
        path.unlink(missing_ok=True)
        server = start()

        if not run.wait_until(lambda: answers(path), 120):
            raise RuntimeError("redis-server does not answer")
        return server, Client(path)

    @staticmethod
    def load(run, client, count, when):
        """In database 1 what redis-benchmark does; in 0, where nothing changes, values are read."""
        requests = 1000 if run.small else 20000
        done = run.helper(["redis-benchmark", "-s", "redis.sock", "--dbnum", "1", "-q", "-n", requests, "-r", "1000", "-P", "4",
                           "-d", "500"])
        run.test(f"redis-benchmark during {when}", done.status == 0)
        numbers = random.Random(len(when))
        wanted = [numbers.randrange(count) for _ in range(requests)]
        got = client.all(("GET", f"key:{i}") for i in wanted)
        run.test(f"values during {when}", all(value(i) == answer for i, answer in zip(wanted, got)))

    @staticmethod
    def rewritten(run, client):
        return run.wait_until(lambda: client.info("aof_rewrite_in_progress") == "0"
                              and client.info("aof_rewrite_scheduled") == "0", 300) \
            and client.info("aof_last_bgrewrite_status") == "ok"

    @staticmethod
    def digest(client):
        client("SELECT", 1)
        client("FLUSHDB")
        client("SELECT", 0)
        return client("DEBUG", "DIGEST")

    def reload(self, run, digest, what, words):
        """A server without uzswap reads what this one has written."""
        server, client = self.connect(run, lambda: run.start_helper([*SERVER, *words]))
        run.test(f"{what} is complete", self.digest(client) == digest)
        client.send("SHUTDOWN", "NOSAVE")
        run.wait(server)


# Not unit/shutdown, which stops the whole suite on some machines, nor those that take minutes (geo, hyperloglog, memefficiency).
UNITS = ["unit/dump", "unit/keyspace", "unit/scan", "unit/type/string", "unit/type/list", "unit/type/list-2", "unit/type/set",
         "unit/type/zset", "unit/type/hash", "unit/type/stream", "unit/sort", "unit/expire", "unit/other", "unit/multi",
         "unit/aofrw", "unit/scripting", "unit/functions", "unit/lazyfree", "unit/limits", "unit/bitops", "unit/maxmemory",
         "unit/client-eviction", "unit/querybuf", "integration/aof", "integration/rdb", "integration/dismiss-mem",
         "integration/logging", "integration/replication-2", "integration/convert-ziplist-hash-on-load",
         "integration/convert-ziplist-zset-on-load"]
TEST_LINE = re.compile(r"\[(ok|err|exception|timeout)\]: (.*?)(?: \(\d+ ms\))?$")
FILES = ["redis-server", "redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"]


class RedisTests(Program):
    """Redis's own tests, of Debian's source package, against Debian's redis-server"""
    name = "redis-tests"
    packages = ["redis-server", "redis-tools", "tcl"]
    source = "redis"
    seconds = 1800

    def prepare(self, place):
        for name in FILES:
            link = place.source / "src" / name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/usr/bin/{name}")

    def run(self, run):
        words = [word for unit in UNITS for word in ("--single", unit)]
        done = run.program(["tclsh", "tests/test_helper.tcl", "--clients", "2", "--tags", "-slow", *words], folder=run.source)
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.output.decode(errors="replace"))
        for line in text.splitlines():
            if match := TEST_LINE.match(line):
                run.test(match[2].partition(" in tests/")[0], match[1] == "ok", line)
