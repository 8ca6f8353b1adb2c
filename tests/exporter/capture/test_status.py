"""What a capture tells of itself: rates of the last seconds, the age of the newest change, and silence as silence."""

import time

from ddb_export.capture.status import CaptureStatus, FollowProgress
from ddb_shared.format.changes import LogRecord


def record(total: int, changes: int, last_at: float = 0.0) -> LogRecord:
    return LogRecord(
        number=1, changes=changes, last_at=int(last_at * 1e6), written_at="now", total_changes=total, total_expired=1
    )  # fmt: skip


def test_changes_and_their_rate_are_told() -> None:
    """Over the last ten seconds; the newest change is as old as it is, not as its record."""
    now = [100.0]
    status = CaptureStatus(clock=lambda: now[0])
    for second in range(20):
        now[0] = 100.0 + second
        status.committed(record(1000 + second * 50, 50, time.time() - 2))
    status.open_shards = 3
    assert 1950 == status.total_changes
    assert 45 < status.rate() < 60
    assert "1,950 changes captured, 50 changes/s, newest 2 s old, 3 stream shards" == ", ".join(
        part.text for part in status.parts()
    )
    assert {
        "changes": 1950,
        "changes_expired": 1,
        "no_changes_seconds": 0.0,
    }.items() <= status.fields().items()


def test_silence_is_told_as_silence() -> None:
    """An empty stream may have more to come: nothing says that it has caught up."""
    now = [100.0]
    status = CaptureStatus(clock=lambda: now[0])
    status.committed(record(5, 5, time.time()))
    now[0] = 142.0
    status.committed(record(5, 0))
    status.problem = "1 shard throttled or failing"
    line = FollowProgress(status).line()
    assert "5 changes captured, no changes for 42 s" in line
    assert "1 shard throttled or failing" in line
    assert "items" not in line


def test_silence_is_no_stall() -> None:
    """A follow waits for hours where nothing changes."""
    progress = FollowProgress(CaptureStatus())
    progress.started_at -= 3600
    assert 0.0 == progress.stalled_seconds
    assert 60.0 == progress.log_seconds
