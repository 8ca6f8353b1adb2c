"""The manifest, which makes a folder of shards an export, and AWS's own manifests beside it.

The format is documented in shared/README.md. A manifest is written last and only once: its presence means that every shard
it names is complete.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

import msgspec

from ddb_shared.errors import ExportError, UsageError
from ddb_shared.format import aws_manifest
from ddb_shared.format.columns import Column
from ddb_shared.records import prepare
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.settings import Setting

FORMAT: Final = "ddb-transfer/1"
MANIFEST: Final = "manifest.json"
AWS_SUMMARY: Final = aws_manifest.SUMMARY
STARTED: Final = "_started"
DATA: Final = "data/"
# Formats of shards; Ion text is AWS's alone.
JSONL: Final = "jsonl"
PARQUET: Final = "parquet"
ION: Final = "ion"
SCAN: Final = "scan"  # the method of an export that read the table itself
PITR: Final = "pitr"  # the method of an export that DynamoDB made for ddb-export
EXPORTS: Final = aws_manifest.EXPORTS

# AWS's are as ours, those of local services UUIDs.
_ID_OF_AWS: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_EXPORT_ID: Final = re.compile(r"\d{14}-[0-9a-f]{8}")
_MOVE: Final = re.compile(rf"s3://[^/]+/(.*/)?moves/{_EXPORT_ID.pattern}\.json")


# As `write` formats it: within a JSON string, a newline would be escaped.
_SHARDS_FOLLOW: Final = b'\n "shards": ['
# A table definition with its settings takes some 10 KB; a manifest whose header takes more is read whole.
_HEADER_BYTES: Final = 256 * 1024


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable data file: `items` lines, `bytes` before and `stored_bytes` after compression.

    `key` is the full object key. `md5` is base64 and `sha256` hexadecimal, both of the stored bytes; `etag` is S3's,
    without quotes. In exports by AWS `sha256` is empty and sizes are -1, which means unknown.
    """

    key: str
    segment: int
    items: int
    bytes: int
    stored_bytes: int
    md5: str
    sha256: str = ""
    etag: str = ""

    @property
    def name(self) -> str:
        """The file's name within `data/`, which also names its import checkpoint."""
        return self.key.rpartition("/")[2]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The table that the items come from. `table_id` changes when a table is deleted and recreated."""

    table_name: str
    table_arn: str
    table_id: str
    account: str
    region: str


class FormatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an export that determine its files; a resumed export must have the same. Only Parquet has `columns`."""

    format: str
    compression: str
    segments: int
    shard_size: int
    consistent_read: bool
    columns: list[Column] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A complete export. Times are RFC 3339 in UTC with milliseconds; `consumed_rcu` in read capacity units.

    `table` is what DescribeTable returned, `settings` the other settings of the table. `part` is the FilterSpecification of an export
    that holds only a part of the table, and absent otherwise.
    """

    format: str
    export_id: str
    tool_version: str
    method: str
    started_at: str
    finished_at: str
    source: Source
    table: dict[str, Any]
    settings: dict[str, Setting] = {}
    options: FormatOptions
    consumed_rcu: float
    items: int
    bytes: int
    part: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    shards: list[Shard]


class _Version(msgspec.Struct):
    format: str = ""


def new_export_id(epoch_seconds: float) -> str:
    """An export id in AWS's form: 14 digits of epoch milliseconds, a dash, 8 hexadecimal digits."""
    return f"{int(epoch_seconds * 1000):014d}-{secrets.token_hex(4)}"


def export_storage(s3: Any, url: str) -> S3Storage:
    """The folder of an export, which may be given by a manifest in it; raises UsageError if the URL is that of a move."""
    if is_move(url):
        raise UsageError(
            f"{url} is a move of several tables, and one export is expected here.",
            "Give one of its exports, which `ddb-export --list` names, or the move alone to a command that takes one: "
            "ddb-export --resume MOVE, ddb-import MOVE, ddb-import MOVE --status, ddb-verify MOVE.",
        )
    for name in (MANIFEST, AWS_SUMMARY):
        url = url.removesuffix(name)
    return S3Storage(s3, *parse_bucket_url(url))


def is_move(url: str) -> bool:
    """Whether this is the URL of the file of a move: of several exports (see `moves`)."""
    return _MOVE.fullmatch(url) is not None


def id_in(url: str) -> str:
    """The id of the export whose folder this URL is; raises ExportError if it is not one."""
    found = url.rstrip("/").rpartition("/")[2]
    if not is_export_id(found):
        raise ExportError(f"{url} is not the folder of an export.")
    return found


