"""Rows as a table, as CSV, and the headline as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from bench.rows import Row

TITLES: Final = {
    "section": "section",
    "contestant": "program",
    "direction": "",
    "shape": "shape",
    "items": "items",
    "cpu_seconds": "CPU s",
    "cpu_spread": "±",
    "wall_seconds": "wall s",
    "startup_seconds": "start s",
    "per_cpu_second": "items/CPU s",
    "marginal": "marginal",
    "marginal_spread": "±",
    "of_boto3": "x boto3",
    "of_floor": "x floor",
    "wall_marginal": "by wall",
    "busiest_marginal": "by busiest",
    "service_cores": "svc cores",
    "service_busy": "svc busy",
    "process_mib": "MiB one",
    "tree_rss_mib": "MiB all",
    "tree_pss_mib": "PSS all",
    "note": "",
}
TEXTS: Final = {"section", "contestant", "direction", "shape", "note"}
COUNTS: Final = {"items", "runs"}
SHARES: Final = {"cpu_spread", "marginal_spread"}
SMALL: Final = {
    "of_boto3",
    "of_floor",
    "cpu_seconds",
    "wall_seconds",
    "service_cores",
    "service_busy",
    "startup_seconds",
}


def table(rows: Sequence[Row]) -> str:
    """Aligned text."""
    lines = [list(TITLES.values())] + [[cell(row, column) for column in TITLES] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in TEXTS else text.rjust(width)
            for column, text, width in zip(TITLES, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def cell(row: Row, column: str) -> str:
    """A value as people read it."""
    value = getattr(row, column)
    if value is None or column in TEXTS:
        return value or ""
    if column in SHARES:
        return f"{value:.0%}"
    return f"{value:,.2f}" if column in SMALL else f"{value:,.0f}"


def markdown(rows: Sequence[Row]) -> str:
    """The headline: one line for each program, export and import side by side."""
    columns = ("marginal", "of_boto3", "of_floor", "process_mib")
    titles = ("items per CPU-second", "x boto3", "x floor", "peak MiB")
    found = {(row.contestant, row.direction): row for row in rows if row.section == "headline"}
    heads = ["program"] + [f"{direction}: {title}" for direction in ("export", "import") for title in titles]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name in dict.fromkeys(contestant for contestant, _ in found):
        sides = [found.get((name, direction)) for direction in ("export", "import")]
        lines.append([name] + [cell(row, column) if row else "" for row in sides for column in columns])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Every column, unrounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def read_csv(path: Path) -> list[Row]:
    """What `write_csv` wrote."""
    with path.open(newline="") as file:
        return [_row(record) for record in csv.DictReader(file)]


def _row(record: dict[str, str]) -> Row:
    values: dict[str, Any] = {name: float(text) if text else None for name, text in _numbers(record)}
    values |= {name: record[name] for name in TEXTS} | {name: int(record[name]) for name in COUNTS}
    return Row(**values)


def _numbers(record: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in record.items() if name not in TEXTS | COUNTS]
