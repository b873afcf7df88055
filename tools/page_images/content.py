# SPDX-License-Identifier: MIT
"""Realistic content, the same for the same seed: people who do not exist, their sessions and orders, and English text.

The text is paragraphs of a file that the caller names (the project's own documents and sources), so that images may go into
the repository. Kept free of other modules of ours: the Python workload takes it along.
"""
import json
import random

FIRST = ("Ada Amir Anna Ben Chloe Daniel Elena Emma Felix Grace Hana Ivan Jakob Jana Kofi Lena Liam Lucia Mateo Mei Mila Nora "
         "Oscar Priya Rosa Sam Sofia Tomas Viktor Yuki Zoe").split()
LAST = ("Adler Brandt Costa Dahl Eriksen Fischer Garcia Haas Ito Jensen Kaya Larsen Moreau Novak Okafor Patel Quist Rossi Sato "
        "Tanaka Ueda Vogel Weber Yilmaz Zhang").split()
CITIES = "Aachen Bergen Cordoba Delft Esbjerg Fukuoka Ghent Hobart Izmir Jena Kyoto Lyon Malaga Nantes Oulu Porto".split()
STREETS = "Station Road,High Street,Mill Lane,Park Avenue,Church Street,Harbour View,Garden Way".split(",")
STATES = ["new", "paid", "packed", "shipped", "delivered", "returned"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
          "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
          "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"]
SITES = ["https://www.example.com/products/", "https://www.example.com/cart", "https://shop.example.org/search?q="]


class Content:
    """An endless supply of records."""

    def __init__(self, text_file, seed):
        self.random = random.Random(seed)
        with open(text_file, encoding="utf-8") as file:
            self.paragraphs = [p for p in file.read().split("\n\n") if len(p) > 40]

    def name(self):
        return f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"

    def date(self):
        r = self.random
        return f"20{r.randrange(18, 26)}-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}T{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}Z"

    def token(self, n):
        """`n` hex digits."""
        return f"{self.random.getrandbits(4 * n):0{n}x}"

    def blob(self, n):
        """What no compressor can do anything about: a picture, an archive, something encrypted."""
        return self.random.randbytes(n)

    def text(self, least):
        """Paragraphs of at least so many characters in all."""
        parts, size = [], 0
        while size < least:
            parts.append(self.random.choice(self.paragraphs))
            size += len(parts[-1]) + 2
        return "\n\n".join(parts)

    def user(self, number):
        name, r = self.name(), self.random
        return {"id": number, "name": name, "email": f"{name.lower().replace(' ', '.')}{number}@example.com",
                "street": f"{r.randrange(1, 200)} {r.choice(STREETS)}", "city": r.choice(CITIES), "zip": f"{r.randrange(10000, 99999)}",
                "created": self.date(), "balance": round(r.gauss(120, 80), 2), "active": r.random() < 0.8}

    def order(self, number):
        r = self.random
        return {"id": number, "user": r.randrange(1, 200000), "state": r.choice(STATES), "placed": self.date(),
                "total": round(r.lognormvariate(3.5, 0.8), 2),
                "items": [{"sku": f"SKU-{r.randrange(100000):05}", "count": r.randrange(1, 5), "price": round(r.lognormvariate(2.5, 0.7), 2)}
                          for _ in range(r.randrange(1, 6))]}

    def session(self, number):
        r = self.random
        return {"sid": self.token(32), "user": number, "csrf": self.token(40), "agent": r.choice(AGENTS),
                "ip": f"192.0.2.{r.randrange(1, 255)}", "created": self.date(), "seen": self.date(),
                "cart": [f"SKU-{r.randrange(100000):05}" for _ in range(r.randrange(0, 8))],
                "history": [r.choice(SITES) + self.token(8) for _ in range(r.randrange(1, 6))],
                "flags": {"dark": r.random() < 0.5, "beta": r.random() < 0.1, "locale": r.choice(["en", "de", "fr", "ja"])}}

    def json(self, value):
        return json.dumps(value, separators=(",", ":"))
