"""The report of an export: what was exported from where to where, how that went, and what it cost."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import capacity_cost, costs_table, price_list, s3_costs
from ddb_shared.format.manifest import Manifest
from ddb_shared.report import runs
from ddb_shared.report.page import Page, Table, publish
from ddb_shared.report.parts import run_parts, segments_chart, size_fact
from ddb_shared.report.runs import RunRecord
from ddb_shared.storage.s3 import PART_BYTES, S3Storage
from ddb_shared.table.description import from_description
from ddb_shared.text import size_text


def write_report(aws: Aws, storage: S3Storage, manifest: Manifest, *, copy: Path | None = None) -> None:
    """Writes the report of a complete export beside its manifest, and to `copy`."""
    publish(lambda: _page(aws, storage, manifest, runs.load(storage)), storage, copy=copy)


def _page(aws: Aws, storage: S3Storage, manifest: Manifest, records: list[RunRecord]) -> Page:
    source, segments = manifest.source, Counter[int]()
    for shard in manifest.shards:
        segments[shard.segment] += shard.items
    stored = sum(shard.stored_bytes for shard in manifest.shards)
    counted = manifest.table.get("ItemCount")
    return Page(
        title=f"Export of {source.table_name}",
        verdict=f"Complete: {size_fact(manifest.items, manifest.bytes)}.",
        kind="good",
        facts=[
            ("From", source.table_arn),
            ("To", storage.url),
            ("Started", manifest.started_at),
            ("Finished", manifest.finished_at),
            ("By", ", ".join(dict.fromkeys(run.by for run in records)) or "unknown"),
            ("As", aws.identity()),
            ("Items exported", f"{manifest.items:,}"),
            (
                "Items of the table",
                "unknown"
                if counted is None
                else f"{counted:,}, by DynamoDB's own count of up to six hours earlier",
            ),
            (
                "Stored",
                f"{size_text(stored)} in {len(manifest.shards):,} shards, {manifest.options.format}, {manifest.options.compression}",
            ),
            ("Reads", "consistent" if manifest.options.consistent_read else "eventually consistent"),
            ("Read units", f"{manifest.consumed_rcu:,.1f}"),
        ],
        parts=[
            *run_parts(records),
            *segments_chart(segments, manifest.options.segments),
            _costs(aws, manifest, stored),
        ],
        commands=[
            *([("Exported by", records[0].command)] if records else []),
            (
                "Import it in the destination account",
                shlex.join(["ddb-import", storage.url, source.table_name]),
            ),
            ("Prove that nothing was lost", shlex.join(["ddb-verify", storage.url, source.table_name])),
        ],
    )


def _costs(aws: Aws, manifest: Manifest, stored: int) -> Table:
    table = from_description(manifest.table)
    prices = price_list(aws, manifest.source.region, table.table_class)
    puts = stored // PART_BYTES + 3 * len(manifest.shards) + manifest.options.segments
    costs = [
        capacity_cost(prices, "Read", manifest.consumed_rcu, on_demand=table.on_demand),
        *s3_costs(prices, puts=puts, stored_gb=stored / 1e9),
    ]
    return costs_table(costs, prices.source)
