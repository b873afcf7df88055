# SPDX-License-Identifier: MIT
"""Packages and source packages of Debian, from wherever this machine's apt has its packages."""
import os
import pathlib
import re
import subprocess

from harness.program import Missing

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCES = pathlib.Path("/etc/apt")


def missing_packages(packages):
    answer = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Status}\n", *packages], capture_output=True, text=True,
                            check=False).stdout
    have = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in have]


def install(packages, log):
    """Installs what is missing, or raises Missing."""
    if not packages or not missing_packages(packages):
        return
    with log.open("ab") as file:
        subprocess.run([ROOT / "tools/install-deps.sh", "--", *packages], stdout=file, stderr=file, check=False)
    missing = missing_packages(packages)
    if missing:
        raise Missing(f"{', '.join(missing)} cannot be installed (see {log})")


def write_source_list(folder):
    """The lists of packages that apt uses, with `deb-src` for `deb`."""
    folder.mkdir()
    for path in [SOURCES / "sources.list", *SOURCES.glob("sources.list.d/*")]:
        if path.suffix not in (".list", ".sources") or not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sources":
            text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
        else:
            text = re.sub(r"^deb\s", "deb-src ", text, flags=re.MULTILINE)
        (folder / path.name).write_text(text, encoding="utf-8")


def unpack_source(package, folder, log):
    """The folder below `folder` in which the source package lies unpacked, or Missing. Nothing of apt's own is changed."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    write_source_list(folder / "sources")
    apt = ["apt-get", "-q", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder / 'sources'}",
           "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder / 'cache'}"]
    apt += ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    with log.open("ab") as file:
        for command in (["update"], ["source", package]):
            if subprocess.run([*apt, *command], cwd=folder, stdout=file, stderr=file, check=False).returncode:
                raise Missing(f"apt does not give the source package {package} (see {log})")
    unpacked = [path for path in folder.iterdir() if (path / "debian/control").exists()]
    if len(unpacked) != 1:
        raise Missing(f"the source package {package} was not unpacked (see {log})")
    return unpacked[0]
