# SPDX-License-Identifier: MIT
"""A server of Redis in its working directory, and a client for it; also for bench/."""
import re
import socket

CLIENT_SECONDS = 120
SERVER = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--daemonize", "no", "--loglevel", "warning"]


class Client:
    """Speaks Redis's protocol over a Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(CLIENT_SECONDS)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        self.socket.sendall(b"".join(parts))

    def receive(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(rest))]
        if kind not in (b"+", b":"):
            raise ConnectionError("the server has gone")
        return rest

    def __call__(self, *words):
        self.send(*words)
        return self.receive()

    def all(self, commands):
        """Many commands, some under way at a time; yields the answers."""
        under_way = 0
        for words in commands:
            self.send(*words)
            under_way += 1
            if under_way == 50:
                for _ in range(under_way):
                    yield self.receive()
                under_way = 0
        for _ in range(under_way):
            yield self.receive()

    def info(self, name):
        return re.search(rb"%s:([^\r]*)" % name.encode(), self("INFO"))[1].decode()


def answers(path):
    """Whether a server is there, and has read its data."""
    try:
        return Client(path)("PING") == b"PONG"
    except (OSError, RuntimeError):
        return False
