"""One table: its definition, and its items as bytes in hash order."""

from __future__ import annotations

import hashlib
import time
import uuid
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from support.fake.capacity import HASHES, Ledger, Limits
from support.fake.errors import FakeError, Reason, invalid, not_found, throttled
from support.fake.plan import FaultPlan, TableStats
from support.fake.stream import Stream
from support.fake.values import MAX_ITEM_BYTES, Walk, decoded, normal_number

_SCHEMA: Final = "The provided key element does not match the schema"
_KEY_BYTES: Final = (
    (2048, "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    (1024, "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
)
_ITEM: Final = msgspec.json.Decoder(dict[str, dict[str, Any]])


class Key(NamedTuple):
    """A key in the order of a scan: the hash of the partition key, the partition key, the sort key (b"": none)."""

    hash: int
    partition: bytes | Decimal
    sort: bytes | Decimal


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One item: its DynamoDB JSON with numbers in normal form, its key attributes and its size by AWS's rule.

    `indexes` is how many of the table's it is in.
    """

    key: Key
    raw: bytes
    key_attributes: dict[str, Any]
    size: int
    indexes: int = 0


class Table:
    """A table of one account, region aside; all methods are called from one thread."""

    def __init__(self, definition: dict[str, Any], *, arn: str, plan: FaultPlan) -> None:
        self.definition = definition
        self.arn = arn
        self.id = str(uuid.uuid4())
        self.created = time.time()
        self.time_to_live: dict[str, Any] = {"TimeToLiveStatus": "DISABLED"}
        self.tags: list[dict[str, str]] = definition.get("Tags", [])
        types = {one["AttributeName"]: one["AttributeType"] for one in definition["AttributeDefinitions"]}
        names = [one["AttributeName"] for one in definition["KeySchema"]]
        self._schema: Final = [(name, types[name]) for name in names]
        self._index_keys: Final = [
            {part["AttributeName"] for part in index["KeySchema"]}
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in definition.get(kind, ())
        ]
        self._items: dict[Key, StoredObject] = {}
        self._order: list[Key] = []
        self._sorted = True
        self._gone: set[Key] = set()  # deleted, and still in the order
        self.bytes = self.puts = self.deletes = self.refused = 0
        self.reads_log, self.writes_log = Ledger(), Ledger()
        self.stream: Stream | None = None
        self.limit(plan)

    @property
    def on_demand(self) -> bool:
        """Whether the table is billed per request."""
        return self.definition.get("BillingMode") == "PAY_PER_REQUEST"

    def limit(self, plan: FaultPlan) -> None:
        """Begins to hold the table to the limits of this plan; the buckets are full."""
        provisioned = self.definition.get("ProvisionedThroughput") or {}
        now = time.monotonic()
        self._creating_seconds = plan.creating_seconds
        self.reads = Limits(
            plan,
            direction="Read",
            per_partition=plan.rcu_per_partition,
            provisioned=None if self.on_demand else provisioned.get("ReadCapacityUnits"),
            now=now,
        )
        self.writes = Limits(
            plan,
            direction="Write",
            per_partition=plan.wcu_per_partition,
            provisioned=None if self.on_demand else provisioned.get("WriteCapacityUnits"),
            now=now,
        )
        self.partition_wcu = [0.0] * max(1, plan.partitions)

    @property
    def creating(self) -> bool:
        """Whether the table is still being created."""
        return time.time() < self.created + self._creating_seconds

    def require_active(self) -> None:
        """Raises as AWS does while the table is being created."""
        if self.creating:
            raise not_found()

    def parse(self, raw: bytes, *, batch: bool) -> StoredObject:
        """An item to store; raises the ValidationException that BatchWriteItem, or PutItem, answers with."""
        item = decode(raw)
        walk = Walk()
        size = walk.attributes(item)
        key = self.key(item, batch=batch)
        if size > MAX_ITEM_BYTES:
            raise invalid("Item size has exceeded the maximum allowed size")
        attributes = {name: item[name] for name, _ in self._schema}
        indexes = sum(keys <= item.keys() for keys in self._index_keys)
        return StoredObject(
            key, msgspec.json.encode(item) if walk.changed else bytes(raw), attributes, size, indexes
        )

    def exact_key(self, raw: bytes) -> Key:
        """The key of a request that takes the key attributes and no others."""
        attributes = decode(raw)
        Walk().attributes(attributes)
        if len(attributes) != len(self._schema):
            raise invalid(_SCHEMA)
        return self.key(attributes, batch=True)

    def key(self, item: dict[str, Any], *, batch: bool) -> Key:
        """The key of these attributes; raises ValidationException where one is missing or of the wrong type."""
        parts = [self._part(item, place, batch=batch) for place in range(len(self._schema))]
        first = parts[0]
        data = first if isinstance(first, bytes) else normal_number(str(first)).encode()
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        return Key(int.from_bytes(digest[:8]), first, parts[1] if len(parts) > 1 else b"")

    def _part(self, item: dict[str, Any], place: int, *, batch: bool) -> bytes | Decimal:
        name, kind = self._schema[place]
        value = item.get(name)
        invalid_values = "One or more parameter values were invalid: "
        if value is None:
            raise invalid(_SCHEMA if batch else f"{invalid_values}Missing the key {name} in the item")
        if kind not in value:
            mismatch = f"Type mismatch for key {name} expected: {kind} actual: {next(iter(value))}"
            raise invalid(_SCHEMA if batch else invalid_values + mismatch)
        if kind == "N":
            return Decimal(normal_number(value["N"]))
        part: bytes = value["S"].encode() if kind == "S" else decoded(value["B"])
        limit, message = _KEY_BYTES[place]
        if len(part) > limit:
            raise invalid(f"{invalid_values}{message}")
        if not part:
            word = "string" if kind == "S" else "binary"
            text = f"The AttributeValue for a key attribute cannot contain an empty {word} value. Key: {name}"
            raise invalid(f"One or more parameter values are not valid. {text}")
        return part

    def get(self, key: Key) -> StoredObject | None:
        """The item of this key."""
        return self._items.get(key)

    def put(self, item: StoredObject) -> None:
        """Stores or replaces."""
        old = self._items.get(item.key)
        if item.key in self._gone:
            self._gone.discard(item.key)
        elif old is None:
            self._order.append(item.key)
            self._sorted = False
        self.bytes += item.size - (old.size if old else 0)
        self._items[item.key] = item
        self.puts += 1
        if self.stream is not None:
            self.stream.note(item.key.hash, item.key_attributes, old.raw if old else None, item.raw)

    def delete(self, key: Key, *, expired: bool = False) -> None:
        """Removes; it need not exist. `expired`: time to live does it."""
        old = self._items.pop(key, None)
        self.deletes += 1
        if old is None:
            return
        self.bytes -= old.size
        self._gone.add(key)
        if self.stream is not None:
            self.stream.note(key.hash, old.key_attributes, old.raw, None, expired=expired)

    def slice(self, segment: int, total_segments: int, start: Key | None) -> list[Key]:
        """The keys of a segment in hash order, those after `start`."""
        if not self._sorted or self._gone:
            self._order = sorted(self._items)
            self._gone.clear()
            self._sorted = True
        low, high = (-(-HASHES * part // total_segments) for part in (segment, segment + 1))
        if start is not None and not low <= start.hash < high:
            where = f"TotalSegments: {total_segments} Segment: {segment}"
            text = f"Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. {where}"
            raise invalid(f"The provided starting key is invalid: {text}")
        first = bisect_right(self._order, start) if start else bisect_left(self._order, (low,))
        return self._order[first : bisect_left(self._order, (high,))]

    def throttle(self, code: str, *reasons: str) -> FakeError:
        """The throttling error with these reasons; without a code, the one of the table's billing mode."""
        fitting = "ThrottlingException" if self.on_demand else "ProvisionedThroughputExceededException"
        return throttled(code or fitting, *(Reason(reason, self.arn) for reason in dict.fromkeys(reasons)))

    @property
    def count(self) -> int:
        """The number of items."""
        return len(self._items)

    def items(self) -> list[StoredObject]:
        """All items in hash order."""
        return [self._items[key] for key in self.slice(0, 1, None)]

    def stats(self) -> TableStats:
        """The figures of this table."""
        return TableStats(
            items=len(self._items),
            bytes=self.bytes,
            consumed_wcu=self.writes_log.units,
            consumed_rcu=self.reads_log.units,
            puts=self.puts,
            deletes=self.deletes,
            refused=self.refused,
            partition_wcu=self.partition_wcu,
        )

    def forget_figures(self) -> None:
        """Sets the counts back to zero; the items stay."""
        self.reads_log, self.writes_log = Ledger(), Ledger()
        self.puts = self.deletes = self.refused = 0
        self.partition_wcu = [0.0] * len(self.partition_wcu)


def decode(raw: bytes) -> dict[str, dict[str, Any]]:
    """The attributes of an item's bytes."""
    try:
        return _ITEM.decode(raw)
    except msgspec.DecodeError as error:
        raise FakeError("SerializationException", str(error)) from error
