"""One open shard of an import: its lines in batches, and its watermark of confirmed lines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import msgspec

from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS, Outcome
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.lines import RejectLine, reject_line


class ShardProgress:
    """One open shard: its batches in flight, and how many of its first lines are confirmed without a gap.

    `saved` is what is stored, and `saved_rejects` how many of `rejects`; None where other ones are stored.
    """

    def __init__(self, state: ShardCheckpoint, stored_rejects: list[RejectLine]) -> None:
        rejects = [reject for reject in stored_rejects if reject.line <= state.confirmed]
        self.state = state
        self.saved = state
        self.saving = threading.Lock()  # a cancelled save continues in its thread
        self.rejects = rejects
        self.saved_rejects = len(rejects) if len(rejects) == len(stored_rejects) else None
        self.reject_bytes = sum(map(_size, rejects))
        self.in_flight: set[asyncio.Task[None]] = set()
        self._completed: dict[int, tuple[int, Outcome]] = {}

    def reset(self) -> None:
        """Marks all lines as not confirmed, once a save that has begun has ended."""
        with self.saving:
            self.state = ShardCheckpoint(shard=self.state.shard, run=self.state.run)
            self.rejects = []
            self.saved_rejects = None
            self.reject_bytes = 0
            self._completed = {}

    def confirm(self, start: int, end: int, outcome: Outcome) -> None:
        """Marks lines `start` to `end` as done; the checkpoint advances over contiguous lines."""
        self._completed[start] = (end, outcome)
        while (completed := self._completed.pop(self.state.confirmed, None)) is not None:
            end, outcome = completed
            first_line = self.state.confirmed + 1
            rejects = [
                reject_line(
                    reject.line, reject.error, shard=self.state.shard, number=first_line + reject.index
                )
                for reject in outcome.rejects
            ]
            self.rejects += rejects
            self.reject_bytes += sum(map(_size, rejects))
            self.state = msgspec.structs.replace(
                self.state,
                confirmed=end,
                skipped=self.state.skipped + outcome.skipped,
                rejected=self.state.rejected + len(outcome.rejects),
            )


def batches(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The batches of lines that are all there, each with the index of its first line."""
    batcher = Batcher(0)
    yield from batcher.add(lines)
    yield from batcher.add(None)


def _size(reject: RejectLine) -> int:
    """About what a reject takes in memory: its line of the rejects file, and half a KB for the record."""
    return len(msgspec.json.encode(reject)) + 512


class Batcher:
    """Groups lines into batches of at most BATCH_ITEMS and BATCH_BYTES, full ones across chunks."""

    def __init__(self, confirmed: int) -> None:
        self._to_skip = confirmed
        self._start = confirmed
        self._waiting: list[bytes] = []

    def add(self, lines: list[bytes] | None) -> Iterator[tuple[int, list[bytes]]]:
        """The batches completed by these lines, with the number of their first line; None completes the last one."""
        if lines is not None:
            skip = min(self._to_skip, len(lines))
            self._to_skip -= skip
            self._waiting += lines[skip:]
        waiting, taken = self._waiting, 0
        # nearly every chunk is smaller than a batch may be: then the lines need not be measured one by one
        are_small = sum(map(len, waiting)) <= BATCH_BYTES
        while taken < len(waiting):
            end = taken + BATCH_ITEMS if are_small else _batch_end(waiting, taken)
            if end > len(waiting) and lines is not None:
                break  # more lines may come for it
            batch = waiting[taken:end]
            yield self._start, batch
            self._start += len(batch)
            taken += len(batch)
        self._waiting = waiting[taken:]


def _batch_end(lines: list[bytes], start: int) -> int:
    """Where the batch that begins at `start` ends; beyond the last line if it has room for more."""
    size = 0
    for end in range(start, min(start + BATCH_ITEMS, len(lines))):
        size += len(lines[end])
        if size > BATCH_BYTES and end > start:
            return end
    return start + BATCH_ITEMS