def export_id_of(storage: S3Storage) -> str:
    """The export id from the folder's name; raises ExportError if the name does not end in one."""
    name = storage.prefix.rstrip("/").rpartition("/")[2]
    if not _EXPORT_ID.fullmatch(name):
        raise ExportError(
            f"{storage.url} is not the folder of an export.",
            "Use the location that ddb-export printed: it ends in AWSDynamoDB/<14 digits>-<8 hexadecimal digits>/.",
        )
    return name


def read_id(storage: S3Storage) -> str:
    """The id of the export in a folder, which may be a copy of one of AWS's in a folder of any name; raises ExportError."""
    name = storage.prefix.rstrip("/").rpartition("/")[2]
    summary = None if is_export_id(name) else aws_manifest.read_summary(storage)
    return summary.export_id if summary and summary.export_id else export_id_of(storage)


def is_export_id(name: str) -> bool:
    """Whether this is the name of an export's folder."""
    return _EXPORT_ID.fullmatch(name) is not None


def read_header(storage: S3Storage) -> Manifest | None:
    """Our manifest without its shards, however many it has; None where there is none.

    They are its last member, so no more than what precedes them is read.
    """
    stored = storage.read(MANIFEST, max_bytes=_HEADER_BYTES)
    if stored is None:
        return None
    head, found, _ = stored.data.partition(_SHARDS_FOLLOW)
    if found:
        return _decode(storage, head + _SHARDS_FOLLOW + b"]}")
    whole = storage.read(MANIFEST)
    return _decode(storage, whole.data) if whole else None


def write(storage: S3Storage, manifest: Manifest) -> None:
    """Publishes the export; raises ExportError if it already has a manifest."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    try:
        storage.write(MANIFEST, data, new=True)
    except ConflictError as error:
        raise ExportError(f"{storage.url} already has a manifest: the export is complete.") from error


def read(storage: S3Storage) -> Manifest:
    """The manifest of the export in `folder`, ours or AWS's own.

    Raises ExportError where there is none, its format is unknown, or it names a file outside the export's folder.
    """
    stored = storage.read(MANIFEST)
    if stored is not None:
        manifest = _decode(storage, stored.data)
        if manifest.export_id != export_id_of(storage):
            raise _another_id(storage, manifest.export_id)
        return checked(storage, manifest, manifest.export_id)
    export = aws_manifest.read(storage)
    if export is not None:
        manifest = of_aws(storage, export)
        return checked(storage, manifest, manifest.export_id)
    if storage.read(STARTED) is not None:
        raise ExportError(
            f"The export {storage.url} is unfinished: it has no manifest.json yet.",
            f"Wait for it, or finish it with: ddb-export --resume {storage.url}",
        )
    raise ExportError(f"No export found at {storage.url}.", "Use the location that ddb-export printed.")


def _another_id(storage: S3Storage, export_id: str) -> ExportError:
    return ExportError(
        f"The manifest in {storage.url} is that of another export: {export_id}.",
        "Copy the export again, into a folder with its own id.",
    )


def _decode(storage: Storage, data: bytes) -> Manifest:
    where = f"{storage.url}{MANIFEST}"
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            raise ExportError(
                f"{where} has the format {version!r}, and this version reads {FORMAT!r}.",
                "Use the version of ddb-transfer that created the export, or a newer one.",
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{where} is damaged: {error}", "Export the table again.") from error


def checked(storage: S3Storage, manifest: Manifest, folder: str) -> Manifest:
    """Rejects keys outside `AWSDynamoDB/<folder>/data/`, duplicate names, and totals that do not match the shards."""
    names = set()
    for shard in manifest.shards:
        shard_name(storage, shard, folder)
        if shard.name in names:
            raise ExportError(
                f"The manifest of {storage.url} lists {shard.key} twice.", "Export the table again."
            )
        names.add(shard.name)
    if sum(shard.items for shard in manifest.shards) != manifest.items:
        raise ExportError(
            f"The manifest of {storage.url} is damaged: its shards do not add up to {manifest.items:,} items.",
            "Export the table again.",
        )
    return manifest


def shard_name(storage: S3Storage, shard: Shard, folder: str) -> str:
    """The shard's name relative to `storage`, wherever the export was copied since.

    `folder` is the export's id; empty for an increment, whose files are in the folder that all increments share. A manifest is
    input from another account: a key outside that folder's `data/` is rejected.
    """
    file = aws_manifest.data_file(shard.key)
    if file is None or file[0] != folder:
        raise ExportError(
            f"The manifest of {storage.url} names {shard.key!r}, which is outside the export's own folder.",
            "Do not use this export: its manifest was modified.",
        )
    return DATA + file[1]


def write_aws(storage: S3Storage, manifest: Manifest, kms_key_id: str | None = None) -> None:
    """Writes AWS's own manifests of this export as well."""
    source = manifest.source
    summary = aws_manifest.Summary(
        version=aws_manifest.VERSION,
        export_arn=f"{source.table_arn}/export/{manifest.export_id}",
        start_time=manifest.started_at,
        end_time=manifest.finished_at,
        table_arn=source.table_arn,
        table_id=source.table_id,
        export_time=manifest.started_at,
        s3_bucket=storage.bucket,
        s3_prefix=storage.prefix.rpartition(EXPORTS)[0].rstrip("/") or None,
        s3_sse_algorithm="KMS" if kms_key_id else "AES256",
        s3_sse_kms_key_id=kms_key_id,
        manifest_files_s3_key=storage.key(aws_manifest.FILES),
        billed_size_bytes=int(manifest.table.get("TableSizeBytes", 0)),
        item_count=manifest.items,
        output_format=aws_manifest.JSON,
    )
    files = [
        aws_manifest.File(
            item_count=shard.items, md5_checksum=shard.md5, etag=shard.etag, data_file_s3_key=shard.key
        )
        for shard in manifest.shards
    ]
    aws_manifest.write(storage, summary, files)


