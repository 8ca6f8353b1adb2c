"""The stream of a table: whether there is one that can be captured, and how one of ours is enabled and disabled.

That a stream is to be enabled is recorded in the bucket first, so that a crash right after UpdateTable leaves no stream that
is taken for someone else's. Nobody else's stream is ever disabled.
"""

from __future__ import annotations

import datetime as dt
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from ddb_shared.aws.clients import Aws
from ddb_shared.dynamodb.streams import NOT_FOUND
from ddb_shared.errors import ExportError, StateError, TableError, map_errors
from ddb_shared.format import changes as log
from ddb_shared.format.changes import StreamRecord
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.bucket import code_of
from ddb_shared.table.description import Table, describe, find
from ddb_shared.times import now_text

VIEWS: Final = frozenset({"NEW_IMAGE", "NEW_AND_OLD_IMAGES"})
NEW_IMAGE: Final = "NEW_IMAGE"
# A stream that appeared so soon after the intent to enable one is the one that was meant: UpdateTable is sent at once.
_INTENT: Final = dt.timedelta(minutes=15)
# A table is busy with another change for minutes, with a new index for hours: then the user had better know.
WAIT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class TableStream:
    """The stream that a table has, as DescribeTable tells; `view` is "" where it is disabled."""

    arn: str
    view: str

    @property
    def is_enabled(self) -> bool:
        return bool(self.view)

    @property
    def enabled_at(self) -> dt.datetime:
        """The last part of its ARN."""
        return dt.datetime.fromisoformat(self.arn.rpartition("/")[2]).replace(tzinfo=dt.UTC)


def stream_of(table: Table) -> TableStream:
    """The newest stream of a table; its ARN is "" where it never had one."""
    specification = table.definition.get("StreamSpecification") or {}
    view = specification.get("StreamViewType", "") if specification.get("StreamEnabled") else ""
    return TableStream(str(table.definition.get("LatestStreamArn") or ""), str(view))


def check_stream(table: Table) -> str:
    """What will be captured; raises TableError where the table has a stream whose records lack the items."""
    stream = stream_of(table)
    if not stream.is_enabled:
        return f"{table.name} has no stream; one with the view NEW_IMAGE will be enabled"
    if stream.view not in VIEWS:
        raise TableError(
            f"The stream of table {table.name} has the view {stream.view}: its records do not hold the items.",
            "A table has one stream, and its view cannot be changed. Once its readers can do without it, disable it: "
            f"aws dynamodb update-table --table-name {table.name} --stream-specification StreamEnabled=false\n"
            "Then --follow enables one with new images. Or export without --follow, with the writers stopped.",
        )
    return f"{stream.arn} is enabled with the view {stream.view}, and is used as it is"


def declare(storage: Storage, table: Table, *, changes_only: bool) -> StreamRecord:
    """Records which stream is going to be captured, before anything of the table is changed."""
    check_stream(table)
    stream, now = stream_of(table), now_text()
    record = StreamRecord(
        table_arn=table.arn,
        table_id=table.id,
        stream_arn=stream.arn if stream.is_enabled else "",
        view=stream.view or NEW_IMAGE,
        ours=not stream.is_enabled,
        intended_at=now,
        enabled_at=now if stream.is_enabled else "",
        changes_only=changes_only,
    )
    log.write_new(storage, log.STREAM, record)
    return record


def ensure(storage: Storage, aws: Aws, address: str, stop: Stop, *, sleep: Callable[[float], None] = time.sleep) -> StreamRecord:  # fmt: skip
    """Enables the stream that was declared, unless that is done, and waits until it can be read.

    Raises StateError where the table, or its stream, is not the one that was declared.
    """
    stored = storage.read(log.STREAM)
    if stored is None:
        raise ExportError(
            f"The export {storage.url} does not follow its table.", "It was begun without --follow."
        )
    record = log.decode(storage, log.STREAM, stored.data, StreamRecord)
    table = find(aws.dynamodb, address)
    refuse_another(record, table)
    if not record.stream_arn:
        etag = stored.etag
        if table is not None and not stream_of(table).is_enabled:
            record = msgspec.structs.replace(record, intended_at=now_text())
            etag = storage.write(log.STREAM, msgspec.json.encode(record), replaces=etag)
        record = _enable(storage, aws, address, record, stop, sleep=sleep)
        storage.write(log.STREAM, msgspec.json.encode(record), replaces=etag)
        if _is_cancelled(storage):  # by one who has looked for our stream before it was there
            if record.ours:
                disable(aws, address, record, stop, sleep=sleep)
            raise _cancelled()
    _wait(aws, record.stream_arn, stop, sleep)
    return record


def address_of(client: Any, record: StreamRecord) -> str:
    """How the table is named in requests: by its name where it is the caller's own, or else by its ARN."""
    name = record.table_arn.rpartition("/")[2]
    own = find(client, name)
    return name if own is not None and own.arn == record.table_arn else record.table_arn


def refuse_another(record: StreamRecord, table: Table | None) -> None:
    """Raises StateError where the table is gone, recreated, or has got another stream since."""
    if table is None:
        raise StateError(f"The table {record.table_arn} was deleted.", _NEW_EXPORT)
    if table.id != record.table_id:
        raise StateError(
            f"The table {record.table_arn} was recreated: its id is {table.id}, and was {record.table_id}.",
            _NEW_EXPORT,
        )
    stream = stream_of(table)
    if record.stream_arn and stream.is_enabled and stream.arn != record.stream_arn:
        raise StateError(
            f"The table {table.name} has another stream: {stream.arn} instead of {record.stream_arn}. Changes that were made "
            "between the two are in neither.",
            _NEW_EXPORT,
        )


