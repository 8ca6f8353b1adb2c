"""Measures ddb-transfer beside others: one table, one CSV. CONTRIBUTING.md says how to read it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from contestants import boto3, floor, ours
from lab import Lab, open_lab
from report import Row, rows_of, table, write_csv

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 3
# Two sizes for each speed: between them lies a second of CPU or more.
SIZES = {"fast": (100_000, 500_000), "slow": (4_000, 20_000)}


def headline(lab: Lab) -> list[Row]:
    """Typical items: everybody, in turns."""
    for _ in range(REPEATS):
        for contestant in (ours(), boto3(), floor(), ours("parquet"), floor("bare")):
            for items in SIZES[contestant.scale]:
                lab.move("headline", contestant, "typical", items)
    return rows_of(lab.runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, default=ROOT / ".bench" / "bench.csv")
    arguments = parser.parse_args()
    with open_lab() as lab:
        rows = headline(lab)
    print(table(rows))
    write_csv(rows, arguments.csv)


if __name__ == "__main__":
    main()
