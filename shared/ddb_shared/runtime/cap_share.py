"""One cap for several runs of a command at the same time: those of the tables of a move.

A worker's limiter divides the cap by a number of workers. Where runs share the cap, that number counts the workers of all of them.
Those of runs that wait for something to do, such as changes, would keep most of the cap from the others; so a fifth of it is divided among
all workers, and the rest among those that are active. The shares never add up to more than the cap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ddb_shared.runtime.progress import ProgressEvent

# What an idle worker may do at once when it becomes active: the others make room within POLL_SECONDS of the runner.
RESERVED: Final = 0.2
# A run that has done nothing for so long is idle.
IDLE_SECONDS: Final = 3.0


@dataclass(eq=False, slots=True)
class Member:
    """One run: its workers, and when it last did something."""

    share: CapShare
    active_at: float
    busy: int = 1

    def divide(self, busy: int) -> float:
        """By what the cap is divided for each of the run's `busy` workers."""
        return self.share.divide(self, busy)

    def note(self, event: ProgressEvent) -> None:
        """Notes whether the run has done something now."""
        if event.units or event.items:
            self.active_at = self.share.clock()

    def leave(self) -> None:
        """Leaves the share of an ended run to the others."""
        self.share.leave(self)


class CapShare:
    """The runs that share a cap. Used by the threads of all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._members: list[Member] = []

    def join(self) -> Member:
        """A new run, which is active at first."""
        member = Member(self, self.clock())
        with self._lock:
            self._members.append(member)
        return member

    def leave(self, member: Member) -> None:
        """The run has ended."""
        with self._lock:
            self._members.remove(member)

    def divide(self, member: Member, busy: int) -> float:
        """See Member."""
        with self._lock:
            member.busy = max(busy, 1)
            workers = sum(one.busy for one in self._members)
            active = sum(one.busy for one in self._members if self._is_active(one))
        if not self._is_active(member):
            return workers / RESERVED
        return 1 / (RESERVED / workers + (1 - RESERVED) / max(active, 1))

    def _is_active(self, member: Member) -> bool:
        return self.clock() - member.active_at < IDLE_SECONDS
