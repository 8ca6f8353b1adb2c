"""The rate limiter: a token bucket of capacity units, with a cap set by the user or a rate that adapts to throttling.

Against 8 partitions of 1,000 WCU each (`scripts/bench/partitions.py`) controlling the rate worked better than controlling the
number of connections. Throttling looks the same whether the table is at its limit, throttles at random or is busy with
other clients: the rate falls even where that does not help, since the other clients may need the table more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 0.25
# After the first throttling, each window without any adds this share of the rate, but at most this many units: with the
# share alone, workers that started unequal would stay unequal, and one that ends early would leave the rest far too slow.
GROWTH_SHARE: Final = 0.06
GROWTH_UNITS: Final = 60.0
# Until the first throttling: from 1,000 to 11,000 units per second within a second and a half.
FIRST_GROWTH: Final = 1.5
THROTTLED_SHARE: Final = 0.04
_POLL_SECONDS: Final = 0.05
START_UNITS: Final = 1_000.0  # one partition's write capacity: never too much for a table
# A tenth of one partition: below it, the backoff of each request slows the worker down enough.
MIN_UNITS: Final = 100.0
# Fewer responses than these say nothing about a share, unless nothing was throttled.
MIN_RESPONSES: Final = 4
# Requests in flight: 32 at 5 to 10 ms each are more than one core can prepare; more help where latency is high.
START_REQUESTS: Final = 16
MAX_REQUESTS: Final = 64
MIN_REQUESTS: Final = 4
# A cap holds within 5% over any ten seconds, which leaves half a second to spare: the burst after an idle time, the cost
# of one request, and a twentieth of a second for responses that arrive faster than those before them.
BURST_SECONDS: Final = 0.2
MAX_REQUEST_SECONDS: Final = 0.25
# A worker's share of a cap is at least this, or the whole cap: a quarter of a second of less would not cover a page of
# a Scan, or a batch of 10 KB items; and any core handles as much.
MIN_SHARE: Final = 1_000.0
# The next page may have larger items than the last: the estimated cost of an item rises at once, and falls by this share
# of the difference per page. Of 400 simulated scans of items of 100 B to 10 KB none exceeded its cap by more than 4.4%; with
# the mean of the last pages 7 exceeded it by more than 5%, with the cost of the last page 22, by up to 14%.
COST_FALL: Final = 0.02


def max_workers_at(cap_units: float | None) -> int | None:
    """How many workers to use if all of them together may consume `cap_units` per second; None for any number."""
    return None if cap_units is None else max(1, int(cap_units // MIN_SHARE))


@dataclass(frozen=True, slots=True)
class RateSetting:
    """The rate that an operator has set during the run: the cap of all workers together, and whether they are paused."""

    cap_units: float | None
    paused: bool = False


class RateLimiter:
    """Admits requests so that their capacity units keep to a rate.

    The bucket may go negative: a request is charged an estimate when it is admitted and the difference when its
    ConsumedCapacity is known. Without a cap only throttling slows it down. Each worker has one, used from its event loop.

    `cap_units` is the cap of all workers together, `workers` their present number; see `rebalance`.
    Over any T seconds a worker consumes at most its share x (T + BURST_SECONDS), plus one request.
    `requests` is how many may be in flight: it grows by one per window, and halves in a window with throttling.
    """

    def __init__(
        self,
        cap_units: float | None = None,
        *,
        workers: float = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cap_units = cap_units
        self._workers = workers
        self._clock = clock
        self._sleep = sleep
        self.rate = min(START_UNITS, self.share)
        self.requests = START_REQUESTS
        self._throttled_once = False
        self._turn = asyncio.Lock()
        self._tokens = 0.0
        self._filled_at = clock()
        self._window_from = self._filled_at
        self._consumed = 0.0
        self._throttled = 0.0
        self._responses = 0
        self._held_back = False
        self._paused = False
        self.reason = ""

    @property
    def share(self) -> float:
        """Units per second that this worker may consume; infinite without a cap."""
        return math.inf if self._cap_units is None else self._cap_units / self._workers

    @property
    def max_request_units(self) -> float:
        """The most units that one request should cost, if it can be made smaller."""
        return self.share * MAX_REQUEST_SECONDS

    def rebalance(self, workers: float) -> None:
        """Sets the number of workers left: they take over the rate, and the share of the cap, of those that ended."""
        if workers != self._workers:
            self._refill()
            self.rate *= self._workers / workers
            self._workers = workers
            self.rate = min(self.rate, self.share)

    def apply(self, setting: RateSetting) -> None:
        """Changes the cap, and admits nothing while paused."""
        self._paused = setting.paused
        if setting.cap_units != self._cap_units:
            self._refill()
            self._cap_units = setting.cap_units
            self.rate = min(self.rate, self.share)

    async def acquire(self, units: float) -> None:
        """Waits until the bucket is not empty, in order of arrival, then charges it `units`."""
        if not self._turn.locked():  # nobody waits
            self._refill()
            if self._tokens > 0 and not self._paused:
                self._tokens -= units
                return
        async with self._turn:
            self._refill()
            while self._tokens <= 0 or self._paused:
                self._held_back = True
                # in short steps: corrections by other requests may fill the bucket meanwhile
                wait = _POLL_SECONDS if self._paused else -self._tokens / self.rate
                await self._sleep(min(max(wait, 0.001), _POLL_SECONDS))
                self._refill()
            self._tokens -= units

    def adjust(self, *, charged: float, consumed: float, throttled: float) -> None:
        """Corrects the charge by what the service reports, and the rate by what it throttled; all in units."""
        # throttled units count against the rate too: refunded, they would be sent again at once
        self._tokens += charged - consumed - throttled
        self._consumed += consumed
        self._throttled += throttled
        self._responses += 1
        significant = self._responses >= MIN_RESPONSES or not self._throttled
        if significant and self._clock() - self._window_from >= WINDOW_SECONDS:
            self._adapt()

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * self.rate, self.rate * BURST_SECONDS)
        self._filled_at = now

    def _adapt(self) -> None:
        sent = self._consumed + self._throttled
        share = self._throttled / sent if sent else 0.0
        self._refill()
        if share > THROTTLED_SHARE:
            self._throttled_once = True
            self.rate = max(self.rate * max(1 - share, 0.5), MIN_UNITS)
            self.requests = max(self.requests // 2, MIN_REQUESTS)
            self.reason = f"the table throttled {share:.0%} of the units"
        else:
            self.requests = min(self.requests + 1, MAX_REQUESTS)
            self.rate += self._growth() if self._held_back else 0.0
            self.reason = "at the cap" if self._held_back and self.rate >= self.share else ""
        self.rate = min(self.rate, self.share)
        self._window_from = self._clock()
        self._consumed = self._throttled = 0.0
        self._responses = 0
        self._held_back = False

    def _growth(self) -> float:
        if not self._throttled_once:
            return self.rate * (FIRST_GROWTH - 1)
        return min(self.rate * GROWTH_SHARE, GROWTH_UNITS)


class PageSize:
    """How many items one Scan may request so that it costs no more than `max_request_units`."""

    def __init__(self, rate_limiter: RateLimiter) -> None:
        self._rate_limiter = rate_limiter
        self._item_units: float | None = None

    def limit(self, whole_units: float) -> int | None:
        """The Limit of the request, 1 if the size of items is unknown; None for a whole page, which costs `whole_units`."""
        if self._rate_limiter.max_request_units >= whole_units:
            return None
        return max(1, int(self._rate_limiter.max_request_units / self._item_units)) if self._item_units else 1

    def learn(self, items: int, units: float) -> None:
        """Records the cost of a page. It is rounded up, so the items of a small page look larger than they are."""
        if items:
            last, known = units / items, self._item_units or 0.0
            self._item_units = last if last > known else known + (last - known) * COST_FALL
