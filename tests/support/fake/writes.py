"""BatchWriteItem and PutItem."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from support.fake.capacity import write_units
from support.fake.errors import FakeError, invalid
from support.fake.requests import BatchWrite, PutItem, Write, consumed, decode_as
from support.fake.store import Store
from support.fake.table import Key, StoredObject, Table, decode

MAX_BATCH: Final = 25

_LENGTHS: Final = (
    "Map value must satisfy constraint: [Member must have length less than or equal to 25, "
    "Member must have length greater than or equal to 1]"
)
_NOT_EXISTS: Final = re.compile(r"\s*attribute_not_exists\s*\(\s*(#?[A-Za-z0-9_]+)\s*\)\s*")


@dataclass(frozen=True, slots=True)
class Act:
    """One write of a batch, checked; `item` is None for a delete."""

    table: Table
    name: str
    key: Key
    item: StoredObject | None
    request: Write


@dataclass(frozen=True, slots=True)
class Refusals:
    """The writes of a batch that an injected fault sends back, and the error when it sends back all of them."""

    choose: Callable[[int], set[int]]
    code: str = ""
    reason: str = ""


NO_REFUSALS: Final = Refusals(lambda _: set())


def batch_write_item(
    store: Store, account: str, body: bytes, refusals: Refusals = NO_REFUSALS
) -> tuple[dict[str, Any], int]:
    """The answer, and the number of writes left unprocessed; one bad write rejects the whole batch."""
    request = decode_as(BatchWrite, body)
    acts = _checked(store, account, request.request_items)
    injected = refusals.choose(len(acts))
    reasons: dict[int, str] = {}
    units: dict[str, float] = dict.fromkeys(request.request_items, 0.0)
    for place, act in enumerate(acts):
        reason = act.table.writes.refusal(act.key.hash, time.monotonic())
        if place in injected or reason:
            reasons[place] = reason or refusals.reason or "TableWriteKeyRangeThroughputExceeded"
            act.table.refused += 1
        else:
            units[act.name] += apply(act.table, act.key, act.item)
    if len(reasons) == len(acts):
        raise acts[0].table.throttle(refusals.code if injected else "", *reasons.values())
    unprocessed: dict[str, list[dict[str, Any]]] = {}
    for place in reasons:
        unprocessed.setdefault(acts[place].name, []).append(_request(acts[place].request))
    answer: dict[str, Any] = {"UnprocessedItems": unprocessed}
    capacities = [consumed(request.return_consumed_capacity, name, used) for name, used in units.items()]
    if any(capacities):
        answer["ConsumedCapacity"] = capacities
    return answer, len(reasons)


def put_item(store: Store, account: str, body: bytes) -> dict[str, Any]:
    """PutItem, on the condition that an attribute does not exist."""
    request = decode_as(PutItem, body)
    table = store.table(account, request.table_name)
    item = table.parse(bytes(request.item), batch=False)
    absent = _condition(request)
    reason = table.writes.refusal(item.key.hash, time.monotonic())
    if reason:
        table.refused += 1
        raise table.throttle("", reason)
    old = table.get(item.key)
    if absent is not None and old is not None and absent in decode(old.raw):
        charge(table, item.key.hash, write_units(old.size))
        raise FakeError("ConditionalCheckFailedException", "The conditional request failed")
    capacity = consumed(request.return_consumed_capacity, request.table_name, apply(table, item.key, item))
    return {"ConsumedCapacity": capacity} if capacity else {}


def apply(table: Table, key: Key, item: StoredObject | None) -> float:
    """Does one write and returns its units: those of the larger of the old and the new item, once more for each index.

    An index is taken to hold items whole, and a change of its key to cost no more than any other.
    """
    old = table.get(key)
    sides = [side for side in (old, item) if side is not None]
    units = write_units(max((side.size for side in sides), default=0))
    of_indexes = units * max((side.indexes for side in sides), default=0)
    charge(table, key.hash, units, of_indexes)
    if item is not None:
        table.put(item)
    else:
        table.delete(key)
    return units + of_indexes


def charge(table: Table, key_hash: int, units: float, of_indexes: float = 0.0) -> None:
    """Counts the units, and takes those of the table itself from its buckets."""
    table.writes.take(key_hash, units)
    table.writes_log.note(time.monotonic(), units + of_indexes)
    table.partition_wcu[table.writes.partition(key_hash)] += units


def _checked(store: Store, account: str, batches: dict[str, list[Write]]) -> list[Act]:
    if not batches:
        raise invalid(
            "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )
    if any(not 1 <= len(writes) <= MAX_BATCH for writes in batches.values()):
        value = f"Value '{{{', '.join(batches)}=[...]}}' at 'requestItems'"
        raise invalid(f"1 validation error detected: {value} failed to satisfy constraint: {_LENGTHS}")
    if sum(map(len, batches.values())) > MAX_BATCH:
        raise invalid("Too many items requested for the BatchWriteItem call")
    acts: list[Act] = []
    for name, writes in batches.items():
        table = store.table(account, name)
        acts.extend(_act(table, name, write) for write in writes)
    if len({(act.table.arn, act.key) for act in acts}) != len(acts):
        raise invalid("Provided list of item keys contains duplicates")
    return acts


def _act(table: Table, name: str, write: Write) -> Act:
    if (write.put_request is None) == (write.delete_request is None):
        raise invalid(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
            "datatypes"
        )
    if write.put_request is not None:
        item = table.parse(bytes(write.put_request.item), batch=True)
        return Act(table, name, item.key, item, write)
    assert write.delete_request is not None
    return Act(table, name, table.exact_key(bytes(write.delete_request.key)), None, write)


def _request(write: Write) -> dict[str, Any]:
    if write.put_request is not None:
        return {"PutRequest": {"Item": write.put_request.item}}
    assert write.delete_request is not None
    return {"DeleteRequest": {"Key": write.delete_request.key}}


def _condition(request: PutItem) -> str | None:
    """The attribute that must not exist; None without a condition."""
    names = request.expression_attribute_names or {}
    if request.condition_expression is None:
        if names:
            raise invalid("ExpressionAttributeNames can only be specified when using expressions")
        return None
    match = _NOT_EXISTS.fullmatch(request.condition_expression)
    if match is None:
        raise invalid(
            f"the fake knows no condition but attribute_not_exists(name): {request.condition_expression}"
        )
    name = match[1]
    if name.startswith("#"):
        if name not in names:
            raise invalid(
                "Invalid ConditionExpression: An expression attribute name used in the document path is not defined; "
                f"attribute name: {name}"
            )
        return names[name]
    return name
