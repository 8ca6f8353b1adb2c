"""One stream of a table: shards that split and roll over, records that are late, and trimmed after a day.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
"""

from __future__ import annotations

import random
import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from support.fake.capacity import HASHES
from support.fake.plan import StreamPlan

PAGE_RECORDS: Final = 1000
PAGE_BYTES: Final = 1_048_576
# The numbers grow by a digit soon, so that whoever compares them as text is found out.
FIRST_SEQUENCE: Final = 10**21 - 20
VIEWS: Final = frozenset({"KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"})
_TRIM_SECONDS: Final = 0.05  # to look at each of thousands of shards at each call would be slow


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is sent, when it was made and from when on it can be read, in seconds of the streams' clock."""

    raw: bytes
    sequence: int
    made_at: float
    readable_at: float


@dataclass(slots=True)
class Shard:
    """One shard, for keys whose hash is in [low, high); `trimmed` records are gone from its front."""

    id: str
    low: int
    high: int
    starting: int
    parent: str = ""
    records: deque[Record] = field(default_factory=deque)
    trimmed: int = 0
    written: int = 0
    ending: int | None = None
    closed_at: float = 0.0

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self.trimmed + len(self.records)


class Clock:
    """Seconds that tests advance, so that a day takes no time."""

    def __init__(self) -> None:
        self.advanced = 0.0

    def now(self) -> float:
        return time.time() + self.advanced


