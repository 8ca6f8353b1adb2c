"""The keys of items as hashes: every valid spelling of a key has the same one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from ddb_import.apply.keys import Key, KeyReader
from ddb_import.verify.records import NOT_AN_ITEM, Item
from ddb_shared.table.description import KeyAttribute

KEY_HASH_BYTES: Final = 16


class KeyHasher:
    """Hashes the keys of items, the only attributes that it decodes. Data without the key is hashed by its bytes."""

    def __init__(self, key: Sequence[KeyAttribute]) -> None:
        self._read = KeyReader(key)

    def hashes(self, items: Iterable[Item]) -> list[bytes]:
        """The hash of each item's key, KEY_HASH_BYTES long."""
        return [_hash(self._text(item)) for item in items]

    def _text(self, item: Item) -> Item:
        try:
            return text_of_key(self._read(item))
        except NOT_AN_ITEM:
            return item


def hash_of_key(key: Key) -> bytes:
    """The hash of a key, as KeyHasher has it."""
    return _hash(text_of_key(key))


def _hash(text: Item) -> bytes:
    return blake2b(text, digest_size=KEY_HASH_BYTES).digest()


def text_of_key(key: Key) -> bytes:
    """The values of a key, each after its length, so that no two keys have the same text."""
    return "".join([f"{len(value)} {value}" for value in key]).encode()
