"""DynamoDB Streams: the shards of one stream and their records, with keys and images as bytes.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec

from ddb_shared.dynamodb.calls import Calls, CredentialProvider
from ddb_shared.dynamodb.http import open_http
from ddb_shared.errors import RequestError
from ddb_shared.permissions import Side

API: Final = "DynamoDBStreams_20120810."
# DescribeStream takes 10 calls a second; half of them are left to other readers, such as Lambda.
DESCRIBE_SECONDS: Final = 0.2
ENABLED: Final = "ENABLED"
DISABLED: Final = "DISABLED"
# What GetShardIterator and GetRecords answer where records are gone after 24 hours, and where an iterator is older than
# 15 minutes.
TRIMMED: Final = "TrimmedDataAccessException"
EXPIRED_ITERATOR: Final = "ExpiredIteratorException"
# What they answer where the stream, its table or the shard is gone.
NOT_FOUND: Final = "ResourceNotFoundException"

Reply = TypeVar("Reply")


class SequenceNumbers(msgspec.Struct, frozen=True, rename="pascal"):
    """The first and the last record of a shard; a shard that is open has no last one."""

    starting_sequence_number: str = ""
    ending_sequence_number: str = ""


class Shard(msgspec.Struct, frozen=True, rename="pascal"):
    """One shard; its parent may be gone from the stream already."""

    shard_id: str
    parent_shard_id: str = ""
    sequence_number_range: SequenceNumbers = SequenceNumbers()

    @property
    def is_open(self) -> bool:
        """Whether the stream still adds to it, as far as DescribeStream knows."""
        return not self.sequence_number_range.ending_sequence_number


class Description(msgspec.Struct, frozen=True, rename="pascal"):
    """One page of a stream's description, or all of them with their shards together."""

    stream_arn: str
    stream_status: str
    stream_view_type: str = ""
    shards: list[Shard] = []
    last_evaluated_shard_id: str | None = None


class _Described(msgspec.Struct, rename="pascal"):
    stream_description: Description


class _Iterator(msgspec.Struct, rename="pascal"):
    shard_iterator: str


class Identity(msgspec.Struct, frozen=True, rename="pascal"):
    """Who made a change, where it was DynamoDB itself."""

    principal_id: str = ""
    type: str = ""


class Images(msgspec.Struct, frozen=True, rename="pascal"):
    """What a record says of the item. `new_image` is empty bytes where there is none; times are epoch seconds."""

    keys: msgspec.Raw
    sequence_number: str
    approximate_creation_date_time: float = 0.0
    new_image: msgspec.Raw = msgspec.Raw(b"")


class StreamRecord(msgspec.Struct, frozen=True):
    """One change: `event_name` is INSERT, MODIFY or REMOVE."""

    images: Images = msgspec.field(name="dynamodb")
    event_name: str = msgspec.field(name="eventName")
    user_identity: Identity | None = msgspec.field(name="userIdentity", default=None)


class RecordsPage(msgspec.Struct, rename="pascal"):
    """Up to 1,000 records or 1 MB, in order. Without an iterator for the next page the shard is closed and read to its end.

    A page without records says nothing: there may be more behind it.
    """

    records: list[StreamRecord] = []
    next_shard_iterator: str | None = None


_DESCRIBED: Final = msgspec.json.Decoder(_Described)
_ITERATOR: Final = msgspec.json.Decoder(_Iterator)
_RECORDS: Final = msgspec.json.Decoder(RecordsPage)


class StreamService(CredentialProvider, Protocol):
    """Where the streams are, and who asks."""

    @property
    def streams_url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def ca_bundle(self) -> str | None: ...

    @property
    def side(self) -> Side | None: ...

    def proxy_for(self, url: str) -> str | None: ...


class Streams:
    """The calls for one stream. All but `records` try again as `retry.POLICIES` says, then raise RequestError."""

    def __init__(
        self,
        calls: Calls,
        stream_arn: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.calls = calls
        self.stream_arn = stream_arn
        self._clock = clock
        self._sleep = sleep
        self._describing = asyncio.Lock()
        self._described_at = -DESCRIBE_SECONDS

    async def describe(self) -> Description:
        """The stream with all its shards, by as many calls as it has hundreds of them."""
        page = await self._describe({})
        shards = {shard.shard_id: shard for shard in page.shards}
        while page.last_evaluated_shard_id is not None:
            page = await self._describe({"ExclusiveStartShardId": page.last_evaluated_shard_id})
            shards |= {shard.shard_id: shard for shard in page.shards}
        return msgspec.structs.replace(page, shards=list(shards.values()))

    async def children_of(self, shard_id: str) -> list[Shard]:
        """The children of a shard, by one call; none may also mean that the service does not know this filter.

        DynamoDB Local answers with the shard itself, MiniStack with nothing.
        """
        page = await self._describe({"ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": shard_id}})
        return [shard for shard in page.shards if shard.parent_shard_id == shard_id]

    async def iterator(self, shard_id: str, after: str = "") -> str:
        """An iterator after the record with the sequence number `after`, or from the oldest record that is left.

        Iterators expire after 15 minutes. Raises RequestError with TRIMMED where what follows `after` is gone in part.
        """
        where = {"ShardIteratorType": "TRIM_HORIZON"}
        if after:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        request = {"StreamArn": self.stream_arn, "ShardId": shard_id, **where}
        return (await self._retried("GetShardIterator", request, _ITERATOR)).shard_iterator

    async def records(self, iterator: str) -> RecordsPage:
        """One page, in one try: whoever reads many shards continues with another one after a failure."""
        return await self.calls.send("GetRecords", msgspec.json.encode({"ShardIterator": iterator}), _RECORDS)

    async def _describe(self, members: dict[str, Any]) -> Description:
        async with self._describing:
            await self._sleep(max(self._described_at + DESCRIBE_SECONDS - self._clock(), 0.0))
            self._described_at = self._clock()
        request = {"StreamArn": self.stream_arn, **members}
        return (await self._retried("DescribeStream", request, _DESCRIBED)).stream_description

    async def _retried(
        self, operation: str, request: dict[str, Any], decoder: msgspec.json.Decoder[Reply]
    ) -> Reply:
        retries, body = self.calls.retries(), msgspec.json.encode(request)
        while True:
            try:
                return await self.calls.send(operation, body, decoder)
            except RequestError as error:
                await retries.wait(error)


@asynccontextmanager
async def open_streams(service: StreamService, stream_arn: str, connections: int) -> AsyncIterator[Streams]:
    """The calls for one stream, over at most `connections` connections."""
    url = service.streams_url
    async with open_http(
        url, connections, ca_bundle=service.ca_bundle, proxy_url=service.proxy_for(url)
    ) as http:
        calls = Calls(API, http=http, region=service.region, credential_provider=service, side=service.side)
        yield Streams(calls, stream_arn)
