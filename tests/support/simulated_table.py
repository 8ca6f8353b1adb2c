"""A table in simulated time: it takes what the wire sends, answers after a while and notes what it consumed.

simulate(main())                   # in which: wire = table.wire(Pace(100, clock=now))
assert table.busiest_window() <= …
"""

import asyncio
import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.http import HttpResponse
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.dynamodb.sigv4 import Credentials
from support.simulated import now

WINDOW_SECONDS = 10.0
PAGE_BYTES = 1_048_576


class AnyCredentials:
    """Credentials, always the same."""

    async def current_credentials(self) -> Credentials:
        return Credentials("111111111111", "secret", None)

    async def renew(self) -> None:
        """There are no others."""


@dataclass
class SimulatedTable:
    """Items of `size()` bytes, of which each write reaches `indexes` indexes; answers take up to `latency` seconds."""

    size: Callable[[], int]
    latency: float = 0.02
    indexes: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    log: list[tuple[float, float]] = field(default_factory=list)
    largest: float = 0.0
    host: str = "simulated"

    def client(self, rate_limiter: RateLimiter) -> Client:
        """A client of this table."""
        return Client(
            http=self,  # type: ignore[arg-type]
            region="eu-west-1",
            credential_provider=AnyCredentials(),
            rate_limiter=rate_limiter,
            rng=self.rng,
        )

    async def post(self, headers: Mapping[str, str], data: bytes) -> HttpResponse:
        """One call. It is done after a random part of the latency, and answered after the rest."""
        wait = self.rng.uniform(0.1, 1) * self.latency
        await asyncio.sleep(wait * 0.6)
        operation = headers["X-Amz-Target"].rpartition(".")[2]
        answer = self._scan(data) if operation == "Scan" else self._write(data)
        await asyncio.sleep(wait * 0.4)
        return HttpResponse(200, {}, msgspec.json.encode(answer))

    def _scan(self, data: bytes) -> dict[str, Any]:
        """A page from a table without end."""
        request = msgspec.json.decode(data)
        count = size = 0
        while size < PAGE_BYTES and count < request.get("Limit", PAGE_BYTES):
            size += self.size()
            count += 1
        units = max(1, -(-size // 4096)) * (1.0 if request.get("ConsistentRead") else 0.5)
        return {
            "Items": [msgspec.Raw(b"{}")] * count,
            "Count": count,
            "LastEvaluatedKey": {"pk": {"S": "x"}},
            "ConsumedCapacity": {"CapacityUnits": self._take(units)},
        }

    def _write(self, data: bytes) -> dict[str, Any]:
        """All is written: each item, and what its JSON has around it, costs by its own size."""
        puts = next(iter(msgspec.json.decode(data, type=dict[str, Any])["RequestItems"].values()))
        units = sum(-(-len(put["PutRequest"]["Item"]["v"]["S"]) // 1024) for put in puts) * (1 + self.indexes)
        return {
            "UnprocessedItems": {},
            "ConsumedCapacity": [{"CapacityUnits": self._take(float(units))}],
        }

    def _take(self, units: float) -> float:
        self.log.append((now(), units))
        self.largest = max(self.largest, units)
        return units

    def units_between(self, start: float, end: float) -> float:
        """What was consumed meanwhile."""
        return sum(units for moment, units in self.log if start <= moment < end)

    def windows(self, start: float, end: float) -> list[float]:
        """What was consumed in ten seconds, from each moment of something consumed between `start` and `end` - 10 s."""
        times = [moment for moment, _ in self.log]
        sums = [0.0, *itertools.accumulate(units for _, units in self.log)]
        last = end - WINDOW_SECONDS
        return [
            sums[bisect_left(times, moment + WINDOW_SECONDS)] - sums[place]
            for place, moment in enumerate(times)
            if start <= moment <= last
        ]
