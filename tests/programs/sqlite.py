# SPDX-License-Identifier: MIT
"""SQLite: a database in memory, and SQLite's own tests."""
import os
import re

from harness.program import Program

SQL = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, day TEXT, item TEXT, note TEXT, price INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO orders SELECT i, i * 7919 % 50021, date('2020-01-01', (i * 31 % 1500) || ' days'), 'item ' || (i * 104729 % 9973),
    printf('delivered to door %d, signed by customer %d; parcel %08x, no complaint so far. %.*c Route %d over depot %d, %d km, '
        || 'van %04x. %s Weight %d g, value %d, insured up to %d; next attempt, if any, on day %d of the year. %.*c',
        i % 90, i * 7919 % 50021, i * 2654435761 % 4294967296, 150 + i % 200, 'x', i % 311, i % 17, i % 400, i * 40503 % 65536,
        hex(i * 2654435761) || hex(i * 40503), i % 20000, i * 31 % 100000, i * 7 % 5000, i % 365, 100 + i % 300, 'y'), i * 7 % 1000
    FROM n;
CREATE INDEX by_customer ON orders (customer, day);
SELECT count(*), sum(price), sum(length(note)) FROM orders;
SELECT customer, count(*), min(day), max(day) FROM orders GROUP BY customer ORDER BY 2 DESC, 1 LIMIT 20;
SELECT sum(price), sum(length(note)) FROM orders WHERE note LIKE '%depot 13%' AND note NOT LIKE '%van 00%';
SELECT sum(o.price), sum(length(p.note)) FROM orders o JOIN orders p ON p.id = o.id * 48271 % {rows} + 1 WHERE o.id % 20 = 0;
DELETE FROM orders WHERE id % 3 = 0;
UPDATE orders SET note = upper(note) WHERE id % 7 = 0;
VACUUM;
PRAGMA integrity_check;
PRAGMA page_count;
SELECT hex(sha3_query('SELECT * FROM orders'));
"""


class Sqlite(Program):
    """sqlite3 :memory: with rows, an index, joins, VACUUM"""
    name = "sqlite"
    packages = ["sqlite3"]
    small = True

    def run(self, run):
        script = SQL.format(rows=80_000 if run.small else 400_000)
        done = run.program(["sqlite3", ":memory:"], input=script.encode())
        run.test("ends well", done.status == 0, done.errors.read_text())
        run.same("answers", done.output)


# Of all corners, each done in a few seconds.
FILES = """alter autoindex1 auth backup between bigrow blob capi2 collate1 conflict create_index date delete
    delete3 descidx1 distinct enc2 fkey1 fts3aa fts3ab hook in in3 incrblob index insert insert2 intarray
    interrupt join join2 json101 lastinsert limit memdb memdb1 minmax misc1 misc5 mmap2 mutex1 notnull null
    orderby1 pagesize pcache pcache2 pragma rowid rtree savepoint schema select1 select2 select4 select7 selectA
    sort stmt subquery subselect tableapi temptable trigger1 triggerB types unique update vacuum view vtab1 where
    where9 window1 with1 without_rowid1""".split()
DONE = re.compile(r"^(\d+) errors out of (\d+) tests", re.MULTILINE)
TEST_LINE = re.compile(r"^(?:! )?(\S+?)(?:\.\.\. (Ok)| expected:|\.\.\.\nError: )", re.MULTILINE)


class SqliteTests(Program):
    """SQLite's own tests, of Debian's source package, in a testfixture built from it"""
    name = "sqlite-tests"
    packages = ["gcc", "libc6-dev", "make", "tcl", "tcl-dev"]
    source = "sqlite3"
    least = 16
    seconds = 600

    def prepare(self, place):
        def build(folder):
            place.command([place.source / "configure", "--disable-shared", f"--with-tcl={tcl_library()}", "CFLAGS=-O1"],
                          folder)
            place.command(["make", f"-j{os.cpu_count()}", "testfixture"], folder)
            return ""
        self.fixture = place.keep("sqlite-testfixture", build) / "testfixture"

    def run(self, run):
        for name in FILES:
            script = run.source / "test" / f"{name}.test"
            if not script.exists():
                continue
            done = run.program([self.fixture, script])
            text = done.output.decode(errors="replace")
            summary = DONE.search(text)
            run.test(f"{name}: ends", done.status == 0 and summary, f"status {done.status}, {text[-200:]}")
            for match in TEST_LINE.finditer(text):
                run.test(f"{name}: {match[1]}", match[2], match[0])


def tcl_library():
    for folder in ("/usr/lib/x86_64-linux-gnu/tcl8.6", "/usr/lib/tcl8.6"):
        if os.path.exists(f"{folder}/tclConfig.sh"):
            return folder
    return "/usr/lib"
