"""How the benchmark turns runs into figures."""

from pathlib import Path
from typing import Any

import pytest

from bench.lab import Run
from bench.measure import Cost
from bench.report import markdown, read_csv, table, write_csv
from bench.rows import BOTO3, FLOOR, Row, fit_rows, rows_of, startup_rows


def run(contestant: str, items: int, cpu_seconds: float, failure: str = "") -> Run:
    cost = Cost(cpu_seconds=cpu_seconds, wall_seconds=2 * cpu_seconds, busiest_seconds=cpu_seconds / 2)
    about: dict[str, Any] = {
        "section": "headline",
        "contestant": contestant,
        "direction": "export",
        "shape": "typical",
    }
    return Run(
        **about,
        items=items,
        cost=cost,
        service_seconds=cpu_seconds,
        waiting_seconds=cpu_seconds,
        failure=failure,
    )


def only(runs: list[Run], contestant: str) -> Row:
    (found,) = [row for row in rows_of(runs) if row.contestant == contestant]
    return found


def test_slope_is_without_start_up() -> None:
    """Ten seconds of start-up are no part of what an item costs, but of the whole run."""
    row = only([run("ours", 100, 10.1), run("ours", 1100, 11.1)], "ours")
    assert row.items == 1100
    assert pytest.approx(1000) == row.marginal
    assert pytest.approx(10) == row.startup_seconds
    assert pytest.approx(1100 / 11.1) == row.per_cpu_second
    assert pytest.approx(500) == row.wall_marginal
    assert pytest.approx(2000) == row.busiest_marginal
    assert pytest.approx(0.5) == row.service_cores
    assert pytest.approx(1.0) == row.service_busy


def test_repeats_give_medians_and_their_spread() -> None:
    """One bad run of three moves the spread and not the median."""
    runs = [run("ours", items, cpu) for cpu in (2.0, 9.0, 2.2) for items in (1000,)]
    row = only(runs, "ours")
    assert (3, 2.2) == (row.runs, row.cpu_seconds)
    assert pytest.approx(7 / 2.2) == row.cpu_spread


def test_ratios_are_of_slopes() -> None:
    """Forty times boto3, half of the floor."""
    runs = [run(name, items, items / rate + 1) for name, rate in ((BOTO3, 10), ("ours", 400), (FLOOR, 800))
            for items in (1000, 2000)]  # fmt: skip
    row = only(runs, "ours")
    assert pytest.approx(40) == row.of_boto3
    assert pytest.approx(0.5) == row.of_floor


def test_a_slope_within_the_noise_is_none() -> None:
    """More items that cost less say nothing."""
    assert only([run("ours", 100, 2.0), run("ours", 200, 1.9)], "ours").marginal is None


def test_failure_is_a_row() -> None:
    """A program that can't do a shape is named with its reason."""
    row = only([run("theirs", 100, 0.0, failure="exit code 1: no bytes, please")], "theirs")
    assert ("exit code 1: no bytes, please", 0, None) == (row.note, row.runs, row.cpu_seconds)


def test_the_start_is_compared_by_all_its_cpu() -> None:
    """By the medians of a size that is almost nothing but start-up."""
    runs = [run(name, 10, cpu) for name, cpu in (("ours", 0.9), ("ours", 0.6), ("ours", 0.5), (BOTO3, 0.4))]
    notes = {row.contestant: row.note for row in startup_rows(runs)}
    assert notes == {"ours": f"start: 1.50 times the CPU of {BOTO3}", BOTO3: ""}


def test_line_through_all_sizes() -> None:
    """A straight line is found again, with its fit."""
    (row,) = fit_rows([run("ours", items, 1.5 + items / 1000) for items in (10, 100, 1000)])
    assert pytest.approx(1000) == row.marginal
    assert pytest.approx(1.5) == row.startup_seconds
    assert row.note == "line: 1.50 s + 1000.00 s a million, R² 1.0000"


def test_csv_holds_all_of_a_row(tmp_path: Path) -> None:
    """What was written is read again, and both reports show it."""
    rows = rows_of([run("ours", items, items / 1000 + 1) for items in (1000, 3000)])
    write_csv(rows, tmp_path / "new" / "bench.csv")
    assert rows == read_csv(tmp_path / "new" / "bench.csv")
    assert "3,000" in table(rows)
    assert "| ours | 1,000 |" in markdown(rows)
