# SPDX-License-Identifier: MIT
"""Tables, each (title, header, rows) of text: printed, and put into a document."""
import re
import sys


def print_table(table):
    title, header, rows = table
    columns = range(len(header))
    widths = [max(len(row[i]) for row in [header, *rows]) for i in columns]
    has_numbers = [i and any(row[i][:1].isdigit() for row in rows) for i in columns]
    print(f"\n{title}")
    for row in [header, *rows]:
        print("  ".join(row[i].rjust(widths[i]) if has_numbers[i] else row[i].ljust(widths[i]) for i in columns).rstrip())


def check_document(name, path, titles):
    """Before anything is measured: the document has a place for each table, and can be written. `name` is the program's."""
    text = path.read_text(encoding="utf-8")
    for title in titles:
        if f"<!-- {title} -->\n" not in text:
            sys.exit(f"{name}: {path} has no place for '{title}'")
    path.open("a", encoding="utf-8").close()


def update_document(path, tables):
    """Puts each table in the place of the one that stands below `<!-- its title -->`."""
    text = path.read_text(encoding="utf-8")
    for title, header, rows in tables:
        lines = "".join("| " + " | ".join(cells) + " |\n" for cells in (header, ["---"] * len(header), *rows))
        text = re.sub(rf"(<!-- {re.escape(title)} -->\n)(?:\|.*\n)*", lambda found: found[1] + lines, text)
    path.write_text(text, encoding="utf-8")
