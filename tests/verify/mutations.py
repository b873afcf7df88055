#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants faults in the production lifecycle, one at a time, and requires that each is found.

A mutation replaces text of one source file, which must be there exactly once (so that this list cannot fall behind the
code). The file is compiled and linked before the rest of the program that explores it; the explorer then has to find a
violation, in one of the sets named with the mutation. Mutations of memory orders are relacy's (relacy/check.py --mutants).
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIFECYCLE, STORE, LOAD, WRITEBACK, AREA, CONTEXT, COMPACT, DEDUP, SHARED = (
    f"src/zswap/{name}.c" for name in ("lifecycle", "store", "load", "writeback", "area", "context", "compact", "dedup", "shared"))

# file: which; edits: (old, new) pairs; program: explore-lifecycles, explore-narrow (one load of an entry at a time, one chain of orphans) or explore-whole;
# sets: where to look, in order; one with a colon is a scenario
Mutation = collections.namedtuple("Mutation", "name file edits program sets")
PARTS, NARROW, WHOLE = "explore-lifecycles", "explore-narrow", "explore-whole"
USUAL = ("races", "pairs", "double")
WORD_LOOP = "    while (entry_content(seen) == content) {\n        if (swap_out("

MUTATIONS = [
    Mutation("writeback, move and exclusive load publish without looking whether the entry is still the same", LIFECYCLE,
             [(WORD_LOOP, "    while (true) {\n        if (swap_out(")], PARTS, USUAL),
    Mutation("replace frees an object that is held", LIFECYCLE,
             [("swap_out(lc, word, &seen, next, holders_of(seen))", "swap_out(lc, word, &seen, next, 0)")], PARTS, USUAL),
    Mutation("an orphan is born after the swap, outside of the lock", LIFECYCLE,
             [("    mutex_lock(&lc->lock);\n    bool swapped = atomic_cas_acq_rel(word, seen, next);\n    if (swapped) {\n"
               "        orphan_add(lc, content, holders_left);\n    }\n    mutex_unlock(&lc->lock);\n",
               "    bool swapped = atomic_cas_acq_rel(word, seen, next);\n    if (swapped) {\n        mutex_lock(&lc->lock);\n"
               "        orphan_add(lc, content, holders_left);\n        mutex_unlock(&lc->lock);\n    }\n")], PARTS, USUAL),
    Mutation("a load that finds its entry gone does not let go of the orphan", LIFECYCLE,
             [("        if (atomic_cas_release(word, &seen, seen - ENTRY_HOLDERS_ONE)) { /* letting go */\n            return;\n"
               "        }\n    }\n    leave_orphan(lc, content);\n",
               "        if (atomic_cas_release(word, &seen, seen - ENTRY_HOLDERS_ONE)) {\n            return;\n        }\n    }\n")],
             PARTS, USUAL),
    Mutation("a load lets go of whatever the word names now", LIFECYCLE,
             [("    while (entry_content(seen) == content) {\n        if (atomic_cas_release(word, &seen, seen - ENTRY_HOLDERS_ONE)",
               "    while (entry_holders(seen)) {\n        if (atomic_cas_release(word, &seen, seen - ENTRY_HOLDERS_ONE)")],
             PARTS, USUAL),
    Mutation("who swaps out a held object counts his own hold among those that stay", LIFECYCLE,
             [("swap_out(lc, word, &seen, next, holders_of(seen) - 1)", "swap_out(lc, word, &seen, next, holders_of(seen))")],
             PARTS, USUAL),
    Mutation("a writeback's hold is not counted", LIFECYCLE,
             [("entry_holders(word) + !!(word & ENTRY_WB)", "entry_holders(word)")], PARTS, USUAL),
    Mutation("two writebacks of one entry at once", LIFECYCLE,
             [("entry_kind(seen) == ENTRY_POOL && !(seen & ENTRY_WB)", "entry_kind(seen) == ENTRY_POOL")], WHOLE,
             ("faults: pool: store | load | writeback",)),
    Mutation("begin_writeback takes no hold", LIFECYCLE,
             [("seen & ~ENTRY_REF : seen | ENTRY_WB;", "seen & ~ENTRY_REF : seen;")], PARTS, USUAL),
    Mutation("abort_writeback keeps its hold", LIFECYCLE,
             [("seen & ~ENTRY_WB)) { /* letting go */", "seen)) {")], PARTS, USUAL),
    Mutation("the hold of a load is a plain write", LIFECYCLE,
             [("        if (atomic_cas_acquire(word, &seen, next)) { /* taking hold */\n            return next;\n        }\n    }\n}\n\nuint64_t lifecycle_hold",
               "        atomic_set_release(word, next);\n        return next;\n    }\n}\n\nuint64_t lifecycle_hold")], PARTS, USUAL),
    Mutation("the first holder to leave frees the orphan", LIFECYCLE,
             [("    if (--node->holders) {\n        return false;\n    }\n", "    node->holders--;\n")], PARTS,
             (*USUAL, "triples")),
    Mutation("an orphan's record is not taken out of its chain", LIFECYCLE,
             [("    *link = node->next;\n", "")], NARROW, ("overflow",)),
    Mutation("an object is freed before it is swapped out", LIFECYCLE,
             [("        if (!atomic_cas_acq_rel(word, seen, next)) {\n            return false;\n        }\n"
               "        if (entry_is_object(content)) {\n            lc->release(lc->owner, content);\n        }\n",
               "        if (entry_is_object(content)) {\n            lc->release(lc->owner, content);\n        }\n"
               "        if (!atomic_cas_acq_rel(word, seen, next)) {\n            return false;\n        }\n")], PARTS, USUAL),
    Mutation("a replaced object that nobody holds is not freed", LIFECYCLE,
             [("        if (entry_is_object(content)) {\n            lc->release(lc->owner, content);\n        }\n        return true;",
               "        return true;")], PARTS, USUAL),
    Mutation("the count of holders may run over", LIFECYCLE,
             [("unlikely(entry_holders(seen) == ENTRY_HOLDERS_MAX)", "entry_holders(seen) > ENTRY_HOLDERS_MAX")], NARROW,
             ("overflow",)),
    Mutation("a full count of holders makes a load wait for ever", LIFECYCLE,
             [("            return ENTRY_BUSY;\n", "            sys_yield();\n            continue;\n")], NARROW, ("overflow",)),
    Mutation("remove_filled removes what is there now", LIFECYCLE,
             [("    return atomic_cas_relaxed(word, &seen, 0);", "    atomic_set_relaxed(word, 0);\n    return seen != 0;")], WHOLE,
             ("pairs",)),
    Mutation("a store that fails leaves the older entry", STORE,
             [("        zswap_invalidate(z, entry);\n        return error;", "        return error;")], WHOLE, ("pairs",)),
    Mutation("an entry is published before its object is filled", STORE,
             [("    memcpy(z->pool->ops->map(z->pool, handle), from, bytes);\n    z->pool->ops->unmap(z->pool, handle);\n", ""),
              ("    uint64_t old = lifecycle_replace(&z->lifecycle, slot, word);\n    count_change(z, old, word);\n    if (old) {",
               "    uint64_t old = lifecycle_replace(&z->lifecycle, slot, word);\n    count_change(z, old, word);\n"
               "    if (entry_kind(word) == ENTRY_POOL) {\n"
               "        memcpy(z->pool->ops->map(z->pool, entry_name(word)), page, entry_bytes(word));\n"
               "        z->pool->ops->unmap(z->pool, entry_name(word));\n    }\n    if (old) {")], WHOLE, ("pairs",)),
    Mutation("an exclusive load removes what is there now, not what it read", LOAD,
             [("lifecycle_remove_held(&z->lifecycle, word, held)",
               "(lifecycle_unhold(&z->lifecycle, word, held), lifecycle_replace(&z->lifecycle, word, 0) != 0)")], WHOLE, ("pairs",)),
    Mutation("an exclusive load does not tell the LRU", LOAD,
             [("            area_lru_drop(z->areas[entry.type], entry.offset);\n", "")], WHOLE, ("pairs",)),
    Mutation("a writeback that came too late keeps its device slots", WRITEBACK,
             [("    } else {\n        swap_map_put(&z->map, item->first);\n    }\n", "    }\n")], WHOLE, ("pairs",)),
    Mutation("a write that failed is taken for done", WRITEBACK,
             [("if (item->dropped || b->runs[item->run].result) {", "if (item->dropped) {")], WHOLE, ("pairs",)),
    Mutation("an index page is given back under a store", STORE,
             [("if (!area_confirm(area, entry.offset)) {", "if (false) {")], WHOLE, ("pairs",)),
    Mutation("who gives an index page back looks, and does not freeze", AREA,
             [("if (!atomic_cas_acq_rel(&words[i], &empty, ENTRY_FROZEN)) {", "if (atomic_read_acquire(&words[i]) != empty) {")],
             WHOLE, ("pairs",)),
    Mutation("a page of links is given back though an entry is linked there", AREA,
             [("sparse_is_committed(&area->links, first) && !any_linked(area, first)", "sparse_is_committed(&area->links, first)")],
             WHOLE, ("pairs", "triples")),
    Mutation("links are given back without the LRU's lock", AREA,
             [("    SCOPED_LOCK(&area->lru_lock);\n    /* A linked entry here", "    /* A linked entry here")],
             WHOLE, ("pairs",)),
    Mutation("a sweep takes a glance for granted", AREA,
             [("        bytes += looks_empty(area, page) ? release_page(area, page) : release_links(area, page);\n",
               "        bool empty = looks_empty(area, page);\n        bytes += release_links(area, page);\n"
               "        if (empty) {\n            sparse_release_page(&area->words, page);\n        }\n")], WHOLE, ("pairs",)),
    Mutation("a store takes a frozen word for an empty one", LIFECYCLE,
             [("unlikely(seen == ENTRY_FROZEN)", "false")], WHOLE, ("pairs",)),
    Mutation("a load lets go before it reads the device", LOAD,
             [("    int error = read_entry_in_turn(z, context, entry, held, no_wait, page);\n    if (entry_is_object(held)) {\n"
               "        lifecycle_unhold(&z->lifecycle, word, held);\n    }\n",
               "    if (entry_kind(held) == ENTRY_DEVICE) {\n        lifecycle_unhold(&z->lifecycle, word, held);\n    }\n"
               "    int error = read_entry_in_turn(z, context, entry, held, no_wait, page);\n    if (entry_kind(held) == ENTRY_POOL) {\n"
               "        lifecycle_unhold(&z->lifecycle, word, held);\n    }\n")], WHOLE, ("pairs",)),
    Mutation("a load that has to try again keeps its place among those that wait", CONTEXT,
             [("    while (waiting < CONTEXTS_WAITING_MAX) {\n", "    while (waiting <= CONTEXTS_WAITING_MAX) {\n"),
              ("            return true;\n        }\n    }\n    return false;", "            return waiting < CONTEXTS_WAITING_MAX;\n        }\n    }\n    return false;")],
             WHOLE, ("pairs",)),
    Mutation("a write buffer is given back before its items have ended", WRITEBACK,
             [("static void complete_buffer(struct buffer *b)\n{\n    struct zswap *z = b->z;\n",
               "static void complete_buffer(struct buffer *b)\n{\n    struct zswap *z = b->z;\n    atomic_set_release(&b->busy, 0);\n")],
             WHOLE, ("pool: store writeback | writeback writeback",)),
    Mutation("a store waits for the write in flight", STORE,
             [("    uint64_t old = lifecycle_replace(&z->lifecycle, slot, word);\n    count_change(z, old, word);\n    if (old) {",
               "    while (atomic_read_acquire(slot) & ENTRY_WB && entry_is_object(atomic_read_acquire(slot))) {\n"
               "        cpu_relax();\n    }\n"
               "    uint64_t old = lifecycle_replace(&z->lifecycle, slot, word);\n    count_change(z, old, word);\n    if (old) {")],
             WHOLE, ("hang",)),
    Mutation("a compaction takes whatever object the entry has for the one it copies", COMPACT,
             [("entry_kind(word) == ENTRY_POOL && entry_name(word) == handle &&", "entry_kind(word) == ENTRY_POOL && handle &&")],
             WHOLE, ("pairs",)),
    Mutation("a compaction that finds another object keeps its hold", COMPACT,
             [("        lifecycle_unhold(&z->lifecycle, word, held);\n", "")], WHOLE, ("pairs",)),
    Mutation("a move that came too late is taken for done", COMPACT,
             [("    if (!lifecycle_move(&move->z->lifecycle, move->word, held, next)) {\n        return false;\n    }\n",
               "    lifecycle_move(&move->z->lifecycle, move->word, held, next);\n")], WHOLE, ("pairs",)),
    Mutation("an entry that is moved under a writeback is lost to the LRU", COMPACT,
             [("        area_lru_restore(move->area, move->offset);\n", "")], WHOLE, ("pairs",)),
    Mutation("a compaction takes the number of a reference for the object it copies", COMPACT,
             [(" &&\n           !entry_is_reference(word);", ";")], WHOLE, ("alike",)),
    Mutation("a count is raised once the page was compared", DEDUP,
             [("        if (s && shared_get(s)) {\n            shared = check_shared(z, context, (uint32_t)other.offset, page);\n        }\n",
               "        uint64_t held = s ? lifecycle_try_hold(&s->word, false) : 0;\n"
               "        if (entry_is_object(held)) {\n            bool equal = is_equal(z, context, held, page);\n"
               "            lifecycle_unhold(&z->lifecycle, &s->word, held);\n"
               "            shared = equal && shared_get(s) ? (uint32_t)other.offset : 0;\n        }\n")], WHOLE,
             ("alike: pool: store | area store store.1 invalidate",)),
    Mutation("a count is raised from 0", SHARED,
             [("    while (count) {\n", "    while (true) {\n")], WHOLE, ("alike",)),
    Mutation("a count is not given back when the other entry has changed meanwhile", DEDUP,
             [("    } else {\n        dedup_release(z, reference);\n    }\n    return shared;", "    }\n    return shared;")], WHOLE, ("alike",)),
    Mutation("a store whose page is another keeps its count", DEDUP,
             [("    if (!equal) {\n        drop(z, shared);\n        return 0;\n    }\n", "    if (!equal) {\n        return 0;\n    }\n")], WHOLE,
             ("alike",)),
    Mutation("pages of one hash are not compared", DEDUP,
             [("    z->pool->ops->unmap(z->pool, handle);\n    if (!equal) {", "    z->pool->ops->unmap(z->pool, handle);\n    equal = true;\n    if (!equal) {")],
             WHOLE, ("alike",)),
    Mutation("a count is there before the object", DEDUP,
             [("    struct shared *s = shared_at(&z->dedup->tables, number);\n    lifecycle_replace",
               "    struct shared *s = shared_at(&z->dedup->tables, number);\n    atomic_set_release(&s->count, 2);\n    lifecycle_replace")], WHOLE,
             ("alike: pool: store | area store store.1 invalidate",)),
    Mutation("the number of a shared object comes back before its word is empty", DEDUP,
             [("        uint64_t old = lifecycle_replace(&z->lifecycle, &s->word, 0);\n        count_object(z, old, -1);\n        shared_end(&z->dedup->tables, shared);\n",
               "        shared_end(&z->dedup->tables, shared);\n        uint64_t old = lifecycle_replace(&z->lifecycle, &s->word, 0);\n        count_object(z, old, -1);\n")],
             WHOLE, ("alike: pool: store | area store store.1 invalidate",)),
    Mutation("a load does not hold the shared object that it reads", LOAD,
             [("    int error = load_from_pool(z, context, held, page);\n    lifecycle_unhold(&z->lifecycle, word, held);\n",
               "    lifecycle_unhold(&z->lifecycle, word, held);\n    int error = load_from_pool(z, context, held, page);\n")], WHOLE,
             ("alike",)),
    Mutation("an entry that becomes a reference under a writeback is lost to the LRU", DEDUP,
             [("        area_lru_restore(other->area, other->offset);\n", "")], WHOLE, ("alike",)),
]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def mutate(mutation):
    text = (ROOT / mutation.file).read_text()
    for old, new in mutation.edits:
        if text.count(old) != 1:
            raise SystemExit(f"mutations: {mutation.name}: {mutation.file} has this {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new)
    return text


def build(mutation, number, options):
    """The program with the mutated file in place of its own. Its path."""
    source = options.work / f"mutant{number}.c"
    program = options.work / f"mutant{number}"
    source.write_text(mutate(mutation))
    narrow = ["-DENTRY_HOLDERS_BITS=1", "-DORPHAN_BUCKETS=1"] if mutation.program == NARROW else []
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-w", *options.flags.split(), *narrow]
    code, text = run([options.cc, *flags, str(source), *options.archives[mutation.program], "-o", str(program)])
    if code:
        raise SystemExit(f"mutations: {mutation.name}: does not build:\n{text}")
    return program


def hunt(mutation, number, options):
    """(set, kind of violation, scenario) of what was found first, None if nothing was."""
    program = build(mutation, number, options)
    for name in mutation.sets:
        code, text = run([str(program), "--scenario" if ":" in name else "--set", name, "--json", "--first"])
        if code < 0 or code > 1:
            return name, f"ends with status {code}", text[-300:]
        result = json.loads(text.splitlines()[-1])
        if result["violations"]:
            return name, result["violations"][0]["kind"], result["violations"][0]["scenario"]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="folder of the explorer's archives")
    parser.add_argument("--cc", default=os.environ.get("CC", "gcc"))
    parser.add_argument("--only", help="mutations whose name contains this")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, help="write what was found by what to this file")
    options = parser.parse_args()
    options.work = options.build / "mutants"
    options.work.mkdir(exist_ok=True)
    options.flags = f"-I{HERE}/shim -I{ROOT}/src -I{ROOT}"
    options.flags += " -DCONTEXTS_MAX=4 -DCONTEXTS_WAITING_MAX=1 -DBUFFERS=2 -DBUFFER_SLOTS=16 -DITEMS_MAX=4"
    core = str(options.build / "libexplorer.a")
    options.archives = {name: [str(options.build / f"lib{name}.a"), core] for name in (PARTS, NARROW, WHOLE)}
    wanted = [m for m in MUTATIONS if not options.only or options.only in m.name]
    table, missed = [], 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda pair: hunt(pair[1], pair[0], options), enumerate(wanted))
        for number, (mutation, found) in enumerate(zip(wanted, results), 1):
            missed += not found
            what = f"{mutation.name}: " + (f"{found[1]}, in {mutation.program} {found[0]}, {found[2]}" if found else "NOT FOUND")
            print(f"{'ok' if found else 'not ok'} {number} - mutation {what}" if options.tap else what, flush=True)
            table.append({"mutation": mutation.name, "file": mutation.file, "found": found})
    print(f"1..{len(wanted)}" if options.tap else f"{len(wanted) - missed} of {len(wanted)} found")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))
    return 1 if missed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
