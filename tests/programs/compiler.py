# SPDX-License-Identifier: MIT
"""g++ with a file that takes it hundreds of MiB, and make -j4: object files must be the same, byte for byte."""
from harness.program import Program

HEAD = """#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
"""
# Each is its own type, so that every template is made anew.
UNIT = """
namespace unit{0} {{
struct Key {{ int a; std::string b; bool operator<(const Key &o) const {{ return std::tie(a, b) < std::tie(o.a, o.b); }} }};
using Value = std::variant<int, std::string, std::vector<Key>, std::map<Key, int>>;
struct Node {{ Key key; Value value; std::vector<std::unique_ptr<Node>> children; }};
std::map<Key, std::vector<Node>> nodes;
int visit_all(const std::function<int(const Node &)> &f) {{
    int sum = 0;
    for (auto &[key, list] : nodes) {{
        std::vector<std::pair<int, Key>> order;
        for (auto &node : list)
            order.emplace_back(f(node), node.key);
        std::sort(order.begin(), order.end());
        std::stable_sort(order.begin(), order.end(), [](auto &a, auto &b) {{ return b.second < a.second; }});
        sum += std::accumulate(order.begin(), order.end(), {0}, [](int n, auto &p) {{ return n + p.first; }});
    }}
    return sum;
}}
int depth(const Node &n) {{
    return std::visit([](auto &v) -> int {{
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, int>) return v; else return int(v.size());
    }}, n.value);
}}
int run() {{ return visit_all(depth); }}
}}
"""
MAKEFILE = """objects := $(patsubst %.cc,%.o,$(wildcard *.cc))
all: program
program: $(objects)
\tg++ -o $@ $^
%.o: %.cc
\tg++ -O1 -g -std=c++17 -c -o $@ $<
"""
FILES = 4


class Compiler(Program):
    """g++ -O2 -g of one file with many templates"""
    name = "g++"
    packages = ["g++"]
    seconds = 600

    def prepare(self, place):
        place.write("large.cc", HEAD + "".join(UNIT.format(i) for i in range(10)) + "int main() { return unit7::run(); }\n")

    def run(self, run):
        done = run.program(["g++", "-O2", "-g", "-std=c++17", "-c", "-o", "large.o", run.prepared / "large.cc"])
        run.test("ends well", done.status == 0, done.errors.read_text()[-500:])
        run.same("large.o", "large.o")


class Make(Program):
    """make -j4 of a small project in C++"""
    name = "make -j4"
    packages = ["g++", "make"]
    seconds = 600

    def prepare(self, place):
        for i in range(FILES):
            units = "".join(UNIT.format(4 * i + n) for n in range(2))
            place.write(f"part{i}.cc", HEAD + units + f"int part{i}() {{ return unit{4 * i}::run(); }}\n")
        place.write("main.cc", "".join(f"int part{i}();\n" for i in range(FILES)) + "int main() { return part0() + part3(); }\n")
        place.write("Makefile", MAKEFILE)

    def run(self, run):
        for path in run.prepared.iterdir():
            (run.folder / path.name).write_bytes(path.read_bytes())
        done = run.program(["make", "-j4"])
        run.test("ends well", done.status == 0, done.errors.read_text()[-500:])
        for path in sorted(run.prepared.glob("*.cc")):
            run.same(f"{path.stem}.o", f"{path.stem}.o")
        run.same("program", "program")
        run.test("the program runs", run.helper(["./program"]).status == 0)
