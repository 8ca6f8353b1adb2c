"""Malformed lines and items are kept as they are."""

import json
from typing import Any

import msgspec

from ddb_import.verify.records import items_of, key_or_raw


def test_lines_that_are_no_items_stay_countable() -> None:
    """Each becomes a JSON string, which equals no item, and the good ones stay themselves."""
    lines = [b'{"Item":{"a":{"S":"x"}}}', b'{"a":{"S":"x"}}', b"\xff", b"[" * 100_000, b'{"Item":{},"x":1}']
    items = [bytes(item) for item in items_of(lines)]
    assert items[0] == b'{"a":{"S":"x"}}'
    assert all(isinstance(json.loads(item), str) for item in items[1:])
    assert [bytes(item) for item in items_of(lines[:1])] == items[:1]


def test_a_key_that_is_none_is_the_bytes() -> None:
    """Of an item without the key attribute, and of what is not an item."""
    assert key_or_raw(b'{"pk":{"N":"1.0"},"a":{"S":""}}', ["pk"]) == b'{"pk":{"N":"1"}}'
    for data in (b'{"a":{"S":""}}', b'"text"', b"[" * 100_000):
        assert key_or_raw(data, ["pk"]) == data


def item(**attributes: Any) -> bytes:
    return msgspec.json.encode({"pk": {"S": "a"}} | attributes)
