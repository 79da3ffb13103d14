"""Makes a supplier's catalogue: a CSV file of some thousand rows, two of them wrong. The same seed, the same file.

python -m examples.shop.make_catalogue FILE
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

ROWS = 5_000
WRONG = {"NT-0666": {"price": "ask us"}, "NT-1313": {"stock": "some"}}

SIZES = ("Small", "Large", "Folding", "Spare", "Left-handed", "Waterproof")
COLOURS = ("red", "green", "blue", "black", "silver", "transparent")
THINGS = ("kettle", "umbrella", "bicycle bell", "lantern", "teapot", "ladder", "compass", "stapler")


def make_catalogue(file: Path, *, rows: int = ROWS, seed: int = 1) -> None:
    """Write the file."""
    chance = random.Random(seed)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, ["sku", "name", "price", "stock"])
        writer.writeheader()
        for number in range(1, rows + 1):
            sku = f"NT-{number:04}"
            words = (chance.choice(SIZES), chance.choice(COLOURS), chance.choice(THINGS))
            row = {
                "sku": sku,
                "name": " ".join(words),
                "price": f"{chance.randint(100, 20_000) / 100:.2f}",
                "stock": str(chance.randint(0, 500)),
            }
            writer.writerow({**row, **WRONG.get(sku, {})})


if __name__ == "__main__":
    make_catalogue(Path(sys.argv[1]))