def ours_of(record: StreamRecord, table: Table | None) -> StreamRecord | None:
    """The record with our stream that is enabled now, also where a crash kept its ARN from being recorded; None without one."""
    if not record.ours or table is None or table.id != record.table_id:
        return None
    stream = stream_of(table)
    is_ours = stream.arn == record.stream_arn or (not record.stream_arn and _is_ours(record, stream, None))
    return msgspec.structs.replace(record, stream_arn=stream.arn) if stream.is_enabled and is_ours else None


def disable(aws: Aws, address: str, record: StreamRecord, stop: Stop, *, sleep: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
    """Disables the stream, which must be ours: that closes all of its shards, which stay readable for 24 hours."""
    if not record.ours:
        raise StateError(
            f"The stream {record.stream_arn} was not enabled by this tool, so it is not disabled either."
        )
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        stop.check()
        table = find(aws.dynamodb, address)
        if table is None or table.id != record.table_id:
            return
        stream = stream_of(table)
        if not stream.is_enabled or stream.arn != record.stream_arn:
            return
        _update(aws, address, {"StreamEnabled": False})
        sleep(_POLL_SECONDS)
    raise TableError(
        f"The stream {record.stream_arn} could not be disabled within {WAIT_SECONDS / 60:.0f} minutes: the table is busy with "
        "another change.",
        "Run the same command again.",
    )


_NEW_EXPORT: Final = "End this export with --cancel, and start a new one with --follow."


class _Outcome(enum.Enum):
    ACCEPTED = "accepted"
    BUSY = "busy"
    ANOTHERS = "another call has enabled a stream"


def _enable(
    storage: Storage,
    aws: Aws,
    address: str,
    record: StreamRecord,
    stop: Stop,
    *,
    sleep: Callable[[float], None],
) -> StreamRecord:
    """The record with the table's enabled stream; enables one where there is none. Raises StateError after --cancel."""
    deadline = time.monotonic() + WAIT_SECONDS
    outcome: _Outcome | None = None
    while time.monotonic() < deadline:
        stop.check()
        table = describe(aws.dynamodb, address)
        check_stream(table)
        stream = stream_of(table)
        if stream.is_enabled and stream.arn and table.status == "ACTIVE":
            ours = record.ours and _is_ours(record, stream, outcome)
            return msgspec.structs.replace(
                record, stream_arn=stream.arn, view=stream.view, ours=ours, enabled_at=now_text()
            )
        if _is_cancelled(storage):  # which disables the stream that this run has enabled
            raise _cancelled()
        if not stream.is_enabled and outcome is not _Outcome.ACCEPTED:
            outcome = _update(aws, address, {"StreamEnabled": True, "StreamViewType": record.view})
        sleep(_POLL_SECONDS)
    raise TableError(
        f"The stream of table {record.table_arn} could not be enabled within {WAIT_SECONDS / 60:.0f} minutes: the table is "
        "busy with another change.",
        "Wait until it is ACTIVE, and resume the export.",
    )


def _is_cancelled(storage: Storage) -> bool:
    """Whether following the table was given up (--cancel)."""
    closed = log.read_closed(storage)
    return closed is not None and closed.cancelled


def _cancelled() -> StateError:
    return StateError("Following the table was cancelled (--cancel) when it began.", "Start a new export.")


def _is_ours(record: StreamRecord, found: TableStream, outcome: _Outcome | None) -> bool:
    """Whether this run enabled the stream, or one that was killed right after it had: by when that was intended."""
    if outcome is not None:
        return outcome is _Outcome.ACCEPTED
    intended = dt.datetime.fromisoformat(record.intended_at)
    return intended - _INTENT <= found.enabled_at <= intended + _INTENT


def _update(aws: Aws, address: str, specification: dict[str, Any]) -> _Outcome | None:
    """Asks for the change; None where a try whose answer was lost may have made it."""
    doing = "enable" if specification["StreamEnabled"] else "disable"
    with map_errors(f"{doing} the stream of table {address}"):
        try:
            aws.dynamodb.update_table(TableName=address, StreamSpecification=specification)
        except ClientError as error:
            if code_of(error) == "ResourceInUseException":
                return _Outcome.BUSY
            if "already" in str(error):
                return None if error.response["ResponseMetadata"].get("RetryAttempts") else _Outcome.ANOTHERS
            raise
    return _Outcome.ACCEPTED


def _wait(aws: Aws, arn: str, stop: Stop, sleep: Callable[[float], None]) -> None:
    """Returns once the stream can be read."""
    deadline = time.monotonic() + WAIT_SECONDS
    with map_errors(f"describe the stream {arn}"):
        while time.monotonic() < deadline:
            stop.check()
            try:
                status = aws.streams.describe_stream(StreamArn=arn, Limit=1)["StreamDescription"][
                    "StreamStatus"
                ]
            except ClientError as error:
                if code_of(error) != NOT_FOUND:
                    raise
                status = "unknown"
            if status not in {"ENABLING", "unknown"}:
                return
            sleep(_POLL_SECONDS)
    raise TableError(
        f"The stream {arn} is {status} for {WAIT_SECONDS / 60:.0f} minutes.", "Resume the export."
    )
