"""Runs become rows: medians, slopes, ratios; as a table, CSV or Markdown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from lab import Run

BOTO3: Final = "boto3 as documented"
FLOOR: Final = "floor"
Key = tuple[str, str, str, str]


@dataclass(kw_only=True)
class Row:
    """One line of the table: medians over `runs`; None is not measured.

    `per_cpu_second` is of the whole program at this size, `marginal` of what an item more costs: the slope between the
    sizes of the same repeat. `startup_seconds` is what the slope leaves at no items.
    """

    section: str
    contestant: str
    direction: str
    shape: str
    items: int
    runs: int = 0
    cpu_seconds: float | None = None
    cpu_spread: float | None = None
    wall_seconds: float | None = None
    per_cpu_second: float | None = None
    marginal: float | None = None
    marginal_spread: float | None = None
    startup_seconds: float | None = None
    of_boto3: float | None = None
    of_floor: float | None = None
    process_mib: float | None = None
    tree_rss_mib: float | None = None
    tree_pss_mib: float | None = None
    stub_seconds: float | None = None
    note: str = ""


def rows_of(runs: Sequence[Run], *, every_size: bool = False) -> list[Row]:
    """A row for each program and direction, of its largest size or of every one."""
    groups: dict[Key, dict[int, list[Run]]] = {}
    for run in runs:
        key = (run.section, run.contestant, run.direction, run.shape)
        groups.setdefault(key, {}).setdefault(run.items, []).append(run)
    rows = []
    for sizes in groups.values():
        ordered = [sizes[items] for items in sorted(sizes)]
        made = [_row(same) for same in ordered]
        if len(ordered) > 1:
            _add_slope(made[-1], ordered[0], ordered[-1])
        rows += made if every_size else made[-1:]
    _add_ratios(rows)
    return rows


def _row(same: Sequence[Run]) -> Row:
    first = same[0]
    row = Row(
        section=first.section,
        contestant=first.contestant,
        direction=first.direction,
        shape=first.shape,
        items=first.items,
        note=first.failure,
    )
    costs = [run.cost for run in same if not run.failure]
    if costs:
        row.runs = len(costs)
        row.cpu_seconds = median(cost.cpu_seconds for cost in costs)
        row.cpu_spread = _spread([cost.cpu_seconds for cost in costs])
        row.wall_seconds = median(cost.wall_seconds for cost in costs)
        row.per_cpu_second = first.items / row.cpu_seconds
        row.process_mib = max(cost.process_mib for cost in costs)
        row.tree_rss_mib = max(cost.tree_rss_mib for cost in costs)
        row.tree_pss_mib = max(cost.tree_pss_mib for cost in costs)
        row.stub_seconds = median(run.stub_seconds for run in same)
    return row


def _add_slope(row: Row, small: Sequence[Run], big: Sequence[Run]) -> None:
    slopes = [
        (b.cost.cpu_seconds - s.cost.cpu_seconds) / (b.items - s.items)
        for s, b in zip(small, big, strict=False)
        if not (s.failure or b.failure)
    ]
    if slopes and row.cpu_seconds is not None and median(slopes) > 0:
        slope = median(slopes)
        row.marginal = 1 / slope
        row.marginal_spread = _spread(slopes)
        row.startup_seconds = row.cpu_seconds - slope * row.items


def _add_ratios(rows: Iterable[Row]) -> None:
    rates = {(row.contestant, row.direction, row.shape): row.marginal for row in rows if row.marginal}
    for row in rows:
        boto3 = rates.get((BOTO3, row.direction, row.shape))
        floor = rates.get((FLOOR, row.direction, row.shape))
        row.of_boto3 = row.marginal / boto3 if row.marginal and boto3 else None
        row.of_floor = row.marginal / floor if row.marginal and floor else None


def _spread(values: Sequence[float]) -> float:
    """How far apart the extremes are, as a share of the median."""
    return (max(values) - min(values)) / median(values)


COLUMNS: Final = {
    "section": "section",
    "contestant": "program",
    "direction": "",
    "shape": "shape",
    "items": "items",
    "cpu_seconds": "CPU s",
    "cpu_spread": "±",
    "wall_seconds": "wall s",
    "stub_seconds": "stub s",
    "startup_seconds": "start s",
    "per_cpu_second": "items/CPU s",
    "marginal": "marginal",
    "marginal_spread": "±",
    "of_boto3": "x boto3",
    "of_floor": "x floor",
    "process_mib": "MiB proc",
    "tree_rss_mib": "RSS all",
    "tree_pss_mib": "PSS all",
    "note": "",
}
SHARES: Final = {"cpu_spread", "marginal_spread"}
RATIOS: Final = {"of_boto3", "of_floor", "cpu_seconds", "wall_seconds", "stub_seconds", "startup_seconds"}


def cell(row: Row, column: str) -> str:
    """A value as the table shows it."""
    value = getattr(row, column)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if column in SHARES:
        return f"{value:.0%}"
    return f"{value:,.2f}" if column in RATIOS else f"{value:,.0f}"


def table(rows: Sequence[Row]) -> str:
    """Aligned text."""
    lines = [list(COLUMNS.values())] + [[cell(row, column) for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = {"section", "contestant", "direction", "shape", "note"}
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in texts else text.rjust(width)
            for column, text, width in zip(COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Every column, unrounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))
