"""AWS's own manifests of an export: manifest-summary.json, manifest-files.json and their .md5 files, byte for byte.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_shared.errors import ExportError
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage

SUMMARY: Final = "manifest-summary.json"
FILES: Final = "manifest-files.json"
VERSION: Final = "2020-06-30"
JSON: Final = "DYNAMODB_JSON"
ION: Final = "ION"
FULL: Final = "FULL_EXPORT"
INCREMENTAL: Final = "INCREMENTAL_EXPORT"
EXPORTS: Final = "AWSDynamoDB/"
# AWS's files are called .md5, its documentation calls them .checksum; both hold the MD5 in base64.
_SIDECARS: Final = (".md5", ".checksum")
_DATA_FILE: Final = re.compile(r"(?:(?P<export>[0-9]+-[0-9a-f]+)/)?data/(?P<name>[0-9A-Za-z][0-9A-Za-z._-]*)")


def _name(member: str) -> str:
    """AWS's spelling: camel case, with `S3` in capitals."""
    first, *rest = member.split("_")
    return first + "".join(word.title() for word in rest)


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename=_name, omit_defaults=True):
    """The members of manifest-summary.json in AWS's order; a reader needs those without a default.

    A full export has `export_time`; an incremental one the window from `export_from_time` (inclusive) to
    `export_to_time` (exclusive), and `output_view`, which says whether its lines hold old images as well.
    """

    version: str
    export_arn: str = ""
    start_time: str = ""
    end_time: str | None = ""
    table_arn: str
    table_id: str
    export_time: str | None = ""
    s3_bucket: str = ""
    s3_prefix: str | None = ""
    s3_sse_algorithm: str | None = ""
    s3_sse_kms_key_id: str | None = ""
    manifest_files_s3_key: str
    billed_size_bytes: int = -1
    item_count: int
    output_format: str
    export_type: str | None = None
    export_from_time: str | None = None
    export_to_time: str | None = None
    output_view: str | None = None

    @property
    def kind(self) -> str:
        """FULL_EXPORT where the member is absent, as AWS's own reader takes it."""
        return self.export_type or FULL

    @property
    def export_id(self) -> str:
        """The last part of the export's ARN; empty where that is absent."""
        return self.export_arn.rpartition("/export/")[2]


class File(msgspec.Struct, frozen=True, kw_only=True, rename=_name):
    """One line of manifest-files.json, in AWS's order."""

    item_count: int
    md5_checksum: str
    etag: str = ""
    data_file_s3_key: str


@dataclass(frozen=True, slots=True)
class AwsExport:
    """An export as AWS's manifests describe it, full or incremental."""

    summary: Summary
    files: list[File]


def write(storage: Storage, summary: Summary, files: Sequence[File]) -> None:
    """Writes both manifests, the summary last, each with its .md5 file."""
    _write_with_md5(storage, FILES, b"".join(msgspec.json.encode(file) + b"\n" for file in files))
    _write_with_md5(storage, SUMMARY, msgspec.json.encode(summary) + b"\n")


def _write_with_md5(storage: Storage, name: str, data: bytes) -> None:
    storage.write(name, data)
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest())
    storage.write(name.removesuffix(".json") + ".md5", md5)


def read(storage: Storage) -> AwsExport | None:
    """The export in `storage` by AWS's manifests, full or incremental; None if it has none.

    The list of files is looked for beside the summary, wherever the export was copied: `manifestFilesS3Key` is its key where
    AWS wrote it, with or without the prefix. Raises ExportError where a manifest is damaged or altered.
    """
    summary = read_summary(storage)
    if summary is None:
        return None
    listing = _read_checked(storage, FILES)
    if listing is None:
        raise ExportError(f"{storage.url}{FILES} is missing.", "Copy the whole export folder.")
    try:
        return AwsExport(summary, [msgspec.json.decode(line, type=File) for line in listing.splitlines()])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(storage, FILES, error) from error


def read_summary(storage: Storage) -> Summary | None:
    """What AWS's summary says of the export; None where there is none."""
    stored = _read_checked(storage, SUMMARY)
    try:
        return msgspec.json.decode(stored, type=Summary) if stored is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(storage, SUMMARY, error) from error


def _damaged(storage: Storage, name: str, error: Exception) -> ExportError:
    return ExportError(f"{storage.url}{name} is damaged: {error}", "Export the table again.")


def data_file(key: str) -> tuple[str, str] | None:
    """Export id and name of a data file by its key; None for a key of another form, which must not be followed.

    Full exports have `AWSDynamoDB/<id>/data/<name>`; those of increments share `AWSDynamoDB/data/<name>`, where the id is empty.
    Both may stand below any prefix.
    """
    before, found, rest = key.rpartition(EXPORTS)
    matched = _DATA_FILE.fullmatch(rest)
    if not found or (before and not before.endswith("/")) or matched is None:
        return None
    return matched["export"] or "", matched["name"]


def _read_checked(storage: Storage, name: str) -> bytes | None:
    """A manifest's bytes, checked with its checksum file where there is one; None where it is missing."""
    stored = storage.read(name)
    if stored is None:
        return None
    md5 = base64.b64encode(hashlib.md5(stored.data, usedforsecurity=False).digest())
    for suffix in _SIDECARS:
        sidecar = storage.read(name.removesuffix(".json") + suffix)
        if sidecar is not None and sidecar.data.strip() != md5:
            raise ExportError(
                f"{storage.url}{name} is damaged: its MD5 is not the one in {name.removesuffix('.json')}{suffix}.",
                "Copy the export folder again from where AWS wrote it, or export the table again.",
            )
    return stored.data


prepare(Summary, File)
