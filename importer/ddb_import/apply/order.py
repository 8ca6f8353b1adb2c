"""Which change may be written next: in order for each key, never two of one key at once, and only the newest that waits.

Each change is an item's whole state, so a change that has not been sent yet is superseded by a later one of its key.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ddb_import.apply.keys import Key
from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS


@dataclass(slots=True)
class Part:
    """The changes of one record of the log; `open` of them are neither confirmed, rejected nor superseded yet.

    `last_at` is when the newest of them was made, in epoch microseconds.
    """

    number: int
    file: str = ""
    changes: int = 0
    expired: int = 0
    last_at: int = 0
    superseded: int = 0
    open: int = 0


class Write(NamedTuple):
    """One change on its way: its key, the request of a BatchWriteItem, and its place in the log (lines count from 1)."""

    key: Key
    request: bytes
    part: Part
    line: int


class KeyOrder:
    """The changes that wait, and the keys in flight.

    Memory: the bytes of the waiting and the sent requests, `bytes`, and 500 bytes each. It is the caller's business to add no
    more while `bytes` is large.
    """

    def __init__(self) -> None:
        self._ready: OrderedDict[Key, Write] = OrderedDict()
        self._in_flight: dict[Key, Write | None] = {}  # and the write that waits behind it
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._in_flight)

    def add(self, writes: Iterable[Write]) -> None:
        """Adds changes in the order of the log; those of the same keys that wait are superseded."""
        ready, in_flight = self._ready, self._in_flight
        for write in writes:
            key = write.key
            if key in in_flight:
                earlier, in_flight[key] = in_flight[key], write
            else:
                earlier, ready[key] = ready.get(key), write
            self.bytes += len(write.request)
            if earlier is not None:
                self.bytes -= len(earlier.request)
                earlier.part.superseded += 1
                earlier.part.open -= 1

    def take(self) -> list[Write]:
        """The next batch, of BATCH_ITEMS and BATCH_BYTES at most, whose keys are in flight now; empty if none may be sent."""
        batch: list[Write] = []
        size = 0
        while self._ready and len(batch) < BATCH_ITEMS:
            key, write = self._ready.popitem(last=False)
            if batch and size + len(write.request) > BATCH_BYTES:
                self._ready[key] = write
                self._ready.move_to_end(key, last=False)
                break
            self._in_flight[key] = None
            batch.append(write)
            size += len(write.request)
        return batch

    def is_superseded(self, write: Write) -> bool:
        """Whether a later change of its key waits behind a write that is in flight."""
        return self._in_flight[write.key] is not None

    def settle(self, batch: Iterable[Write]) -> None:
        """The writes are confirmed or rejected: what waits behind them may be sent."""
        for write in batch:
            write.part.open -= 1
            self.bytes -= len(write.request)
            waiting = self._in_flight.pop(write.key)
            if waiting is not None:
                self._ready[write.key] = waiting


class Watermark:
    """The records of the log, in order, up to which every change is settled."""

    def __init__(self, applied: int) -> None:
        self.applied = applied
        self._parts: deque[Part] = deque()

    def add(self, part: Part) -> None:
        """The next record. Raises ValueError where it is not the next one."""
        if part.number != self.applied + len(self._parts) + 1:
            raise ValueError(f"record {part.number} after {self.applied + len(self._parts)}")
        self._parts.append(part)

    def advance(self) -> list[Part]:
        """The records that are settled since the last call, without a gap."""
        settled = []
        while self._parts and not self._parts[0].open:
            settled.append(self._parts.popleft())
        self.applied += len(settled)
        return settled

    @property
    def waiting(self) -> int:
        """Records that are read and not settled."""
        return len(self._parts)
