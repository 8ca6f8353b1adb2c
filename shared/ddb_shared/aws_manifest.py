"""AWS's own manifests of an export: manifest-summary.json, manifest-files.json and their .md5 files, byte for byte.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_shared.errors import ExportError
from ddb_shared.storage import Folder

SUMMARY: Final = "manifest-summary.json"
FILES: Final = "manifest-files.json"
VERSION: Final = "2020-06-30"
JSON: Final = "DYNAMODB_JSON"


def _name(member: str) -> str:
    """AWS's spelling: camel case, but `S3` as it is."""
    first, *rest = member.split("_")
    return first + "".join(word.title() for word in rest)


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename=_name, omit_defaults=True):
    """The members of manifest-summary.json in AWS's order; a reader needs those without a default."""

    version: str
    export_arn: str = ""
    start_time: str = ""
    end_time: str | None = ""
    table_arn: str
    table_id: str
    export_time: str = ""
    s3_bucket: str = ""
    s3_prefix: str | None = ""
    s3_sse_algorithm: str = ""
    s3_sse_kms_key_id: str | None = ""
    manifest_files_s3_key: str
    billed_size_bytes: int = -1
    item_count: int
    output_format: str
    export_type: str | None = None


class File(msgspec.Struct, frozen=True, kw_only=True, rename=_name):
    """One line of manifest-files.json, in AWS's order."""

    item_count: int
    md5_checksum: str
    etag: str = ""
    data_file_s3_key: str


@dataclass(frozen=True, slots=True)
class AwsExport:
    """A full export as AWS describes it."""

    summary: Summary
    files: list[File]


def write(folder: Folder, summary: Summary, files: Sequence[File]) -> None:
    """Writes both manifests, the summary last, each with its .md5 file."""
    _write_with_md5(folder, FILES, b"".join(msgspec.json.encode(file) + b"\n" for file in files))
    _write_with_md5(folder, SUMMARY, msgspec.json.encode(summary) + b"\n")


def _write_with_md5(folder: Folder, name: str, data: bytes) -> None:
    folder.write(name, data)
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest())
    folder.write(name.removesuffix(".json") + ".md5", md5)


def read(folder: Folder) -> AwsExport | None:
    """The export in `folder` by AWS's manifests; None where it has none. Raises ExportError where it is no full one."""
    stored, where = folder.read(SUMMARY), f"{folder.url}{SUMMARY}"
    if stored is None:
        return None
    try:
        summary = msgspec.json.decode(stored.data, type=Summary)
        kind = summary.export_type or "FULL_EXPORT"
        if summary.output_format != JSON or kind != "FULL_EXPORT":
            raise ExportError(
                f"{where} describes a {kind} in {summary.output_format}.",
                "Only full exports in DYNAMODB_JSON can be imported.",
            )
        listing = folder.read(FILES)
        if listing is None:
            raise ExportError(f"{folder.url}{FILES} is missing.", "Copy the whole export folder.")
        return AwsExport(
            summary, [msgspec.json.decode(line, type=File) for line in listing.data.splitlines()]
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{where} is damaged: {error}", "Export the table again.") from error
