"""The manifest, which makes a folder of shards an export, and AWS's own manifests beside it.

The format is documented in shared/README.md. A manifest is written last and only once; whoever finds one knows that
every shard it names is whole.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

import msgspec

from ddb_shared import aws_manifest
from ddb_shared.bucket import parse_bucket_url
from ddb_shared.columns import Column
from ddb_shared.definition import Setting
from ddb_shared.errors import ExportError
from ddb_shared.storage import ConflictError, Folder, S3Folder

FORMAT: Final = "ddb-transfer/1"
MANIFEST: Final = "manifest.json"
AWS_SUMMARY: Final = aws_manifest.SUMMARY
STARTED: Final = "_started"
DATA: Final = "data/"
EXPORTS: Final = "AWSDynamoDB/"

_EXPORT_ID: Final = re.compile(r"\d{14}-[0-9a-f]{8}")
_SHARD_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable data file: `items` lines, `bytes` before and `stored_bytes` after compression.

    `key` is the full object key. `md5` is base64 and `sha256` hexadecimal, both of the stored bytes; `etag` is what S3
    answered, without quotes. Foreign exports leave `sha256` empty and sizes at -1, which means unknown.
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
        """The file's name within `data/`, which also names its import state."""
        return self.key.rpartition("/")[2]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the items come from. `table_id` changes when a table is deleted and made again."""

    table_name: str
    table_arn: str
    table_id: str
    account: str
    region: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The export's options that shape its files; a resumed export must have the same. Parquet alone has `columns`."""

    format: str
    compression: str
    segments: int
    shard_size: int
    consistent_read: bool
    columns: list[Column] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of an export. Times are RFC 3339 in UTC with milliseconds; `consumed_rcu` in read capacity units.

    `table` is what DescribeTable returned, `settings` what else belongs to the table.
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
    options: Settings
    consumed_rcu: float
    items: int
    bytes: int
    shards: list[Shard]


class _Version(msgspec.Struct):
    format: str = ""


def new_export_id(epoch_seconds: float) -> str:
    """An id in AWS's form: 14 digits of epoch milliseconds, a dash, 8 hexadecimal digits."""
    return f"{int(epoch_seconds * 1000):014d}-{secrets.token_hex(4)}"


def export_folder(s3: Any, url: str) -> S3Folder:
    """The folder of an export, which may be given by a manifest in it."""
    for name in (MANIFEST, AWS_SUMMARY):
        url = url.removesuffix(name)
    return S3Folder(s3, *parse_bucket_url(url))


def export_id_of(folder: S3Folder) -> str:
    """The id in the folder's name; raises ExportError where the folder can't be an export's."""
    name = folder.prefix.rstrip("/").rpartition("/")[2]
    if not _EXPORT_ID.fullmatch(name):
        raise ExportError(
            f"{folder.url} is not the folder of an export.",
            "An export's folder ends in AWSDynamoDB/<14 digits>-<8 hexadecimal digits>/, as ddb-export prints it.",
        )
    return name


