"""The pace: a token bucket of capacity units whose rate is capped by the user or finds itself.

A prototype against 8 partitions of 1,000 WCU each reached 7,690 WCU/s with 4.5% refused by a rate that grows 6% every
250 ms and shrinks when more than 4% of the units come back; control of the number of connections did worse.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

WINDOW_SECONDS: Final = 0.25
GROWTH: Final = 1.06
FIRST_GROWTH: Final = 2.0  # until the first refusal: from 1,000 to 16,000 units a second within a second
REFUSED_SHARE: Final = 0.04
_LOOK_SECONDS: Final = 0.05
START_UNITS: Final = 1_000.0  # one partition's write capacity: never too much for a table
# A tenth of one partition: below it the backoff of each single request slows the worker down enough.
LEAST_UNITS: Final = 100.0
# Fewer answers than these say nothing about a share.
LEAST_ANSWERS: Final = 4
# Requests in flight: 32 at 5 to 10 ms each are more than one core can prepare; more help where answers come slowly.
START_REQUESTS: Final = 16
MOST_REQUESTS: Final = 64
LEAST_REQUESTS: Final = 4
BURST_SECONDS: Final = 0.25  # 2.5% of the ten seconds over which a cap is held


class Pace:
    """Admits requests so that their capacity units keep to a rate.

    The bucket may go negative: a request is charged an estimate when it is admitted and the difference when its
    ConsumedCapacity is known. Without a cap only refusals slow it down. One pace serves one worker's event loop.

    `requests` is how many may be in flight: it grows by one a window, and halves in a window with refusals.
    """

    def __init__(
        self,
        cap_units: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cap = cap_units
        self._clock = clock
        self._sleep = sleep
        self.rate = min(START_UNITS, cap_units or START_UNITS)
        self.requests = START_REQUESTS
        self._growth = FIRST_GROWTH
        self._turn = asyncio.Lock()
        self._tokens = 0.0
        self._filled_at = clock()
        self._window_from = self._filled_at
        self._consumed = 0.0
        self._refused = 0.0
        self._answers = 0
        self._held_back = False
        self.reason = ""

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
        if self._answers >= LEAST_ANSWERS and self._clock() - self._window_from >= WINDOW_SECONDS:
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
            self._growth = GROWTH
            self.rate = max(self.rate * max(1 - share, 0.5), LEAST_UNITS)
            self.requests = max(self.requests // 2, LEAST_REQUESTS)
            self.reason = f"the table refused {share:.0%} of the units"
        else:
            self.requests = min(self.requests + 1, MOST_REQUESTS)
            self.rate *= self._growth if self._held_back else 1.0
            self.reason = (
                "held at the cap" if self._held_back and self.rate >= (self._cap or math.inf) else ""
            )
        if self._cap is not None:
            self.rate = min(self.rate, self._cap)
        self._window_from = self._clock()
        self._consumed = self._refused = 0.0
        self._answers = 0
        self._held_back = False


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
