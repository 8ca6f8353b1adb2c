"""Writes change logs as a capture does, through the module of their format."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import change_line, compress_lines
from ddb_shared.format.changes import Closed, LogRecord, StreamRecord
from ddb_shared.storage.base import Storage

WHEN = "2026-01-01T00:00:00.000Z"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders"

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A change in boto3's form: the key, and the item after it, or None where it was deleted."""

    keys: Item
    new: Item | None
    expired: bool = False
    micros: int = 1_700_000_000_000_000


@dataclass
class ChangeLog:
    """The log of one export, written record by record."""

    storage: Storage
    number: int = 0
    changes: int = 0
    expired: int = 0
    files: list[str] = field(default_factory=list)

    def begin(self, *, table_arn: str = TABLE_ARN, table_id: str = "t", changes_only: bool = False) -> None:
        """Records the stream that is captured."""
        stream = StreamRecord(
            table_arn=table_arn,
            table_id=table_id,
            stream_arn=f"{table_arn}/stream/{WHEN}",
            view="NEW_IMAGE",
            ours=True,
            intended_at=WHEN,
            enabled_at=WHEN,
            changes_only=changes_only,
        )
        log.write_new(self.storage, log.STREAM, stream)

    def append(self, changes: Sequence[Change], *, begins: bool = False) -> LogRecord:
        """A data file with these changes, and its record; without changes, a record alone."""
        self.number += 1
        self.changes += len(changes)
        expired = sum(change.expired for change in changes)
        self.expired += expired
        data = compress_lines([self._line(change) for change in changes])
        record = LogRecord(
            number=self.number,
            file=log.data_file(self.number, "0badcafe") if changes else "",
            stored_bytes=len(data) if changes else 0,
            sha256=hashlib.sha256(data).hexdigest() if changes else "",
            changes=len(changes),
            expired=expired,
            first_at=min((change.micros for change in changes), default=0),
            last_at=max((change.micros for change in changes), default=0),
            written_at=WHEN,
            total_changes=self.changes,
            total_expired=self.expired,
            begins=begins,
        )
        if changes:
            self.storage.write(log.CHANGES + record.file, data)
        log.write_new(self.storage, log.record_file(self.number), record)
        return record

    def close(self, *, cancelled: bool = False, proof: str = log.DISABLED) -> Closed:
        """The end of the log."""
        closed = Closed(
            closed_at=WHEN,
            last_number=self.number,
            changes=self.changes,
            expired=self.expired,
            proof=proof,
            explains="Every change until the stream was disabled is in the log.",
            cancelled=cancelled,
        )
        log.write_new(self.storage, log.CLOSED, closed)
        return closed

    @staticmethod
    def _line(change: Change) -> bytes:
        return change_line(
            micros=change.micros,
            sequence="1" * 21,
            expired=change.expired,
            keys=_raw(change.keys),
            new_image=None if change.new is None else _raw(change.new),
        )


def _raw(item: Item) -> msgspec.Raw:
    text = json.dumps(item, default=lambda data: base64.b64encode(data).decode(), ensure_ascii=False)
    return msgspec.Raw(text.encode())
