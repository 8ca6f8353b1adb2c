"""Runs become rows: medians, slopes between sizes, ratios to boto3 and to the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import correlation, linear_regression, median
from typing import Final

from bench.lab import Run

BOTO3: Final = "boto3 as documented"
FLOOR: Final = "floor"
Groups = dict[tuple[str, str, str, str], dict[int, list[Run]]]


@dataclass(kw_only=True)
class Row:
    """One line of the table: medians over `runs`, greatest memory; None is not measured. Seconds, MiB, items a second.

    - `per_cpu_second` is of the whole program at this size. `marginal` is of the slope between the sizes of the same
      repeat, without start-up, which is `startup_seconds`; `wall_marginal` is the same of wall time.
    - `busiest_marginal` is that of the CPU of the busiest process alone: what wall time would be with a core for each.
    - Spreads are the distance of the extremes as a share of the median.
    - `of_boto3` and `of_floor` are ratios of `marginal`.
    - `service_cores` is the CPU of the service over wall time, by the slopes of both; `service_busy` counts also the time
      that it waited for a core.
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
    startup_seconds: float | None = None
    per_cpu_second: float | None = None
    marginal: float | None = None
    marginal_spread: float | None = None
    of_boto3: float | None = None
    of_floor: float | None = None
    wall_marginal: float | None = None
    busiest_marginal: float | None = None
    service_cores: float | None = None
    service_busy: float | None = None
    process_mib: float | None = None
    tree_rss_mib: float | None = None
    tree_pss_mib: float | None = None
    note: str = ""


def rows_of(runs: Sequence[Run], *, every_size: bool = False) -> list[Row]:
    """A row for each program and direction, of its largest size or of every one."""
    rows = []
    for sizes in _groups(runs).values():
        ordered = [sizes[items] for items in sorted(sizes)]
        made = [_row(same) for same in ordered]
        if len(ordered) > 1 and not every_size:
            _add_slopes(made[-1], ordered[0], ordered[-1])
        rows += made if every_size else made[-1:]
    _add_ratios(rows)
    return rows


def startup_rows(runs: Sequence[Run]) -> list[Row]:
    """A row for each program and direction; its note compares its CPU with boto3's."""
    rows = rows_of(runs)
    of_boto3 = {row.direction: row.cpu_seconds for row in rows if row.contestant == BOTO3}
    for row in rows:
        seconds = of_boto3.get(row.direction)
        if row.cpu_seconds and seconds and row.contestant != BOTO3:
            row.note = f"start: {row.cpu_seconds / seconds:.2f} times the CPU of {BOTO3}"
    return rows


def fit_rows(runs: Sequence[Run]) -> list[Row]:
    """The straight line through the CPU of each program over all its sizes."""
    rows = []
    for key, sizes in _groups([run for run in runs if not run.failure]).items():
        points = [(run.items, run.cost.cpu_seconds) for same in sizes.values() for run in same]
        items, seconds = zip(*points, strict=True)
        line = linear_regression(items, seconds)
        section, contestant, direction, shape = key
        row = Row(section=section, contestant=contestant, direction=direction, shape=shape, items=max(items))
        row.runs = len(points)
        row.startup_seconds = line.intercept
        row.marginal = 1 / line.slope if line.slope > 0 else None
        square = correlation(items, seconds) ** 2
        row.note = f"line: {line.intercept:.2f} s + {line.slope * 1e6:.2f} s a million, R² {square:.4f}"
        rows.append(row)
    return rows


def _groups(runs: Sequence[Run]) -> Groups:
    groups: Groups = {}
    for run in runs:
        key = (run.section, run.contestant, run.direction, run.shape)
        groups.setdefault(key, {}).setdefault(run.items, []).append(run)
    return groups


def _row(same: Sequence[Run]) -> Row:
    first = same[0]
    row = Row(
        section=first.section,
        contestant=first.contestant,
        direction=first.direction,
        shape=first.shape,
        items=first.items,
        note=next((run.failure for run in same if run.failure), ""),
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
    return row


def _add_slopes(row: Row, small: Sequence[Run], big: Sequence[Run]) -> None:
    pairs = [(s, b) for s, b in zip(small, big, strict=False) if not (s.failure or b.failure)]

    def slopes(seconds: Callable[[Run], float]) -> list[float]:
        return [(seconds(b) - seconds(s)) / (b.items - s.items) for s, b in pairs]

    cpu, wall = slopes(lambda run: run.cost.cpu_seconds), slopes(lambda run: run.cost.wall_seconds)
    if not pairs or row.cpu_seconds is None or min(median(cpu), median(wall)) <= 0:
        return  # noise: too few items
    row.marginal = 1 / median(cpu)
    row.marginal_spread = _spread(cpu)
    row.startup_seconds = row.cpu_seconds - median(cpu) * row.items
    row.wall_marginal = 1 / median(wall)
    busiest = median(slopes(lambda run: run.cost.busiest_seconds))
    row.busiest_marginal = 1 / busiest if busiest > 0 else None
    row.service_cores = median(slopes(lambda run: run.service_seconds)) / median(wall)
    row.service_busy = median(slopes(lambda run: run.service_seconds + run.waiting_seconds)) / median(wall)


def _add_ratios(rows: Iterable[Row]) -> None:
    rates = {(row.contestant, row.direction, row.shape): row.marginal for row in rows if row.marginal}
    for row in rows:
        boto3 = rates.get((BOTO3, row.direction, row.shape))
        floor = rates.get((FLOOR, row.direction, row.shape))
        row.of_boto3 = row.marginal / boto3 if row.marginal and boto3 else None
        row.of_floor = row.marginal / floor if row.marginal and floor else None


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / median(values)
