"""Which workers a Dask cluster has, which of them can be used, and whether its scheduler answers.

Looking and inspecting are apart: a worker that has just died, or hangs, keeps an inspection waiting for half a minute
(`distributed.comm.timeouts.connect`), and nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import Any, Final

from ddb_shared.runtime.cluster_survey import NO_ANSWER, Inspect, unfit
from ddb_shared.runtime.events import announce

LOOK_SECONDS: Final = 1.0
# A scheduler that was silent for so long has kept workers and parent from hearing each other.
_GAP_SECONDS: Final = 10.0
# Workers that join together are inspected together, in at most so many groups: one that hangs delays its group alone.
_GROUPS: Final = 32


class Watch:
    """Looks regularly at the workers of a cluster. `addresses` are those of the last look."""

    def __init__(self, client: Any, inspect: Inspect) -> None:
        self.addresses: frozenset[str] = frozenset()
        self.resumed_at = self._answered_at = time.monotonic()
        self._client = client
        self._inspect = inspect
        self._known: set[str] = set()
        self._refused: dict[str, str] = {}
        self._fit: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begins to look, in a thread."""
        threading.Thread(target=self._look_regularly, name="cluster", daemon=True).start()

    def end(self) -> None:
        """Looks no more."""
        self._ended.set()

    def silent_seconds(self) -> float:
        """How long the scheduler has not answered."""
        return time.monotonic() - self._answered_at

    def note_answer(self) -> None:
        """The scheduler has just been heard. `resumed_at` is when that was after a longer silence."""
        now = time.monotonic()
        if now - self._answered_at > _GAP_SECONDS:
            self.resumed_at = now
        self._answered_at = now

    def take(self, count: int) -> list[str]:
        """At most so many workers that can be used and have not been taken yet."""
        taken: list[str] = []
        with suppress(queue.Empty):
            while len(taken) < count:
                taken.append(self._fit.get_nowait())
        return taken

    def readmit(self, address: str) -> None:
        """A worker was given up. Where its process lives, it is inspected again."""
        self._known.discard(address)

    def _look_regularly(self) -> None:
        while not self._ended.is_set():
            with suppress(Exception):  # a scheduler that does not answer is noticed by that
                self.addresses = frozenset(self._client.nthreads())
                self.note_answer()
                self._begin_inspections(sorted(self.addresses - self._known))
            self._ended.wait(LOOK_SECONDS)

    def _begin_inspections(self, new: list[str]) -> None:
        self._known.update(new)
        for first in range(min(len(new), _GROUPS)):
            group = new[first::_GROUPS]
            threading.Thread(
                target=self._inspect_group, args=(group,), name="inspection", daemon=True
            ).start()

    def _inspect_group(self, addresses: list[str]) -> None:
        """Those that are fit can be taken; those that do not answer are asked again."""
        reasons = dict.fromkeys(addresses, NO_ANSWER)
        with suppress(Exception):  # the scheduler does not answer
            reasons = unfit(self._client, addresses, self._inspect)
        for address in addresses:
            reason = reasons.get(address)
            if reason is None:
                self._fit.put(address)
            elif reason == NO_ANSWER:
                self._known.discard(address)
            elif self._refused.get(address) != reason:
                self._refused[address] = reason
                announce(f"Worker {address} is not used: {reason}")
