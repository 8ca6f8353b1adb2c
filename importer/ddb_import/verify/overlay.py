"""The changes of an export that followed its table, laid over its base: what the table should hold once they are applied.

Of a key that has changes, the item of the base does not count; the image of the last change does, or nothing where that was a
deletion. Memory: 130 bytes for each key of `Overlay.changed`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ddb_import.apply.log_reader import missing_record
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.records import Item
from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import Change
from ddb_shared.storage.base import Storage
from ddb_shared.table.description import KeyAttribute


@dataclass(frozen=True, slots=True)
class LastLines:
    """Lines (from 1) of one record of the log, each the last change of its key."""

    record: int
    lines: array[int]


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Which items of the base count: those of one `part` of all keys whose keys are not `changed`, by the hashes of the keys."""

    key: tuple[KeyAttribute, ...]
    changed: frozenset[bytes]
    part: int = 0
    parts: int = 1


class BaseFilter:
    """Leaves out the items of a base that do not count."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._keys = KeyHasher(overlay.key)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        """The items that count."""
        changed, part, parts = self._overlay.changed, self._overlay.part, self._overlay.parts
        hashes = self._keys.hashes(items)
        return [
            item
            for item, key in zip(items, hashes, strict=True)
            if key not in changed and (parts == 1 or part_of(key, parts) == part)
        ]


def part_of(key_hash: bytes, parts: int) -> int:
    """Which of so many parts of all keys a key belongs to, by bytes of its hash that nothing else is chosen by."""
    return int.from_bytes(key_hash[-4:], "big") % parts


def read_lines(storage: Storage, lines: LastLines) -> list[Change]:
    """The changes of these lines. Raises ExportError or ShardError where the log has changed since it was read."""
    record = log.read_record(storage, lines.record)
    if record is None:
        raise missing_record(storage, lines.record)
    changes = log.read_changes(storage, record)
    return [changes[line - 1] for line in lines.lines]


def read_images(storage: Storage, lines: LastLines) -> list[Item]:
    """The images of these lines, all of which put an item. Raises as `read_lines`."""
    return [change.image for change in read_lines(storage, lines)]
