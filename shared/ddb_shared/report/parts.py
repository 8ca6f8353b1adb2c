"""Parts of a report that exports, imports and verifications share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from ddb_shared.report.charts import bar_chart, line_chart, rates
from ddb_shared.report.page import Chart, Table
from ddb_shared.report.runs import RunRecord, Series, throttled
from ddb_shared.text import duration_text, size_text

FIRST: Final = 10
# Bars that a page has room for; more segments than that are summed up.
_BARS: Final = 64
_FEW_POINTS: Final = 3
_LINES: Final = 8


def run_parts(runs: Sequence[RunRecord]) -> list[Table | Chart]:
    """How the runs went: each one, the rates over time, who was throttled why, and what took longest."""
    if not runs:
        return []
    units_name = runs[-1].units_name
    parts: list[Table | Chart] = [_runs_table(runs)] if len(runs) > 1 else []
    charted = [(run.series, _seconds_between(runs[0], run)) for run in runs if _is_long(run.series)]
    if charted:
        parts += [
            Chart(title="Items per second", svg=line_chart(_by_run(charted, "items"))),
            Chart(
                title=f"{units_name} per second",
                svg=line_chart(_by_run(charted, "units"), cap=_cap(charted)),
                note="The dashed line is the cap, which may have been changed during the run."
                if _cap(charted)
                else "",
            ),
        ]
        last, offset = charted[-1]
        if len(last.workers) > 1:  # those that did the least are the ones to look at
            names = sorted(last.workers, key=lambda name: last.workers[name][-1])[:_LINES]
            lines = {name: rates(last.seconds, last.workers[name], offset) for name in names}
            note = (
                f"The {len(names)} slowest of {len(last.workers)}." if len(last.workers) > len(names) else ""
            )
            parts.append(
                Chart(title="Items per second of each worker, last run", svg=line_chart(lines), note=note)
            )
    parts += [_throttled_table(runs), *_slowest_table(runs)]
    return parts


def _is_long(series: Series) -> bool:
    return len(series.seconds) >= _FEW_POINTS


def _by_run(charted: Sequence[tuple[Series, float]], member: str) -> dict[str, list[tuple[float, float]]]:
    label = "the run" if len(charted) == 1 else "run {}"
    return {
        label.format(number): rates(series.seconds, getattr(series, member), offset)[1:]
        for number, (series, offset) in enumerate(charted, 1)
    }


def _cap(charted: Sequence[tuple[Series, float]]) -> list[tuple[float, float]]:
    return [
        (at + offset, cap)
        for series, offset in charted
        for at, cap in zip(series.seconds, series.cap, strict=True)
        if cap
    ]


def _seconds_between(first: RunRecord, run: RunRecord) -> float:
    return (_time(run.started_at) - _time(first.started_at)).total_seconds()


def seconds_of(run: RunRecord) -> float:
    """How long a run took."""
    return (_time(run.ended_at) - _time(run.started_at)).total_seconds()


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _runs_table(runs: Sequence[RunRecord]) -> Table:
    return Table(
        title="Runs",
        head=("Started", "By", "Took", "Items", runs[-1].units_name, "Throttled", "Retried"),
        rows=[
            (
                run.started_at,
                run.by,
                duration_text(seconds_of(run)),
                run.items,
                run.units,
                sum(run.throttled.values()),
                run.retried,
            )
            for run in runs
        ],
    )


def _throttled_table(runs: Sequence[RunRecord]) -> Table:
    reasons = throttled(runs)
    note = "" if reasons else "Nothing was throttled."
    return Table(
        title="Throttling by reason", head=("Reason", "Times"), rows=list(reasons.items()), note=note
    )


def _slowest_table(runs: Sequence[RunRecord]) -> list[Table]:
    slowest = sorted((shard for run in runs for shard in run.slowest), reverse=True)[:FIRST]
    if not slowest:
        return []
    rows = [(name, items, duration_text(seconds)) for seconds, name, items in slowest]
    return [Table(title="Slowest shards", head=("Shard", "Items", "Took"), rows=rows)]


def segments_chart(items: Mapping[int, int], segments: int) -> list[Chart]:
    """How the items are spread over the segments of the scan; one that has far more than others takes longest."""
    counts = [items.get(segment, 0) for segment in range(segments)]
    mean = sum(counts) / max(len(counts), 1)
    if len(counts) < _FEW_POINTS or not mean:
        return []
    group = -(-len(counts) // _BARS)
    bars = [max(counts[start : start + group]) for start in range(0, len(counts), group)]
    labels = [str(start) for start in range(0, len(counts), group)]
    each = f" Each bar is the largest of {group} segments." if group > 1 else ""
    note = (
        f"The largest of {len(counts):,} segments has {max(counts):,} items, {max(counts) / mean:.1f} times the mean; "
        f"{counts.count(0):,} are empty.{each}"
    )
    return [Chart(title="Items by segment", svg=bar_chart("items", bars, labels), note=note)]


def size_fact(items: int, size_bytes: int) -> str:
    """`12,345 items, 1.2 GB`."""
    return f"{items:,} items" + (f", {size_text(size_bytes)}" if size_bytes >= 0 else "")
