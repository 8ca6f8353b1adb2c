"""Measures the two roads of a verification on one core: items digested per CPU-second, after the network.

`python scripts/bench/verify.py` prints one line a road: a table's page from its body on, a shard from its stored bytes on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from isal import isal_zlib

from ddb_shared.compression import compressor, decompress
from ddb_shared.digest import Bucketer, Sums, canonical_hashes, raw_hashes
from ddb_shared.items import ItemLine, join_lines
from ddb_shared.table import KeyAttribute
from ddb_shared.wire import ScanPage

sys.path.insert(0, str(Path(__file__).parent))
from stub import item

KEY: Final = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
ROUNDS: Final = 9
Hashes = Callable[[Sequence[msgspec.Raw]], list[bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="typical", choices=["small", "typical", "large", "binary"])
    parser.add_argument("--items", type=int, default=2_000, help="items of a page")
    options = parser.parse_args()
    rng = random.Random(1)
    made = [
        json.dumps(item(options.shape, i, rng), separators=(",", ":")).encode() for i in range(options.items)
    ]
    size = sum(map(len, made)) / len(made)
    print(f"{options.shape}: {size:.0f} bytes an item, Python {sys.version.split()[0]}")
    for road, hashes in (("raw", raw_hashes), ("canonical", canonical_hashes)):
        for side, work in (("table", table_side(made, hashes)), ("shard", shard_side(made, hashes))):
            print(f"{road:9} {side}: {len(made) / best_seconds(work):>9,.0f} items per CPU-second")


def table_side(made: Sequence[bytes], hashes: Hashes) -> Callable[[], None]:
    """A Scan's answer: its checksum, the split into items, keys, hashes, sums."""
    body = b'{"Items":[' + b",".join(made) + b'],"Count":1}'
    page, bucketer, sums = msgspec.json.Decoder(ScanPage), Bucketer(KEY), Sums()

    def work() -> None:
        isal_zlib.crc32(body)
        items = page.decode(body).items
        sums.add(bucketer.buckets(items), hashes(items))

    return work


def shard_side(made: Sequence[bytes], hashes: Hashes) -> Callable[[], None]:
    """A shard's bytes: decompressed, split into lines and items, keys, hashes, sums."""
    packer = compressor("gzip")
    stored = packer.compress(join_lines(made)) + packer.flush()
    lines, bucketer, sums = msgspec.json.Decoder(list[ItemLine]), Bucketer(KEY), Sums()

    def work() -> None:
        text = b"".join(decompress("x.gz", [stored], 1 << 30))
        whole = lines.decode(b"[" + b",".join(text.splitlines()) + b"]")
        items = [line.item for line in whole]
        sums.add(bucketer.buckets(items), hashes(items))

    return work


def best_seconds(work: Callable[[], None]) -> float:
    """CPU seconds of the fastest of ROUNDS runs: the machine's other work only slows them down."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
