"""The rejects that stand: those of which no later change of the same key has been seen.

An item that DynamoDB refused, and that changed afterwards, must never be written any more: it would take the item back in time.
Such rejects are marked in `superseded.json` beside the rejects files, which people edit, by shard and line.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ddb_import.apply.keys import Key, KeyReader
from ddb_import.state import list_rejects, read_rejects, read_superseded, write_superseded
from ddb_shared.format.lines import RejectLine
from ddb_shared.storage.base import Storage


@dataclass(frozen=True, slots=True)
class _Reject:
    """A reject, and the import's state in which it is kept."""

    storage: Storage
    shard: str
    line: int


class StandingRejects:
    """The standing rejects of one import, or of several into one table, by key. There are few: --max-rejects ends a load that has many."""

    def __init__(self, key_of: KeyReader, storages: Iterable[Storage]) -> None:
        """Reads the rejects files of these states."""
        self._key_of = key_of
        self._standing: dict[Key, list[_Reject]] = {}
        self._marks: dict[str, dict[str, set[int]]] = {}
        self._unsaved: dict[str, Storage] = {}
        self._saving = threading.Lock()
        for storage in storages:
            marks = self._marks[storage.url] = read_superseded(storage)
            for name in list_rejects(storage):
                for reject in read_rejects(storage, name):
                    if reject.line not in marks.get(reject.shard, ()):
                        self.add(storage, reject)

    def __len__(self) -> int:
        return len(self._standing)

    def add(self, storage: Storage, reject: RejectLine) -> Key | None:
        """A further reject; one without a key, such as a malformed line, stands for ever. Returns the key."""
        content = reject.item if reject.item is not msgspec.UNSET else reject.key
        try:
            key = self._key_of(msgspec.json.encode(content))
        except (msgspec.DecodeError, TypeError):
            return None
        self._standing.setdefault(key, []).append(_Reject(storage, reject.shard, reject.line))
        marks = self._marks.get(storage.url, {}).get(reject.shard, set())
        if reject.line in marks:  # of a change that is applied again after a crash, and rejected again
            marks.discard(reject.line)
            self._unsaved[storage.url] = storage
        return key

    def supersede(self, key: Key) -> list[tuple[str, int]]:
        """A later change of this key is written, or rejected itself; returns shard and line of each reject that ends here."""
        found = self._standing.pop(key, ())
        for reject in found:
            url = reject.storage.url
            self._marks.setdefault(url, {}).setdefault(reject.shard, set()).add(reject.line)
            self._unsaved[url] = reject.storage
        return [(reject.shard, reject.line) for reject in found]

    def save(self) -> None:
        """Stores the marks, before the checkpoint that covers the changes which made them."""
        with self._saving:
            while self._unsaved:
                url, storage = self._unsaved.popitem()
                try:
                    write_superseded(
                        storage, {shard: set(marks) for shard, marks in [*self._marks[url].items()]}
                    )
                except BaseException:
                    self._unsaved[url] = storage
                    raise
