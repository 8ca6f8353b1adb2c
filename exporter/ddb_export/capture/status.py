"""What the capture tells of itself: counted by its thread, shown by the command's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ddb_shared.format.changes import LogRecord
from ddb_shared.runtime.progress import Part, Progress
from ddb_shared.text import clock_text

RATE_SECONDS: Final = 10.0


@dataclass(slots=True)
class CaptureStatus:
    """Committed changes, of all runs and of this one, and when the last one arrived; `open_shards` are being read.

    `problem` says what keeps the capture from continuing at its speed.
    """

    clock: Callable[[], float] = time.monotonic
    total_changes: int = 0
    total_expired: int = 0
    newest_at: int = 0
    open_shards: int = 0
    problem: str = ""
    changed_at: float = 0.0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.changed_at = self.clock()

    def committed(self, record: LogRecord) -> None:
        """Counts a record of the log."""
        now = self.clock()
        self.total_changes, self.total_expired = record.total_changes, record.total_expired
        self._samples.append((now, record.total_changes))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_SECONDS:  # noqa: PLR2004 - keep one before
            self._samples.popleft()
        if record.changes:
            self.newest_at, self.changed_at = record.last_at, now

    def rate(self) -> float:
        """Changes a second, over the last RATE_SECONDS."""
        if not self._samples:
            return 0.0
        (first, before), now = self._samples[0], self.clock()
        return (self.total_changes - before) / (now - first) if now > first else 0.0

    @property
    def silent_seconds(self) -> float:
        """Since the last change arrived, or since the start."""
        return self.clock() - self.changed_at

    def parts(self) -> list[Part]:
        """What is captured, how fast and how old. That nothing arrives does not prove that nothing is left to come."""
        silent = self.silent_seconds
        age = max(time.time() - self.newest_at / 1e6, 0.0)
        newest = (
            f"newest {age:.0f} s old"
            if self.newest_at and silent < RATE_SECONDS
            else f"no changes for {silent:.0f} s"
        )
        parts = [
            Part(f"{self.total_changes:,} changes captured"),
            Part(f"{self.rate():,.0f} changes/s" if self.rate() else ""),
            Part(newest),
            Part(f"{self.open_shards:,} stream shards" if self.open_shards > 1 else ""),
            Part(self.problem, "warning"),
        ]
        return [part for part in parts if part.text]

    def fields(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "changes": self.total_changes,
            "changes_expired": self.total_expired,
            "changes_per_second": round(self.rate(), 1),
            "newest_change_at": self.newest_at / 1e6 if self.newest_at else None,
            "no_changes_seconds": round(self.silent_seconds, 1),
        }


class FollowProgress(Progress):
    """The progress of an export whose base is complete: its changes alone. A log has a line a minute; it may last for days."""

    def __init__(self, status: CaptureStatus) -> None:
        super().__init__("follow", None, beside=status, log_seconds=60.0)
        self._status = status

    @property
    def stalled_seconds(self) -> float:
        """Silence is not a stall here."""
        return 0.0

    def parts(self) -> list[Part]:
        return [*self._status.parts(), Part(f"{clock_text(self.seconds)} elapsed")]
