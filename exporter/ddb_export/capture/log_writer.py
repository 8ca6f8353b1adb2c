"""Writes the change log: about once a second a data file with what was captured, then its record, which is the commit.

Memory: MAX_WAITING_BYTES of lines and a page of each shard that is read wait, while a file of MAX_FILE_BYTES is compressed
and uploaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.errors import StateError
from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import compress_lines
from ddb_shared.format.changes import Closed, LogRecord, Position, SummaryRecord
from ddb_shared.runtime.loop import is_set_within
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.times import now_text

# A reader of the log is about two seconds behind then. It makes 86,400 files and as many records of a day at most.
FLUSH_SECONDS: Final = 1.0
# Tells others that the capture continues where nothing changes: 17,280 small files of a day, for 9 US cents.
HEARTBEAT_SECONDS: Final = 5.0
# A file of so many bytes before compression is written at once. A page of a shard is never split, so it may have 2 MiB more.
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
MAX_WAITING_BYTES: Final = 2 * MAX_FILE_BYTES
# Others that resume write a record first as well; more of them than this do not come one after another.
_MAX_TAKEOVERS: Final = 10


@dataclass(frozen=True, slots=True)
class Page:
    """Changes of one shard, as lines, up to a position; times are of the oldest and the newest of them."""

    shard: str
    position: Position
    lines: list[bytes]
    bytes: int = 0
    expired: int = 0
    first_at: int = 0
    last_at: int = 0


class LogWriter:
    """The one writer of a log. Pages are written in the order in which they were added."""

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_commit: Callable[[LogRecord], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._on_commit = on_commit
        self._pages: deque[Page] = deque()
        self._waiting_bytes = 0
        self._dropped: frozenset[str] = frozenset()
        self._changed, self._due = asyncio.Event(), asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._committed_at = clock()
        self.number = self.total_changes = self.total_expired = 0
        self._positions: dict[str, Position] = {}

    def take_over(self) -> SummaryRecord:
        """Reads where the log is and writes a record, so that whoever wrote it until now loses the race for the number.

        What another capture commits at this very moment counts: the state that is returned has it.
        """
        for _ in range(_MAX_TAKEOVERS):
            self._set(log.read_state(self._storage))
            try:
                self._commit([], begins=True)
            except ConflictError:
                continue
            return self._state()
        raise self._taken()

    def add(self, page: Page) -> None:
        """Takes a page; one without lines is of a shard that is begun, or that was read to its end."""
        self._pages.append(page)
        self._waiting_bytes += page.bytes
        self._changed.set()
        if self._waiting_bytes >= MAX_FILE_BYTES:
            self._due.set()
        if self._waiting_bytes >= MAX_WAITING_BYTES:
            self._room.clear()

    async def room(self) -> None:
        """Returns once less than MAX_WAITING_BYTES wait to be written."""
        await self._room.wait()

    def drop(self, shards: Iterable[str]) -> None:
        """Leaves these shards out of the summaries: the stream has forgotten them, and their children are being read."""
        self._dropped |= frozenset(shards)

    async def run(self, is_alive: Callable[[float], bool]) -> None:
        """Writes what is added, until `end`; then what is left. Raises StateError where another capture has taken over.

        Where nothing was added, a heartbeat is written if `is_alive` of the time of the last record, by the writer's clock.
        """
        while not (self._ended and not self._pages):
            await self._wait()
            silent = self._clock() - self._committed_at >= HEARTBEAT_SECONDS and not self._ended
            if self._pages or (silent and is_alive(self._committed_at)):
                await self.write()

    def end(self) -> None:
        """Makes `run` write what is left and return."""
        self._ended = True
        self._changed.set()
        self._due.set()

    async def close(self, proof: str, explains: str) -> Closed:
        """Writes the end of the log, once `run` has returned; raises StateError where it is closed already."""
        closed = Closed(
            closed_at=now_text(),
            last_number=self.number,
            changes=self.total_changes,
            expired=self.total_expired,
            positions=self._positions,
            proof=proof,
            explains=explains,
        )
        try:
            await asyncio.to_thread(log.write_new, self._storage, log.CLOSED, closed)
        except ConflictError as error:
            raise StateError(
                f"{self._storage.url}{log.CLOSED} exists already.", "Another run has closed the log."
            ) from error
        return closed

    async def _wait(self) -> None:
        """Returns once a file is due, or it is time to look whether a heartbeat is."""
        if not await is_set_within(self._changed, FLUSH_SECONDS):
            return
        left = self._committed_at + FLUSH_SECONDS - self._clock()
        if left > 0:
            await is_set_within(self._due, left)

    async def write(self, *, begins: bool = False) -> None:
        """Writes what is waiting, as much of it as a file holds, or else a record without changes.

        `begins`: nothing is read yet.
        """
        pages = self._take()
        try:
            record = await asyncio.to_thread(self._commit, pages, begins=begins)
        except ConflictError as error:
            raise self._taken() from error
        self._on_commit(record)

    def _take(self) -> list[Page]:
        """The pages of the next file."""
        pages, size = list[Page](), 0
        while self._pages and size < MAX_FILE_BYTES:
            pages.append(self._pages.popleft())
            size += pages[-1].bytes
        self._waiting_bytes -= size
        if self._waiting_bytes < MAX_WAITING_BYTES:
            self._room.set()
        if not (self._pages or self._ended):
            self._changed.clear()
        if self._waiting_bytes < MAX_FILE_BYTES and not self._ended:
            self._due.clear()
        return pages

    def _commit(self, pages: list[Page], *, begins: bool = False) -> LogRecord:
        """The data file, its record, and a summary where one is due; in a thread."""
        began, number, nonce = self._clock(), self.number + 1, secrets.token_hex(4)
        lines = [line for page in pages for line in page.lines]
        expired = sum(page.expired for page in pages)
        moved = {page.shard: page.position for page in pages}
        with_lines = [page for page in pages if page.lines]
        record = LogRecord(
            number=number,
            nonce=nonce,
            changes=len(lines),
            expired=expired,
            first_at=min((page.first_at for page in with_lines), default=0),
            last_at=max((page.last_at for page in with_lines), default=0),
            written_at=now_text(),
            positions=moved,
            total_changes=self.total_changes + len(lines),
            total_expired=self.total_expired + expired,
            begins=begins,
            **(self._store(lines, number, nonce) if lines else {}),
        )
        log.write_new(self._storage, log.record_file(number), record)
        self._committed_at = began
        self._positions |= moved
        self.number, self.total_changes, self.total_expired = (
            number,
            record.total_changes,
            record.total_expired,
        )
        if number % log.SUMMARY_EVERY == 0:
            self._summarize(record)
        return record

    def _store(self, lines: list[bytes], number: int, nonce: str) -> dict[str, Any]:
        """Writes the data file; returns what its record says of it."""
        data, file = compress_lines(lines), log.data_file(number, nonce)
        self._storage.write(log.CHANGES + file, data)
        return {"file": file, "stored_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def _summarize(self, record: LogRecord) -> None:
        dropped, self._dropped = self._dropped, frozenset()
        for shard in dropped:
            self._positions.pop(shard, None)
        log.write_summary(self._storage, log.state_after(record, self._positions))

    def _set(self, state: SummaryRecord) -> None:
        self.number, self._positions = state.number, dict(state.positions)
        self.total_changes, self.total_expired = state.total_changes, state.total_expired

    def _state(self) -> SummaryRecord:
        return SummaryRecord(
            number=self.number,
            positions=dict(self._positions),
            total_changes=self.total_changes,
            total_expired=self.total_expired,
        )

    def _taken(self) -> StateError:
        return StateError(
            f"Another capture writes the log {self._storage.url}{log.CHANGES}: it has record {self.number + 1}.",
            "Let it continue. This one has stopped; nothing that it captured since is lost, the other one reads it as well.",
        )
