#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Are the documents and file lists true, as far as a program can tell?

- every relative link of a .md file leads to a file
- every `make X` in a .md file is a target of the Makefile
- README.md's table of options is the one of src/base/run_options.c
- every .c file is in the meson.build of its folder (or built by a script there), and every test script too
- every source file, script and meson.build says its licence
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["src", "include", "tests", "bench", "examples", "tools", "demo"]
complaints = []


def complain(path, text):
    complaints.append(f"{path.relative_to(ROOT)}: {text}")


def files(*patterns):
    return sorted(path for folder in FOLDERS for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def check_documents():
    documents = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if not documents:
        complaints.append("no document found")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in documents:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in link and not (path.parent / link).exists():
                complain(path, f"link to {link}, which does not exist")
        for target in re.findall(r"(?:`|^\$ |^    )make ([a-z-]+)", text, re.MULTILINE):
            if target not in targets:
                complain(path, f"`make {target}`, which is no target")


def check_options():
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--([a-z-]+).*?` \| `(UZSWAP_[A-Z_]+)`", text, re.MULTILINE))
    table = dict(re.findall(r'\{"([a-z-]+)", "(UZSWAP_[A-Z_]+)"', (ROOT / "src/base/run_options.c").read_text()))
    for name in sorted({*rows, *table}):
        if rows.get(name) != table.get(name):
            complain(readme, f"--{name}: {rows.get(name)} in its table, {table.get(name)} in run_options.c")


def check_file_lists():
    for path in files("*.c"):
        build = path.parent / "meson.build"
        if not build.exists():
            complain(path, "its folder has no meson.build")
        elif not any(name in build.read_text() for name in (f"'{path.name}'", f"'{path.stem}'")) and not any(
                path.name in script.read_text() for script in path.parent.glob("*.py")):
            complain(path, f"not named in {build.relative_to(ROOT)}")
    for path in (ROOT / "tests/e2e").glob("*.sh"):
        if path.name != "lib.sh" and f"'{path.stem}'" not in (path.parent / "meson.build").read_text():
            complain(path, "not named in tests/e2e/meson.build")


def check_licences():
    for path in files("*.[ch]", "*.cc", "*.hpp", "*.pml", "*.py", "*.sh", "meson.build"):
        if "SPDX-License-Identifier: MIT" not in "".join(path.read_text(encoding="utf-8").splitlines()[:3]):
            complain(path, "no SPDX line at its head")


def main():
    check_documents()
    check_options()
    check_file_lists()
    check_licences()
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
