"""The report of an export: what was exported from where to where, how that went, and what it cost."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import capacity_cost, costs_table, price_list, s3_costs
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import CHANGES_ONLY, Closed
from ddb_shared.format.manifest import Manifest
from ddb_shared.report import runs
from ddb_shared.report.page import Page, Table, publish
from ddb_shared.report.parts import run_parts, segments_chart, size_fact
from ddb_shared.report.runs import RunRecord
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.storage.upload import PART_BYTES
from ddb_shared.table.description import from_description
from ddb_shared.text import count_text, size_text


def write_report(
    aws: Aws, storage: S3Storage, manifest: Manifest | None = None, *, copy: Path | None = None
) -> None:
    """Writes the report of a complete export beside its manifest, which is read if it is not given, and to `copy`."""
    publish(
        lambda: _page(aws, storage, manifest or manifests.read(storage), runs.load(storage)),
        storage,
        copy=copy,
    )


def _page(aws: Aws, storage: S3Storage, manifest: Manifest, records: list[RunRecord]) -> Page:
    source, segments = manifest.source, Counter[int]()
    for shard in manifest.shards:
        segments[shard.segment] += shard.items
    stored = sum(shard.stored_bytes for shard in manifest.shards)
    counted = manifest.table.get("ItemCount")
    changes = _Changes.of(storage)
    return Page(
        title=f"Export of {source.table_name}",
        verdict=_verdict(manifest, changes),
        kind="warning" if changes and changes.closed and changes.closed.cancelled else "good",
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
                f"{size_text(stored)} in {count_text(len(manifest.shards), 'shard')}, {manifest.options.format}, {manifest.options.compression}",
            ),
            ("Reads", "consistent" if manifest.options.consistent_read else "eventually consistent"),
            ("Read units", f"{manifest.consumed_rcu:,.1f}"),
            *(changes.facts() if changes else []),
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
                shlex.join(
                    ["ddb-import", storage.url, source.table_name, *(["--follow"] if changes else [])]
                ),
            ),
            ("Prove that nothing was lost", shlex.join(["ddb-verify", storage.url, source.table_name])),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Changes:
    """What was captured of an export that follows its table; `closed` is None while the capture is open."""

    count: int
    expired: int
    closed: Closed | None

    @classmethod
    def of(cls, storage: S3Storage) -> _Changes | None:
        """None of an export that does not follow."""
        if log.read_stream(storage) is None:
            return None
        closed, last = log.read_closed(storage), log.latest(storage)
        return cls(last.total_changes if last else 0, last.total_expired if last else 0, closed)

    def verdict(self) -> str:
        """What the verdict says of them."""
        if self.closed is None:
            return " Changes were still being captured when this report was written."
        if self.closed.cancelled:
            return " The capture of changes was cancelled, so they are not complete."
        return f" {self.count:,} changes were captured."

    def facts(self) -> list[tuple[str, object]]:
        """How many, and how the capture ended."""
        expired = f", {self.expired:,} of them deletions by time to live" if self.expired else ""
        facts: list[tuple[str, object]] = [("Changes captured", f"{self.count:,}{expired}")]
        if self.closed is None:
            return [*facts, ("Capture", "open when this report was written")]
        if self.closed.cancelled:
            return [*facts, ("Capture", f"cancelled at {self.closed.closed_at}")]
        proof = f"{self.closed.proof}: {self.closed.explains}"
        return [*facts, ("Capture", f"closed at {self.closed.closed_at}"), ("Proof", proof)]


def _verdict(manifest: Manifest, changes: _Changes | None) -> str:
    base = (
        "Changes alone, without a base."
        if manifest.method == CHANGES_ONLY
        else f"Complete: {size_fact(manifest.items, manifest.bytes)}."
    )
    return base + (changes.verdict() if changes else "")


def _costs(aws: Aws, manifest: Manifest, stored: int) -> Table:
    table = from_description(manifest.table)
    prices = price_list(aws, manifest.source.region, table.table_class)
    puts = stored // PART_BYTES + 3 * len(manifest.shards) + manifest.options.segments
    costs = [
        capacity_cost(prices, "Read", manifest.consumed_rcu, on_demand=table.on_demand),
        *s3_costs(prices, puts=puts, stored_gb=stored / 1e9),
    ]
    return costs_table(costs, prices.source)
