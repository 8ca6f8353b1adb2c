"""Keeps the books of a follow: what waits, what is settled without a gap, what was rejected, and what all of it adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ddb_import.apply.log_reader import LogPart
from ddb_import.apply.order import KeyOrder, Watermark, Write
from ddb_import.apply.standing_rejects import StandingRejects
from ddb_import.apply.state import ApplyState
from ddb_import.batch_write import Outcome, Reject
from ddb_shared.format.lines import RejectLine, reject_line
from ddb_shared.storage.base import Storage

Place = tuple[str, int]
"""A change: the name of its file, and its line from 1."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to be stored: the state, and the rejects where they have changed."""

    state: ApplyState
    rejects: list[RejectLine] | None


class Book:
    """The books, from the stored state on. `settled` counts the changes that were settled in this run."""

    def __init__(
        self, storage: Storage, state: ApplyState, standing: StandingRejects, rejects: Sequence[RejectLine]
    ) -> None:
        self.order = KeyOrder()
        self.settled = 0
        self.last_at = state.last_at
        self._storage = storage
        self._state = state
        self._standing = standing
        self._watermark = Watermark(state.applied)
        self._open: dict[int, LogPart] = {}
        self._rejects: dict[Place, RejectLine] = {(line.shard, line.line): line for line in rejects}
        self._rejects_changed = False
        self._superseded = state.superseded
        self._totals = (state.changes_applied + state.rejected, state.expired)

    @property
    def waiting(self) -> int:
        """Records that are read and not applied yet."""
        return self._watermark.waiting

    def add(self, read: LogPart) -> None:
        """Takes the next record of the log."""
        self._open[read.record.number] = read
        self._watermark.add(read.part)
        self.order.add(read.writes)
        self._advance()

    def settle(self, batch: Sequence[Write], outcome: Outcome) -> None:
        """The changes of a batch are written, but for those that the outcome rejects."""
        rejects = {reject.index: reject for reject in outcome.rejects}
        for at, write in enumerate(batch):
            if self._standing:
                self._supersede(write)
            if at in rejects:
                self._reject(write, rejects[at])
        self.order.settle(batch)
        self._advance()

    def snapshot(self) -> Snapshot:
        """What is to be stored now."""
        changes, expired = self._totals
        # those of records that are not applied to their end are counted with them
        standing = sum(self._number_of(file) <= self._watermark.applied for file, _ in self._rejects)
        state = msgspec.structs.replace(
            self._state,
            applied=self._watermark.applied,
            changes_applied=changes - standing,
            superseded=self._superseded,
            expired=expired,
            rejected=standing,
            last_at=self.last_at,
        )
        rejects = [self._rejects[place] for place in sorted(self._rejects)] if self._rejects_changed else None
        self._rejects_changed = False
        return Snapshot(state, rejects)

    def _supersede(self, write: Write) -> None:
        """Ends the rejects of earlier changes of this key, and of items of the base."""
        own = write.part.file, write.line
        for place in self._standing.supersede(write.key):
            if self._rejects.pop(place, None) is not None:
                self._rejects_changed = True
                if place != own:  # its own is of before a crash: it is applied again
                    self._count_superseded(place)

    def _count_superseded(self, place: Place) -> None:
        """With its record, which is applied again after a crash unless it was applied to its end."""
        read = self._open.get(self._number_of(place[0]))
        if read is None:
            self._superseded += 1
        else:
            read.part.superseded += 1

    def _reject(self, write: Write, reject: Reject) -> None:
        if self.order.is_superseded(write):
            write.part.superseded += 1
            return
        line = reject_line(reject.line, reject.error, shard=write.part.file, number=write.line)
        self._rejects[line.shard, line.line] = line
        self._rejects_changed = True
        self._standing.add(self._storage, line)

    def _advance(self) -> None:
        for part in self._watermark.advance():
            record = self._open.pop(part.number).record
            self._totals = (record.total_changes, record.total_expired)
            self._superseded += part.superseded
            self.settled += part.changes
            self.last_at = max(self.last_at, part.last_at)

    @staticmethod
    def _number_of(file: str) -> int:
        return int(file.partition("-")[0])
