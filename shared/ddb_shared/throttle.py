"""The pace: a token bucket of capacity units whose rate is capped by the user or finds itself.

Against 8 partitions of 1,000 WCU each (`scripts/bench/partitions.py`) the rate is what has to be controlled: a prototype that
controlled the number of connections did worse. Nothing tells a table that is full from one that refuses at random, or from one
that others keep busy: where a lower rate does not help, it falls all the same, since others may need the table more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

WINDOW_SECONDS: Final = 0.25
# After the first refusal, a window without any adds a share of the rate, and so many units at the most: were it a share
# always, workers that began unequal would stay so, and one that ends early leave the others far below what the table takes.
GROWTH_SHARE: Final = 0.06
GROWTH_UNITS: Final = 60.0
# Until the first refusal: from 1,000 to 11,000 units a second within a second and a half.
FIRST_GROWTH: Final = 1.5
REFUSED_SHARE: Final = 0.04
_LOOK_SECONDS: Final = 0.05
START_UNITS: Final = 1_000.0  # one partition's write capacity: never too much for a table
# A tenth of one partition: below it the backoff of each single request slows the worker down enough.
LEAST_UNITS: Final = 100.0
# Fewer answers than these say nothing about a share, unless nothing was refused.
LEAST_ANSWERS: Final = 4
# Requests in flight: 32 at 5 to 10 ms each are more than one core can prepare; more help where answers come slowly.
START_REQUESTS: Final = 16
MOST_REQUESTS: Final = 64
LEAST_REQUESTS: Final = 4
# A cap holds within 5% over any ten seconds. Half a second of it is to spare: what a silence may save up, what one
# request may cost, and a twentieth of a second for answers that come sooner than those before them.
BURST_SECONDS: Final = 0.2
PORTION_SECONDS: Final = 0.25
# A worker's share of a cap is at least this, or it has all of it: a quarter of a second of less would not hold a page of
# a Scan, nor a batch of items of 10 KB; and any core can do as much.
LEAST_SHARE: Final = 1_000.0
# The next page may have larger items than the last: what an item is taken to cost rises at once, and falls by so much of
# the difference a page. Of 400 simulated scans of items of 100 B to 10 KB none exceeds its cap by more than 4.4%; by the
# mean of the last pages 7 exceed it by more than 5%, with a cost that falls at once 22, by up to 14%.
COST_FALL: Final = 0.02


def workers_at(cap_units: float | None, processes: int) -> int:
    """How many of the processes are used where all of them together may consume `cap_units` a second."""
    return processes if cap_units is None else max(1, min(processes, int(cap_units // LEAST_SHARE)))


class Pace:
    """Admits requests so that their capacity units keep to a rate.

    The bucket may go negative: a request is charged an estimate when it is admitted and the difference when its
    ConsumedCapacity is known. Without a cap only refusals slow it down. One pace serves one worker's event loop.

    `cap_units` is that of all workers together, who are `workers` now; see `share_among`.
    Over any time of T seconds a worker consumes at most its share x (T + BURST_SECONDS), and one request.
    `requests` is how many may be in flight: it grows by one a window, and halves in a window with refusals.
    """

    def __init__(
        self,
        cap_units: float | None = None,
        *,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cap_units = cap_units
        self._workers = workers
        self._clock = clock
        self._sleep = sleep
        self.rate = min(START_UNITS, self.share)
        self.requests = START_REQUESTS
        self._refused_once = False
        self._turn = asyncio.Lock()
        self._tokens = 0.0
        self._filled_at = clock()
        self._window_from = self._filled_at
        self._consumed = 0.0
        self._refused = 0.0
        self._answers = 0
        self._held_back = False
        self.reason = ""

    @property
    def share(self) -> float:
        """Units a second that this worker may consume; infinite without a cap."""
        return math.inf if self._cap_units is None else self._cap_units / self._workers

    @property
    def portion(self) -> float:
        """The units that one request should cost at the most, where it can be made smaller."""
        return self.share * PORTION_SECONDS

    def share_among(self, workers: int) -> None:
        """So many workers are left: those that ended leave their part of the rate, and of the cap, to the others."""
        if workers != self._workers:
            self._refill()
            self.rate *= self._workers / workers
            self._workers = workers
            self.rate = min(self.rate, self.share)

    async def admit(self, units: float) -> None:
        """Waits until the bucket is not empty, in order of arrival, then charges it `units`."""
        async with self._turn:
            self._refill()
            while self._tokens <= 0:
                self._held_back = True
                # not longer than a look takes: what others settle meanwhile may fill the bucket at once
                await self._sleep(min(max(-self._tokens / self.rate, 0.001), _LOOK_SECONDS))
                self._refill()
            self._tokens -= units

    def settle(self, *, charged: float, consumed: float, refused: float) -> None:
        """Corrects the charge by what the service reports, and the rate by what it refused; all in units."""
        # what was refused has spent the rate too: given back, it would be sent again at once, at any rate
        self._tokens += charged - consumed - refused
        self._consumed += consumed
        self._refused += refused
        self._answers += 1
        telling = self._answers >= LEAST_ANSWERS or not self._refused
        if telling and self._clock() - self._window_from >= WINDOW_SECONDS:
            self._adapt()

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * self.rate, self.rate * BURST_SECONDS)
        self._filled_at = now

    def _adapt(self) -> None:
        sent = self._consumed + self._refused
        share = self._refused / sent if sent else 0.0
        self._refill()
        if share > REFUSED_SHARE:
            self._refused_once = True
            self.rate = max(self.rate * max(1 - share, 0.5), LEAST_UNITS)
            self.requests = max(self.requests // 2, LEAST_REQUESTS)
            self.reason = f"the table refused {share:.0%} of the units"
        else:
            self.requests = min(self.requests + 1, MOST_REQUESTS)
            self.rate += self._growth() if self._held_back else 0.0
            self.reason = "held at the cap" if self._held_back and self.rate >= self.share else ""
        self.rate = min(self.rate, self.share)
        self._window_from = self._clock()
        self._consumed = self._refused = 0.0
        self._answers = 0
        self._held_back = False

    def _growth(self) -> float:
        if not self._refused_once:
            return self.rate * (FIRST_GROWTH - 1)
        return min(self.rate * GROWTH_SHARE, GROWTH_UNITS)


class PageSize:
    """How many items one Scan may ask for so that it costs no more than the pace's portion."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._item_units: float | None = None

    def limit(self, whole_units: float) -> int | None:
        """The items to ask for, one where nothing is known of their size; None for a whole page of `whole_units`."""
        if self._pace.portion >= whole_units:
            return None
        return max(1, int(self._pace.portion / self._item_units)) if self._item_units else 1

    def learn(self, items: int, units: float) -> None:
        """Notes what a page of so many items cost: rounded up, which makes items of a small page look larger than they are."""
        if items:
            last, known = units / items, self._item_units or 0.0
            self._item_units = last if last > known else known + (last - known) * COST_FALL


class Flight:
    """Bounds the requests in flight, by the pace's number and by bytes; taking off waits, in order of arrival.

    A request larger than all the bytes allowed takes off when nothing else is in flight.
    """

    def __init__(self, pace: Pace, max_bytes: int) -> None:
        self._pace = pace
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._landed = asyncio.Event()
        self._closed = False

    async def take_off(self, size: int) -> bool:
        """Waits until a request of `size` bytes may be sent; False once the flight is closed."""
        async with self._turn:
            while not self._closed and self._is_full(size):
                self._landed.clear()
                await self._landed.wait()
            if self._closed:
                return False
            self._requests += 1
            self._bytes += size
            return True

    def _is_full(self, size: int) -> bool:
        full = self._requests >= self._pace.requests or self._bytes + size > self._max_bytes
        return full and self._requests > 0

    def land(self, size: int) -> None:
        """A request of `size` bytes has been answered."""
        self._requests -= 1
        self._bytes -= size
        self._landed.set()

    def close(self) -> None:
        """Lets nothing more take off; what is in flight lands."""
        self._closed = True
        self._landed.set()
