"""The report of an import: what was loaded from where to where, what was rejected and why, how that went, and what it cost."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ddb_import.native.plan import native_costs
from ddb_import.options import Engine
from ddb_import.requests import READS_OF_A_SHARD, REQUESTS_NOTE, puts_of_load
from ddb_import.result import ExportOutcome, ImportResult
from ddb_import.state import REJECTS, list_rejects, read_rejects
from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import (
    Cost,
    capacity_cost,
    costs_table,
    native_prices,
    price_list,
    s3_costs,
)
from ddb_shared.format.lines import RejectLine
from ddb_shared.format.manifest import Manifest
from ddb_shared.report import runs
from ddb_shared.report.page import Page, Table
from ddb_shared.report.parts import FIRST, run_parts, seconds_of, segments_chart, size_fact
from ddb_shared.report.runs import RunRecord
from ddb_shared.runtime.events import announce
from ddb_shared.storage.base import Storage
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table import description
from ddb_shared.text import duration_text

# The files that are read for the reasons; there is one for each shard that has rejects.
_MAX_FILES: Final = 100
_KEY_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Rejects:
    """The reasons of the rejects with their numbers, and the first few; `is_all`: of all files, not of some."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: tuple[RejectLine, ...] = ()
    is_all: bool = True


def sample_rejects(storage: Storage) -> Rejects:
    """Why items were rejected, from the rejects files."""
    names = list_rejects(storage)
    reasons, first = Counter[str](), list[RejectLine]()
    for name in names[:_MAX_FILES]:
        lines = read_rejects(storage, name)
        reasons.update(line.reason for line in lines)
        first += lines[: FIRST - len(first)]
    return Rejects(reasons, tuple(first), len(names) <= _MAX_FILES)


def show_rejects(storage: Storage, key_names: tuple[str, ...]) -> None:
    """Tells the reasons, and the first rejects."""
    found = sample_rejects(storage)
    lines = [f"Rejected, by reason{'' if found.is_all else f' (of the first {_MAX_FILES} files)'}:"]
    lines += [f"  {count:>6,}  {reason}" for reason, count in found.reasons.most_common(FIRST)]
    lines += ["The first of them:"]
    lines += [f"  {line.shard} line {line.line}: {_key_of(line, key_names)}" for line in found.first]
    announce("\n".join(lines), event="rejects", reasons=dict(found.reasons), rejects=storage.url + REJECTS)


