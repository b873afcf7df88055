# SPDX-License-Identifier: MIT
"""What must not be in an image that others will see: anything of this machine, its people, or its secrets.

The rules are patterns for what looks like a secret anywhere, and what this machine calls itself: its names,
addresses, and the environment that this tool was started with.
"""
import os
import pathlib
import pwd
import re
import socket

# Reason, pattern, and strings without one of which the pattern cannot match, in small letters: those are looked for first, as
# they cost a hundredth.
PATTERNS = [
    ("key or certificate", rb"-----BEGIN|PRIVATE KEY|ssh-(?:rsa|ed25519) AAAA", [b"-----begin", b"private key", b"ssh-"]),
    ("token", rb"gh[pousr]_[0-9a-z]{20}|glpat-|xox[abp]-[0-9]|AKIA[0-9A-Z]{16}|Bearer [0-9a-z._-]{16}|eyJhbGciOi",
     [b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"glpat-", b"xox", b"akia", b"bearer ", b"eyjhbgcioi"]),
    ("password", rb"(?:passw(?:or)?d|secret|api_?key|access_?token)[\"' ]{0,3}[=:][\"' ]{0,3}[^\s\"']{6}",
     [b"passw", b"secret", b"apikey", b"api_key", b"access"]),
    ("address of a person",
     rb"[a-z0-9_.+-]+@(?!example\.)[a-z0-9-]+\.(?:[a-z0-9-]+\.)*(?:com|org|net|edu|de|io|uk|fr|dev)\b", [b"@"]),
    ("URL with credentials", rb"[a-z]{2,8}://[^/\s:@\x00]+:[^/\s:@\x00]+@", [b"://"]),
    ("private path", rb"/(?:home|root|workspace|builds?)/[a-z0-9._-]|/tmp/(?!page-images)[a-z0-9]",
     [b"/home/", b"/root/", b"/workspace/", b"/build", b"/tmp/"]),
    ("registry", rb"pypi\.|npmjs|crates\.io|artifactory|deb\.debian|proxy\.golang",
     [b"pypi.", b"npmjs", b"crates.io", b"artifactory", b"deb.debian", b"proxy.golang"]),
    ("environment", rb"\b(?:SSH_|AWS_|DBUS_SESSION|XAUTHORITY|https?_proxy|LD_PRELOAD|OLDPWD)\w*=",
     [b"ssh_", b"aws_", b"dbus_session", b"xauthority", b"_proxy", b"ld_preload", b"oldpwd"]),
]
SYSTEM_PATHS = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/var", "/opt")
SHORTEST = 6  # bytes of a name that is looked for: shorter ones are in every program's memory


def machine_words():
    """What this machine and its user are called."""
    here = [os.getcwd(), str(pathlib.Path(__file__).resolve().parent.parent.parent)]
    words = {socket.gethostname(), socket.getfqdn(), os.uname().release, *here}
    words |= {f"/{path.split('/')[1]}/" for path in here if not path.startswith("/tmp/")}
    words |= {entry.pw_name for entry in pwd.getpwall() if 1000 <= entry.pw_uid < 60000}
    for value in os.environ.values():
        words |= {word for word in re.split(r"[:;,\s]", value) if len(word) >= 12}
    for kind in ("machine-id", "hostname"):
        try:
            words.add(open(f"/etc/{kind}", encoding="utf-8").read().strip())
        except OSError:
            pass
    for link in os.listdir("/sys/class/net"):
        try:
            words.add(open(f"/sys/class/net/{link}/address", encoding="ascii").read().strip())
        except OSError:
            pass
    harmless = {"localhost", "localdomain", "00:00:00:00:00:00"}
    return sorted(w for w in words if len(w) >= SHORTEST and w not in harmless and not w.startswith(SYSTEM_PATHS))


class Rules:
    """Gives the reason to refuse a page, or None. `more` are further patterns of the user's."""

    def __init__(self, more=()):
        own = [w.lower().encode() for w in machine_words()]
        rules = [*PATTERNS, *[("of this machine", re.escape(word), [word]) for word in own],
                 *[("--refuse", pattern.encode(), [b""]) for pattern in more]]
        self.rules = [(reason, re.compile(pattern, re.IGNORECASE), strings) for reason, pattern, strings in rules]

    def match(self, page):
        """(reason, what was found) or None. Text of two bytes a character is looked at as well."""
        texts = [page]
        if page.count(0) > len(page) // 8:
            texts += [page[::2], page[1::2]]
        for text in texts:
            small = text.lower()
            for reason, pattern, strings in self.rules:
                found = any(string in small for string in strings) and pattern.search(text)
                if found:
                    return reason, found[0]
        return None

    def __call__(self, page):
        found = self.match(page)
        return found[0] if found else None
