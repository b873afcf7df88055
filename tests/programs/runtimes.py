# SPDX-License-Identifier: MIT
"""Python, Node.js and Java: virtual machines that reserve address space, commit and protect parts of it, and collect garbage."""
from harness.program import Program

PYTHON = """
import hashlib, sys
records = {}
for i in range(int(sys.argv[1])):
    body = " ".join(f"line {i + n} of the letter that user {i * 7919 % 1000 + n} wrote" for n in range(100))
    records[f"user-{i}"] = {"mail": f"user{i}@example.org", "visits": [i % 13, i % 17], "body": body}
for turn in range(2):
    digest = hashlib.sha256()
    for key, record in records.items():
        record["visits"].append(turn)
        digest.update(f"{key}{record}".encode())
    print(digest.hexdigest())
"""

NODE = """
'use strict';
const crypto = require('crypto');
const count = Number(process.argv[2]);
let seed = 12345;
function random() { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed; }
const map = new Map(), list = [], buffers = [];
for (let i = 0; i < count; i++) {
  const o = { id: i, name: `name-${random().toString(36)}`, values: [random(), random() / 7, String(i)], next: null };
  if (i && i % 3) list[random() % list.length].next = o;
  list.push(o);
  map.set(o.name + i, o);
  if (i % 64 === 0) buffers.push(Buffer.alloc(8192, i & 255));
}
for (let round = 0; round < 3; round++) {
  for (let i = 0; i < count / 4; i++) {  // garbage, and survivors in new places
    const at = random() % count, o = list[at];
    list[at] = { id: o.id, name: o.name, values: o.values.map(v => v), next: o.next };
    map.set(o.name + o.id, list[at]);
  }
  for (const b of buffers) b[random() % b.length] ^= round + 1;
}
const hash = crypto.createHash('sha256');
for (const o of list) hash.update(`${o.id} ${o.name} ${o.values.join()} ${o.next ? o.next.id : '-'}\\n`);
for (const [key, o] of map) hash.update(key + o.id);
for (const b of buffers) hash.update(b);
console.log(count, map.size, hash.digest('hex'));
"""

# os/user has it linked to libc (cgo), of which Go then asks its memory.
GO = """package main

import (
	"crypto/sha256"
	"fmt"
	"os/user"
	"sync"
)

type text struct{ words []string }

func main() {
	maps := make([]map[string]*text, 4)
	var all sync.WaitGroup
	for n := range maps {
		maps[n] = map[string]*text{}
		all.Add(1)
		go func(kept map[string]*text, n int) {
			defer all.Done()
			for i := 0; i < 300000; i++ {
				kept[fmt.Sprint("key ", i%100000)] = &text{[]string{fmt.Sprint("value ", i*n), fmt.Sprintf("%0200d", i)}}
			}
		}(maps[n], n)
	}
	all.Wait()
	_, err := user.Lookup("root")
	digest := sha256.New()
	for i := 0; i < 100000; i++ {
		for n := range maps {
			for _, word := range maps[n][fmt.Sprint("key ", i)].words {
				digest.Write([]byte(word))
			}
		}
	}
	fmt.Printf("%x %v\\n", digest.Sum(nil), err)
}
"""

JAVA = """
import java.security.MessageDigest;
import java.util.HashMap;

public class Heap {
    static long seed = 12345;

    static int random(int below) {
        seed = seed * 6364136223846793005L + 1442695040888963407L;
        return (int) (seed >>> 33) % below;
    }

    public static void main(String[] arguments) throws Exception {
        int count = Integer.parseInt(arguments[0]);
        HashMap<String, byte[]> map = new HashMap<>();
        for (int i = 0; i < count; i++) {
            map.put("key-" + i, ("value " + random(1 << 30) + " of " + i).getBytes());
        }
        String[] texts = new String[count / 4];
        for (int round = 0; round < 4; round++) {  // garbage, and survivors in new places
            for (int i = 0; i < count / 4; i++) {
                String key = "key-" + random(count);
                map.put(key, (new String(map.get(key)) + round).getBytes());
                texts[i] = key + round;
            }
        }
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (int i = 0; i < count; i++) {
            digest.update(map.get("key-" + i));
        }
        for (String text : texts) {
            digest.update(text.getBytes());
        }
        System.out.println(map.size() + " " + new java.math.BigInteger(1, digest.digest()).toString(16));
    }
}
"""


class Python(Program):
    """A dictionary of letters, read twice from end to end; their digest."""
    name = "python"
    packages = ["python3"]
    small = True

    def prepare(self, place):
        place.write("letters.py", PYTHON)

    def run(self, run):
        done = run.program(["/usr/bin/python3", run.prepared / "letters.py", "30000" if run.small else "125000"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("digest of all letters", done.output)


class Node(Program):
    """Objects, maps and buffers under V8's garbage collector; their digest."""
    name = "node"
    packages = ["nodejs"]
    share = 0.3  # its collector goes through the whole heap, again and again

    def prepare(self, place):
        place.write("heap.js", NODE)

    def run(self, run):
        done = run.program(["node", "--max-old-space-size=1024", run.prepared / "heap.js", "400000"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("digest of the heap", done.output)


class Java(Program):
    """A map of 800,000 strings under the serial collector; its digest."""
    name = "java-serial"
    packages = ["default-jdk-headless"]
    share = 0.35  # a full collection goes through all of the heap, several times over
    collector = "UseSerialGC"

    def prepare(self, place):
        place.write("Heap.java", JAVA)
        place.command(["javac", "Heap.java"])

    def run(self, run):
        done = run.program(["java", f"-XX:+{self.collector}", "-Xmx512m", "-XX:-UsePerfData", "-cp", run.prepared, "Heap", "800000"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("digest of the heap", done.output)


class JavaG1(Java):
    """The same under G1, which collects beside the program, region by region."""
    name = "java-g1"
    collector = "UseG1GC"


class JavaParallel(Java):
    """The same under the parallel collector."""
    name = "java-parallel"
    collector = "UseParallelGC"


class JavaZ(Java):
    """The same under ZGC, whose heap is mapped three times at addresses of its own: shared memory, which is not managed."""
    name = "java-z"
    collector = "UseZGC"
    pressed = False


def go_environment(folder):
    return {"HOME": str(folder), "GOCACHE": str(folder / "cache"), "GOPROXY": "off"}


class Go(Program):
    """A Go program with libc: four maps filled at once, and garbage; and Go's compiler"""
    name = "go"
    packages = ["golang-go", "gcc", "libc6-dev"]

    def prepare(self, place):
        place.command(["go", "build", "-o", "heap", place.write("program.go", GO)], **go_environment(place.folder), CGO_ENABLED="1",
                      PATH="/usr/bin:/bin")

    def run(self, run):
        done = run.program([run.prepared / "heap"])
        run.test("ends well", done.status == 0, f"status {done.status}")
        run.same("digest of the heap", done.output)
        done = run.program(["sh", "-c", 'go vet "$0" && go build -o built "$0" && ls built', run.prepared / "program.go"],
                           environment=go_environment(run.folder))
        run.test("go vet, go build", done.status == 0, done.errors.read_text()[-300:])
