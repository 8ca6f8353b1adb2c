"""The client for DynamoDB's data plane: Scan, BatchWriteItem and PutItem with items as bytes, at a pace."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

import msgspec

from ddb_shared.dynamodb import messages
from ddb_shared.dynamodb.calls import Calls, CredentialProvider
from ddb_shared.dynamodb.http import BeforeSending, Http, open_http
from ddb_shared.dynamodb.messages import BatchGetResponse, BatchWriteResponse, PutResponse, ScanPage
from ddb_shared.dynamodb.rate import PageSize, RateLimiter
from ddb_shared.errors import RequestError
from ddb_shared.permissions import Side
from ddb_shared.retry import FailureKind, classify

API: Final = "DynamoDB_20120810."
# A page of 1 MB with eventually consistent reads, half a unit for each 4 KB; consistent reads cost twice as much.
PAGE_UNITS: Final = 128.0
# The estimated cost of the first request by its weight: a page, 1 KB to write, an item to read.
_FIRST_UNITS: Final = {
    "Scan": PAGE_UNITS,
    "BatchWriteItem": 1.0,
    "PutItem": 1.0,
    "DeleteItem": 1.0,
    "BatchGetItem": 1.0,
}
_MEAN_WEIGHT: Final = 0.2  # of the newest request in the running mean
CONDITION_FAILED: Final = "ConditionalCheckFailedException"

AnyResponse = TypeVar("AnyResponse", bound=messages.Response)

_SCAN_PAGE: Final = msgspec.json.Decoder(ScanPage)
_BATCH_WRITE: Final = msgspec.json.Decoder(BatchWriteResponse)
_PUT: Final = msgspec.json.Decoder(PutResponse)
_BATCH_GET: Final = msgspec.json.Decoder(BatchGetResponse)


class Service(CredentialProvider, Protocol):
    """The endpoint of the data plane, and the identity to use there."""

    @property
    def dynamodb_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def ca_bundle(self) -> str | None: ...

    @property
    def proxy_url(self) -> str | None: ...

    @property
    def side(self) -> Side | None: ...

    @property
    def before_sending(self) -> BeforeSending | None:
        """What every request waits for before it is sent."""


class Client:
    """Sends signed requests at a pace, over kept-alive connections, and retries as `retry.POLICIES` says.

    A request is charged to the pace by its weight (pages, KB to write, items to read) and the mean cost of those before
    it, and corrected when its own is known.
    """

    def __init__(
        self,
        *,
        http: Http,
        region: str,
        credential_provider: CredentialProvider,
        rate_limiter: RateLimiter,
        side: Side | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = Calls(
            API,
            http=http,
            region=region,
            credential_provider=credential_provider,
            side=side,
            rng=rng,
            clock=clock,
            sleep=sleep,
        )
        self.rate_limiter = rate_limiter
        self._page_size = PageSize(rate_limiter)
        self._units: dict[str, float] = dict(_FIRST_UNITS)
        self._reported: tuple[Counter[str], int] = Counter(), 0

    @property
    def throttled(self) -> Counter[str]:
        """The refusals met, by reason."""
        return self._calls.throttled

    @property
    def retried(self) -> Counter[str]:
        """The other failures that were tried again, by code."""
        return self._calls.retried

    def take_retries(self) -> tuple[tuple[tuple[str, int], ...], int]:
        """Refusals by reason, and the number of other retries, since the last call."""
        throttled, retried = self._reported
        self._reported = self.throttled.copy(), self.retried.total()
        return tuple((self.throttled - throttled).items()), self._reported[1] - retried

    async def scan(self, request: bytes) -> ScanPage:
        """One page; raises RequestError once the retries are used up."""
        page = await self._call("Scan", request, _SCAN_PAGE)
        self._page_size.learn(len(page.items), page.consumed_units)
        if page.count != len(page.items):
            raise RequestError("malformed", f"a page of {page.count} items holds {len(page.items)}")
        return page

    def page_limit(self, *, consistent_read: bool) -> int | None:
        """The Limit of the next Scan: None for a whole page, unless the cap is too small for one."""
        return self._page_size.limit(PAGE_UNITS * (2 if consistent_read else 1))

    async def batch_write(self, request: bytes, items: int) -> BatchWriteResponse:
        """One BatchWriteItem of `items` puts; the caller sends unprocessed items again."""
        return await self._call("BatchWriteItem", request, _BATCH_WRITE, items, _write_weight(request, items))

    def expect_indexes(self, count: int) -> None:
        """Charges the first writes as if each wrote `count` index entries of its size; later ones are charged the mean cost."""
        for operation in ("BatchWriteItem", "PutItem", "DeleteItem"):
            self._units[operation] = _FIRST_UNITS[operation] * (1 + count)

    def write_units(self, size: int) -> float:
        """The estimated cost of writing one item of `size` bytes."""
        return self._units["BatchWriteItem"] * max(1.0, size / 1024)

    async def put(self, request: bytes) -> PutResponse:
        """One PutItem; a condition that fails raises RequestError with ConditionalCheckFailedException."""
        return await self._call("PutItem", request, _PUT, 1, _write_weight(request, 1))

    async def delete(self, request: bytes) -> PutResponse:
        """One DeleteItem; fails as `put` does."""
        return await self._call("DeleteItem", request, _PUT)

    async def batch_get(self, request: bytes, keys: int) -> BatchGetResponse:
        """One BatchGetItem of `keys` keys; the caller sends unprocessed keys again."""
        return await self._call("BatchGetItem", request, _BATCH_GET, keys, keys)

    async def back_off(self, kind: FailureKind, attempt: int) -> None:
        """Waits as long as the policy for `kind` says before attempt number `attempt` + 1."""
        await self._calls.back_off(kind, attempt)

    async def _call(
        self,
        operation: str,
        body: bytes,
        decoder: msgspec.json.Decoder[AnyResponse],
        items: int = 1,
        weight: float = 1.0,
    ) -> AnyResponse:
        retries = self._calls.retries()
        while True:
            charged = self._units[operation] * weight
            await self.rate_limiter.acquire(charged)
            try:
                response = await self._calls.send(operation, body, decoder)
            except RequestError as error:
                kind = classify(error)
                throttled = charged if kind is FailureKind.THROTTLED else 0.0
                # a request that failed in transit may have been processed, and a failed condition costs a write
                consumed = charged if kind is FailureKind.TRANSIENT or error.code == CONDITION_FAILED else 0.0
                self.rate_limiter.adjust(charged=charged, consumed=consumed, throttled=throttled)
                await retries.wait(error)
            else:
                self._adjust_rate(operation, response, charged, items, weight)
                return response

    def _adjust_rate(
        self, operation: str, response: AnyResponse, charged: float, items: int, weight: float
    ) -> None:
        throttled = response.unprocessed_count / items
        if throttled:
            self.throttled["UnprocessedItems"] += 1
        consumed = response.consumed_units
        self.rate_limiter.adjust(charged=charged, consumed=consumed, throttled=charged * throttled)
        if throttled < 1 and consumed > 0:
            units = consumed / (weight * (1 - throttled))
            self._units[operation] += (units - self._units[operation]) * _MEAN_WEIGHT


def _write_weight(request: bytes, items: int) -> float:
    """KB, at least 1 per item: a request of mixed sizes costs something in between, which its response corrects."""
    return max(float(items), len(request) / 1024)


@asynccontextmanager
async def open_client(service: Service, connections: int, rate_limiter: RateLimiter) -> AsyncIterator[Client]:
    """A client of the service with this rate limiter, over at most `connections` connections."""
    async with open_http(
        service.dynamodb_url,
        connections,
        ca_bundle=service.ca_bundle,
        proxy_url=service.proxy_url,
        before_sending=service.before_sending,
    ) as http:
        yield Client(
            http=http,
            region=service.region,
            credential_provider=service,
            rate_limiter=rate_limiter,
            side=service.side,
        )
