"""The change log of an export that follows its table: what was captured, in which order, and how it ended.

A data file holds changes; its record in `log/` is the commit. Records are numbered from 1 without gaps, and each is created
with If-None-Match, so that of two captures one stops. The order of the records, and of the lines in each file, is the order
of the changes of each key. The format is documented in shared/README.md.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, TypeVar

import msgspec

from ddb_shared.errors import ExportError, ShardError
from ddb_shared.format.change_lines import Change, decode_changes
from ddb_shared.format.compression import DecompressionError, decompress
from ddb_shared.format.manifest import FORMAT
from ddb_shared.records import prepare
from ddb_shared.storage.base import ConflictError, Storage

CHANGES: Final = "changes/"
STREAM: Final = CHANGES + "stream.json"
FINISH: Final = CHANGES + "finish.json"
CLOSED: Final = CHANGES + "closed.json"
LOG: Final = CHANGES + "log/"
SUMMARY: Final = CHANGES + "summary/"
# A resume reads at most so many records after the newest summary.
SUMMARY_EVERY: Final = 256

# The method in the manifest of an export that has changes and no base.
CHANGES_ONLY: Final = "changes-only"

DISABLED: Final = "stream disabled"
BLOCKED: Final = "writes blocked"
QUIET: Final = "quiet"

_DATA_FILE: Final = re.compile(r"(\d{12})-[0-9a-f]{8}\.json\.gz")
_THOUSAND: Final = 1000  # of a listing's page
_PIECE_BYTES: Final = 16 * 1024 * 1024


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one shard of the stream is captured: after the change `sequence`, or "" before the first one.

    `closed`: read to its null iterator. `at`: no change of it that is not captured is older (epoch microseconds).
    """

    sequence: str = ""
    closed: bool = False
    at: int = 0


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which stream is captured. `stream_arn` is "" while only the intent to enable one is recorded; `ours`: we enabled it.

    `changes_only`: there is no base; the changes are for a table that holds it already.
    """

    format: str = FORMAT
    table_arn: str
    table_id: str
    stream_arn: str = ""
    view: str
    ours: bool
    intended_at: str
    enabled_at: str = ""
    changes_only: bool = False


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The commit of one data file, or of positions alone (`file` is ""). Totals include this record.

    `first_at` and `last_at` are WriteTimestampMicros of the oldest and the newest change; `positions` of the shards that moved.
    `nonce` tells the records of two captures apart, even where nothing else does. `begins`: a run of the capture begins with it, so
    that nothing is known of the time between the record before and this one.
    """

    format: str = FORMAT
    number: int
    nonce: str = ""
    file: str = ""
    stored_bytes: int = 0
    sha256: str = ""
    changes: int = 0
    expired: int = 0
    first_at: int = 0
    last_at: int = 0
    written_at: str
    positions: dict[str, Position] = {}
    total_changes: int
    total_expired: int
    begins: bool = False

    @property
    def is_heartbeat(self) -> bool:
        """Whether it was written because nothing has arrived, after every shard was asked again."""
        return not (self.changes or self.positions or self.begins)


class SummaryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where the capture was after the record `number`: the positions of all shards that still matter, and the totals."""

    format: str = FORMAT
    number: int = 0
    written_at: str = ""
    positions: dict[str, Position] = {}
    total_changes: int = 0
    total_expired: int = 0


class FinishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The gate: writers have stopped, so whoever captures drains the stream and closes. `proof` as in `Closed`.

    `blocked_at`: since when the table's own policy denies writes; "" where it does not. `changes`: how many were captured when
    nothing arrived any more; a request of the proof `quiet` does not hold where more were captured since. None: unknown.
    """

    format: str = FORMAT
    requested_at: str
    by: str
    proof: str
    blocked_at: str = ""
    changes: int | None = None


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The end: nothing follows the record `last_number`. `explains` says in a sentence what `proof` covers.

    `cancelled`: the follow was given up, and its changes are not complete.
    """

    format: str = FORMAT
    closed_at: str
    last_number: int
    changes: int = 0
    expired: int = 0
    positions: dict[str, Position] = {}
    proof: str = ""
    explains: str = ""
    cancelled: bool = False


Record = TypeVar("Record", StreamRecord, LogRecord, SummaryRecord, FinishRequest, Closed)


def data_file(number: int, nonce: str) -> str:
    """`000000000001-0badcafe.json.gz`, within `changes/`."""
    return f"{number:012d}-{nonce}.json.gz"


def record_file(number: int) -> str:
    """`changes/log/000000000001.json`"""
    return f"{LOG}{number:012d}.json"


def summary_file(number: int) -> str:
    """`changes/summary/000000000256.json`"""
    return f"{SUMMARY}{number:012d}.json"


def write_new(storage: Storage, name: str, record: msgspec.Struct) -> str:
    """Creates a file of the log; raises ConflictError where there is one. Returns its ETag."""
    return storage.write(name, msgspec.json.encode(record), new=True)


def write_summary(storage: Storage, summary: SummaryRecord) -> None:
    """Writes a summary, unless it is there: what it says follows from the records alone."""
    try:
        write_new(storage, summary_file(summary.number), summary)
    except ConflictError:
        return


def read_stream(storage: Storage) -> StreamRecord | None:
    """Which stream an export follows; None of an export that does not follow."""
    return _read(storage, STREAM, StreamRecord)


def read_finish(storage: Storage) -> FinishRequest | None:
    """The request to close the capture; None before it."""
    return _read(storage, FINISH, FinishRequest)


def read_closed(storage: Storage) -> Closed | None:
    """How the capture ended; None before that."""
    return _read(storage, CLOSED, Closed)


def read_record(storage: Storage, number: int) -> LogRecord | None:
    """The record with this number; None where it is not written yet. Raises ExportError where it is damaged."""
    name = record_file(number)
    record = _read(storage, name, LogRecord)
    if record is None:
        return None
    file = _DATA_FILE.fullmatch(record.file)
    if record.number != number or (record.file and (file is None or int(file[1]) != number)):
        raise ExportError(
            f"{storage.url}{name} is of record {record.number} and file {record.file!r}.",
            "Do not use this export: someone changed its log.",
        )
    return record


def latest(storage: Storage) -> LogRecord | None:
    """The newest record, found by two listings or three, however long the log is; None where there is none."""
    number = _newest_summary(storage)
    while names := [entry.name for entry in storage.list(f"{LOG}{(number + 1) // _THOUSAND:09d}")]:
        number = max(map(_number_of, names))
        if (number + 1) % _THOUSAND:
            break
    return read_record(storage, number) if number else None


def read_state(storage: Storage) -> SummaryRecord:
    """Where the capture is: the newest summary and the records after it, added up."""
    newest = _newest_summary(storage)
    state = _read(storage, summary_file(newest), SummaryRecord) if newest else None
    state = state or SummaryRecord()
    positions = dict(state.positions)
    while record := read_record(storage, state.number + 1):
        positions |= record.positions
        state = state_after(record, positions)
    return state


def state_after(record: LogRecord, positions: dict[str, Position]) -> SummaryRecord:
    """The state once this record is the newest, with the positions of all shards."""
    return SummaryRecord(
        number=record.number,
        written_at=record.written_at,
        positions=positions,
        total_changes=record.total_changes,
        total_expired=record.total_expired,
    )


def read_changes(storage: Storage, record: LogRecord) -> list[Change]:
    """The changes of a record's data file in order, once its size and checksum are proven; none of a record without one.

    Memory: the file's lines, some 8 MiB, twice. Raises ShardError where it is missing or altered.
    """
    if not record.file:
        return []
    name = CHANGES + record.file
    stored = storage.read(name)
    if stored is None:
        raise _damaged(storage, name, "is missing")
    if len(stored.data) != record.stored_bytes or hashlib.sha256(stored.data).hexdigest() != record.sha256:
        raise _damaged(storage, name, "is not what its record says: its size or SHA-256 differs")
    try:
        changes = decode_changes(b"".join(decompress(name, [stored.data], _PIECE_BYTES)))
    except (DecompressionError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(storage, name, f"is damaged: {error}") from error
    if len(changes) != record.changes:
        raise _damaged(storage, name, f"holds {len(changes):,} changes; its record says {record.changes:,}")
    return changes


def decode(storage: Storage, name: str, data: bytes, kind: type[Record]) -> Record:
    """A file of the log; raises ExportError where it is damaged or of another version."""
    try:
        fields: Any = msgspec.json.decode(data)
        version = fields.get("format") if isinstance(fields, dict) else None
        if version != FORMAT:
            raise ExportError(
                f"{storage.url}{name} has the format {version!r}, and this version reads {FORMAT!r}.",
                "Use the version of ddb-transfer that wrote it, or a newer one.",
            )
        return msgspec.convert(fields, kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ExportError(f"{storage.url}{name} is damaged: {error}") from error


def _read(storage: Storage, name: str, kind: type[Record]) -> Record | None:
    stored = storage.read(name)
    return None if stored is None else decode(storage, name, stored.data, kind)


def _newest_summary(storage: Storage) -> int:
    """The number of the newest summary; 0 where there is none. A week of capture has 2,400 of them, three listings."""
    return max((_number_of(entry.name) for entry in storage.list(SUMMARY)), default=0)


def _number_of(name: str) -> int:
    return int(name.rpartition("/")[2].removesuffix(".json"))


def _damaged(storage: Storage, name: str, problem: str) -> ShardError:
    return ShardError(
        f"The change file {storage.url}{name} {problem}.",
        "Restore this version of the file from a copy, or export the table again.",
    )


prepare(StreamRecord, LogRecord, SummaryRecord, FinishRequest, Closed)
