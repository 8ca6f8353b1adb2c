"""Exports as DynamoDB itself writes them: JSON lines or Ion text, with AWS's two manifests.

The form is that of a genuine export (tests/data/aws-export) and of AWS's documentation:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

import base64
import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

EXPORT_ID = "01715685260608-c488b4e1"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders"
TABLE_ID = "11991185-e7ab-4da5-8bab-03f0db0b7bfd"

_BARE_NAME = re.compile(r"(?!(null|true|false|nan)$)[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class AwsExportFiles:
    """What one export consists of, by object key."""

    prefix: str
    export_id: str
    files: dict[str, bytes]

    @property
    def folder(self) -> str:
        """The key prefix of the manifests."""
        return f"{self.prefix}AWSDynamoDB/{self.export_id}/"

    def put(self, s3: Any, bucket: str) -> str:
        """Stores the export; returns its location."""
        for key, data in self.files.items():
            s3.put_object(Bucket=bucket, Key=key, Body=data)
        return f"s3://{bucket}/{self.folder}"


@dataclass(frozen=True)
class Form:
    """What differs from export to export; `window` is (from, to, view) of an incremental one."""

    output_format: str = "DYNAMODB_JSON"
    export_id: str = EXPORT_ID
    table_arn: str = TABLE_ARN
    table_id: str = TABLE_ID
    time: str = "2024-05-14T11:14:20.608Z"
    window: tuple[str, str, str] | None = None
    bucket: str = "test-bucket"
    compression: str = "gzip"
    sse: dict[str, Any] = field(default_factory=lambda: {"s3SseAlgorithm": "AES256", "s3SseKmsKeyId": None})


def full_export(
    items: Sequence[Mapping[str, Any]], prefix: str = "", files: int = 3, form: Form = Form()
) -> AwsExportFiles:
    """A full export of items in boto3's form, dealt out over some files; an empty file stands for an empty partition."""
    lines = [ion_line(item) if form.output_format == "ION" else json_line(item) for item in items]
    parts = [lines[number::files] for number in range(files)] + [[]]
    return _export(parts, prefix, form)


def incremental_export(lines: Iterable[bytes], prefix: str = "", form: Form = Form()) -> AwsExportFiles:
    """An incremental export of lines made by `change_line`, in one file of the shared data folder."""
    return _export([list(lines)], prefix, form)


def json_line(item: Mapping[str, Any]) -> bytes:
    """A line of a full export in DYNAMODB_JSON."""
    return _json({"Item": item}) + b"\n"


def change_line(
    keys: dict[str, Any], new: dict[str, Any] | None, old: dict[str, Any] | None = None, micros: int = 1
) -> bytes:
    """A line of an incremental export; a deletion has no new image."""
    line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": {"N": str(micros)}}, "Keys": keys}
    return _json(line | ({"OldImage": old} if old else {}) | ({"NewImage": new} if new else {})) + b"\n"


def ion_change_line(
    keys: dict[str, Any],
    new: dict[str, Any] | None,
    old: dict[str, Any] | None = None,
    *,
    in_record: bool = True,
) -> bytes:
    """The same in ION; whether AWS puts the members into a Record is known from documents alone."""
    images = {"Keys": keys, "OldImage": old, "NewImage": new}
    parts = ["Metadata:{WriteTimestampMicros:1684374845117899.}"]
    parts += [f"{name}:{_ion({'M': image})}" for name, image in images.items() if image]
    line = f"{{{','.join(parts)}}}"
    return f"$ion_1_0 {f'{{Record:{line}}}' if in_record else line}\n".encode()


def ion_line(item: Mapping[str, Any]) -> bytes:
    """A line of a full export in ION."""
    return f"$ion_1_0 {{Item:{_ion({'M': item})}}}\n".encode()


