# SPDX-License-Identifier: MIT
"""Recipes: how each program is started, and brought to where its memory is worth looking at.

Every program gets an environment of its own, an empty folder as its home and working directory, and fixed seeds; nothing of
the caller's. `with workload.running(mib) as pids:` gives the processes whose memory to take, about `mib` MiB in all, standing
still or idle; afterwards they and their children are gone.
"""
import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import capture
from .content import Content

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
MIB = 1 << 20
PATIENCE = 300  # seconds until a program that does not get ready is given up
PR_SET_CHILD_SUBREAPER = 36


class Unavailable(Exception):
    """Why a workload cannot be run here."""


def write_text(path):
    """The project's own documents and sources as one file: text whose licence is known."""
    sources = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.[ch]")])
    path.write_text("\n\n".join(source.read_text(encoding="utf-8") for source in sources), encoding="utf-8")


def end_children(but):
    """Ends our children and all that descend from them, but those whose ids are given. What a child leaves behind becomes a
    child of ours."""
    while True:
        living = [p for child in capture.children(os.getpid()) if child not in but for p in capture.tree(child)]
        if not living:
            return
        for p in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(p, os.WNOHANG)
        time.sleep(0.01)


@contextlib.contextmanager
def cleaned_up(folder, strangers):
    """`strangers` were there before: a shell may have started them, and then become us."""
    try:
        yield
    finally:
        end_children(but=strangers)
        shutil.rmtree(folder, ignore_errors=True)


class Session:
    """One program in its folder."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        self.text = folder / "text.txt"
        write_text(self.text)

    def start(self, *command, **kwargs):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder), "LANG": "C.UTF-8", "TZ": "UTC"}
        kwargs.setdefault("stderr", subprocess.DEVNULL)
        self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdin=subprocess.PIPE, start_new_session=True,
                                        **kwargs)

    def wait_line(self, line):
        """Until the program prints it."""
        deadline, seen = time.monotonic() + PATIENCE, b""
        while line not in seen:
            seen = seen[-len(line):]
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Unavailable(f"{self.process.args[0]} was not ready within {PATIENCE} s")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise Unavailable(f"{self.process.args[0]} ended early")
            seen += more

    def until(self, condition, what):
        """Until condition() gives something true, which is returned."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            if self.process.poll() is not None:
                raise Unavailable(f"{self.process.args[0]} ended early")
            time.sleep(0.02)
        raise Unavailable(f"{self.process.args[0]}: {what}: not within {PATIENCE} s")


@contextlib.contextmanager
def running(name, mib):
    program, recipe = WORKLOADS[name]
    if not shutil.which(program, path="/usr/bin:/bin"):
        raise Unavailable(f"{program} is not installed")
    strangers = set(capture.tree(os.getpid()))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="page-images-", dir="/tmp"))
    # Twice, as the first may be interrupted: but once only.
    with cleaned_up(folder, strangers), cleaned_up(folder, strangers):
        try:
            pids = recipe(Session(folder), mib)
        except OSError as error:
            raise Unavailable(f"{program}: {error.strerror or error}") from error
        yield pids


# ---- Redis: sessions as JSON, users as hashes, counters, queues, ranks, texts, and files that are compressed already