class Stream:
    """One stream of one table."""

    def __init__(
        self, *, arn: str, label: str, view: str, definition: dict[str, Any], region: str, plan: StreamPlan, clock: Clock
    ) -> None:  # fmt: skip
        self.arn = arn
        self.label = label
        self.view = view
        self.plan = plan
        self.enabled = True
        self._definition = definition
        self._region = region
        self._clock = clock
        self._created = clock.now()
        self._rng = random.Random(plan.seed)
        self._sequence = FIRST_SEQUENCE
        self._count = 0
        self.shards: dict[str, Shard] = {}
        self._open_shards: list[Shard] = []  # by their range
        self._trimmed_at = 0.0
        for part in range(plan.shards):
            self._open(HASHES * part // plan.shards, HASHES * (part + 1) // plan.shards)

    @property
    def status(self) -> str:
        """As DescribeStream has it."""
        if not self.enabled:
            return "DISABLED"
        return "ENABLING" if self._clock.now() < self._created + self.plan.enabling_seconds else "ENABLED"

    def note(
        self, key_hash: int, keys: dict[str, Any], old: bytes | None, new: bytes | None, *, expired: bool = False
    ) -> None:  # fmt: skip
        """Adds the record of a write, unless it changed nothing."""
        if not self.enabled or old == new or (old and new and _same(old, new)):
            return
        shard = self._open_shards[bisect_right(self._open_shards, key_hash, key=_low) - 1]
        self._append(shard, self._raw(keys, old, new, expired=expired))
        if self.plan.shard_records and shard.written >= self.plan.shard_records:
            split = len(self._open_shards) < self.plan.max_open_shards and self._rng.random() < 0.5
            self.close(shard, children=2 if split else 1)

    def open_shards(self) -> list[Shard]:
        """Those that take records."""
        return list(self._open_shards)

    def close(self, shard: Shard, *, children: int) -> None:
        """Ends a shard; its range goes over to so many children."""
        self._sequence += 1
        shard.ending, shard.closed_at = self._sequence, self._clock.now()
        self._open_shards.remove(shard)
        width = shard.high - shard.low
        for part in range(children):
            low, high = shard.low + width * part // children, shard.low + width * (part + 1) // children
            self._open(low, high, shard.id)

    def disable(self) -> None:
        """Closes all shards; they stay readable."""
        for shard in self.open_shards():
            self.close(shard, children=0)
        self.enabled = False

    def trim(self) -> None:
        """Forgets what is older than the retention: records, and shards that were closed so long ago."""
        now = self._clock.now()
        if now - self._trimmed_at < _TRIM_SECONDS:
            return
        self._trimmed_at, horizon = now, now - self.plan.retention_seconds
        for shard in list(self.shards.values()):
            while shard.records and shard.records[0].made_at < horizon:
                shard.records.popleft()
                shard.trimmed += 1
            if shard.ending is not None and shard.closed_at < horizon and not shard.records:
                del self.shards[shard.id]

    def readable(self, shard: Shard, position: int, limit: int) -> list[Record]:
        """The records from a position on, as many as a page holds."""
        now, page, size = self._clock.now(), list[Record](), 0
        for index in range(position - shard.trimmed, len(shard.records)):
            record = shard.records[index]
            size += len(record.raw)
            if record.readable_at > now or len(page) == limit or (page and size > PAGE_BYTES):
                break
            page.append(record)
        if page and self._rng.random() < self.plan.empty_pages:
            return []
        return page

    def is_read_to_its_end(self, shard: Shard, position: int) -> bool:
        """Whether the next iterator is null."""
        if shard.ending is None or position < shard.end:
            return False
        return self._clock.now() >= shard.closed_at + self.plan.open_parent_seconds

    def describe(self, shards: list[Shard], last: str | None) -> dict[str, Any]:
        """A page of DescribeStream's answer."""
        description = {
            "StreamArn": self.arn,
            "StreamLabel": self.label,
            "StreamStatus": self.status,
            "StreamViewType": self.view,
            "CreationRequestDateTime": self._created,
            "TableName": self._definition["TableName"],
            "KeySchema": self._definition["KeySchema"],
            "Shards": [self._described(shard) for shard in shards],
        }
        return description | ({"LastEvaluatedShardId": last} if last else {})

    def _described(self, shard: Shard) -> dict[str, Any]:
        numbers = {"StartingSequenceNumber": str(shard.starting)}
        seen_closed = self._clock.now() >= shard.closed_at + self.plan.open_parent_seconds
        if shard.ending is not None and (seen_closed or not self.enabled):
            numbers["EndingSequenceNumber"] = str(shard.ending)
        described: dict[str, Any] = {"ShardId": shard.id, "SequenceNumberRange": numbers}
        return described | ({"ParentShardId": shard.parent} if shard.parent else {})

    def _open(self, low: int, high: int, parent: str = "") -> None:
        self._count += 1
        self._sequence += 1
        name = f"shardId-{self._count:020d}-{self._rng.getrandbits(32):08x}"
        shard = self.shards[name] = Shard(name, low, high, self._sequence, parent)
        insort(self._open_shards, shard, key=_low)

    def _append(self, shard: Shard, raw: Callable[[int], bytes]) -> None:
        self._sequence += self._rng.randint(1, 5)
        now = self._clock.now()
        earliest = shard.records[-1].readable_at if shard.records else 0.0
        readable = max(earliest, now + self._rng.random() * self.plan.late_seconds)
        shard.records.append(Record(raw(self._sequence), self._sequence, now, readable))
        shard.written += 1

    def _raw(
        self, keys: dict[str, Any], old: bytes | None, new: bytes | None, *, expired: bool
    ) -> Callable[[int], bytes]:
        images: dict[str, Any] = {"ApproximateCreationDateTime": float(int(time.time())), "Keys": keys}
        if new is not None and self.view in {"NEW_IMAGE", "NEW_AND_OLD_IMAGES"}:
            images["NewImage"] = msgspec.Raw(new)
        if old is not None and self.view in {"OLD_IMAGE", "NEW_AND_OLD_IMAGES"}:
            images["OldImage"] = msgspec.Raw(old)
        event = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
        record: dict[str, Any] = {
            "eventID": f"{self._rng.getrandbits(128):032x}",
            "eventName": event,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self._region,
        }
        if expired:
            record["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        size = len(old or b"") + len(new or b"")

        def encode(sequence: int) -> bytes:
            more = {"SequenceNumber": str(sequence), "SizeBytes": size, "StreamViewType": self.view}
            return msgspec.json.encode(record | {"dynamodb": images | more})

        return encode


def _low(shard: Shard) -> int:
    return shard.low


def _same(old: bytes, new: bytes) -> bool:
    return bool(msgspec.json.decode(old) == msgspec.json.decode(new))
