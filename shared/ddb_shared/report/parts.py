"""Parts of a report that exports, imports and verifications share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ddb_shared.report.charts import bar_chart, line_chart, rates
from ddb_shared.report.page import Chart, Table
from ddb_shared.report.runs import RunRecord, Series, throttled
from ddb_shared.text import duration_text, size_text

FIRST: Final = 10
# Bars that a page has room for; more segments than that are summed up.
_BARS: Final = 64
_FEW_POINTS: Final = 3
_FEW_WORKERS: Final = 2
_LINES: Final = 8


def run_parts(runs: Sequence[RunRecord], refusals: Mapping[str, int] | None = None) -> list[Table | Chart]:
    """How the runs went: each one, the rates over time, who was throttled why, and what took longest.

    `refusals` are those of the whole command by reason, where there are more than the runs have counted.
    """
    if not runs:
        return []
    parts: list[Table | Chart] = [runs_table(runs)] if len(runs) > 1 else []
    parts += _charts(runs)
    if any(run.units_name for run in runs):
        parts.append(_throttled_table(throttled(runs) if refusals is None else refusals))
    return [*parts, *_slowest_table(runs)]


def _charts(runs: Sequence[RunRecord]) -> list[Chart]:
    numbered = [
        _Charted(_name_of(runs, number), run, _seconds_between(runs[0], run))
        for number, run in enumerate(runs)
    ]
    charted = [one for one in numbered if len(one.series.seconds) >= _FEW_POINTS]
    if not charted:
        return []
    charts = [
        Chart(title="Items per second", svg=line_chart({one.name: one.rates("items") for one in charted}))
    ]
    if counted := [one for one in charted if one.run.units_name]:
        cap = [point for one in counted for point in one.cap()]
        charts.append(
            Chart(
                title=f"{counted[-1].run.units_name} per second",
                svg=line_chart({one.name: one.rates("units") for one in counted}, cap=cap),
                note="The dashed line is the cap, which may have been changed during the run." if cap else "",
            )
        )
    return [*charts, *_workers_chart(charted[-1])]


def _name_of(runs: Sequence[RunRecord], number: int) -> str:
    """Its number, and what it was about where that is not the same of all; names alone may be those of several runs."""
    name = runs[number].name
    return f"{number + 1}: {name}" if name else "the run" if len(runs) == 1 else f"run {number + 1}"


@dataclass(frozen=True, slots=True)
class _Charted:
    """A run in a chart that begins with the first of all runs, so many seconds before this one."""

    name: str
    run: RunRecord
    offset: float

    @property
    def series(self) -> Series:
        return self.run.series

    def rates(self, member: str) -> list[tuple[float, float]]:
        """`items` or `units` a second."""
        return rates(self.series.seconds, getattr(self.series, member), self.offset)[1:]

    def cap(self) -> list[tuple[float, float]]:
        """The cap over time, as far as there was one."""
        return [
            (at + self.offset, cap)
            for at, cap in zip(self.series.seconds, self.series.cap, strict=True)
            if cap
        ]


def _workers_chart(last: _Charted) -> list[Chart]:
    workers = last.series.workers
    if len(workers) < _FEW_WORKERS:
        return []
    # those that did the least are the ones to look at
    names = sorted(workers, key=lambda name: workers[name][-1])[:_LINES]
    lines = {name: rates(last.series.seconds, workers[name], last.offset) for name in names}
    note = f"The {len(names)} slowest of {len(workers)}." if len(workers) > len(names) else ""
    return [
        Chart(
            title=f"Items per second of each worker, {last.run.name or 'last run'}",
            svg=line_chart(lines),
            note=note,
        )
    ]


def _seconds_between(first: RunRecord, run: RunRecord) -> float:
    return (_time(run.started_at) - _time(first.started_at)).total_seconds()


def seconds_of(run: RunRecord) -> float:
    """How long a run took."""
    return (_time(run.ended_at) - _time(run.started_at)).total_seconds()


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """One row for each run."""
    units_name = next((run.units_name for run in runs if run.units_name), "Units")
    return Table(
        title="Passes" if all(run.name for run in runs) else "Runs",
        head=("What", "Started", "By", "Took", "Items", units_name, "Throttled", "Retried"),
        rows=[
            (
                _name_of(runs, number),
                run.started_at,
                run.by,
                duration_text(seconds_of(run)),
                run.items,
                *(
                    (run.units, sum(run.throttled.values()), run.retried)
                    if run.units_name
                    else ("unknown",) * 3
                ),
            )
            for number, run in enumerate(runs)
        ],
    )


def _throttled_table(reasons: Mapping[str, int]) -> Table:
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
    """How the items are spread over the segments of the scan; one that has far more than others takes longest.

    Where there are fewer items than segments, that is chance and tells nothing.
    """
    counts = [items.get(segment, 0) for segment in range(segments)]
    mean = sum(counts) / max(len(counts), 1)
    if len(counts) < _FEW_POINTS or mean < 1:
        return []
    group = -(-len(counts) // _BARS)
    bars = [max(counts[start : start + group]) for start in range(0, len(counts), group)]
    labels = [str(start) for start in range(0, len(counts), group)]
    each = f" Each bar is the largest of {group} segments." if group > 1 else ""
    note = (
        f"The largest of {len(counts):,} segments has {max(counts):,} items, {max(counts) / mean:.1f} times the mean; "
        f"{counts.count(0):,} {'is' if counts.count(0) == 1 else 'are'} empty.{each}"
    )
    return [Chart(title="Items by segment", svg=bar_chart("items", bars, labels), note=note)]


def size_fact(items: int, size_bytes: int) -> str:
    """`12,345 items, 1.2 GB`."""
    return f"{items:,} items" + (f", {size_text(size_bytes)}" if size_bytes >= 0 else "")
