"""AWS's incremental exports: the changes of a window of time, one line for each item that changed in it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html. The manifests are in the export's own
folder, the data files in `AWSDynamoDB/data/`, which all increments share: only the manifest says which belong together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_shared.errors import ExportError
from ddb_shared.format import aws_manifest
from ddb_shared.format.aws_manifest import Summary
from ddb_shared.format.manifest import (
    AWS_SUMMARY,
    FORMAT,
    ION,
    JSONL,
    MANIFEST,
    FormatOptions,
    Manifest,
    checked,
    id_of_aws,
    shard_of_aws,
    source_of_aws,
)
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.times import time_text

METHOD: Final = "aws-increment"
NEW_IMAGE: Final = "NEW_IMAGE"
NEW_AND_OLD_IMAGES: Final = "NEW_AND_OLD_IMAGES"
_FORMATS: Final = {aws_manifest.JSON: JSONL, aws_manifest.ION: ION}


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """From `start`, inclusive, to `end`, exclusive."""

    start: dt.datetime
    end: dt.datetime

    def __str__(self) -> str:
        return f"{time_text(self.start)} to {time_text(self.end)}"


@dataclass(frozen=True, slots=True)
class Increment:
    """One incremental export. `view` says which images its lines hold; the items of `manifest` are its lines."""

    manifest: Manifest
    window: Window
    view: str


class ChangeLine(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One line, without its Metadata; images that are absent are empty."""

    keys: msgspec.Raw
    new_image: msgspec.Raw = msgspec.Raw(b"")
    old_image: msgspec.Raw = msgspec.Raw(b"")

    @property
    def is_put(self) -> bool:
        """The item is there at the end of the window."""
        return memoryview(self.new_image).nbytes > 0

    def is_delete(self, view: str) -> bool:
        """The item is gone at the end of the window.

        Where old images are included, its own must be there: a line with nothing but keys would be of another form.
        """
        has_old_image = memoryview(self.old_image).nbytes > 0
        return not self.is_put and has_old_image == (view == NEW_AND_OLD_IMAGES)


_LINES: Final = msgspec.json.Decoder(ChangeLine)
# what msgspec raises for bytes that are not such lines: it decodes text late, and it nests on the stack
_NOT_A_LINE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_lines(lines: Sequence[bytes]) -> list[ChangeLine | None]:
    """Each line decoded; None for one that is not a change."""
    joined = b"\n".join(lines)
    try:
        joined.decode()  # msgspec.Raw is not decoded
        found: list[ChangeLine | None] = [*_LINES.decode_lines(joined)]
    except _NOT_A_LINE:
        found = []
    return found if len(found) == len(lines) else [_decode_line(line) for line in lines]


def _decode_line(line: bytes) -> ChangeLine | None:
    try:
        line.decode()
        return _LINES.decode(line)
    except _NOT_A_LINE:
        return None


def read(storage: S3Storage) -> Increment | None:
    """The increment in `storage`; None where there is no export, or another one.

    Raises ExportError where a manifest is damaged, or describes what cannot be applied.
    """
    if storage.read(MANIFEST) is not None:
        return None
    export = aws_manifest.read(storage)
    if export is None or export.summary.kind != aws_manifest.INCREMENTAL:
        return None
    summary = export.summary
    where = f"{storage.url}{AWS_SUMMARY}"
    format_ = _FORMATS.get(summary.output_format)
    if format_ is None:
        raise ExportError(
            f"{where} describes an increment in {summary.output_format}.",
            f"Export the window again in {' or '.join(_FORMATS)}.",
        )
    if summary.output_view not in {NEW_IMAGE, NEW_AND_OLD_IMAGES}:
        raise ExportError(
            f"{where} has the outputView {summary.output_view!r}, so its lines cannot be understood.",
            f"Export the window again with the view {NEW_IMAGE} or {NEW_AND_OLD_IMAGES}.",
        )
    files = sorted(export.files, key=lambda file: file.data_file_s3_key)
    manifest = Manifest(
        format=FORMAT,
        export_id=id_of_aws(storage, summary),
        tool_version="",
        method=METHOD,
        started_at=summary.start_time,
        finished_at=summary.end_time or "",
        source=source_of_aws(summary),
        table={},
        options=FormatOptions(
            format=format_, compression="gzip", segments=len(files), shard_size=0, consistent_read=False
        ),
        consumed_rcu=0.0,
        items=summary.item_count,
        bytes=-1,
        shards=[shard_of_aws(number, file) for number, file in enumerate(files)],
    )
    return Increment(checked(storage, manifest, ""), _window(where, summary), summary.output_view)


def data_folder(storage: S3Storage) -> S3Storage:
    """The folder `AWSDynamoDB/` of an increment, in which `data/` is that of all increments."""
    return storage.parent()


def time_of(text: str | None, where: str) -> dt.datetime:
    """A manifest's time; raises ExportError where it is none."""
    try:
        time = dt.datetime.fromisoformat(text or "")
    except ValueError as error:
        raise ExportError(
            f"{where} is damaged: {text!r} is not a time.", "Export the table again."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _window(where: str, summary: Summary) -> Window:
    window = Window(time_of(summary.export_from_time, where), time_of(summary.export_to_time, where))
    if window.start >= window.end:
        raise ExportError(f"{where} is damaged: its window is {window}.", "Export the window again.")
    return window
