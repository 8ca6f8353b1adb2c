"""The shapes of items that benchmarks move, and a table's pages of them."""

from __future__ import annotations

import base64
import json
import random
import zlib
from itertools import accumulate
from typing import Any, Final

SHAPES: Final = ("small", "typical", "large", "huge", "binary")
WIRE_PAGE_BYTES: Final = 1_000_000
# Pages that differ, so that no dictionary of Parquet and no window of zstd finds the page before.
DISTINCT_PAGES: Final = 8
# 26 letters and 6 spaces, as probable as one another
_LETTERS: Final = (b"abcdefghijklmnopqrstuvwxyz      " * 8)[:256]


def item(shape: str, number: int, rng: random.Random) -> dict[str, Any]:
    """An item of this shape as DynamoDB JSON, binary as base64."""

    def text(size: int) -> dict[str, str]:
        return {"S": rng.randbytes(size).translate(_LETTERS).decode()}

    key = {"pk": {"S": f"customer#{number:012d}"}, "sk": {"N": str(number)}}
    match shape:
        case "small":
            return key | {"v": text(36)}
        case "typical":
            numbers = {f"n{i}": {"N": str(rng.randrange(10**9))} for i in range(3)}
            nested = {
                "M": {"street": text(30), "code": {"N": "12345"}, "tags": {"L": [text(8), {"BOOL": True}]}}
            }
            return (
                key
                | numbers
                | {"a": text(60), "b": text(40), "c": nested, "d": {"SS": ["x", "y"]}, "e": text(100)}
            )
        case "large" | "huge":
            size = 10_000 if shape == "large" else 400_000
            return key | {f"a{i}": text(size // 10 - 16) for i in range(10)}
        case "binary":
            return key | {f"b{i}": {"B": base64.b64encode(rng.randbytes(200)).decode()} for i in range(4)}
    raise ValueError(shape)


class Pages:
    """DISTINCT_PAGES pages of one shape, from which every segment of every table is served in turn."""

    def __init__(self, shape: str) -> None:
        rng = random.Random(1)
        first = _encoded(shape, 0, rng)
        self.items = max(1, WIRE_PAGE_BYTES // len(first))
        self.pages = [
            _Page([_encoded(shape, page * self.items + i, rng) for i in range(self.items)])
            for page in range(DISTINCT_PAGES)
        ]
        self.item_bytes = sum(len(page.body) for page in self.pages) / self.items / DISTINCT_PAGES

    def take(self, segment: int, start: int, limit: int, share: int) -> tuple[int, bytes, int]:
        """How many items the next page of a segment of `share` items has, its first bytes, and their crc32."""
        count = min(self.items - start % self.items, share - start, limit)
        page = self.pages[(segment + start // self.items) % DISTINCT_PAGES]
        if count == self.items:
            return count, page.body, page.crc
        body = page.body[: page.ends[count]]
        return count, body, zlib.crc32(body)


class _Page:
    """`{"Items":[` and items; `ends[n]` is where the first n of them end."""

    def __init__(self, items: list[bytes]) -> None:
        opening = b'{"Items":['
        self.body = opening + b",".join(items)
        self.crc = zlib.crc32(self.body)
        sizes = (len(item) + (number > 0) for number, item in enumerate(items))
        self.ends = list(accumulate(sizes, initial=len(opening)))


def _encoded(shape: str, number: int, rng: random.Random) -> bytes:
    return json.dumps(item(shape, number, rng), separators=(",", ":")).encode()
