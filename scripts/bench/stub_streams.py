"""The stub's streams: that of the table `typical-100000` has so many changes, evenly over its shards, and is disabled.

The last part of a stream's ARN is the number of its shards.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from typing import Any, Final

from bench.shapes import item

RECORDS: Final = 1000  # of a page: GetRecords gives no more
_NUMBER: Final = b"%PAGE%"


class Streams:
    """DescribeStream, GetShardIterator and GetRecords. An iterator is `table/shard/shards/first record`."""

    def __init__(self, parse: Callable[[str], tuple[str, int]]) -> None:
        self._parse = parse
        self._pages: dict[str, bytes] = {}
        self.records = 0

    def call(self, operation: str, body: bytes) -> tuple[bytes, int]:
        """The answer to a call, and its crc32."""
        request = json.loads(body)
        answer = getattr(self, f"_{operation}")(request)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return data, zlib.crc32(data)

    def _DescribeStream(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's name
        table, shards = _stream(request["StreamArn"])
        numbers = {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9" * 21}
        listed = [{"ShardId": f"shard-{shard}", "SequenceNumberRange": numbers} for shard in range(shards)]
        described = {"StreamArn": request["StreamArn"], "StreamStatus": "DISABLED", "TableName": table}
        return {"StreamDescription": described | {"Shards": [] if "ShardFilter" in request else listed}}

    def _GetShardIterator(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        table, shards = _stream(request["StreamArn"])
        shard = request["ShardId"].rpartition("-")[2]
        return {"ShardIterator": f"{table}/{shard}/{shards}/0"}

    def _GetRecords(self, request: dict[str, Any]) -> bytes:  # noqa: N802
        table, shard, shards, first = request["ShardIterator"].split("/")
        shape, records = self._parse(table)
        share, number = records // int(shards), int(first)
        page = self._page(shape)
        self.records += RECORDS
        if number + RECORDS < share:
            following = f',"NextShardIterator":"{table}/{shard}/{shards}/{number + RECORDS}"}}'
        else:
            following = "}"
        return page.replace(_NUMBER, b"%015d" % (int(shard) * 10**9 + number)) + following.encode()

    def _page(self, shape: str) -> bytes:
        """A page of puts, but for the sequence numbers' first digits, which tell one page from another."""
        if shape not in self._pages:
            rng = random.Random(1)
            records = b",".join(_record(shape, number, rng) for number in range(RECORDS))
            self._pages[shape] = b'{"Records":[' + records + b"]"
        return self._pages[shape]


def _record(shape: str, number: int, rng: random.Random) -> bytes:
    new = item(shape, number, rng)
    images = {
        "ApproximateCreationDateTime": 1767225605.0,
        "Keys": {"pk": new["pk"], "sk": new["sk"]},
        "NewImage": new,
        "SequenceNumber": f"{_NUMBER.decode()}{number:06d}",
        "SizeBytes": 500,
        "StreamViewType": "NEW_IMAGE",
    }
    record = {
        "eventID": f"{rng.getrandbits(128):032x}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": images,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def _stream(arn: str) -> tuple[str, int]:
    """The table, and the number of shards."""
    _, table, _, shards = arn.split("/")
    return table, int(shards)
