"""Progress adds up, and unknown is not zero."""

import pytest

from ddb_shared.progress import LOG_SECONDS, LogLines, Meter, Style, Tick, display


def test_ticks_add_up() -> None:
    """Over all workers; the newest note stays until items move without one."""
    meter = Meter("import", 100)
    meter.add(Tick(items=1, bytes=2, units=0.5, shards=1, throttled=3, rejected=1, note="slow"))
    meter.add(Tick(throttled=1))
    assert meter.note == "slow"
    meter.add(Tick(items=2))
    assert (3, 2, 0.5, 1, 4, 1, "") == (
        meter.items, meter.bytes, meter.units, meter.shards, meter.throttled, meter.rejected, meter.note,
    )  # fmt: skip


def test_a_line_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done of what, how fast, how long still, what is wrong; earlier runs count as done, not as speed."""
    meter = Meter("import", 10_000, 8, started_at=0.0, resumed_items=5_000)
    monkeypatch.setattr("ddb_shared.progress.time.monotonic", lambda: 10.0)
    meter.add(Tick(items=1_000, shards=2, throttled=7, rejected=1, note="held at the cap"))
    assert meter.line() == (
        "import: 6,000 of 10,000 items, 100 items/s, 2/8 shards, 7 throttled, 1 rejected, 0:40 left (held at the cap)"
    )


def test_what_nobody_knows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a total there is neither one nor a time left; before the first item there is no rate."""
    meter = Meter("export", None, started_at=0.0)
    monkeypatch.setattr("ddb_shared.progress.time.monotonic", lambda: 0.0)
    assert meter.line() == "export: 0 items, 0 items/s, 0 shards, 0 throttled"
    assert Meter("export", 5, started_at=0.0).seconds_left is None


def test_more_items_than_expected_leave_no_negative_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """DescribeTable's count is hours old."""
    meter = Meter("export", 5, started_at=0.0)
    monkeypatch.setattr("ddb_shared.progress.time.monotonic", lambda: 1.0)
    meter.add(Tick(items=10))
    assert meter.seconds_left == 0


def test_log_lines_come_every_ten_seconds_and_at_the_end() -> None:
    """A log of days stays readable."""
    now, lines = [0.0], list[str]()
    log = LogLines(lines.append, lambda: now[0])
    meter = Meter("export", 10)
    for _ in range(100):
        now[0] += LOG_SECONDS / 20
        log.refresh(meter)
    log.close(meter)
    assert len(lines) == 6


@pytest.mark.parametrize("style", list(Style))
def test_every_style_shows_on_stderr_alone(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    """For stdout belongs to the result; none shows nothing."""
    with display(style, Meter("export", 3)) as add:
        add(Tick(items=3))
    streams = capsys.readouterr()
    assert streams.out == ""
    assert ("3 of 3 items" in streams.err) == (style is not Style.NONE)


def test_the_last_line_comes_also_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The user sees how far it was."""

    def fail() -> None:
        with display(Style.LOG, Meter("export", 3)) as add:
            add(Tick(items=2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "2 of 3 items" in capsys.readouterr().err