def _export(parts: list[list[bytes]], prefix: str, form: Form) -> AwsExportFiles:
    folder = f"{prefix}AWSDynamoDB/{form.export_id}/"
    data = f"{prefix}AWSDynamoDB/data/" if form.window else f"{folder}data/"
    suffix = (".ion" if form.output_format == "ION" else ".json") + (
        ".zst" if form.compression == "zstd" else ".gz"
    )
    chance = random.Random(form.export_id)
    files, listing = {f"{folder}_started": b""}, b""
    for lines in parts:
        stored = _compressed(b"".join(lines), form.compression)
        name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz234567", k=26)) + suffix
        files[data + name] = stored
        etag = hashlib.md5(hashlib.md5(stored).digest()).hexdigest() + "-1"
        entry = {
            "itemCount": len(lines),
            "md5Checksum": _md5(stored),
            "etag": etag,
            "dataFileS3Key": data + name,
        }
        listing += _json(entry) + b"\n"
    summary = _json(_summary(sum(map(len, parts)), prefix, form, f"{folder}manifest-files.json")) + b"\n"
    for name, content in (("manifest-files", listing), ("manifest-summary", summary)):
        files[f"{folder}{name}.json"] = content
        files[f"{folder}{name}.md5"] = _md5(content).encode()
    return AwsExportFiles(prefix, form.export_id, files)


def _summary(items: int, prefix: str, form: Form, listing: str) -> dict[str, Any]:
    window: dict[str, Any] = {"exportTime": form.time}
    view: dict[str, Any] = {}
    if form.window:
        window = {"exportFromTime": form.window[0], "exportToTime": form.window[1]}
        view = {"outputView": form.window[2], "exportType": "INCREMENTAL_EXPORT"}
    return {
        "version": "2023-08-01" if form.window else "2020-06-30",
        "exportArn": f"{form.table_arn}/export/{form.export_id}",
        "startTime": form.time,
        "endTime": form.time,
        "tableArn": form.table_arn,
        "tableId": form.table_id,
        **window,
        "s3Bucket": form.bucket,
        "s3Prefix": prefix.rstrip("/") or None,
        **form.sse,
        "manifestFilesS3Key": listing,
        "billedSizeBytes": 19,
        "itemCount": items,
        "outputFormat": form.output_format,
        **view,
    }


def _compressed(data: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, mtime=0)
    stored = pa.compress(data, codec=compression, asbytes=True)
    assert isinstance(stored, bytes)
    return stored


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_base64).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _md5(data: bytes) -> str:
    return _base64(hashlib.md5(data).digest())


def _ion(value: dict[str, Any]) -> str:
    """A value as text Ion: https://amazon-ion.github.io/ion-docs/docs/spec.html."""
    ((tag, content),) = value.items()
    if tag in {"SS", "NS", "BS"}:
        return f"$dynamodb_{tag}::[{','.join(_ion({tag[0]: member}) for member in content)}]"
    return _ION[tag](content)


_ION: dict[str, Callable[[Any], str]] = {
    "S": lambda content: _quoted(content, '"'),
    "N": lambda content: _decimal(content),  # noqa: PLW0108 - defined below
    "B": lambda content: "{{" + _base64(content) + "}}",
    "BOOL": lambda content: "true" if content else "false",
    "NULL": lambda _: "null",
    "L": lambda content: f"[{','.join(map(_ion, content))}]",
    "M": lambda content: (
        "{" + ",".join(f"{_name(name)}:{_ion(value)}" for name, value in content.items()) + "}"
    ),
}


def _name(name: str) -> str:
    return name if _BARE_NAME.fullmatch(name) else _quoted(name, "'")


def _quoted(text: str, quote: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    if quote == "'":
        escaped = escaped.replace('\\"', '"').replace("'", "\\'")
    return quote + escaped + quote


def _decimal(text: str) -> str:
    sign, digits, exponent = Decimal(text).as_tuple()
    figures = "".join(map(str, digits))
    return f"{'-' if sign else ''}{figures}" + ("." if exponent == 0 else f"d{exponent}")
