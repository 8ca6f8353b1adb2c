"""The report of an export that DynamoDB made: what was exported from where to where, of when, by whom, and what it cost."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import msgspec

from ddb_export.native.record import ExportRequest
from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import Cost, costs_table, native_prices, price_list, s3_costs
from ddb_shared.format import manifest as manifests
from ddb_shared.format.aws_manifest import AwsExport
from ddb_shared.report import runs
from ddb_shared.report.page import Page, Table, publish
from ddb_shared.report.parts import runs_table, size_fact
from ddb_shared.report.runs import RunRecord
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.text import size_text

_GB: Final = 1024**3


def write_report(
    aws: Aws, folder: S3Storage, request: ExportRequest, export: AwsExport, *, copy: Path | None = None
) -> None:
    """Writes the report beside the manifests of a complete export, and to `copy`."""
    publish(lambda: _page(aws, folder, request, export), folder, copy=copy)


def _page(aws: Aws, folder: S3Storage, request: ExportRequest, export: AwsExport) -> Page:
    records, summary = runs.load(folder), export.summary
    stored = sum(entry.size for entry in folder.list(manifests.DATA))
    what = ("changed " if request.is_incremental else "") + ("item" if summary.item_count == 1 else "items")
    return Page(
        title=f"Export of {request.source.table_name} by DynamoDB",
        verdict=f"Complete: {summary.item_count:,} {what}.",
        kind="good",
        facts=[
            ("From", request.source.table_arn),
            ("To", folder.url),
            *_moment(request, export),
            ("Asked for", request.requested_at),
            ("Started", summary.start_time or "unknown"),
            ("Finished", summary.end_time or "unknown"),
            ("By", ", ".join(dict.fromkeys(run.by for run in records)) or "unknown"),
            ("As", aws.identity()),
            ("Job", request.export_arn),
            ("Exported", size_fact(summary.item_count, summary.billed_size_bytes)),
            *_part(request),
            ("Stored", f"{size_text(stored)} in {len(export.files):,} files"),
            ("Read units", "none: DynamoDB reads its own backups"),
        ],
        parts=[
            *([runs_table(records)] if len(records) > 1 else []),
            _costs(aws, request, export, stored),
        ],
        commands=_commands(folder, request, records),
    )


def _moment(request: ExportRequest, export: AwsExport) -> list[tuple[str, object]]:
    if request.window:
        return [("Changes", f"from {request.window[0]} to {request.window[1]}")]
    return [("Table as of", export.summary.export_time or "unknown")]


def _part(request: ExportRequest) -> list[tuple[str, object]]:
    """The filter, where the export is not of the whole table."""
    filter_ = request.parameters.get("FilterSpecification")
    return [("Only a part", msgspec.json.encode(filter_).decode())] if filter_ else []


def _costs(aws: Aws, request: ExportRequest, export: AwsExport, stored: int) -> Table:
    """By the size that DynamoDB bills; a part of a table is charged like the whole."""
    region, size = request.source.region, export.summary.billed_size_bytes
    native, prices = native_prices(aws, region), price_list(aws, region)
    price = native.increment_gb if request.is_incremental else native.export_gb
    gigabytes = max(size, 0) / _GB
    usd = None if price is None or size < 0 else price * gigabytes
    costs = [
        Cost(what="Export by DynamoDB", quantity=gigabytes, unit="GB", usd=usd),
        *s3_costs(prices, puts=len(export.files), stored_gb=stored / 1e9),
    ]
    return costs_table(
        costs,
        prices.source,
        f"Of the export: {native.source}. Point-in-time recovery is charged by itself. Requests to S3: at least one for each file.",
    )


def _commands(folder: S3Storage, request: ExportRequest, records: list[RunRecord]) -> list[tuple[str, str]]:
    table = request.source.table_name
    exported = [("Exported by", records[0].command)] if records else []
    if request.is_incremental:
        return exported
    return [
        *exported,
        ("Import it in the destination account", shlex.join(["ddb-import", folder.url, table])),
        ("Prove that nothing was lost", shlex.join(["ddb-verify", folder.url, table])),
    ]