def _key_of(line: RejectLine, key_names: tuple[str, ...]) -> str:
    """The key of the rejected item, or the beginning of a malformed line."""
    if not isinstance(line.item, dict):
        text = line.text if isinstance(line.text, str) else str(line.item)
        return text[:_KEY_CHARACTERS]
    key = {name: line.item[name] for name in key_names if name in line.item}
    return msgspec.json.encode(key).decode()[:_KEY_CHARACTERS]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the report is of; `access` are the options by which the same caller reaches the same services."""

    aws: Aws
    export: S3Storage
    manifest: Manifest
    table: description.Table
    storage: Storage
    command: str
    access: Sequence[str] = ()


def import_page(of: Subject, outcome: ExportOutcome, result: ImportResult) -> Page:
    """The report of the complete import of one export; `result` is that of the whole command."""
    records = runs.load(of.storage)
    good = result.exit_code == 0
    return Page(
        title=f"Import into {of.table.name}",
        verdict=_verdict(of, outcome, result),
        kind="good" if good else "warning" if outcome.after.rejected else "bad",
        facts=_facts(of, outcome, records),
        parts=[
            *_rejects_tables(of, outcome),
            *run_parts(records),
            *segments_chart(_segments(of.manifest), of.manifest.options.segments),
            *_drift_table(result),
            _costs(of, outcome, records),
        ],
        commands=[
            ("Imported by", of.command),
            (
                "Prove that nothing was lost",
                shlex.join(["ddb-verify", of.export.url, of.table.name, *of.access]),
            ),
        ],
    )


def _verdict(of: Subject, outcome: ExportOutcome, result: ImportResult) -> str:
    verified = result.verification
    said = (
        f" Verified: {verified.verdict}."
        if verified
        else " Not verified yet: ddb-verify compares every item."
    )
    rejected = f", {outcome.after.rejected:,} rejected" if outcome.after.rejected else ""
    changes = f" and {outcome.cut_over.captured:,} changes" if outcome.cut_over else ""
    return f"Loaded: {of.manifest.items:,} items of the export{changes}{rejected}.{said}"


def _facts(of: Subject, outcome: ExportOutcome, records: list[RunRecord]) -> list[tuple[str, object]]:
    source = of.manifest.source
    return [
        ("From", of.export.url),
        ("Exported from", f"{source.table_arn}, {of.manifest.started_at}"),
        ("To", of.table.arn),
        ("Started", records[0].started_at if records else "unknown"),
        ("Finished", records[-1].ended_at if records else "unknown"),
        ("By", ", ".join(dict.fromkeys(run.by for run in records)) or "unknown"),
        ("As", of.aws.identity()),
        ("In the export", size_fact(of.manifest.items, of.manifest.bytes)),
        ("Loaded", f"{outcome.after.confirmed - outcome.after.skipped - outcome.after.rejected:,} items"),
        ("Skipped", f"{outcome.after.skipped:,} items"),
        ("Rejected", f"{outcome.after.rejected:,} items"),
        ("Shards", f"{outcome.after.done:,} of {len(of.manifest.shards):,}"),
        *_change_facts(outcome),
        *_way_facts(outcome, records),
    ]


def _change_facts(outcome: ExportOutcome) -> list[tuple[str, object]]:
    """What was captured while the table was written to, and how that ended."""
    end = outcome.cut_over
    if end is None:
        return []
    return [
        ("Changes", f"{end.captured:,} captured, {end.applied:,} applied, {end.rejected:,} rejected"),
        (
            "Cut-over",
            f"closed at {end.closed_at}, applied at {end.applied_at} ({duration_text(end.lag_seconds)} later)",
        ),
        ("Proof", f"{end.proof}: {end.explains}"),
    ]


def _way_facts(outcome: ExportOutcome, records: list[RunRecord]) -> list[tuple[str, object]]:
    """The write units of the load, or DynamoDB's job that did it."""
    written = sum(run.units for run in records)
    if outcome.native is None:
        return [("Write units", f"{written:,.1f}")]
    units = "none" if outcome.native.engine == Engine.IMPORT_TABLE else "unknown: DynamoDB does not tell"
    of_changes = f"; {written:,.1f} for the changes" if written else ""
    return [
        ("Loaded by", f"DynamoDB itself ({outcome.native.engine}): {outcome.native.arn}"),
        ("Write units", units + of_changes),
    ]


def _segments(manifest: Manifest) -> Counter[int]:
    items = Counter[int]()
    for shard in manifest.shards:
        items[shard.segment] += shard.items
    return items


def _rejects_tables(of: Subject, outcome: ExportOutcome) -> list[Table]:
    if not outcome.after.rejected:
        return []
    found = sample_rejects(of.storage)
    rows = [(line.shard, line.line, _key_of(line, of.table.key_names), line.reason) for line in found.first]
    return [
        Table(
            title="Rejects by reason",
            head=("Reason", "Items"),
            rows=found.reasons.most_common(),
            note=f"All rejects and their reasons: {of.storage.url}{REJECTS}",
        ),
        Table(title="The first rejects", head=("Shard", "Line", "Key", "Reason"), rows=rows),
    ]


def _drift_table(result: ImportResult) -> list[Table]:
    rows = [(str(difference),) for difference in result.drift]
    return (
        [Table(title="Where the table differs from the source's", head=("Setting",), rows=rows)]
        if rows
        else []
    )


def _costs(of: Subject, outcome: ExportOutcome, records: list[RunRecord]) -> Table:
    """Of the runs that wrote, and of the job, if DynamoDB itself has loaded the export."""
    prices, costs = price_list(of.aws, of.table.region, of.table.table_class), list[Cost]()
    if outcome.native is not None:
        native = native_prices(of.aws, of.table.region)
        costs += native_costs(Engine(outcome.native.engine), of.manifest.bytes, native)
    writing = [run for run in records if run.units_name]
    if writing or not costs:
        units, indexes = sum(run.units for run in writing), of.table.index_count
        costs.append(capacity_cost(prices, "Write", units, on_demand=of.table.on_demand, indexes=indexes))
    shards = 0 if outcome.native else len(of.manifest.shards)
    puts = (
        0.0 if isinstance(of.storage, LocalStorage) else puts_of_load(shards, sum(map(seconds_of, writing)))
    )
    costs += s3_costs(prices, puts=puts, gets=READS_OF_A_SHARD * shards)
    return costs_table(costs, prices.source, REQUESTS_NOTE)
