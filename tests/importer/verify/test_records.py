"""Malformed lines and items are kept as they are."""

import json
from typing import Any

import msgspec

from ddb_import.verify.records import canonical_or_raw, canonical_or_text, is_object, items_of, key_or_raw


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


def test_what_is_not_an_item_equals_none() -> None:
    """Its bytes are compared as they are; in a report they are text."""
    one, same, other = b'{"a":{"N":"1.0"}}', b'{"a":{"N":"1"}}', b'{"a":{"N":"2"}}'
    assert canonical_or_raw(one) == canonical_or_raw(same) == canonical_or_text(one) == same
    assert canonical_or_raw(one) != canonical_or_raw(other)
    for data in (b"\xff", b'"text"', b"[" * 100_000):
        assert canonical_or_raw(data) == data
        text = canonical_or_text(data)
        assert (isinstance(json.loads(text), str), is_object(text)) == (True, False)
    assert is_object(canonical_or_text(one))


def item(**attributes: Any) -> bytes:
    return msgspec.json.encode({"pk": {"S": "a"}} | attributes)
