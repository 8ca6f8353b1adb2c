"""The items of a comparison as bytes: from lines, in canonical form, and their keys.

Malformed input raises no error: a line or an item that cannot be parsed is kept as it is and equals no item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ddb_import.verify.canonical import canonical, canonical_key
from ddb_shared.format.lines import item_of

Item = bytes | msgspec.Raw

_LINE_START_BYTES: Final = len(b'{"Item":')
# What decoders raise for bytes that are not an item: names and strings are decoded late, and values nest on the stack.
NOT_AN_ITEM: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def items_of(lines: Sequence[bytes]) -> list[Item]:
    """The items of a shard's lines.

    Lines in the usual form are sliced, not parsed; decoding the key shows whether the rest is an item.
    """
    items: list[Item] = [
        line[_LINE_START_BYTES:-1] for line in lines if line.startswith(b'{"Item":{') and line.endswith(b"}}")
    ]
    return items if len(items) == len(lines) else [_item_or_text(line) for line in lines]


def _item_or_text(line: bytes) -> bytes:
    """The item, or a malformed line as a JSON string, which equals no item."""
    item = item_of(line)
    return text_of(line) if item is None else item


def text_of(line: Item) -> bytes:
    """Any bytes as a JSON string."""
    return msgspec.json.encode(bytes(line).decode("utf-8", "backslashreplace"))


def canonical_or_raw(item: Item) -> bytes:
    """The canonical form; the bytes unchanged if they are not an item."""
    try:
        return canonical(item)
    except NOT_AN_ITEM:
        return bytes(item)


def canonical_or_text(item: Item) -> bytes:
    """The canonical form; a JSON string, as reports need it, if the bytes are not an item."""
    try:
        return canonical(item)
    except NOT_AN_ITEM:
        return text_of(item)


def is_object(canonical_item: bytes) -> bool:
    """Whether a canonical form is an item rather than a text."""
    return canonical_item.startswith(b"{")


def key_or_raw(item: Item, names: Iterable[str]) -> bytes:
    """The canonical key; the bytes unchanged if they are not an item with that key."""
    try:
        return canonical_key(item, names)
    except (*NOT_AN_ITEM, KeyError):
        return bytes(item)
