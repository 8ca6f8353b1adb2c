"""A move of several tables: `moves/<move-id>.json` beside the exports, which ties them together.

It is written once, before the first export begins, and names the folder of each; what has become of each is told by its folder.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ddb_shared.errors import ExportError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.records import prepare
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage

FORMAT: Final = "ddb-transfer-move/1"
# An earlier version would export without their changes the tables that a move which follows has not begun.
FOLLOW_FORMAT: Final = "ddb-transfer-move/2"
MOVES: Final = "moves/"
_DAMAGED_REMEDY: Final = (
    "Copy the file again, if it is a copy. `ddb-export --list s3://BUCKET[/PREFIX]` names the exports beside it, each of which every "
    "command takes by itself."
)


class MoveFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The options of all exports that a resume must repeat, null if not given; see RequestedFormat of the exporter."""

    format: str | None = None
    columns: dict[str, str] | None = None
    compression: str | None = None
    segments: int | None = None
    consistent_read: bool | None = None
    shard_size: int | None = None


class MovedTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its name and ARN, the TableName of requests (the ARN, if the user gave that), and the folder of its export."""

    table: str
    table_arn: str
    address: str
    export: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """The tables of a move, in the order of their exports; `given` is what the user named: tables and patterns.

    `follow`: each export follows its table.
    """

    format: str
    move_id: str
    tool_version: str
    started_at: str
    given: list[str]
    options: MoveFormat
    exports: list[MovedTable]
    follow: bool = False


class _Version(msgspec.Struct):
    format: str = ""


def name_of(move_id: str) -> str:
    """The file's name, beside the folder of the exports."""
    return f"{MOVES}{move_id}.json"


def own_folder_of(root: S3Storage, move_id: str) -> S3Storage:
    """The folder of what belongs to the move alone: the lease under which it is exported."""
    return root.below(f"{MOVES}{move_id}/")


def root_of(s3: Any, url: str) -> S3Storage:
    """The folder below which a move and its exports are stored; raises UsageError where the URL is not a move's."""
    if not manifests.is_move(url):
        raise UsageError(
            f"{url} is not a move.",
            "A move of several tables is s3://BUCKET[/PREFIX]/moves/<move-id>.json, as ddb-export printed it; an export is a folder "
            "s3://BUCKET[/PREFIX]/AWSDynamoDB/<export-id>/. `ddb-export --list` names both.",
        )
    bucket, key = parse_bucket_url(url)
    return S3Storage(s3, bucket, key.rpartition("/")[0].rpartition("/")[0])


def write(root: S3Storage, move: Move) -> str:
    """Writes a new move; returns its URL."""
    name = name_of(move.move_id)
    root.write(name, msgspec.json.format(msgspec.json.encode(move), indent=1) + b"\n", new=True)
    return root.url + name


def read(root: S3Storage, url: str) -> Move:
    """The move at this URL. The folders of its exports are those beside it, wherever the whole was copied to.

    Raises ExportError where there is none, or its format is unknown, or it names what is not an export.
    """
    stored = root.read(url.removeprefix(root.url))
    if stored is None:
        raise ExportError(
            f"No move found at {url}.", "`ddb-export --list s3://BUCKET[/PREFIX]` names the moves."
        )
    try:
        _require_known(url, msgspec.json.decode(stored.data, type=_Version).format)
        move = msgspec.json.decode(stored.data, type=Move)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{url} is damaged: {error}", _DAMAGED_REMEDY) from error
    try:
        exports = [
            msgspec.structs.replace(one, export=folder_of(root, manifests.id_in(one.export)).url)
            for one in move.exports
        ]
    except ExportError as error:
        raise ExportError(f"{url} is damaged: {error}", _DAMAGED_REMEDY) from error
    return msgspec.structs.replace(move, exports=exports)


def _require_known(url: str, version: str) -> None:
    if version not in {FORMAT, FOLLOW_FORMAT}:
        raise ExportError(
            f"{url} has the format {version!r}, which this version of ddb-transfer does not know.",
            "Use the version that wrote it, or a later one.",
        )


def folder_of(root: S3Storage, export_id: str) -> S3Storage:
    """The folder of an export beside a move."""
    return root.below(f"{manifests.EXPORTS}{export_id}/")


prepare(_Version, Move)
