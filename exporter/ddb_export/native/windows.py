"""Which window of changes an incremental export has: from the end of the export that it continues, 15 minutes to 24 hours long.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ddb_shared.errors import ExportError
from ddb_shared.format import aws_manifest
from ddb_shared.format import manifest as manifests
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table
from ddb_shared.times import time_text

MIN_WINDOW: Final = dt.timedelta(minutes=15)
MAX_WINDOW: Final = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start`, inclusive, to `end`, exclusive."""

    start: dt.datetime
    end: dt.datetime

    def __str__(self) -> str:
        return f"{time_text(self.start)} to {time_text(self.end)}"


def end_of(storage: S3Storage, table: Table) -> dt.datetime:
    """Up to when an export of the table holds its changes; raises ExportError where nothing can continue it."""
    ours = manifests.read_header(storage)  # a scan has AWS's manifests as well
    export = aws_manifest.read(storage) if ours is None or ours.method == manifests.PITR else None
    if export is None:
        raise ExportError(
            f"{storage.url} is not an export that DynamoDB made, so no incremental export can continue it.",
            "Give a complete export of --method pitr, or another one of ExportTableToPointInTime. The changes after a scan are "
            "those that --follow captures.",
        )
    summary = export.summary
    if (summary.table_arn, summary.table_id) != (table.arn, table.id):
        raise ExportError(
            f"{storage.url} is of table {summary.table_arn} (id {summary.table_id}), not of {table.arn} (id {table.id}).",
            "Give an export of this table. A table that was recreated is another one: start with a full export.",
        )
    text = summary.export_to_time if summary.kind == aws_manifest.INCREMENTAL else summary.export_time
    try:
        return dt.datetime.fromisoformat(text or "").astimezone(dt.UTC)
    except ValueError as error:
        raise ExportError(
            f"{storage.url}{aws_manifest.SUMMARY} does not say of which time it is: {text!r}."
        ) from error


def windows(start: dt.datetime, end: dt.datetime) -> list[Window]:
    """The fewest windows of equal length from `start` to `end`; raises ExportError where that is too short for one."""
    length = end - start
    if length < MIN_WINDOW:
        raise ExportError(
            f"The changes from {time_text(start)} to {time_text(end)} are {length.total_seconds() / 60:.0f} minutes; DynamoDB exports "
            "15 minutes or more.",
            f"Run the command again at {time_text(start + MIN_WINDOW)} or later, or give --every 15m, which waits.",
        )
    count = math.ceil(length / MAX_WINDOW)
    edges = [start + length * number / count for number in range(count)] + [end]
    return [Window(begin, until) for begin, until in pairwise(edges)]


def next_window(start: dt.datetime, latest: dt.datetime, every: dt.timedelta) -> Window:
    """The window from `start` of one such length, or of several where more can be exported up to `latest`."""
    count = max(1, min((latest - start) // every, MAX_WINDOW // every))
    return Window(start, start + every * count)
