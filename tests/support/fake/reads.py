"""Scan, GetItem and BatchGetItem."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from support.fake.capacity import read_units
from support.fake.errors import invalid
from support.fake.requests import BatchGet, GetItem, Scan, consumed, decode_as
from support.fake.store import Store
from support.fake.table import Key, StoredObject, Table, decode

PAGE_BYTES: Final = 1_048_576


def scan(store: Store, account: str, body: bytes) -> bytes:
    """One page: items in hash order up to and including the one that reaches 1 MB, or `Limit` of them."""
    request = decode_as(Scan, body)
    table = store.table(account, request.table_name)
    keys, start = _range(request, table)
    _admit(table, (start or (keys[0] if keys else Key(0, b"", b""))).hash)
    page, more = _page(table, keys, request.limit)
    units = read_units(sum(item.size for item in page), consistent=request.consistent_read)
    _charge(table, (page[0].key if page else start or Key(0, b"", b"")).hash, units)
    answer: dict[str, Any] = {"Count": len(page), "ScannedCount": len(page)}
    if more:
        answer["LastEvaluatedKey"] = page[-1].key_attributes
    if capacity := consumed(request.return_consumed_capacity, request.table_name, units):
        answer["ConsumedCapacity"] = capacity
    rest = msgspec.json.encode(answer)
    if request.select == "COUNT":
        return rest
    return b"".join((b'{"Items":[', b",".join(item.raw for item in page), b"],", rest[1:]))


def get_item(store: Store, account: str, body: bytes) -> dict[str, Any]:
    """One item, or nothing."""
    request = decode_as(GetItem, body)
    table = store.table(account, request.table_name)
    key = table.exact_key(bytes(request.key))
    _admit(table, key.hash)
    item = table.get(key)
    units = read_units(item.size if item else 0, consistent=request.consistent_read)
    _charge(table, key.hash, units)
    answer: dict[str, Any] = {"Item": msgspec.Raw(item.raw)} if item else {}
    if capacity := consumed(request.return_consumed_capacity, request.table_name, units):
        answer["ConsumedCapacity"] = capacity
    return answer


def batch_get_item(store: Store, account: str, body: bytes) -> dict[str, Any]:
    """Up to 100 items and 16 MB; keys beyond either the size or the limits come back as UnprocessedKeys."""
    request = decode_as(BatchGet, body)
    if sum(len(part.keys) for part in request.request_items.values()) > 100:
        raise invalid("Too many items requested for the BatchGetItem call")
    responses: dict[str, list[msgspec.Raw]] = {}
    unprocessed: dict[str, Any] = {}
    capacities = []
    for name, part in request.request_items.items():
        table = store.table(account, name)
        keys = [table.exact_key(bytes(raw)) for raw in part.keys]
        if len(set(keys)) != len(keys):
            raise invalid("Provided list of item keys contains duplicates")
        found, left, units = _collect(table, keys, part.keys, consistent=part.consistent_read)
        responses[name] = found
        capacities.append(consumed(request.return_consumed_capacity, name, units))
        if left:
            unprocessed[name] = {"Keys": left, "ConsistentRead": part.consistent_read}
    answer = {"Responses": responses, "UnprocessedKeys": unprocessed}
    return answer | {"ConsumedCapacity": capacities} if any(capacities) else answer


def _range(request: Scan, table: Table) -> tuple[list[Key], Key | None]:
    segment, total = request.segment, request.total_segments
    if (segment is None) != (total is None):
        missing = "TotalSegments" if total is None else "Segment"
        given = "Segment" if total is None else "TotalSegments"
        raise invalid(
            f"The {missing} parameter is required but was not present in the request when {given} is present"
        )
    segment, total = segment or 0, 1 if total is None else total
    if not 1 <= total <= 1_000_000:
        raise invalid(
            f"1 validation error detected: Value '{total}' at 'totalSegments' failed to satisfy constraint"
        )
    if not 0 <= segment < total:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )
    if request.limit is not None and request.limit < 1:
        raise invalid(
            f"1 validation error detected: Value '{request.limit}' at 'limit' failed to satisfy constraint"
        )
    raw = bytes(request.exclusive_start_key)
    start = table.key(decode(raw), batch=True) if raw else None
    return table.slice(segment, total, start), start


def _page(table: Table, keys: list[Key], limit: int | None) -> tuple[list[StoredObject], bool]:
    page: list[StoredObject] = []
    size = 0
    for key in keys:
        item = table.get(key)
        if item is None:
            continue
        page.append(item)
        size += item.size
        if size >= PAGE_BYTES or len(page) == limit:
            return page, True
    return page, False


def _collect(
    table: Table, keys: list[Key], raws: list[msgspec.Raw], *, consistent: bool
) -> tuple[list[msgspec.Raw], list[msgspec.Raw], float]:
    now = time.monotonic()
    found: list[msgspec.Raw] = []
    left: list[msgspec.Raw] = []
    units, size, reason = 0.0, 0, ""
    for key, raw in zip(keys, raws, strict=True):
        refusal = table.reads.refusal(key.hash, now)
        if refusal or size >= 16 * PAGE_BYTES:
            reason = reason or refusal or ""
            left.append(raw)
            continue
        item = table.get(key)
        cost = read_units(item.size if item else 0, consistent=consistent)
        _charge(table, key.hash, cost)
        units += cost
        if item:
            size += item.size
            found.append(msgspec.Raw(item.raw))
    if reason and len(left) == len(keys):
        raise table.throttle("", reason)
    return found, left, units


def _admit(table: Table, key_hash: int) -> None:
    refusal = table.reads.refusal(key_hash, time.monotonic())
    if refusal:
        table.refused += 1
        raise table.throttle("", refusal)


def _charge(table: Table, key_hash: int, units: float) -> None:
    table.reads.take(key_hash, units)
    table.reads_log.note(time.monotonic(), units)
