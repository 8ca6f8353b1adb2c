"""Memory over time as a picture for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.lab import Run
from ddb_shared.report.charts import line_chart

# A page of the report defines these colours; a picture by itself has to.
_COLOURS: Final = """<style>svg { font-family: sans-serif; --ink: #1f2933; --line: #d9dee3; --c0: #2563eb; --c1: #93b4f5; --c2: #d97706; --c3: #f0c48a }
@media (prefers-color-scheme: dark) { svg { --ink: #e5e9ee; --line: #3b434b } }</style>"""


def memory_over_time(runs: Sequence[Run]) -> str:
    """SVG: MiB over seconds, for each run the largest process and the sum of all."""
    series = {}
    for run in runs:
        series[f"{run.direction}, largest"] = [(second, mib) for second, mib, _ in run.cost.timeline]
        series[f"{run.direction}, all"] = [(second, mib) for second, _, mib in run.cost.timeline]
    opening, closed, rest = line_chart(series).partition(">")
    return f"{opening}{closed}{_COLOURS}{rest}"
