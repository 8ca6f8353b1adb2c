"""The client for DynamoDB's data plane: Scan, BatchWriteItem and PutItem with items as bytes.

botocore spends 0.15 ms on each KB of a Scan page; here a page is split into items, never parsed, at 1 ms a megabyte.
This is the only hand-written protocol code: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

import msgspec
from isal import isal_zlib

from ddb_shared.errors import WireError
from ddb_shared.http import Http, Response, open_http
from ddb_shared.retry import POLICIES, Kind, classify
from ddb_shared.signer import Keys, Signer
from ddb_shared.throttle import Pace, PageSize

API: Final = "DynamoDB_20120810."
# A page of 1 MB, read eventually consistently, by 4 KB at half a unit each; consistently it is twice as much.
PAGE_UNITS: Final = 128.0
# What a request costs before the first one has told, by its weight: a page, an item to write of 1 KB, an item to read.
_FIRST_UNITS: Final = {"Scan": PAGE_UNITS, "BatchWriteItem": 1.0, "PutItem": 1.0, "BatchGetItem": 1.0}
_MEAN_WEIGHT: Final = 0.2  # of the newest request in the running mean
CONDITION_FAILED: Final = "ConditionalCheckFailedException"


# The key attributes after which a scan goes on, as DynamoDB JSON.
LastKey = dict[str, dict[str, str]]


class _Answer(msgspec.Struct):
    @property
    def consumed_units(self) -> float:
        """Capacity units, those of the indexes included."""
        return 0.0

    @property
    def refused_items(self) -> int:
        """Items that the service left undone."""
        return 0


Answer = TypeVar("Answer", bound=_Answer)


class Consumed(msgspec.Struct, rename="pascal"):
    """Capacity that one request consumed; indexes are included in the units."""

    capacity_units: float = 0.0


class ScanPage(_Answer, rename="pascal"):
    """One page of a Scan: up to 1 MB of items, each the bytes of its DynamoDB JSON."""

    items: list[msgspec.Raw] = []
    count: int = 0
    last_evaluated_key: LastKey | None = None
    consumed_capacity: Consumed | None = None

    @property
    def consumed_units(self) -> float:
        return self.consumed_capacity.capacity_units if self.consumed_capacity else 0.0


class BatchWriteAnswer(_Answer, rename="pascal"):
    """What BatchWriteItem answers: the requests that it did not process, by table, and the capacity consumed."""

    unprocessed_items: dict[str, list[msgspec.Raw]] = {}
    consumed_capacity: list[Consumed] = []

    @property
    def consumed_units(self) -> float:
        return sum(consumed.capacity_units for consumed in self.consumed_capacity)

    @property
    def refused_items(self) -> int:
        return sum(map(len, self.unprocessed_items.values()))


class PutAnswer(_Answer, rename="pascal"):
    """What PutItem answers."""

    consumed_capacity: Consumed | None = None

    @property
    def consumed_units(self) -> float:
        return self.consumed_capacity.capacity_units if self.consumed_capacity else 0.0


class KeysLeft(msgspec.Struct, rename="pascal"):
    """The keys of one table that BatchGetItem did not read, each the bytes of its DynamoDB JSON."""

    keys: list[msgspec.Raw] = []


class BatchGetAnswer(_Answer, rename="pascal"):
    """What BatchGetItem answers: items and unread keys, by table, and the capacity consumed."""

    responses: dict[str, list[msgspec.Raw]] = {}
    unprocessed_keys: dict[str, KeysLeft] = {}
    consumed_capacity: list[Consumed] = []

    @property
    def consumed_units(self) -> float:
        return sum(consumed.capacity_units for consumed in self.consumed_capacity)

    @property
    def refused_items(self) -> int:
        return sum(len(left.keys) for left in self.unprocessed_keys.values())


class _ErrorBody(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    message: str | None = None
    message_pascal: str | None = msgspec.field(name="Message", default=None)
    reasons: list[dict[str, str | None]] | None = msgspec.field(name="ThrottlingReasons", default=None)
    reasons_lower: list[dict[str, str | None]] | None = msgspec.field(name="throttlingReasons", default=None)


_SCAN_PAGE: Final = msgspec.json.Decoder(ScanPage)
_BATCH_WRITE: Final = msgspec.json.Decoder(BatchWriteAnswer)
_PUT: Final = msgspec.json.Decoder(PutAnswer)
_BATCH_GET: Final = msgspec.json.Decoder(BatchGetAnswer)
_ERROR: Final = msgspec.json.Decoder(_ErrorBody)


class KeyProvider(Protocol):
    """Where the wire gets its credentials; `renew` is called when the service says that they have expired."""

    async def keys(self) -> Keys: ...

    async def renew(self) -> None: ...


class Service(KeyProvider, Protocol):
    """Where the tables are, and who asks."""

    @property
    def dynamodb_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def ca_bundle(self) -> str | None: ...


class Wire:
    """Sends signed requests at a pace, over kept-alive connections, and retries as `retry.POLICIES` says.

    A request is charged to the pace by its weight (pages, KB to write, items to read) and the mean cost of those before
    it, and corrected when its own is known.
    `throttled` counts the refusals met, by reason; `retried` the other retries, by code.
    """

    def __init__(
        self,
        *,
        http: Http,
        region: str,
        key_provider: KeyProvider,
        pace: Pace,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._signer = Signer(host=http.host, region=region)
        self._key_provider = key_provider
        self.pace = pace
        self._page_size = PageSize(pace)
        self._units: dict[str, float] = dict(_FIRST_UNITS)
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._skew_seconds = 0.0
        self.throttled: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()

    async def scan(self, request: bytes) -> ScanPage:
        """One page; raises WireError once the retries are used up."""
        page = await self._call("Scan", request, _SCAN_PAGE)
        self._page_size.learn(len(page.items), page.consumed_units)
        if page.count != len(page.items):
            raise WireError("malformed", f"a page of {page.count} items holds {len(page.items)}")
        return page

    def page_limit(self, *, consistent_read: bool) -> int | None:
        """The `limit` of the next Scan: None, which is a whole page, unless the cap of the pace is too small for one."""
        return self._page_size.limit(PAGE_UNITS * (2 if consistent_read else 1))

    async def batch_write(self, request: bytes, items: int) -> BatchWriteAnswer:
        """One BatchWriteItem of `items` puts; what it leaves unprocessed is the caller's to send again."""
        return await self._call("BatchWriteItem", request, _BATCH_WRITE, items, _write_weight(request, items))

    def expect_indexes(self, count: int) -> None:
        """Charges the first writes as if each reached so many indexes whole; what they cost is learnt from them."""
        for operation in ("BatchWriteItem", "PutItem"):
            self._units[operation] = _FIRST_UNITS[operation] * (1 + count)

    def write_units(self, size: int) -> float:
        """What it will cost to write one item of `size` bytes, as far as those before it tell."""
        return self._units["BatchWriteItem"] * max(1.0, size / 1024)

    async def put(self, request: bytes) -> PutAnswer:
        """One PutItem; a condition that fails raises WireError with ConditionalCheckFailedException."""
        return await self._call("PutItem", request, _PUT, 1, _write_weight(request, 1))

    async def batch_get(self, request: bytes, keys: int) -> BatchGetAnswer:
        """One BatchGetItem of `keys` keys; what comes back unprocessed is left to the caller."""
        return await self._call("BatchGetItem", request, _BATCH_GET, keys, keys)

    async def back_off(self, kind: Kind, attempt: int) -> None:
        """Waits as the policy for `kind` says before try number `attempt` + 1."""
        await self._sleep(POLICIES[kind].wait_seconds(attempt, self._rng))

    async def _call(
        self,
        operation: str,
        body: bytes,
        decoder: msgspec.json.Decoder[Answer],
        items: int = 1,
        weight: float = 1.0,
    ) -> Answer:
        attempts: dict[Kind, int] = {}
        while True:
            charged = self._units[operation] * weight
            await self.pace.admit(charged)
            try:
                answer = await self._send(operation, body, decoder)
            except WireError as error:
                kind = classify(error)
                refused = charged if kind is Kind.THROTTLED else 0.0
                # what broke off may be done, and is charged if it is; a failed condition is charged as a write
                consumed = charged if kind is Kind.TRANSIENT or error.code == CONDITION_FAILED else 0.0
                self.pace.settle(charged=charged, consumed=consumed, refused=refused)
                policy = POLICIES.get(kind)
                self._count(kind, error)
                attempt = attempts.get(kind, 0)
                if policy is None or attempt + 1 >= policy.attempts:
                    raise
                if kind is Kind.EXPIRED:
                    await self._key_provider.renew()
                await self.back_off(kind, attempt)
                attempts[kind] = attempt + 1
            else:
                self._settle(operation, answer, charged, items, weight)
                return answer

    def _settle(self, operation: str, answer: Answer, charged: float, items: int, weight: float) -> None:
        refused = answer.refused_items / items
        if refused:
            self.throttled["UnprocessedItems"] += 1
        consumed = answer.consumed_units
        self.pace.settle(charged=charged, consumed=consumed, refused=charged * refused)
        if refused < 1 and consumed > 0:
            units = consumed / (weight * (1 - refused))
            self._units[operation] += (units - self._units[operation]) * _MEAN_WEIGHT

    def _count(self, kind: Kind, error: WireError) -> None:
        if kind is Kind.THROTTLED:
            self.throttled.update(error.reasons or (error.code,))
        elif kind in POLICIES:
            self.retried[error.code] += 1

    async def _send(self, operation: str, body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
        answer = await self._post(operation, body)
        crc = answer.headers.get(b"x-amz-crc32")
        if crc is not None and crc != b"%d" % isal_zlib.crc32(answer.body):
            raise WireError(
                "checksum", f"the answer to {operation} does not match its x-amz-crc32", answer.status
            )
        if answer.status != 200:  # noqa: PLR2004 - HTTP OK
            self._note_clock(answer.headers.get(b"date"))
            raise _service_error(answer.status, answer.body)
        try:
            return decoder.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(
                "malformed", f"the answer to {operation} is not what it should be: {error}"
            ) from error

    async def _post(self, operation: str, body: bytes) -> Response:
        keys = await self._key_provider.keys()
        headers = self._signer.headers(keys, API + operation, body, self._clock() + self._skew_seconds)
        try:
            return await self._http.post(headers, body)
        except TimeoutError as error:
            raise WireError("timeout", f"{operation}: {error}") from error
        except ConnectionError as error:
            raise WireError("connection", f"{type(error).__name__}: {error}") from error

    def _note_clock(self, date: bytes | None) -> None:
        """Keeps the service's clock as ours, which may step during a run of days."""
        if date is None:
            return
        try:
            service = email.utils.parsedate_to_datetime(date.decode("latin-1")).timestamp()
        except ValueError:
            return
        difference = service - self._clock()
        self._skew_seconds = difference if abs(difference) > 60 else 0.0  # noqa: PLR2004 - AWS allows five minutes


def _write_weight(request: bytes, items: int) -> float:
    """KB, and at least one an item: a request of mixed sizes is between the two, which its own answer mends."""
    return max(float(items), len(request) / 1024)


def _service_error(status: int, body: bytes) -> WireError:
    try:
        error = _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return WireError(f"HTTP {status}", body[:200].decode("utf-8", "replace"), status)
    listed = error.reasons or error.reasons_lower or ()
    reasons = tuple(reason for entry in listed if (reason := entry.get("reason")))
    code = error.type.rpartition("#")[2] or f"HTTP {status}"
    return WireError(code, error.message or error.message_pascal or "", status, reasons)


def scan_request(
    table: str,
    *,
    segment: int,
    total_segments: int,
    consistent_read: bool,
    start: LastKey | None,
    limit: int | None = None,
) -> bytes:
    """A Scan of one page of a segment, after the key `start` (the LastEvaluatedKey of the page before).

    A page has 1 MB of items, or `limit` of them.
    """
    request: dict[str, object] = {
        "TableName": table,
        "Segment": segment,
        "TotalSegments": total_segments,
        "ReturnConsumedCapacity": "TOTAL",
    }
    if consistent_read:
        request["ConsistentRead"] = True
    if start is not None:
        request["ExclusiveStartKey"] = start
    if limit is not None:
        request["Limit"] = limit
    return msgspec.json.encode(request)


@asynccontextmanager
async def open_wire(service: Service, connections: int, pace: Pace) -> AsyncIterator[Wire]:
    """A wire to the service's table at this pace, over at most `connections` connections."""
    async with open_http(service.dynamodb_url, connections, ca_bundle=service.ca_bundle) as http:
        yield Wire(http=http, region=service.region, key_provider=service, pace=pace)
