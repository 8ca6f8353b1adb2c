"""The report of a verification: the verdict, the counts of both sides, and the first differences."""

from __future__ import annotations

from collections.abc import Sequence

from ddb_import.requests import REQUESTS_NOTE
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison
from ddb_import.verify.report import ItemDifference, Report
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import local_user
from ddb_shared.command.prices import capacity_cost, costs_table, price_list, s3_costs
from ddb_shared.report.page import Page, Table, publish
from ddb_shared.report.parts import FIRST, run_parts
from ddb_shared.report.runs import RunRecord
from ddb_shared.runtime.events import announce
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
    runs: Sequence[RunRecord],
    gets: int,
) -> None:
    """Writes the page beside the report; with --tables and no --state, only if it was requested elsewhere.

    `runs` are the passes, `gets` the requests that they made to read the export.
    """
    has_place = options.source is None or options.state is not None
    publish(
        lambda: verify_page(
            aws, comparison.table, result, report.first, runs, gets=gets, command=options.command
        ),
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
    *,
    gets: int,
    command: str,
) -> Page:
    """The report of a verification that ran to its end."""
    sampled = (
        f" of a sample of {result.sample_percent:g}%, which proves nothing" if result.sample_percent else ""
    )
    so_far = " so far, before the capture is closed" if result.so_far else ""
    prices = price_list(aws, table.region, table.table_class)
    costs = [
        capacity_cost(prices, "Read", result.consumed_rcu, on_demand=table.on_demand),
        *s3_costs(prices, gets=gets),
    ]
    # of all passes, and of what read single items and repaired them
    refusals = result.throttle_reasons
    return Page(
        title=f"Verification of {table.name}",
        verdict=f"Verdict{sampled}{so_far}: {result.verdict}.",
        kind="warning" if sampled or (so_far and result.exit_code == 0) else _KINDS[result.verdict],
        facts=_facts(aws, result),
        parts=[
            *_differences_table(first, result),
            *run_parts(runs, refusals),
            costs_table(costs, prices.source, REQUESTS_NOTE if gets else ""),
        ],
        commands=[("Verified by", command)],
    )


def _facts(aws: Aws, result: VerifyResult) -> list[tuple[str, object]]:
    return [
        ("Export", result.export or "unknown"),
        ("Table", result.table or "unknown"),
        ("Started", result.begun_at or "unknown"),
        ("Finished", result.verified_at),
        ("Took", duration_text(result.seconds)),
        ("By", local_user()),
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
    facts: list[tuple[str, object]] = [
        ("Changes of the export", _count(result.changes)),
        ("Records of changes applied", f"{_count(result.log_applied)} of {result.log_number:,}"),
        *(("Compared earlier", step.text()) for step in result.earlier),
    ]
    if result.log_from is not None:
        facts.append((f"Items that changed after record {result.log_from:,}", _count(result.items_compared)))
    if result.so_far:
        facts.append(("Records not compared yet", f"up to {_count(result.log_newest)}"))
    return facts


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
