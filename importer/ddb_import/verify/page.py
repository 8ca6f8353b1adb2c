"""The report of a verification: the verdict, the counts of both sides, and the first differences."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison
from ddb_import.verify.report import ItemDifference, Report
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import local_user
from ddb_shared.command.prices import capacity_cost, costs_table, price_list
from ddb_shared.format.control import Running
from ddb_shared.report.page import Page, Table, publish
from ddb_shared.report.parts import FIRST, run_parts
from ddb_shared.report.runs import RunRecord
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.progress import Progress
from ddb_shared.table import description
from ddb_shared.text import duration_text

_KINDS = {Verdict.IDENTICAL: "good", Verdict.DIFFERENT: "bad", Verdict.INCOMPLETE: "bad"}
_KEY_CHARACTERS = 200


def show_differences(differences: Sequence[ItemDifference], result: VerifyResult) -> None:
    """Tells the first differences."""
    if differences:
        lines = (
            [f"The first {len(differences)} differences:"] if len(differences) == FIRST else ["Differences:"]
        )
        lines += [f"  {' '.join(_row(one)[:2])}  {_row(one)[2]}".rstrip() for one in differences]
        announce("\n".join(lines), event="differences", report=result.report)


def publish_page(
    aws: Aws,
    comparison: Comparison,
    options: VerifyOptions,
    *,
    result: VerifyResult,
    report: Report,
    passes: Sequence[Progress],
) -> None:
    """Writes the page beside the report; with --tables and no --state, only if it was requested elsewhere."""
    running = Running(
        nonce="", by=local_user(), pid=os.getpid(), since=result.begun_at or "", command=options.command
    )
    refusals = dict(result.throttle_reasons)  # of all passes, and of what read single items and repaired them
    runs = [
        msgspec.structs.replace(RunRecord.of(progress, running, options.command), throttled=refusals)
        for progress in passes[:1]
    ]
    has_place = options.source is None or options.state is not None
    publish(
        lambda: verify_page(aws, comparison.table, result, report.first, runs),
        comparison.storage if has_place else None,
        report.page_name,
        copy=options.common.report,
    )


def verify_page(
    aws: Aws,
    table: description.Table,
    result: VerifyResult,
    first: Sequence[ItemDifference],
    runs: Sequence[RunRecord],
) -> Page:
    """The report of a verification that ran to its end."""
    sampled = (
        f" of a sample of {result.sample_percent:g}%, which proves nothing" if result.sample_percent else ""
    )
    prices = price_list(aws, table.region, table.table_class)
    cost = capacity_cost(prices, "Read", result.consumed_rcu, on_demand=table.on_demand)
    return Page(
        title=f"Verification of {table.name}",
        verdict=f"Verdict{sampled}: {result.verdict}.",
        kind=_KINDS[result.verdict] if not sampled else "warning",
        facts=_facts(aws, result, runs),
        parts=[*_differences_table(first, result), *run_parts(runs), costs_table([cost], prices.source)],
        commands=[("Verified by", run.command) for run in runs[:1]],
    )


def _facts(aws: Aws, result: VerifyResult, runs: Sequence[RunRecord]) -> list[tuple[str, object]]:
    return [
        ("Export", result.export or "unknown"),
        ("Table", result.table or "unknown"),
        ("Started", result.begun_at or "unknown"),
        ("Finished", result.verified_at),
        ("Took", duration_text(result.seconds)),
        ("By", runs[0].by if runs else "unknown"),
        ("As", aws.identity()),
        ("Items of the export", _count(result.items_export)),
        ("Items of the table", _count(result.items_table)),
        ("Missing", _count(result.missing)),
        ("Extra", _count(result.extra)),
        ("Different", _count(result.different)),
        ("Expired", _count(result.expired)),
        *_more(result),
        *_changes(result),
        ("Digest of the export", result.digest_export or "none"),
        ("Digest of the table", result.digest_table or "none"),
        ("Repaired", f"{result.repaired:,} written, {result.deleted:,} deleted"),
        ("Not repaired", f"{result.changed_since:,} changed since, {result.refused:,} refused"),
        ("Read units", f"{result.consumed_rcu:,.1f}"),
    ]


def _changes(result: VerifyResult) -> list[tuple[str, object]]:
    """How many changes count as the export, and how far they are applied."""
    if result.log_number is None:
        return []
    return [
        ("Changes of the export", _count(result.changes)),
        ("Records of changes applied", f"{_count(result.log_applied)} of {result.log_number:,}"),
    ]


def _more(result: VerifyResult) -> list[tuple[str, object]]:
    """What most verifications have none of."""
    found: list[tuple[str, object]] = []
    if result.before:
        counts = result.before
        text = f"{_count(counts.missing)} missing, {_count(counts.extra)} extra, {_count(counts.different)} different"
        found.append(("Before the repair", f"{counts.verdict}: {text}"))
    if result.unnamed:
        found.append(("Of these not in the report", _count(result.unnamed)))
    if result.reason:
        found.append(("Reason", result.reason))
    return found


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _differences_table(first: Sequence[ItemDifference], result: VerifyResult) -> list[Table]:
    if not first:
        return []
    note = f"All differences, as they were found: {result.report}" if result.report else ""
    return [
        Table(
            title="The first differences",
            head=("Kind", "Key", "Attributes"),
            rows=[_row(one) for one in first],
            note=note,
        )
    ]


def _row(difference: ItemDifference) -> tuple[str, str, str]:
    key = bytes(difference.key).decode("utf-8", "backslashreplace")[:_KEY_CHARACTERS]
    return str(difference.kind), key, ", ".join(difference.attributes)
