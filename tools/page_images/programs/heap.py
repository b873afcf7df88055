# SPDX-License-Identifier: MIT
"""The Python workload: heap.py TEXT MIB. Dictionaries, lists, strings and objects until it holds MIB; then says so and waits."""
import sys

from content import Content

MIB = 1 << 20


class Order:
    def __init__(self, fields):
        self.__dict__.update(fields)


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def main():
    content, wanted = Content(sys.argv[1], 4), int(sys.argv[2]) * MIB
    users, sessions, orders, texts, prices, index = {}, {}, [], [], [], {}
    number = 0
    while resident() < wanted:
        for number in range(number, number + 500):
            users[number] = content.user(number)
            session = content.session(number)
            sessions[session["sid"]] = session
            orders.append(Order(content.order(number)))
            prices.extend(content.random.gauss(50, 10) for _ in range(40))
            if number % 4 == 0:
                texts.append(content.text(1500))
            for word in content.random.choice(content.paragraphs).split():
                index.setdefault(word, []).append(number)
            if number % 3 == 0:  # what was there before goes, as in a program that has run for a while
                users.pop(content.random.randrange(number + 1), None)
                orders[content.random.randrange(len(orders))] = None
        number += 1
    print("ready", flush=True)
    sys.stdin.read()


main()