def write(folder: S3Folder, manifest: Manifest) -> None:
    """Publishes the export; raises ExportError where it has a manifest already."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    try:
        folder.write(MANIFEST, data, new=True)
    except ConflictError as error:
        raise ExportError(f"{folder.url} has a manifest already: the export is complete.") from error


def read(folder: S3Folder) -> Manifest:
    """The manifest of the export in `folder`, ours or AWS's own.

    Raises ExportError where there is none, its format is unknown, or it names a file outside the export's folder.
    """
    stored = folder.read(MANIFEST)
    if stored is not None:
        return _checked(folder, _decode(folder, stored.data))
    export = aws_manifest.read(folder)
    if export is not None:
        return _checked(folder, _of_aws(export, export_id_of(folder)))
    if folder.read(STARTED) is not None:
        raise ExportError(
            f"The export {folder.url} is unfinished: it has no manifest.json yet.",
            f"Wait for it, or finish it with: ddb-export --resume {folder.url}",
        )
    raise ExportError(f"There is no export at {folder.url}.", "Give the folder that ddb-export printed.")


def _decode(folder: Folder, data: bytes) -> Manifest:
    where = f"{folder.url}{MANIFEST}"
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            raise ExportError(
                f"{where} has the format {version!r}, and this version reads {FORMAT!r}.",
                "Use the version of ddb-transfer that made the export, or a newer one.",
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{where} is damaged: {error}", "Export the table again.") from error


def _checked(folder: S3Folder, manifest: Manifest) -> Manifest:
    """Refuses keys outside the folder, names that are listed twice and sums that do not add up."""
    names = set()
    for shard in manifest.shards:
        shard_name(folder, shard)
        if shard.name in names:
            raise ExportError(
                f"The manifest of {folder.url} lists {shard.key} twice.", "Export the table again."
            )
        names.add(shard.name)
    if sum(shard.items for shard in manifest.shards) != manifest.items:
        raise ExportError(
            f"The manifest of {folder.url} is damaged: its shards do not add up to {manifest.items} items.",
            "Export the table again.",
        )
    return manifest


def shard_name(folder: S3Folder, shard: Shard) -> str:
    """The shard's name relative to `folder`, wherever the export was copied since.

    A manifest is input from another account: a key outside the export's own data folder is refused.
    """
    inside = f"{EXPORTS}{export_id_of(folder)}/{DATA}"
    before, found, name = shard.key.rpartition(inside)
    at_root_of_prefix = found and (not before or before.endswith("/"))
    if not at_root_of_prefix or not _SHARD_NAME.fullmatch(name):
        raise ExportError(
            f"The manifest of {folder.url} names {shard.key!r}, which lies outside of the export's own folder.",
            "Do not use this export: someone changed its manifest.",
        )
    return DATA + name


def write_aws(folder: S3Folder, manifest: Manifest, kms_key_id: str | None = None) -> None:
    """Writes AWS's own manifests of this export beside ours."""
    source = manifest.source
    summary = aws_manifest.Summary(
        version=aws_manifest.VERSION,
        export_arn=f"{source.table_arn}/export/{manifest.export_id}",
        start_time=manifest.started_at,
        end_time=manifest.finished_at,
        table_arn=source.table_arn,
        table_id=source.table_id,
        export_time=manifest.started_at,
        s3_bucket=folder.bucket,
        s3_prefix=folder.prefix.rpartition(EXPORTS)[0].rstrip("/") or None,
        s3_sse_algorithm="KMS" if kms_key_id else "AES256",
        s3_sse_kms_key_id=kms_key_id,
        manifest_files_s3_key=folder.key(aws_manifest.FILES),
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
    aws_manifest.write(folder, summary, files)


def _of_aws(export: aws_manifest.AwsExport, export_id: str) -> Manifest:
    """A full export that AWS wrote, seen as one of ours."""
    summary, segments = export.summary, len(export.files)
    return Manifest(
        format=FORMAT,
        export_id=export_id,
        tool_version="",
        method="aws-export",
        started_at=summary.start_time,
        finished_at=summary.end_time or "",
        source=_source_of_aws(summary),
        table={},
        options=Settings(
            format="jsonl", compression="gzip", segments=segments, shard_size=0, consistent_read=False
        ),
        consumed_rcu=0.0,
        items=summary.item_count,
        bytes=-1,
        shards=[_shard_of_aws(number, file) for number, file in enumerate(export.files)],
    )


def _source_of_aws(summary: aws_manifest.Summary) -> Source:
    arn = re.fullmatch(r"arn:[^:]+:dynamodb:([^:]+):(\d{12}):table/(.+)", summary.table_arn)
    if arn is None:
        raise ExportError(f"{AWS_SUMMARY} names no table: {summary.table_arn!r}.", "Export the table again.")
    region, account, table = arn.groups()
    return Source(
        table_name=table,
        table_arn=summary.table_arn,
        table_id=summary.table_id,
        account=account,
        region=region,
    )


def _shard_of_aws(number: int, file: aws_manifest.File) -> Shard:
    return Shard(
        key=file.data_file_s3_key,
        segment=number,
        items=file.item_count,
        bytes=-1,
        stored_bytes=-1,
        md5=file.md5_checksum,
        etag=file.etag,
    )
