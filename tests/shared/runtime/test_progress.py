"""Progress adds up, and unknown is not zero."""

import pytest

from ddb_shared.runtime.history import MAX_WORKERS, POINTS
from ddb_shared.runtime.progress import Progress, ProgressEvent, ShardDone


def test_events_add_up() -> None:
    """Over all workers; the newest note stays until items move without one."""
    progress = Progress("import", 100)
    progress.add(
        ProgressEvent(
            items=1, bytes=2, units=0.5, shards=1, reasons=(("A", 1), ("B", 2)), rejected=1, note="slow"
        )
    )
    progress.add(ProgressEvent(reasons=(("A", 1),)))
    assert progress.note == "slow"
    progress.add(ProgressEvent(items=2))
    assert (3, 2, 0.5, 1, 4, 1, "") == (
        progress.items, progress.bytes, progress.units, progress.shards, progress.throttled, progress.rejected, progress.note,
    )  # fmt: skip


def test_a_line_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done of what, how fast, how long still, what is wrong; earlier runs count as done, not as speed."""
    progress = Progress("import", 10_000, 8, started_at=0.0, resumed_items=5_000)
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: 10.0)
    progress.units_name, progress.cap = "WCU", 500.0
    progress.add(
        ProgressEvent(
            items=1_000,
            bytes=5_000_000,
            units=1_000,
            shards=2,
            reasons=(("KeyRange", 7),),
            retried=2,
            rejected=1,
            note="at the cap",
        )
    )
    assert progress.line() == (
        "import 60%: 6,000 of 10,000 items, 100 items/s, 100 of 500 WCU/s, 0.5 MB/s, 2/8 shards, 0:10 elapsed, 0:40 left, "
        "at the cap, 7 throttled (KeyRange), 2 retried, 1 rejected"
    )


def test_rates_are_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was slow minutes ago does not hide what is fast now."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", 1_000_000, started_at=0.0)
    for second in range(1, 121):
        now[0] = float(second)
        progress.add(ProgressEvent(items=10 if second <= 100 else 1_000))
    assert progress.rate("items") == pytest.approx(1_000)
    assert progress.seconds_left == pytest.approx((1_000_000 - 21_000) / 1_000)


def test_a_stall_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events without items do not hide that nothing moves."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", 100, started_at=0.0)
    progress.add(ProgressEvent(items=1))
    now[0] = 45.0
    progress.add(ProgressEvent())
    assert "no answer for 45 s" in progress.line()
    progress.add(ProgressEvent(items=1))
    assert "no answer" not in progress.line()


def test_what_is_unknown_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a total there is neither one nor a time left; before the first item there is no rate."""
    progress = Progress("export", None, started_at=0.0)
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: 0.0)
    assert progress.line() == "export: 0 items, measuring, 0 shards, 0:00 elapsed"
    assert Progress("export", 5, started_at=0.0).seconds_left is None


def test_more_items_than_expected_leave_no_negative_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """DescribeTable's count is hours old."""
    progress = Progress("export", 5, started_at=0.0)
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: 1.0)
    progress.add(ProgressEvent(items=10))
    assert progress.seconds_left == 0


def event_of(worker: str, items: int, *, ended: bool = False) -> ProgressEvent:
    return ProgressEvent(worker=worker, items=items, ended=ended)


def test_a_stuck_and_a_slow_worker_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the others move; one that has ended is not missed."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", 1_000_000, started_at=0.0)
    for second in range(1, 61):
        now[0] = float(second)
        progress.add(event_of("a:1", 100))
        progress.add(event_of("a:2", 110))
        progress.add(event_of("a:3", 10))
        if second < 20:
            progress.add(event_of("a:4", 100))
        elif second == 20:
            progress.add(event_of("b:5", 100))
            progress.add(event_of("a:4", 0, ended=True))
        progress.slow_workers()
    stuck = "worker b:5: no answer for 40 s"
    (slow,) = [text for text in progress.slow_workers() if text != stuck]
    assert stuck in progress.slow_workers()
    assert slow == "worker a:3 is slow: 10 items/s, others 100"
    progress.obey(None, paused=True, told="12:00:00Z by alice on a")
    assert progress.slow_workers() == []
    assert "paused since 12:00:00Z by alice on a" in progress.line()


def test_a_slow_run_shows_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be 0.0 MB/s."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("verify", 100, started_at=0.0)
    now[0] = 1.0
    progress.add(ProgressEvent(items=4, bytes=3_200))
    assert "4 items/s, 3 kB/s" in progress.line()


def test_a_pause_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the moment after it."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", 100, started_at=0.0)
    progress.add(ProgressEvent(items=1))
    progress.obey(50.0, paused=True, told="t")
    now[0] = 100.0
    assert "no answer" not in progress.line()
    progress.obey(50.0, paused=False, told="t")
    assert "no answer" not in progress.line()
    now[0] = 140.0
    assert "no answer for 40 s" in progress.line()


def test_a_history_of_days_has_few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is bounded, and its last row is of the last minutes, with the sums of each worker."""
    now = [0.0]
    monkeypatch.setattr("ddb_shared.runtime.progress.time.monotonic", lambda: now[0])
    progress = Progress("import", None, started_at=0.0)
    for minute in range(1, 10_001):
        now[0] = minute * 20.0
        progress.add(event_of(f"a:{minute % 40}", 3))
    history = progress.history
    assert POINTS <= len(history.seconds) < 2 * POINTS
    assert history.seconds[-1] == pytest.approx(now[0], abs=2 * history.interval)
    assert list(history.seconds) == sorted(history.seconds)
    assert len(history.workers) == MAX_WORKERS + 1
    assert {len(column) for column in history.workers.values()} == {len(history.seconds)}
    total = sum(column[-1] for column in history.workers.values())
    assert total == pytest.approx(history.items[-1], rel=0.01)


def test_the_slowest_shards_are_kept() -> None:
    """Ten of them, the slowest first, however many there are."""
    progress = Progress("import", None)
    for number in range(1_000):
        progress.add(ProgressEvent(shard=ShardDone(name=f"{number}", items=1, seconds=number % 500)))
    assert [499, 499, 498] == [seconds for seconds, _, _ in progress.slowest.all()][:3]
    assert len(progress.slowest.all()) == 10
