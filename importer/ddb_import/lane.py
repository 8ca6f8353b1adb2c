"""One open shard of an import: its lines in batches, and how many of its first lines are confirmed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import msgspec

from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS, Outcome, Reject
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.items import RejectLine, item_of


class Lane:
    """One open shard: its batches in flight, and how many of its first lines are confirmed without a gap."""

    def __init__(self, state: ShardCheckpoint, rejects: list[RejectLine]) -> None:
        self.state = state
        self.saved = state
        self.saving = threading.Lock()  # a cancelled save goes on in its thread
        self.rejects = rejects
        self.in_flight: set[asyncio.Task[None]] = set()
        self._landed: dict[int, tuple[int, Outcome]] = {}

    def begin_anew(self) -> None:
        """Nothing is confirmed."""
        self.state = ShardCheckpoint(shard=self.state.shard)
        self.rejects = []
        self._landed = {}

    def confirm(self, start: int, end: int, outcome: Outcome) -> None:
        """Lines `start` to `end` are done with; the checkpoint advances over all that is contiguous."""
        self._landed[start] = (end, outcome)
        while (landed := self._landed.pop(self.state.confirmed, None)) is not None:
            end, outcome = landed
            first_line = self.state.confirmed + 1
            self.rejects += [_reject_line(self.state.shard, first_line, reject) for reject in outcome.rejects]
            self.state = msgspec.structs.replace(
                self.state,
                confirmed=end,
                skipped=self.state.skipped + outcome.skipped,
                rejected=self.state.rejected + len(outcome.rejects),
            )


class Batcher:
    """Groups lines into batches of at most BATCH_ITEMS and BATCH_BYTES, full ones across chunks."""

    def __init__(self, confirmed: int) -> None:
        self._to_skip = confirmed
        self._start = confirmed
        self._batch: list[bytes] = []
        self._bytes = 0

    def add(self, lines: list[bytes] | None) -> Iterator[tuple[int, list[bytes]]]:
        """The batches that these lines complete, with the number of their first line; None ends the last one."""
        if lines is None:
            yield from self._flush()
            return
        skip = min(self._to_skip, len(lines))
        self._to_skip -= skip
        for line in lines[skip:] if skip else lines:
            if len(self._batch) == BATCH_ITEMS or (self._batch and self._bytes + len(line) > BATCH_BYTES):
                yield from self._flush()
            self._batch.append(line)
            self._bytes += len(line)

    def _flush(self) -> Iterator[tuple[int, list[bytes]]]:
        if self._batch:
            start, batch = self._start, self._batch
            self._start += len(batch)
            self._batch, self._bytes = [], 0
            yield start, batch


def _reject_line(shard: str, first_line: int, reject: Reject) -> RejectLine:
    item = item_of(reject.line)
    return RejectLine(
        item=msgspec.Raw(item) if item is not None else msgspec.UNSET,
        text=reject.line.decode("utf-8", "backslashreplace") if item is None else msgspec.UNSET,
        error={"code": reject.code, "message": reject.message},
        shard=shard,
        line=first_line + reject.index,
    )
