"""The requests that the fake takes; members that it does not know are refused, never ignored."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from support.fake.errors import FakeError

Form = TypeVar("Form")

_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {}


class Request(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """The base of all requests."""


class Put(Request):
    """One put of a batch."""

    item: msgspec.Raw


class Delete(Request):
    """One delete of a batch."""

    key: msgspec.Raw


class Write(Request):
    """One member of a batch: a put or a delete."""

    put_request: Put | None = None
    delete_request: Delete | None = None


class BatchWrite(Request):
    """BatchWriteItem."""

    request_items: dict[str, list[Write]]
    return_consumed_capacity: str = "NONE"


class PutItem(Request):
    """PutItem; the one condition known is attribute_not_exists(name)."""

    table_name: str
    item: msgspec.Raw
    condition_expression: str | None = None
    expression_attribute_names: dict[str, str] | None = None
    return_consumed_capacity: str = "NONE"


class GetItem(Request):
    """GetItem."""

    table_name: str
    key: msgspec.Raw
    consistent_read: bool = False
    return_consumed_capacity: str = "NONE"


class Credentials(Request):
    """One table's part of BatchGetItem."""

    keys: list[msgspec.Raw]
    consistent_read: bool = False


class BatchGet(Request):
    """BatchGetItem."""

    request_items: dict[str, Credentials]
    return_consumed_capacity: str = "NONE"


class Scan(Request):
    """Scan, without filters and projections."""

    table_name: str
    segment: int | None = None
    total_segments: int | None = None
    limit: int | None = None
    exclusive_start_key: msgspec.Raw = msgspec.Raw()  # msgspec decodes no union with Raw
    consistent_read: bool = False
    return_consumed_capacity: str = "NONE"
    select: str = "ALL_ATTRIBUTES"


class ShardFilter(Request):
    """The filter of DescribeStream."""

    type: str
    shard_id: str


class DescribeStream(Request):
    """DescribeStream."""

    stream_arn: str
    limit: int = 100
    exclusive_start_shard_id: str | None = None
    shard_filter: ShardFilter | None = None


class GetShardIterator(Request):
    """GetShardIterator."""

    stream_arn: str
    shard_id: str
    shard_iterator_type: str
    sequence_number: str | None = None


class GetRecords(Request):
    """GetRecords."""

    shard_iterator: str
    limit: int = 1000


def decode_as(form: type[Form], body: bytes) -> Form:
    """The request in this body; raises SerializationException, or ValidationException for members unknown here."""
    decoder = _DECODERS.setdefault(form, msgspec.json.Decoder(form))
    try:
        decoded: Form = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise FakeError("ValidationException", f"the fake does not take this: {error}") from error
    except msgspec.DecodeError as error:
        raise FakeError("SerializationException", str(error)) from error
    return decoded


def consumed(wanted: str, table: str, units: float) -> dict[str, Any] | None:
    """The ConsumedCapacity of one table, as much as was asked for."""
    if wanted not in {"TOTAL", "INDEXES"}:
        return None
    answer: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    return answer | {"Table": {"CapacityUnits": units}} if wanted == "INDEXES" else answer
