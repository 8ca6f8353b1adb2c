"""A report is one file that loads nothing, runs nothing, and escapes everything foreign."""

import re
from pathlib import Path

import msgspec
import pytest

from ddb_shared.report import runs
from ddb_shared.report.charts import bar_chart, line_chart, rates
from ddb_shared.report.page import FILE, Chart, Page, Table, publish, render
from ddb_shared.report.parts import run_parts, segments_chart
from ddb_shared.report.runs import MAX_RUNS, RunRecord, Series
from support import browser
from support.memory import MemoryFolder, data_of

EVIL = "<script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=\"document.title='owned'\">\x1b[2J"


def record(number: int, seconds: int = 600) -> RunRecord:
    """A run that was throttled, by two workers."""
    times = [float(at) for at in range(0, seconds, 10)]
    sums = [at * 1_000 for at in times]
    return RunRecord(
        by=f"alice on {EVIL}", command=f"ddb-import {EVIL}", started_at=f"2026-01-01T{number:02d}:00:00.000Z",
        ended_at=f"2026-01-01T{number:02d}:10:00.000Z", items=int(sums[-1]), bytes=5, units=sums[-1], units_name="WCU",
        cap=1_200.0, throttled={EVIL: 3, "KeyRange": 5}, retried=1, rejected=0, slowest=[(9.5, EVIL, 7)],
        series=Series(
            seconds=times, items=sums, bytes=sums, units=sums, throttled=[0.0] * len(times), cap=[1_200.0] * len(times),
            workers={EVIL: [value * 0.4 for value in sums], "host:2": [value * 0.6 for value in sums]},
        ),
    )  # fmt: skip


def page() -> Page:
    """A page with everything foreign in every place."""
    return Page(
        title=f"Import into {EVIL}",
        verdict=EVIL,
        kind="bad",
        facts=[("From", EVIL), ("Items", 5)],
        parts=[
            Table(title=EVIL, head=("Reason", "Items"), rows=[(EVIL, 12_345)], note=EVIL),
            *run_parts([record(1), record(2)]),
            *segments_chart({0: 5, 1: 500}, 200),
        ],
        commands=[("Imported by", EVIL)],
    )


def test_everything_foreign_is_escaped() -> None:
    """No element or control character comes from outside, and no script from anywhere."""
    html = render(page())
    assert "<script" not in html.lower()
    assert "<img" not in html
    assert "\x1b" not in html
    assert html.count("&lt;script&gt;") >= 8
    assert "12,345" in html


def test_nothing_is_loaded() -> None:
    """No address but that of the SVG namespace stands in an attribute or a style; a policy in the page forbids the rest."""
    html = render(page())
    loading = re.findall(r"(?:src|href|srcset)\s*=\s*[\"']([^\"']*)|url\(([^)]*)\)|@import", html)
    assert [("data:,", "")] == [one for one in loading if any(one)]
    assert "default-src 'none'" in html


def test_rates_are_differences_of_sums() -> None:
    """From one row to the next; a clock that stands still tells nothing."""
    assert [(1.0, 10.0), (3.0, 20.0)] == rates([1.0, 3.0, 3.0], [10.0, 50.0, 70.0])
    assert [(101.0, 10.0)] == rates([1.0], [10.0], offset=100.0)


def test_charts_are_pictures_alone() -> None:
    """In the colours of the page."""
    for svg in (
        line_chart({"a": [(0.0, 1.0), (1.0, 2.0)]}, cap=[(0.0, 3.0), (1.0, 3.0)]),
        bar_chart("b", [1, 2], ["x", "y"]),
    ):
        assert svg.startswith("<svg")
        assert "script" not in svg
        assert "var(--c0)" in svg


def test_segments_are_summed_up_where_there_are_many() -> None:
    """And their skew is said."""
    (chart,) = segments_chart({number: 10 if number else 1_000 for number in range(1_000)}, 1_000)
    assert isinstance(chart, Chart)
    assert "The largest of 1,000 segments has 1,000 items, 91.0 times the mean; 0 are empty." in chart.note
    assert chart.svg.count('class="bar"') <= 64
    assert segments_chart({}, 4) == []


def test_fewer_items_than_segments_are_not_charted() -> None:
    """How those are spread is chance."""
    assert segments_chart(dict.fromkeys(range(15), 1), 16) == []
    assert len(segments_chart(dict.fromkeys(range(16), 1), 16)) == 1


def test_runs_that_have_names_are_called_by_them() -> None:
    """Passes of a verification; a job that DynamoDB runs has neither units nor throttling."""
    first, second = (
        msgspec.structs.replace(record(number), name=name) for number, name in ((1, "verify"), (2, "find"))
    )
    passes, *charts, _, _ = run_parts([first, second], {"KeyRange": 1})
    assert isinstance(passes, Table)
    assert (passes.title, [row[0] for row in passes.rows]) == ("Passes", ["1: verify", "2: find"])
    assert all(">2: find</text>" in chart.svg for chart in charts[:2] if isinstance(chart, Chart))
    assert isinstance(charts[2], Chart)
    assert charts[2].title.endswith(", find")
    job = msgspec.structs.replace(record(3), units_name="", throttled={}, slowest=[])
    titles = [part.title for part in run_parts([job])]
    assert titles == ["Items per second", "Items per second of each worker, last run"]
    assert run_parts([record(1), job])[0].rows[1][-3:] == ("unknown",) * 3  # type: ignore[union-attr] # a table


def test_records_of_runs_are_kept_and_read() -> None:
    """The newest ones, the oldest first."""
    storage = MemoryFolder()
    for number in range(MAX_RUNS + 3):
        runs.save(storage, record(number))
    found = runs.load(storage)
    assert [record(number) for number in range(3, MAX_RUNS + 3)] == found
    assert runs.throttled(found[:2]) == {"KeyRange": 10, EVIL: 6}


def test_a_report_is_written_beside_the_state_and_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are the same page."""
    storage = MemoryFolder()
    publish(page, storage, copy=tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_bytes() == data_of(storage, FILE)
    assert f"Report: {storage.url}{FILE}" in capsys.readouterr().err


def test_a_report_that_fails_does_not_fail_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a warning, whether it cannot be made or cannot be written."""

    def bug() -> Page:
        raise KeyError("x")

    publish(bug, MemoryFolder())
    publish(page, None, copy=tmp_path / "absent" / "mine.html")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("Warning: the report could not be made: ")
    assert second.startswith("Warning: the report could not be written to ")


@pytest.mark.skipif(bool(browser.missing()), reason=f"left out: {browser.missing()}")
def test_a_browser_shows_the_report_without_errors_or_requests(tmp_path: Path) -> None:
    """No script ran; whatever is foreign is text."""
    path = tmp_path / "report.html"
    path.write_text(render(page()))
    title = browser.assert_shown(path, charts=4)
    assert title == f"Import into {EVIL}".replace("\x1b", "\\u001b")
