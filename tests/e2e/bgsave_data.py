#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/bgsave.py in small: the data of a server that saves itself under load is right, without uzswap and under it with half
of the memory that it needs; and what is planted into the data is found."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "bench"))
sys.dont_write_bytecode = True
import bgsave
import interruption
from bgsave import processes, redis_client

KEYS = 500  # few, so that each is written often
tests = failures = 0


def check(title, passed, why=""):
    global tests, failures
    tests += 1
    failures += not passed
    if not passed:
        print(f"# {why}")
    print(f"{'ok' if passed else 'not ok'} {tests} - {title}", flush=True)


def options(build, **more):
    some = {"keys": KEYS, "connections": 2, "sets": 50, "seconds": 0.3, "compressor": "lz4", "memory": 0, "swap_folder": "/tmp"}
    return argparse.Namespace(build=build, **{**some, **more})


class Plants:
    """Puts something wrong into a server, lets it be found, and puts it right again."""

    def __init__(self, scene, connection, words):
        self.scene, self.connection, self.words = scene, connection, words

    def value(self, key, version):
        return subprocess.run([self.scene.options.build / bgsave.PROGRAM, "value", str(key), str(version)], check=True,
                              stdout=subprocess.PIPE).stdout

    def get(self, key):
        return self.connection("GET", f"user:{key:08}")

    def version(self, key):
        return int(json.loads(self.get(key))["version"])

    def verdict(self):
        return self.scene.client("check", "--journal", self.scene.journal, *self.words)

    def found(self, title, key, content, expected):
        """`content` of the key, None for no key, makes the verdict `expected`."""
        name, old = f"user:{key:08}", self.get(key)
        self.connection("DEL", name) if content is None else self.connection("SET", name, content)
        verdict = self.verdict()
        check(title, not verdict["right"] and expected.items() <= verdict.items(), verdict)
        self.connection("DEL", name) if old is None else self.connection("SET", name, old)


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1:]


def find_in_server(plants):
    versions = {key: plants.version(key) for key in range(KEYS)}
    key = max(versions, key=versions.get)
    value = plants.get(key)
    check("the data of a plain server is right", plants.verdict()["right"], plants.verdict())
    plants.found("one bit of one value", key, flip(value, 500), {"damaged": 1})
    plants.found("the last byte of one value", key, value[:-1], {"damaged": 1})
    plants.found("another key's value", key, plants.value(key + 1, 0), {"damaged": 1})
    plants.found("an older value", key, plants.value(key, versions[key] - 1), {"not_current": 1})
    plants.found("a value that was never written", key, plants.value(key, versions[key] + 1), {"never_written": 1})
    plants.found("a missing key", key, None, {"missing": 1})
    plants.found("a key too many", KEYS + 1, b"x", {"surplus": 1})
    check("the server is as it was", plants.verdict()["right"], plants.verdict())
    return versions


def find_in_dump(plants, last):
    """`last`: the version that each key has at the end."""
    check("its dump is right", plants.verdict()["right"], plants.verdict())
    versions = {key: plants.version(key) for key in range(KEYS)}
    early = max(versions, key=versions.get)
    late = max(versions, key=lambda key: last[key] - versions[key])
    plants.found("one bit in the dump", early, flip(plants.get(early), 500), {"damaged": 1})
    plants.found("a value of before the save", early, plants.value(early, 0), {"not_current": 1})
    plants.found("a value of after the save", late, plants.value(late, last[late]), {"not_current": 1})


def test_plain(build, folder):
    scene = bgsave.Scene(options(build), folder / "plain")
    process, connection = scene.server(lambda: scene.start(redis_client.SERVER, stdout=subprocess.DEVNULL))
    scene.client("fill", "--keys", KEYS)
    figures = scene.client("load", "--keys", KEYS, "--journal", scene.journal, "--connections", 2, "--sets", 50, "--warm-up", 0,
                           "--before", 300, "--after", 300)
    check("values read under load are right", not figures["wrong_values"], figures)
    check("all phases have requests", all(figures[phase]["requests"] for phase in bgsave.PHASES), figures)
    last = find_in_server(Plants(scene, connection, []))
    scene.stop(process, connection)
    process, connection = scene.server(lambda: scene.start(redis_client.SERVER, stdout=subprocess.DEVNULL))
    find_in_dump(Plants(scene, connection, ["--save"]), last)
    scene.stop(process, connection)


def test_uzswap(build, folder):
    keys = 48 * bgsave.MIB // bgsave.BYTES_A_KEY
    figures = bgsave.run_side(options(build, keys=keys, memory=24, sets=20, seconds=1), "uzswap", None, folder / "uzswap")
    wrong = bgsave.wrong(figures)
    check("data is right with half of the memory", not wrong, wrong)
    check("most pages were out", figures["stats"]["evicted_pages"] > keys // 4, figures["stats"]["evicted_pages"])
    print(f"# BGSAVE took {figures['save_seconds']} s; peak {figures['peak'] / bgsave.MIB:.0f} MiB of 24 MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    build = parser.parse_args().build.resolve()
    interruption.leave_by_exception("bgsave_data")
    processes.adopt_orphans()
    try:
        with tempfile.TemporaryDirectory(prefix="uzswap-bgsave-") as folder:
            test_plain(build, pathlib.Path(folder))
            test_uzswap(build, pathlib.Path(folder))
    except bgsave.Failed as reason:
        check("runs to its end", False, reason)
    finally:
        processes.kill_all()
    print(f"1..{tests}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
