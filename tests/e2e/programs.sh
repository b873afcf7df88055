#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs of Debian, unchanged: what they print under `uzswap run`, with a quarter of the memory they need, is what they
# print without it.
. "$(dirname "$0")/lib.sh"

# Debian's own, not one that comes first in the path for other reasons.
python=/usr/bin/python3

# compare NAME MEMORY COMMAND...: runs it with standard input from $work/NAME.in, if there is one
compare() {
    name=$1
    memory=$2
    shift 2
    input=/dev/null
    [ ! -e "$work/$name.in" ] || input=$work/$name.in
    start=$(date +%s)
    check "$name runs without uzswap" run_to "$work/$name.native" "$input" "$@"
    middle=$(date +%s)
    check "$name runs in $memory MiB" run_to "$work/$name.managed" "$input" \
        "$UZSWAP" run --quiet --memory "${memory}M" --swap-size 2G --stats "$work/$name.stats" -- "$@"
    end=$(date +%s)
    check "$name prints the same" cmp "$work/$name.native" "$work/$name.managed"
    check "$name stays within its budget" within_budget "$work/$name.stats" "$memory"
    check "$name had pages out" more_than "$work/$name.stats" evicted_pages $((memory * 256))
    say "$name: $((middle - start)) s without, $((end - middle)) s with uzswap;" \
        "peak $(($(figure "$work/$name.stats" peak_bytes) / MIB)) MiB of $memory MiB"
    rm -f "$work/$name".*
}

# run_to OUTPUT INPUT COMMAND...
run_to() {
    output=$1
    from=$2
    shift 2
    "$@" > "$output" < "$from"
}

cat > "$work/sqlite.in" << 'SQL'
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, day TEXT, item TEXT, note TEXT, price INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 550000)
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
SELECT sum(o.price), sum(length(p.note)) FROM orders o JOIN orders p ON p.id = o.id * 48271 % 500000 + 1 WHERE o.id % 20 = 0;
PRAGMA page_count;
SQL
compare sqlite 128 sqlite3 :memory:

cat > "$work/objects.py" << 'PYTHON'
import hashlib

records = {}
for i in range(125_000):
    body = " ".join(f"line {i + n} of the letter that user {i * 7919 % 1000 + n} wrote" for n in range(100))
    records[f"user-{i}"] = {"mail": f"user{i}@example.org", "visits": [i % 13, i % 17], "body": body}
for turn in range(2):
    digest = hashlib.sha256()
    for key, record in records.items():
        record["visits"].append(turn)
        digest.update(f"{key}{record}".encode())
    print(digest.hexdigest())
PYTHON
compare python 150 $python "$work/objects.py"

awk 'BEGIN {
    for (n = 0; n < 60; n++) filler = filler " filler " n
    srand(1)
    for (i = 0; i < 800000; i++) printf "%08d %s line %d%s\n", rand() * 1e8, i % 97, i, substr(filler, i % 50, 520)
}' > "$work/sort.in"
LC_ALL=C
export LC_ALL
compare sort 128 sort -S 500M --parallel=2
finish
