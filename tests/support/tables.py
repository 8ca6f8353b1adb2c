"""Tables of the tests and the demo: create, fill, read back by an independent boto3 scan, compare item by item."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

Item = Mapping[str, Any]
"""DynamoDB JSON as boto3's low-level client takes and gives it: `{"pk": {"S": "a"}, "blob": {"B": b"..."}}`."""
Canonical = Any
"""A value that equals another one if DynamoDB holds them for the same: hashable unless it contains a map."""
Key = tuple[Canonical, ...]
Table = dict[Key, dict[str, Canonical]]

BATCH = 25
"""BatchWriteItem's limit of items."""
BATCH_BYTES = 8 << 20
"""Half of BatchWriteItem's 16 MB, because the JSON of an item is longer than the item (base64, type tags)."""
PAGE_ITEMS = 1_000
"""DynamoDB Local loads all that is left of a table for each page without a limit: 200,000 items take 20 minutes to read."""
DIFFERENCES_SHOWN = 5


@dataclass(frozen=True)
class KeySpec:
    """A table's key: names and types (S, N or B); no sort key if `range_name` is empty."""

    hash_name: str = "pk"
    hash_type: str = "S"
    range_name: str = "sk"
    range_type: str = "N"

    @property
    def attributes(self) -> dict[str, str]:
        """Type by name, partition key first."""
        return {self.hash_name: self.hash_type} | (
            {self.range_name: self.range_type} if self.range_name else {}
        )

    def of(self, item: Item) -> Key:
        """Return the item's key, comparable and hashable."""
        return tuple(canonical(item[name]) for name in self.attributes)


COMPOSITE_KEY = KeySpec()
SIMPLE_KEY = KeySpec(range_name="")


def create_table(client: Any, name: str, key: KeySpec = COMPOSITE_KEY, **settings: Any) -> None:
    """Create an on-demand table and wait until it is active; `settings` are CreateTable's other members."""
    types = key.attributes
    roles = zip(types, ("HASH", "RANGE"), strict=False)
    definition = {
        "KeySchema": [{"AttributeName": attribute, "KeyType": role} for attribute, role in roles],
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
        "BillingMode": "PAY_PER_REQUEST",
    }
    client.create_table(TableName=name, **(definition | settings))
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def key_of(client: Any, name: str) -> KeySpec:
    """Return the key of an existing table."""
    table = client.describe_table(TableName=name)["Table"]
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    roles = {entry["KeyType"]: entry["AttributeName"] for entry in table["KeySchema"]}
    sort = roles.get("RANGE", "")
    return KeySpec(roles["HASH"], types[roles["HASH"]], sort, types[sort] if sort else "N")


def fill(client: Any, name: str, items: Iterable[Item], *, threads: int = 4) -> int:
    """Write all items, in batches, and return their number. At most `threads` batches are in memory."""
    source = iter(items)
    lock = threading.Lock()

    def work(_: int) -> int:
        written = 0
        while batch := _next_batch(source, lock):
            write_batch(client, name, batch)
            written += len(batch)
        return written

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def _next_batch(source: Iterator[Item], lock: threading.Lock) -> list[Item]:
    with lock:
        return list(islice(source, BATCH))


def write_batch(client: Any, name: str, items: Sequence[Item], *, attempts: int = 20) -> None:
    """Write up to 25 items; what DynamoDB leaves unprocessed is sent again, at last it is an error."""
    pending = [{"PutRequest": {"Item": item}} for item in items]
    for attempt in range(attempts):
        answer = client.batch_write_item(RequestItems={name: pending})
        pending = answer.get("UnprocessedItems", {}).get(name, [])
        if not pending:
            return
        time.sleep(min(0.02 * 2**attempt, 1))
    raise RuntimeError(f"{name}: {len(pending)} items still unprocessed after {attempts} attempts")


def scan(client: Any, name: str, **parameters: Any) -> Iterator[Item]:
    """Yield every item by boto3's paginator, with strongly consistent reads."""
    limited = {"Limit": PAGE_ITEMS} | parameters
    pages = client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True, **limited)
    for page in pages:
        yield from page["Items"]


def read_all(client: Any, name: str) -> Table:
    """Return every item of the table by its key, canonical."""
    return by_key(scan(client, name), key_of(client, name))


def by_key(items: Iterable[Item], key: KeySpec = COMPOSITE_KEY) -> Table:
    """Return items by their key, canonical. Two items with one key are an error: a scan never gives them."""
    table: Table = {}
    for item in items:
        identity = key.of(item)
        assert identity not in table, f"key {identity!r} twice"
        table[identity] = {name: canonical(value) for name, value in item.items()}
    return table


def canonical(value: Mapping[str, Any]) -> Canonical:
    """Return a typed value in a form of which equality is DynamoDB's: numbers by value, sets without order."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return tag, Decimal(content)
        case "NS":
            return tag, frozenset(map(Decimal, content))
        case "SS" | "BS":
            return tag, frozenset(content)
        case "L":
            return tag, [canonical(element) for element in content]
        case "M":
            return tag, {name: canonical(element) for name, element in content.items()}
    return tag, content


def assert_same_items(expected: Table, actual: Table) -> None:
    """Compare two tables in every item and attribute; the error shows the first differences of each kind."""
    missing = [f"missing: {key!r}" for key in expected.keys() - actual.keys()]
    extra = [f"extra: {key!r}" for key in actual.keys() - expected.keys()]
    differing = [key for key in expected.keys() & actual.keys() if expected[key] != actual[key]]
    if not (missing or extra or differing):
        return
    shown = missing[:DIFFERENCES_SHOWN] + extra[:DIFFERENCES_SHOWN]
    for key in differing[:DIFFERENCES_SHOWN]:
        shown += [f"differs: {key!r} {line}" for line in differences(expected[key], actual[key])]
    counts = f"{len(missing)} missing, {len(extra)} extra, {len(differing)} different"
    raise AssertionError("\n".join([f"{counts} (expected {len(expected)} items, got {len(actual)})", *shown]))


def differences(
    expected: Mapping[str, Canonical], actual: Mapping[str, Canonical], path: str = ""
) -> list[str]:
    """Describe where two maps of canonical values differ, one line for each attribute; maps are entered."""
    absent = "(absent)"
    lines = []
    for name in sorted(expected.keys() | actual.keys()):
        old, new = expected.get(name, absent), actual.get(name, absent)
        if old == new:
            continue
        if absent not in (old, new) and old[0] == new[0] == "M":
            lines += differences(old[1], new[1], f"{path}{name}.")
        else:
            lines.append(f"at {path}{name}: expected {_short(old)}, got {_short(new)}")
    return lines


def _short(value: Canonical) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"
