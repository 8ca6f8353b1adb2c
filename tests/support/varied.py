"""Realistic items, each a function of its seed and number alone, so that processes can make any part of a table."""

import random
from collections.abc import Iterator
from typing import Any

_WORDS = [
    "amber",
    "birch",
    "café",
    "delta",
    "ember",
    "fjord",
    "größe",
    "harbor",
    "入口",
    "jade",
    "кедр",
    "lunar",
    "meadow",
    "🌲",
    "north",
]
_STATES = ("new", "paid", "packed", "sent", "returned")


def varied_items(count: int, seed: int = 1, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield `count` items of about 500 bytes and ten attributes, keyed by `pk` (S) and `sk` (N).

    Item i is the same whatever `start` and `count` are. All types occur; three items share a partition key.
    """
    for number in range(start, start + count):
        yield _item(number, random.Random(seed << 40 | number))


def _item(number: int, chance: random.Random) -> dict[str, Any]:
    words = chance.choices(_WORDS, k=30)
    cents = chance.randrange(1, 10_000_000)
    item: dict[str, Any] = {
        "pk": {"S": f"customer#{number // 3:09d}"},
        "sk": {"N": str(number)},
        "state": {"S": chance.choice(_STATES)},
        "total": {"N": f"{cents // 100}.{cents % 100:02d}"},
        "active": {"BOOL": cents % 2 == 0},
        "note": {"S": " ".join(words)},
        "digest": {"B": chance.randbytes(48)},
        "address": {
            "M": {"street": {"S": words[0]}, "code": {"N": str(cents % 99_999)}, "box": {"NULL": True}}
        },
        "lines": {"L": [{"M": {"sku": {"S": word}, "n": {"N": str(i)}}} for i, word in enumerate(words[:3])]},
        "tags": {"SS": sorted(set(words[:4]))},
    }
    if number % 4 == 0:
        item["scores"] = {"NS": [str(score) for score in {cents, -number, 1}]}
        item["keys"] = {"BS": [chance.randbytes(8)]}
    return item
