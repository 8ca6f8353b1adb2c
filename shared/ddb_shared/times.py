"""Timestamps in the form of the manifests, and moments from which to measure what must not last too long."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Final

# Linux counts suspend in CLOCK_BOOTTIME alone, and time.monotonic() leaves it out.
_UPTIME_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def now_text() -> str:
    """The current time, RFC 3339 in UTC with milliseconds and `Z`, as in AWS's manifests."""
    return time_text(dt.datetime.now(dt.UTC))


def time_text(time: dt.datetime) -> str:
    """A time in the same form."""
    return time.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on two clocks, in seconds, which all processes of a machine share.

    `uptime` is set by nobody and counts suspend where the system can; `wall` also counts the time for which a virtual
    machine was suspended, once it is set right again.
    """

    uptime: float
    wall: float

    @classmethod
    def now(cls) -> Instant:
        """What the clocks say."""
        uptime = time.monotonic() if _UPTIME_CLOCK is None else time.clock_gettime(_UPTIME_CLOCK)
        return cls(uptime, time.time())

    def age_seconds(self) -> float:
        """The seconds since then, by the clock that says more: a clock that was set back does not make it younger."""
        now = Instant.now()
        return max(now.uptime - self.uptime, now.wall - self.wall)
