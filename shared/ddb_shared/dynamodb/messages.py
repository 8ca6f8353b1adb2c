"""The requests and responses of the data plane, with items as bytes.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ddb_shared.errors import RequestError
from ddb_shared.table.description import LastKey


class Response(msgspec.Struct):
    """What every response of the data plane reports."""

    @property
    def consumed_units(self) -> float:
        """Capacity units, those of the indexes included."""
        return 0.0

    @property
    def unprocessed_count(self) -> int:
        """Items that the service did not process."""
        return 0


class Consumed(msgspec.Struct, rename="pascal"):
    """Capacity that one request consumed; indexes are included in the units."""

    capacity_units: float = 0.0


class ScanPage(Response, rename="pascal"):
    """One page of a Scan: up to 1 MB of items, each the bytes of its DynamoDB JSON."""

    items: list[msgspec.Raw] = []
    count: int = 0
    last_evaluated_key: LastKey | None = None
    consumed_capacity: Consumed | None = None

    @property
    def consumed_units(self) -> float:
        return self.consumed_capacity.capacity_units if self.consumed_capacity else 0.0


class BatchWriteResponse(Response, rename="pascal"):
    """The response of BatchWriteItem: unprocessed requests by table, and the capacity consumed."""

    unprocessed_items: dict[str, list[msgspec.Raw]] = {}
    consumed_capacity: list[Consumed] = []

    @property
    def consumed_units(self) -> float:
        return sum(consumed.capacity_units for consumed in self.consumed_capacity)

    @property
    def unprocessed_count(self) -> int:
        return sum(map(len, self.unprocessed_items.values()))


class PutResponse(Response, rename="pascal"):
    """The response of PutItem."""

    consumed_capacity: Consumed | None = None

    @property
    def consumed_units(self) -> float:
        return self.consumed_capacity.capacity_units if self.consumed_capacity else 0.0


class UnprocessedKeys(msgspec.Struct, rename="pascal"):
    """The keys of one table that BatchGetItem did not read, each the bytes of its DynamoDB JSON."""

    keys: list[msgspec.Raw] = []


class BatchGetResponse(Response, rename="pascal"):
    """The response of BatchGetItem: items and unprocessed keys by table, and the capacity consumed."""

    responses: dict[str, list[msgspec.Raw]] = {}
    unprocessed_keys: dict[str, UnprocessedKeys] = {}
    consumed_capacity: list[Consumed] = []

    @property
    def consumed_units(self) -> float:
        return sum(consumed.capacity_units for consumed in self.consumed_capacity)

    @property
    def unprocessed_count(self) -> int:
        return sum(len(left.keys) for left in self.unprocessed_keys.values())


class _ErrorBody(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    message: str | None = None
    message_pascal: str | None = msgspec.field(name="Message", default=None)
    reasons: list[dict[str, str | None]] | None = msgspec.field(name="ThrottlingReasons", default=None)
    reasons_lower: list[dict[str, str | None]] | None = msgspec.field(name="throttlingReasons", default=None)


_PUT: Final = b'{"PutRequest":{"Item":'
_DELETE: Final = b'{"DeleteRequest":{"Key":'
_ERROR: Final = msgspec.json.Decoder(_ErrorBody)


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


def batch_request(table: str, puts: Iterable[bytes]) -> bytes:
    """A BatchWriteItem request of put requests, each the bytes of `{"PutRequest":…}`."""
    name = msgspec.json.encode(table)
    return b"".join(
        (b'{"RequestItems":{', name, b":[", b",".join(puts), b']},"ReturnConsumedCapacity":"TOTAL"}')
    )


def puts_of(lines: Iterable[bytes]) -> bytes:
    """Lines as put requests, comma-separated: the inside of a BatchWriteItem request."""
    return b'{"PutRequest":' + b'},{"PutRequest":'.join(lines) + b"}"


def put_request(item: bytes | msgspec.Raw) -> bytes:
    """One put request of a BatchWriteItem."""
    return b"".join((_PUT, item, b"}}"))


def delete_request(key: bytes | msgspec.Raw) -> bytes:
    """One delete request of a BatchWriteItem."""
    return b"".join((_DELETE, key, b"}}"))


def is_put(request: bytes) -> bool:
    """Whether it is a put request, not a delete request."""
    return request.startswith(_PUT)


def content_of_request(request: bytes) -> bytes:
    """The item of a put request, the key of a delete request."""
    return request[len(_PUT if is_put(request) else _DELETE) : -2]


def line_of_request(request: bytes) -> bytes:
    """`{"Item":…}` of a put request, `{"Key":…}` of a delete request."""
    return request[request.index(b":") + 1 : -1]


def batch_get_request(table: str, keys: Iterable[bytes | msgspec.Raw]) -> bytes:
    """A BatchGetItem request with consistent reads; each key is the bytes of its DynamoDB JSON."""
    table_keys = {"ConsistentRead": True, "Keys": [msgspec.Raw(key) for key in keys]}
    return msgspec.json.encode({"RequestItems": {table: table_keys}, "ReturnConsumedCapacity": "TOTAL"})


def error_of(status: int, body: bytes) -> RequestError:
    """The error that a response of this HTTP status describes."""
    try:
        error = _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return RequestError(f"HTTP {status}", body[:200].decode("utf-8", "replace"), status)
    listed = error.reasons or error.reasons_lower or ()
    reasons = tuple(reason for entry in listed if (reason := entry.get("reason")))
    code = error.type.rpartition("#")[2] or f"HTTP {status}"
    return RequestError(code, error.message or error.message_pascal or "", status, reasons)
