"""Compare tables too large to hold: 16 bytes of hash for each key and each item, about 0.2 KB of memory an item."""

from collections.abc import Mapping
from decimal import Context, Decimal
from hashlib import blake2b
from itertools import islice
from typing import Any

from support.tables import DIFFERENCES_SHOWN, Item, Table, assert_same_items, by_key, key_of, scan

Fingerprints = dict[bytes, bytes]
"""Hash of the item by hash of its key."""
_EXACT = Context(prec=40)
"""DynamoDB's numbers have up to 38 digits."""


def fingerprints(client: Any, name: str) -> Fingerprints:
    """Scan the table and return a hash of each item, equal for items that DynamoDB holds for the same."""
    keys = list(key_of(client, name).attributes)
    return {_hash(item, keys): _hash(item, sorted(item)) for item in scan(client, name)}


def assert_same_tables(source: tuple[Any, str], destination: tuple[Any, str]) -> int:
    """Compare two tables, each a client and a name, and return the number of items; the error names differences."""
    expected, actual = fingerprints(*source), fingerprints(*destination)
    assert_same_fingerprints(expected, actual, source, destination)
    return len(expected)


def assert_same_fingerprints(
    expected: Fingerprints, actual: Fingerprints, source: tuple[Any, str], destination: tuple[Any, str]
) -> None:
    """Compare; of a few keys that differ, the items are read again from both tables to show the attributes."""
    different = {k for k in expected.keys() | actual.keys() if expected.get(k) != actual.get(k)}
    if different:
        shown = set(islice(different, DIFFERENCES_SHOWN))
        try:
            assert_same_items(_items(*source, shown), _items(*destination, shown))
        except AssertionError as error:
            counts = f"{len(different)} of {len(expected)} items differ (the other table has {len(actual)})"
            raise AssertionError(f"{counts}, for example:\n{error}") from None
        raise AssertionError("the tables changed while they were compared")


def _items(client: Any, name: str, hashes: set[bytes]) -> Table:
    key = key_of(client, name)
    return by_key((item for item in scan(client, name) if _hash(item, list(key.attributes)) in hashes), key)


def _hash(item: Item, names: list[str]) -> bytes:
    return blake2b(repr([(name, _stable(item[name])) for name in names]).encode(), digest_size=16).digest()


def _stable(value: Mapping[str, Any]) -> Any:
    """Return a form of which the text is the same for equal values."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return tag, _number(content)
        case "NS":
            return tag, sorted(map(_number, content))
        case "SS" | "BS":
            return tag, sorted(content)
        case "L":
            return tag, [_stable(element) for element in content]
        case "M":
            return tag, [(name, _stable(content[name])) for name in sorted(content)]
    return tag, content


def _number(text: str) -> str:
    number = Decimal(text).normalize(_EXACT)
    return str(number) if number else "0"
