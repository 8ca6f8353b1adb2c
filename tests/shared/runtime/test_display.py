"""What is shown of progress: on stderr alone, in every style, and at the end in any case."""

import io
import re
from pathlib import Path

import pytest
import rich.console
from prometheus_client.parser import text_string_to_metric_families

from ddb_shared.runtime.display import Bar, Lines, ProgressOptions, Screen, Style, display
from ddb_shared.runtime.events import about
from ddb_shared.runtime.progress import LOG_SECONDS, Progress, ProgressEvent


def test_lines_come_every_few_seconds_and_at_the_end() -> None:
    """However often the display is refreshed."""
    now, lines = [0.0], list[Progress]()
    log = Lines(lines.append, LOG_SECONDS, lambda: now[0])
    progress = Progress("export", 10)
    for _ in range(100):
        now[0] += LOG_SECONDS / 20
        log.refresh(progress)
    log.close(progress)
    assert len(lines) == 6


@pytest.mark.parametrize("style", list(Style))
def test_every_style_shows_on_stderr_alone(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    """For stdout belongs to the result; none shows nothing."""
    with display(ProgressOptions(style=style), Progress("export", 3)) as add:
        add(ProgressEvent(items=3))
    streams = capsys.readouterr()
    assert streams.out == ""
    assert ("3 of 3 items" in streams.err) == (style is not Style.NONE)


def test_the_last_line_comes_also_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The user sees how far it was."""

    def fail() -> None:
        with display(ProgressOptions(style=Style.LOG), Progress("export", 3)) as add:
            add(ProgressEvent(items=2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "2 of 3 items" in capsys.readouterr().err


def test_a_bar_shows_no_control_characters_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Who set a rate is told by a file in the bucket, and the reasons of a throttle by the service."""
    progress = Progress("import", 10)
    progress.add(ProgressEvent(reasons=(("Hot\x1b[2JKey", 1),)))
    progress.obey(500.0, paused=False, told="12:00:00Z by \x1b[2Jalice")
    console = rich.console.Console(width=200, file=io.StringIO(), force_terminal=True)
    bar = Bar(progress, Screen())
    console.print(bar._picture(progress).content)
    bar.close(progress)
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in shown + capsys.readouterr().err
    assert "by \\u001b[2Jalice" in shown


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_a_bar_is_readable_at_every_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is wider than the terminal, no part is broken, and the bar has room."""
    monkeypatch.setenv("COLUMNS", str(width))
    progress = Progress("import of Orders", 20_000_000, 300, units_name="WCU", cap=40_000.0)
    progress.add(ProgressEvent(items=12_345_678, units=1.0, bytes=1, shards=120, rejected=7, retried=2,
                               reasons=(("TableWriteKeyRangeThroughputExceeded", 1_234),), note="at the cap"))  # fmt: skip
    progress.obey(500.0, paused=False, told="12:00:00Z by alice on build-7")
    console = rich.console.Console(width=width, file=io.StringIO())
    bar = Bar(progress, Screen())
    bar._screen.__dict__["_console"] = console
    console.print(bar._picture(progress).content)
    bar.close(progress)
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    lines = shown.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "62%" in lines[0]
    assert lines[0].count("━") >= (5 if width == 40 else 30)
    for part in progress.parts():
        if (
            not {"elapsed", "left"} & set(part.text.split())
            and "/s" not in part.text
            and len(part.text) <= width
        ):
            assert any(part.text in line for line in lines)
    capsys.readouterr()


def test_bars_of_several_tables_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the name of its table; one that ends leaves the others."""
    screen, progress = Screen(), Progress("export", 10)
    file = io.StringIO()
    screen.__dict__["_console"] = rich.console.Console(width=100, file=file, force_terminal=True)
    bars = []
    for table in ("Orders", "Users"):
        with about(table):
            bars.append(Bar(progress, screen))
    shown = file.getvalue()
    assert shown.rindex("Orders: export") < shown.rindex("Users: export")
    length = len(shown)
    bars[0].close(progress)
    bars[1].refresh(progress)
    assert "Users: export" in file.getvalue()[length:]
    assert "Orders: export" not in file.getvalue()[length:]
    bars[1].close(progress)
    capsys.readouterr()


@pytest.mark.parametrize("name", ["t", "a-name-that-is-much-longer-than-the-terminal-is-wide"])
def test_bars_that_do_not_fit_are_counted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as the terminal has lines for are shown; as they end, the others take their place."""
    screen, progress = Screen(), Progress("export", 10)
    file = io.StringIO()
    screen.__dict__["_console"] = rich.console.Console(width=60, height=10, file=file, force_terminal=True)
    bars = []
    for number in range(40):
        with about(f"{number:02d}-{name}"):
            bars.append(Bar(progress, screen))
    assert "… and 36 more" in file.getvalue()
    last = file.getvalue().rpartition("\x1b[2K")[2]
    assert ["00", "01", "02", "03"] == re.findall(rf"(\d\d)-{name[:20]}", last)
    for bar in bars[:34]:
        bar.close(progress)
    last = file.getvalue().rpartition("\x1b[2K")[2]
    assert ["34", "35", "36", "37"] == re.findall(rf"(\d\d)-{name[:20]}", last)
    assert "… and 2 more" in last
    bars[34].close(progress)
    assert "more" not in file.getvalue().rpartition("\x1b[2K")[2]
    for bar in bars[35:]:
        bar.close(progress)
    capsys.readouterr()


def test_bars_are_drawn_a_few_times_a_second_however_many_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that comes soon after another is drawn with the next."""
    now = [0.0]
    screen, progress = Screen(lambda: now[0]), Progress("export", 10)
    file = io.StringIO()
    screen.__dict__["_console"] = rich.console.Console(width=100, file=file, force_terminal=True)
    bars = [Bar(progress, screen) for _ in range(4)]
    length = len(file.getvalue())
    for bar in bars:
        bar.refresh(progress)
    assert length == len(file.getvalue())
    now[0] += 0.25
    for bar in bars:
        bar.refresh(progress)
    assert 4 == file.getvalue()[length:].count("export")
    for bar in bars:
        bar.close(progress)
    capsys.readouterr()


@pytest.mark.parametrize("variable", ["", "1"])
def test_no_color_switches_colors_off(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that has colors, where NO_COLOR is set and not empty."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", variable)
    progress = Progress("import of Orders", 20)
    progress.add(ProgressEvent(items=5, rejected=7))
    console = rich.console.Console(width=80, file=io.StringIO(), force_terminal=True)
    bar = Bar(progress, Screen())
    console.print(bar._picture(progress).content)
    bar.close(progress)
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "7 rejected" in shown
    assert bool(re.search(r"\x1b\[[\d;]*[34]\d", shown)) == (not variable)


def test_metrics_are_a_prometheus_text_file(tmp_path: Path) -> None:
    """What is unknown is absent; `running` ends at 0; the file is replaced whole, with nothing left beside it."""
    path = tmp_path / "ddb.prom"
    progress = Progress("import", 10, units_name="WCU", cap=50.0)
    with display(ProgressOptions(style=Style.NONE, metrics=path), progress) as add:
        add(ProgressEvent(items=4, units=2.5, rejected=1, reasons=(("KeyRange", 3),)))
    families = {family.name: family for family in text_string_to_metric_families(path.read_text())}
    values = {
        name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for name, family in families.items()
    }
    assert values["ddb_transfer_items"] == {("import",): 4.0}
    assert values["ddb_transfer_items_expected"] == {("import",): 10.0}
    assert values["ddb_transfer_capacity_units"] == {("import", "WCU"): 2.5}
    assert values["ddb_transfer_capacity_units_per_second_cap"] == {("import", "WCU"): 50.0}
    assert values["ddb_transfer_throttled"] == {("import", "KeyRange"): 3.0}
    assert values["ddb_transfer_rejected_items"] == {("import",): 1.0}
    assert values["ddb_transfer_running"] == {("import",): 0.0}
    assert [path] == list(tmp_path.iterdir())


def test_metrics_that_cannot_be_written_do_not_end_a_run(tmp_path: Path) -> None:
    """They are told about in the log."""
    missing = tmp_path / "absent" / "ddb.prom"
    with display(ProgressOptions(style=Style.NONE, metrics=missing), Progress("import", 10)) as add:
        add(ProgressEvent(items=4))