def of_aws(storage: S3Storage, export: aws_manifest.AwsExport) -> Manifest:
    """A full export written by AWS as a Manifest."""
    summary = export.summary
    _require_full(storage, summary)
    # by their random names: neighbours in AWS's list may be of one partition, and would be loaded side by side
    files = sorted(export.files, key=lambda file: file.data_file_s3_key.rpartition("/")[2])
    return Manifest(
        format=FORMAT,
        export_id=id_of_aws(storage, summary),
        tool_version="",
        method="aws-export",
        started_at=summary.start_time,
        finished_at=summary.end_time or "",
        source=source_of_aws(summary),
        table={},
        options=FormatOptions(
            format=JSONL if summary.output_format == aws_manifest.JSON else ION,
            compression="gzip",
            segments=len(files),
            shard_size=0,
            consistent_read=False,
        ),
        consumed_rcu=0.0,
        items=summary.item_count,
        bytes=-1,
        shards=[shard_of_aws(number, file) for number, file in enumerate(files)],
    )


def _require_full(storage: S3Storage, summary: aws_manifest.Summary) -> None:
    where = f"{storage.url}{AWS_SUMMARY}"
    if summary.kind != aws_manifest.FULL:
        raise ExportError(
            f"{where} describes an {summary.kind}: the changes of a period, not a whole table.",
            "Give it after the full export that it continues.",
        )
    if summary.output_format not in {aws_manifest.JSON, aws_manifest.ION}:
        raise ExportError(
            f"{where} describes an export in {summary.output_format}.",
            f"Export the table again in {aws_manifest.JSON} or {aws_manifest.ION}.",
        )


def id_of_aws(storage: S3Storage, summary: aws_manifest.Summary) -> str:
    """The id that AWS gave the export, which may have been copied into a folder of any name but another export's."""
    folder = storage.prefix.rstrip("/").rpartition("/")[2]
    if not summary.export_id:
        return export_id_of(storage)
    if not _ID_OF_AWS.fullmatch(summary.export_id):  # it names a folder of --state
        raise ExportError(
            f"{storage.url}{AWS_SUMMARY} names an export {summary.export_id!r}, which is not an export id.",
            "Do not use this export: its manifest was modified.",
        )
    if _EXPORT_ID.fullmatch(folder) and folder != summary.export_id:
        raise _another_id(storage, summary.export_id)
    return summary.export_id


def source_of_aws(summary: aws_manifest.Summary) -> Source:
    """The table that AWS's manifest names; raises ExportError where it names none."""
    arn = re.fullmatch(r"arn:[^:]+:dynamodb:([^:]+):(\d{12}):table/(.+)", summary.table_arn)
    if arn is None:
        raise ExportError(
            f"{AWS_SUMMARY} does not name a table: {summary.table_arn!r}.", "Export the table again."
        )
    region, account, table = arn.groups()
    return Source(
        table_name=table,
        table_arn=summary.table_arn,
        table_id=summary.table_id,
        account=account,
        region=region,
    )


def shard_of_aws(number: int, file: aws_manifest.File) -> Shard:
    """One of AWS's data files, whose size its manifest does not tell."""
    return Shard(
        key=file.data_file_s3_key,
        segment=number,
        items=file.item_count,
        bytes=-1,
        stored_bytes=-1,
        md5=file.md5_checksum,
        etag=file.etag,
    )


prepare(Manifest, _Version)
