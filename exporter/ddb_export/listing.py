"""`ddb-export --list`: the exports and moves below a prefix of a bucket, with their state, from what is stored alone.

It writes nothing and reads a few small files of each export, however many shards that has.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from ddb_export.start import Started, load_states
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import ExportError, TransferError
from ddb_shared.format import aws_manifest, changes
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import is_move
from ddb_shared.format.moves import MOVES, folder_of
from ddb_shared.records import prepare
from ddb_shared.storage.bucket import check_bucket, parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.text import columns_text, duration_text, size_text

COMPLETE: Final = "complete"
UNFINISHED: Final = "unfinished"
FOLLOWING: Final = "following"
CLOSED: Final = "closed"
CANCELLED: Final = "cancelled"
DAMAGED: Final = "damaged"
# A stream keeps its changes for so long: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
STREAM_HOURS: Final = 24
# A capture that works writes every five seconds at the least.
_CAPTURE_STOPPED: Final = dt.timedelta(minutes=1)
# The checkpoints of an unfinished export are added up where they have no more than this: some 10,000 shards.
_MAX_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
_READERS: Final = 16


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """Where the capture of an export with --follow stands. Changes that it misses are lost from `deadline` on."""

    changes: int
    captured_at: str
    deadline: str | None = None


class ListedExport(msgspec.Struct, frozen=True, kw_only=True):
    """One export; what is unknown is null. `items` and `bytes` of an unfinished one are those of its complete shards."""

    export: str
    table: str | None = None
    status: str
    items: int | None = None
    bytes: int | None = None
    started: str | None = None
    finished: str | None = None
    method: str | None = None
    capture: Capture | None = None
    problem: str | None = None


class ListedMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of several tables."""

    move: str
    status: str
    tables: list[str] = []
    exports: list[str] = []
    started: str | None = None
    problem: str | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-export --list --json` prints, the oldest first."""

    exports: list[ListedExport]
    moves: list[ListedMove]

    def text(self, now: dt.datetime) -> str:
        """The same for people."""
        lines = (
            [columns_text(_HEAD, [_row(one) for one in self.exports])] if self.exports else ["No exports."]
        )
        lines += [line for one in self.exports for line in _remarks(one, now)]
        if self.moves:
            lines += ["", columns_text(_MOVE_HEAD, [_move_row(one) for one in self.moves])]
            lines += [line for one in self.moves for line in _move_remarks(one)]
        return "\n".join(lines)


def list_exports(aws: Aws, url: str) -> Listing:
    """Everything below s3://BUCKET[/PREFIX]; raises BucketError where the bucket cannot be listed."""
    root = S3Storage(aws.s3, *parse_bucket_url(url))
    check_bucket(aws.s3, root.bucket, root.prefix + manifests.EXPORTS, aws.options.owner_of(root.bucket))
    folders = [root.below(name) for name in root.folders(manifests.EXPORTS) if _is_export(name)]
    # an id begins with a zero; exports may be stored below a folder of the name `moves` as well
    moves = [entry.name for entry in root.list(f"{MOVES}0") if is_move(root.url + entry.name)]
    with ThreadPoolExecutor(_READERS) as pool:
        exports = list(pool.map(_listed, folders))
    states = {export.export: export.status for export in exports}
    return Listing(exports=exports, moves=[_listed_move(root, name, states) for name in moves])


def _is_export(folder: str) -> bool:
    return manifests.is_export_id(folder.rstrip("/").rpartition("/")[2])


def _listed(storage: S3Storage) -> ListedExport:
    """One export; a damaged one is listed as such, since it must not hide the others."""
    try:
        return _with_capture(storage, _complete(storage) or _aws(storage) or _unfinished(storage))
    except TransferError as error:
        return ListedExport(export=storage.url, status=DAMAGED, problem=error.message)


def _complete(storage: S3Storage) -> ListedExport | None:
    manifest = manifests.read_header(storage)
    if manifest is None:
        return None
    return ListedExport(
        export=storage.url,
        table=manifest.source.table_arn,
        status=COMPLETE,
        items=manifest.items,
        bytes=manifest.bytes,
        started=manifest.started_at,
        finished=manifest.finished_at,
        method=manifest.method,
    )


def _aws(storage: S3Storage) -> ListedExport | None:
    """An export that AWS wrote, full or incremental."""
    summary = aws_manifest.read_summary(storage)
    if summary is None:
        return None
    return ListedExport(
        export=storage.url,
        table=summary.table_arn,
        status=COMPLETE,
        items=summary.item_count,
        started=summary.start_time or None,
        finished=summary.end_time or None,
        method="aws-incremental" if summary.kind == aws_manifest.INCREMENTAL else "aws-export",
    )


def _unfinished(storage: S3Storage) -> ListedExport:
    stored = storage.read(manifests.STARTED)
    if stored is None:  # a move was cancelled before the turn of this table
        closed = changes.read_closed(storage)
        return ListedExport(export=storage.url, status=UNFINISHED if closed is None else CANCELLED)
    if not stored.data:  # AWS writes an empty file
        return ListedExport(export=storage.url, status=UNFINISHED)
    started = checkpoints.decode(storage, manifests.STARTED, stored.data, Started)
    sizes = sum(entry.size for entry in storage.list(checkpoints.SEGMENTS))
    shards = (
        [shard for state in load_states(storage) for shard in state.shards]
        if sizes <= _MAX_CHECKPOINT_BYTES
        else None
    )
    return ListedExport(
        export=storage.url,
        table=started.source.table_arn,
        status=UNFINISHED,
        items=None if shards is None else sum(shard.items for shard in shards),
        bytes=None if shards is None else sum(shard.bytes for shard in shards),
        started=started.started_at,
        method="scan",
    )


def _with_capture(storage: S3Storage, export: ListedExport) -> ListedExport:
    """The export with the state of its change capture, if it follows its table."""
    stream = changes.read_stream(storage)
    if stream is None:
        return export
    closed, last = changes.read_closed(storage), changes.latest(storage)
    captured_at = last.written_at if last else stream.enabled_at or stream.intended_at
    capture = Capture(
        changes=last.total_changes if last else 0,
        captured_at=captured_at,
        deadline=None if closed else _add_hours(captured_at, STREAM_HOURS),
    )
    finished = closed.closed_at if closed else None
    status = FOLLOWING if closed is None else CANCELLED if closed.cancelled else CLOSED
    return msgspec.structs.replace(export, status=status, finished=finished, capture=capture)


class _MoveFile(msgspec.Struct, frozen=True):
    """What is listed of a move's file."""

    class Export(msgspec.Struct, frozen=True):
        table: str = ""
        export: str = ""

    exports: list[Export] = []
    started_at: str | None = None


def _listed_move(root: S3Storage, name: str, states: dict[str, str]) -> ListedMove:
    """A move is told by its exports: those beside it, wherever the whole was copied to."""
    url = root.url + name
    stored = root.read(name)
    try:
        move = msgspec.json.decode(stored.data if stored else b"", type=_MoveFile)
        exports = [folder_of(root, manifests.id_in(one.export)).url for one in move.exports]
    except (msgspec.DecodeError, UnicodeDecodeError, ExportError) as error:
        return ListedMove(move=url, status=DAMAGED, problem=str(error))
    return ListedMove(
        move=url,
        status=_status_of_move({states.get(export, UNFINISHED) for export in exports}),
        tables=[export.table for export in move.exports],
        exports=exports,
        started=move.started_at,
    )


def _status_of_move(found: set[str]) -> str:
    """Of the whole move, by those of its exports."""
    if CANCELLED in found:
        return CANCELLED
    if found <= {CLOSED, COMPLETE}:
        return COMPLETE if COMPLETE in found else CLOSED
    return FOLLOWING if found <= {FOLLOWING, CLOSED, COMPLETE} else UNFINISHED


def _add_hours(text: str, hours: int) -> str:
    return (_time(text) + dt.timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _coarse(span: dt.timedelta) -> str:
    """Whole hours, or minutes below one."""
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else duration_text(span.total_seconds() // 60 * 60)


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


_HEAD: Final = ("STATUS", "TABLE", "ITEMS", "SIZE", "STARTED", "EXPORT")
_MOVE_HEAD: Final = ("STATUS", "TABLES", "STARTED", "MOVE")


def _row(export: ListedExport) -> Sequence[str]:
    return (
        export.status,
        (export.table or "unknown").rpartition("/")[2],
        "-" if export.items is None else f"{export.items:,}",
        "-" if export.bytes is None or export.bytes < 0 else size_text(export.bytes),
        (export.started or "-")[:16].replace("T", " "),
        export.export,
    )


def _move_row(move: ListedMove) -> Sequence[str]:
    return move.status, f"{len(move.tables)}", (move.started or "-")[:16].replace("T", " "), move.move


def _move_remarks(move: ListedMove) -> list[str]:
    if move.problem:
        return [f"{move.move}: {move.problem}"]
    if move.status == UNFINISHED:
        return [f"Unless it is running, finish the move with: ddb-export --resume {move.move}"]
    if move.status == FOLLOWING:
        return [f"When the writers of all its tables have stopped: ddb-export --finish {move.move}"]
    return []


def _remarks(export: ListedExport, now: dt.datetime) -> list[str]:
    """What has to be done about an export."""
    if export.problem:
        return [f"{export.export}: {export.problem}"]
    if export.status == UNFINISHED and export.method == "scan":
        return [f"Unless it is running, finish it with: ddb-export --resume {export.export}"]
    if export.status != FOLLOWING or export.capture is None or export.capture.deadline is None:
        return []
    silent, left = now - _time(export.capture.captured_at), _time(export.capture.deadline) - now
    if silent < _CAPTURE_STOPPED:
        return []
    stopped = f"{export.export}: the capture stopped {_coarse(silent)} ago; "
    if left.total_seconds() <= 0:
        return [f"{stopped}changes since {export.capture.captured_at} are lost: start a new export."]
    resume = f"resume it with: ddb-export --resume {export.export}"
    return [f"{stopped}changes are lost in {_coarse(left)}; {resume}"]


prepare(_MoveFile)
