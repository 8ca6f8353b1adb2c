"""Bounds the requests in flight, by number and by bytes."""

from __future__ import annotations

import asyncio

from ddb_shared.dynamodb.rate import RateLimiter


class InFlightLimit:
    """Bounds the requests in flight, by the rate limiter's number and by bytes; `acquire` waits, in order of arrival.

    A request larger than `max_bytes` is admitted when nothing else is in flight.
    """

    def __init__(self, rate_limiter: RateLimiter, max_bytes: int) -> None:
        self._rate_limiter = rate_limiter
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._completed = asyncio.Event()
        self._closed = False

    async def acquire(self, size: int) -> bool:
        """Waits until a request of `size` bytes may be sent; False once the limit is closed."""
        if self._turn.locked() or self._is_full(size):
            async with self._turn:
                while not self._closed and self._is_full(size):
                    self._completed.clear()
                    await self._completed.wait()
        if self._closed:
            return False
        self._requests += 1
        self._bytes += size
        return True

    def _is_full(self, size: int) -> bool:
        full = self._requests >= self._rate_limiter.requests or self._bytes + size > self._max_bytes
        return full and self._requests > 0

    def release(self, size: int) -> None:
        """Called when a request of `size` bytes is complete."""
        self._requests -= 1
        self._bytes -= size
        self._completed.set()

    def close(self) -> None:
        """Admits nothing more; requests in flight finish."""
        self._closed = True
        self._completed.set()
