"""The streams of all tables, and the calls for them.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import msgspec

from support.fake.errors import FakeError, invalid, throttled
from support.fake.plan import StreamPlan
from support.fake.requests import DescribeStream, GetRecords, GetShardIterator, decode_as
from support.fake.stream import PAGE_RECORDS, Clock, Shard, Stream

DESCRIBES_PER_SECOND: Final = 10


class Streams:
    """All streams, also of tables that are gone; every operation is `name(account, request)`."""

    def __init__(self, plan: StreamPlan) -> None:
        self.plan = plan
        self.clock = Clock()
        self.by_arn: dict[str, Stream] = {}
        self._described: deque[float] = deque()
        self._labels = 0

    def limit(self, plan: StreamPlan) -> None:
        """Holds all streams to this plan."""
        self.plan = plan
        for stream in self.by_arn.values():
            stream.plan = plan

    def enable(self, table_arn: str, definition: dict[str, Any], view: str) -> Stream:
        """A new stream of a table."""
        self._labels += 1
        now = self.clock.now()
        label = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{self._labels % 1000:03d}"
        arn = f"{table_arn}/stream/{label}"
        region = table_arn.split(":")[3]
        stream = Stream(
            arn=arn, label=label, view=view, definition=definition, region=region, plan=self.plan, clock=self.clock
        )  # fmt: skip
        self.by_arn[arn] = stream
        return stream

    def describe_stream(self, account: str, body: bytes) -> dict[str, Any]:
        """DescribeStream: a page of shards, or the children of one."""
        request = decode_as(DescribeStream, body)
        self._count_describe()
        stream = self._stream(account, request.stream_arn)
        shards = list(stream.shards.values())
        if request.shard_filter is not None:
            wanted = request.shard_filter.shard_id
            children = [shard for shard in shards if shard.parent == wanted]
            return {
                "StreamDescription": stream.describe(children if self.plan.filters_children else [], None)
            }
        after = request.exclusive_start_shard_id or ""
        rest = [shard for shard in shards if shard.id > after]
        page = rest[: min(request.limit, self.plan.shards_per_page)]
        last = page[-1].id if len(page) < len(rest) else None
        return {"StreamDescription": stream.describe(page, last)}

    def get_shard_iterator(self, account: str, body: bytes) -> dict[str, Any]:
        """GetShardIterator; AT_TIMESTAMP is not known here."""
        request = decode_as(GetShardIterator, body)
        stream = self._stream(account, request.stream_arn)
        shard = stream.shards.get(request.shard_id)
        if shard is None:
            raise FakeError("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
        position = self._position(shard, request)
        return {"ShardIterator": f"{stream.arn}|{shard.id}|{position}|{self.clock.now()}"}

    def get_records(self, account: str, body: bytes) -> bytes:
        """GetRecords: up to 1,000 records or 1 MB."""
        request = decode_as(GetRecords, body)
        if not 1 <= request.limit <= PAGE_RECORDS:
            raise invalid(
                f"1 validation error detected: Value '{request.limit}' at 'limit' failed to satisfy constraint"
            )
        arn, shard_id, place, issued = _parts(request.shard_iterator)
        if self.clock.now() - issued >= self.plan.iterator_seconds:
            raise FakeError("ExpiredIteratorException", "The provided shard iterator has expired.")
        stream = self._stream(account, arn)
        shard = stream.shards.get(shard_id)
        if shard is None or place < shard.trimmed:
            raise FakeError(
                "TrimmedDataAccessException", "The data you are trying to access has been trimmed."
            )
        page = stream.readable(shard, place, request.limit)
        answer = b'{"Records":[' + b",".join(record.raw for record in page) + b"]"
        place += len(page)
        if not stream.is_read_to_its_end(shard, place):
            answer += b',"NextShardIterator":' + msgspec.json.encode(
                f"{arn}|{shard_id}|{place}|{self.clock.now()}"
            )
        return answer + b"}"

    def _position(self, shard: Shard, request: GetShardIterator) -> int:
        kind = request.shard_iterator_type
        if kind == "TRIM_HORIZON":
            return shard.trimmed
        if kind == "LATEST":
            return shard.end
        if kind not in {"AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"} or not request.sequence_number:
            raise invalid(
                f"1 validation error detected: Value '{kind}' at 'shardIteratorType' is not known here"
            )
        wanted = int(request.sequence_number)
        if wanted < shard.starting or (
            shard.trimmed and (not shard.records or wanted < shard.records[0].sequence)
        ):
            raise FakeError(
                "TrimmedDataAccessException", "The data you are trying to access has been trimmed."
            )
        after = kind == "AFTER_SEQUENCE_NUMBER"
        before = sum(
            record.sequence < wanted or (after and record.sequence == wanted) for record in shard.records
        )
        return shard.trimmed + before

    def _stream(self, account: str, arn: str) -> Stream:
        stream = self.by_arn.get(arn)
        if stream is None or arn.split(":")[4] != account:
            raise FakeError(
                "ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found"
            )
        stream.trim()
        return stream

    def _count_describe(self) -> None:
        """Ten calls in any second."""
        now = time.monotonic()
        while self._described and self._described[0] <= now - 1:
            self._described.popleft()
        if len(self._described) >= DESCRIBES_PER_SECOND:
            raise throttled("LimitExceededException")
        self._described.append(now)


def _parts(iterator: str) -> tuple[str, str, int, float]:
    parts = iterator.split("|")
    if len(parts) != 4:
        raise invalid("Invalid ShardIterator")
    return parts[0], parts[1], int(parts[2]), float(parts[3])
