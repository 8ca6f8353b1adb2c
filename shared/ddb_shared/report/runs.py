"""What each run of an export or an import has done, one small file a run, so that the report of a resumed one has them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from ddb_shared.errors import StateError, TransferError
from ddb_shared.format.manifest import FORMAT
from ddb_shared.records import prepare
from ddb_shared.runtime.history import History
from ddb_shared.runtime.progress import Progress
from ddb_shared.storage.base import Storage
from ddb_shared.times import now_text

RUNS: Final = "runs/"
# Older runs of an import that is resumed again and again are left out of the report.
MAX_RUNS: Final = 20


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Running sums at so many `seconds` since the start; `workers` are items by worker, from its first one on."""

    seconds: list[float] = []
    items: list[float] = []
    bytes: list[float] = []
    units: list[float] = []
    throttled: list[float] = []
    cap: list[float] = []
    workers: dict[str, list[float]] = {}

    @classmethod
    def of(cls, history: History) -> Series:
        """The sums that a run has kept."""
        columns = {name: _rounded(getattr(history, name)) for name in cls.__struct_fields__[:-1]}
        return cls(**columns, workers={name: _rounded(column) for name, column in history.workers.items()})


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run: who, when, what it did, and how that went over time.

    `name` is what a chart calls it, empty for its number. `units_name` is empty where capacity units and throttling are unknown: of
    what DynamoDB does itself.
    """

    format: str = FORMAT
    by: str
    command: str
    started_at: str
    ended_at: str
    items: int
    bytes: int
    units: float
    units_name: str
    cap: float | None
    throttled: dict[str, int]
    retried: int
    rejected: int
    slowest: list[tuple[float, str, int]]
    series: Series
    name: str = ""

    @classmethod
    def of(cls, progress: Progress, command: str, *, by: str, since: str, name: str = "") -> RunRecord:
        """What a run has done, at its end; `command` is its own command line."""
        return cls(
            by=by,
            command=command,
            started_at=since,
            ended_at=now_text(),
            items=progress.items,
            bytes=progress.bytes,
            units=round(progress.units, 1),
            units_name=progress.units_name,
            cap=progress.cap,
            throttled=dict(progress.reasons),
            retried=progress.retried,
            rejected=progress.rejected,
            slowest=progress.slowest.all(),
            series=Series.of(progress.history),
            name=name,
        )

    @property
    def file(self) -> str:
        """Where it is stored; the names sort by time."""
        return f"{RUNS}{self.started_at.replace(':', '')}.json"


def save(storage: Storage, run: RunRecord) -> None:
    """Keeps the record of a run."""
    storage.write(run.file, msgspec.json.encode(run))


@contextmanager
def recorded(storage: Storage, progress: Progress, command: str, *, by: str) -> Iterator[None]:
    """Keeps the record of the block, however it ends; where it cannot be written, the report lacks it."""
    since = now_text()
    try:
        yield
    finally:
        with suppress(TransferError):
            save(storage, RunRecord.of(progress, command, by=by, since=since))


def load(storage: Storage) -> list[RunRecord]:
    """The newest MAX_RUNS runs, the oldest first."""
    names = sorted(entry.name for entry in storage.list(RUNS))[-MAX_RUNS:]
    return [_read(storage, name) for name in names]


def throttled(runs: Sequence[RunRecord]) -> dict[str, int]:
    """Refusals of all runs, by reason, the most frequent first."""
    total: dict[str, int] = {}
    for run in runs:
        for reason, count in run.throttled.items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items(), key=lambda one: -one[1]))


def _read(storage: Storage, name: str) -> RunRecord:
    stored = storage.read(name)
    try:
        return msgspec.json.decode(stored.data if stored else b"", type=RunRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"The record of a run {storage.url}{name} is damaged: {error}") from error


def _rounded(column: Sequence[float]) -> list[float]:
    return [round(value, 1) for value in column]


prepare(RunRecord)
