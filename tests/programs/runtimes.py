# SPDX-License-Identifier: MIT
"""Node.js and Java: virtual machines that reserve address space, commit and protect parts of it, and collect garbage."""
from harness.program import Program

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


class Node(Program):
    """Objects, maps and buffers under V8's garbage collector; their digest."""
    name = "node"
    packages = ["nodejs"]
    share = 0.3

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
    share = 0.35
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