def redis_command(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def redis_records(c, number):
    user = c.user(number)
    yield redis_command("SET", f"session:{c.token(16)}", c.json(c.session(number)), "EX", 86400)
    yield redis_command("HSET", f"user:{number}", *[word for pair in user.items() for word in pair])
    yield redis_command("SET", f"hits:{number}", c.random.randrange(1000000))
    yield redis_command("ZADD", f"rank:{number % 97}", user["balance"], user["email"])
    yield redis_command("RPUSH", f"queue:{number % 53}", c.json(c.order(number)))
    if number % 4 == 0:
        yield redis_command("SET", f"article:{number}", c.text(1000))
    if number % 20 == 0:
        yield redis_command("SET", f"thumbnail:{number}", c.blob(c.random.randrange(500, 6000)))
    if number % 3 == 0:  # some go again
        yield redis_command("DEL", f"user:{c.random.randrange(number + 1)}")


def redis_send(connection, commands):
    connection.sendall(b"".join(commands) + redis_command("ECHO", "sent"))
    answer = b""
    while not answer.endswith(b"$4\r\nsent\r\n"):
        more = connection.recv(1 << 20)
        if not more:
            raise Unavailable("redis-server closed the connection")
        answer = answer[-16:] + more


def redis(session, mib):
    path = session.folder / "redis.sock"
    session.start("redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no",
                  "--activerehashing", "no", stdout=subprocess.DEVNULL)
    session.until(path.exists, "its socket")
    content, number = Content(session.text, 1), 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        while capture.resident_bytes(session.process.pid) < mib * MIB:
            batch = range(number, number + 200)
            redis_send(connection, [command for n in batch for command in redis_records(content, n)])
            number += 200
    return [session.process.pid]


# ---- SQLite in memory: users, orders with an index, texts

SQLITE_TABLES = """
CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, street TEXT, city TEXT, zip TEXT, created TEXT, balance REAL, active INT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, user INT, state TEXT, placed TEXT, total REAL, items TEXT);
CREATE TABLE articles(id INTEGER PRIMARY KEY, title TEXT, body TEXT);
CREATE TABLE readings(sensor INT, at INT, value REAL, PRIMARY KEY(sensor, at)) WITHOUT ROWID;
CREATE INDEX orders_by_user ON orders(user, placed);
"""


def sql(value):
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def insert(table, *values):
    return f"INSERT INTO {table} VALUES({','.join(sql(value) for value in values)});"


def sqlite_rows(c, number):
    user, order = c.user(number), c.order(number)
    yield insert("users", *[int(v) if isinstance(v, bool) else v for v in user.values()])
    yield insert("orders", *[c.json(v) if isinstance(v, list) else v for v in order.values()])
    for i in range(5):
        yield insert("readings", number % 300, number * 5 + i, round(c.random.gauss(20, 5), 3))
    if number % 4 == 0:
        body = c.text(1200)
        yield insert("articles", number, body[:40].strip(), body)
    if number % 3 == 0:
        yield f"DELETE FROM users WHERE id = {c.random.randrange(number + 1)};"


def sqlite(session, mib):
    session.start("sqlite3", "-batch", ":memory:", stdout=subprocess.PIPE)
    content, number, program = Content(session.text, 2), 0, session.process
    program.stdin.write(SQLITE_TABLES.encode())
    while capture.resident_bytes(program.pid) < mib * MIB:
        rows = "\n".join(row for n in range(number, number + 500) for row in sqlite_rows(content, n))
        program.stdin.write(f"BEGIN;\n{rows}\nCOMMIT;\nSELECT 'ready';\n".encode())
        program.stdin.flush()
        session.wait_line(b"ready")
        number += 500
    return [program.pid]


# ---- Python: dictionaries, lists, strings, objects

def python(session, mib):
    for file in (PROGRAMS / "heap.py", PROGRAMS.parent / "content.py"):
        shutil.copy(file, session.folder)
    session.start("python3", "-s", "-B", "heap.py", "text.txt", str(mib), stdout=subprocess.PIPE)
    session.wait_line(b"ready")
    return [session.process.pid]


# ---- g++ in the middle of its work

def compiler_source(functions):
    head = "".join(f"#include <{name}>\n" for name in
                   ("algorithm", "functional", "iostream", "map", "memory", "numeric", "random", "regex", "string",
                    "unordered_map", "variant", "vector"))
    body = """
struct R{n} {{ std::string key; std::map<int, std::vector<double>> values; std::variant<int, std::string, double> any; }};
std::map<std::string, std::shared_ptr<R{n}>> table{n};
int work{n}(const std::string &text) {{
    static const std::regex pattern("([a-z]+){n}=([0-9]*)");
    std::smatch match;
    std::unordered_map<std::string, R{n}> found;
    for (auto at = text.begin(); std::regex_search(at, text.end(), match, pattern); at = match[0].second)
        found[match[1].str()].values[{n}].push_back(std::stod(match[2].str()));
    std::vector<R{n}> sorted;
    for (auto &[key, value] : found) sorted.push_back(value);
    std::sort(sorted.begin(), sorted.end(), [](const R{n} &a, const R{n} &b) {{ return a.key < b.key; }});
    for (auto &r : sorted) {{ std::cout << r.key << std::endl; table{n}[r.key] = std::make_shared<R{n}>(r); }}
    return std::accumulate(sorted.begin(), sorted.end(), 0, [](int sum, const R{n} &r) {{ return sum + (int)r.values.size(); }});
}}
"""
    return head + "".join(body.format(n=n) for n in range(functions))


def compiler(session, mib):
    (session.folder / "work.cc").write_text(compiler_source(60 + mib), encoding="utf-8")
    session.start("g++", "-std=c++17", "-O2", "-c", "work.cc", "-o", "work.o", stdout=subprocess.DEVNULL)

    def large():
        return next((pid for pid in capture.tree(session.process.pid)
                     if capture.resident_bytes(pid) >= mib * MIB), None)
    pid = session.until(large, f"{mib} MiB")
    os.kill(pid, signal.SIGSTOP)
    return [pid]


# ---- Java: maps, lists, records, and the garbage between them

def java(session, mib):
    shutil.copy(PROGRAMS / "Heap.java", session.folder)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(session.folder), "LANG": "C.UTF-8"}
    if not shutil.which("javac", path="/usr/bin:/bin"):
        raise Unavailable("javac is not installed")
    done = subprocess.run(["javac", "Heap.java"], cwd=session.folder, env=environment, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise Unavailable(f"javac failed (status {done.returncode})")
    session.start("java", f"-Xmx{mib}m", "-XX:-UsePerfData", "-cp", ".", "Heap", "text.txt", stdout=subprocess.PIPE)
    session.wait_line(b"ready")
    return [session.process.pid]


# ---- headless Chromium: the process that renders a page

def is_renderer(pid):
    try:
        return b"--type=renderer" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def chromium(session, mib):
    page = (PROGRAMS / "page.html").read_text(encoding="utf-8")
    escaped = session.text.read_text(encoding="utf-8").replace("&", "&amp;").replace("<", "&lt;")
    page = page.replace("@TEXT@", escaped).replace("@RECORDS@", str(mib * 300))
    (session.folder / "page.html").write_text(page, encoding="utf-8")
    session.start("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
                  "--enable-logging=stderr", f"--user-data-dir={session.folder}/profile",
                  f"file://{session.folder}/page.html", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    session.wait_line(b"orders are ready")
    renderers = [pid for pid in capture.tree(session.process.pid) if is_renderer(pid)]
    if not renderers:
        raise Unavailable("chromium has no process that renders")
    largest = max(renderers, key=capture.resident_bytes)
    os.kill(largest, signal.SIGSTOP)
    return [largest]


# name: the program that must be there, the recipe
WORKLOADS = {
    "redis": ("redis-server", redis),
    "sqlite": ("sqlite3", sqlite),
    "python": ("python3", python),
    "compiler": ("g++", compiler),
    "java": ("java", java),
    "chromium": ("chromium", chromium),
}
