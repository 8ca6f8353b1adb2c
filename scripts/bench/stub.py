"""A DynamoDB and S3 stub for benchmarks, in a process whose CPU is not counted: `python -m bench.stub` in scripts/.

It prints its URL and runs until its input ends. Every table exists: `typical-100000` has 100,000 items of the shape
`typical`, spread evenly over the segments of a scan, `copy-typical-100000` has none. BatchWriteItem and PutItem are counted and
discarded; its streams are in `stub_streams`; S3 (path style) keeps objects in memory until their bucket is deleted. GET
/_stub/stats returns the counts, GET /_stub/shape/NAME the size of an item. Nothing is checked, neither signatures nor items.
"""

from __future__ import annotations

import argparse
import json
import zlib
from typing import Final

import uvloop

from bench.shapes import Pages
from bench.stub_http import Handler, Request, Response, serve
from bench.stub_s3 import S3, xml
from bench.stub_streams import Streams

COPY: Final = "copy-"  # what the name of an empty table begins with


class DynamoDB:
    """Scan, BatchWriteItem, PutItem and DescribeTable. A Scan with a Limit is a sample and counted apart."""

    def __init__(self) -> None:
        self.made: dict[str, Pages] = {}
        self.streams = Streams(_parse)
        self.scanned_items = self.sampled_items = self.puts = self.put_bytes = 0

    def pages(self, shape: str) -> Pages:
        """The pages of a shape, made once."""
        if shape not in self.made:
            self.made[shape] = Pages(shape)
        return self.made[shape]

    def scan(self, body: bytes) -> tuple[bytes, int]:
        """A page and its crc32: the items of the segment after the one that ExclusiveStartKey names."""
        request = json.loads(body)
        shape, items = _parse(request["TableName"])
        segment, segments = request.get("Segment", 0), request.get("TotalSegments", 1)
        share = items * (segment + 1) // segments - items * segment // segments
        start = int(request["ExclusiveStartKey"]["sk"]["N"]) if "ExclusiveStartKey" in request else 0
        count, begun, crc = self.pages(shape).take(segment, start, request.get("Limit", share), share)
        if "Limit" in request:
            self.sampled_items += count
        else:
            self.scanned_items += count
        units = -(-len(begun) // 4096) / 2
        end = start + count
        key = f',"LastEvaluatedKey":{{"pk":{{"S":"stub"}},"sk":{{"N":"{end}"}}}}' if end < share else ""
        capacity = f'"ConsumedCapacity":{{"TableName":"stub","CapacityUnits":{units}}}'
        tail = f'],"Count":{count},"ScannedCount":{count},{capacity}{key}}}'.encode()
        return begun + tail, zlib.crc32(tail, crc)

    def write(self, body: bytes) -> bytes:
        """Everything is written, at 1 WCU a put."""
        puts = body.count(b'"PutRequest"')
        self.puts += puts
        self.put_bytes += len(body)
        return (
            b'{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"stub","CapacityUnits":%d.0}]}' % puts
        )

    def describe(self, body: bytes) -> bytes:
        """An on-demand table with keys pk (S) and sk (N)."""
        name = json.loads(body)["TableName"]
        shape, items = _parse(name)
        keys = [("pk", "HASH", "S"), ("sk", "RANGE", "N")]
        table = {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
            "TableId": f"{zlib.crc32(name.encode()):08x}-0000-0000-0000-000000000000",
            "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role, _ in keys],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, _, kind in keys
            ],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            "ItemCount": items,
            "TableSizeBytes": int(items * self.pages(shape).item_bytes),
        }
        return json.dumps({"Table": table}).encode()

    def call(self, request: Request) -> Response:
        """A call by its X-Amz-Target; without one it is STS."""
        body = request.body
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        status, crc = 200, None
        match operation:
            case "Scan":
                answer, crc = self.scan(body)
            case "BatchWriteItem":
                answer = self.write(body)
            case "PutItem":
                self.puts += 1
                answer = b'{"ConsumedCapacity":{"TableName":"stub","CapacityUnits":1.0}}'
            case "DescribeTable":
                answer = self.describe(body)
            case "DescribeStream" | "GetShardIterator" | "GetRecords":
                answer, crc = self.streams.call(operation, body)
            case "DescribeTimeToLive":
                answer = b'{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}'
            case "ListTagsOfResource":
                answer = b'{"Tags":[]}'
            case "":
                account = "<Arn>arn:aws:iam::000000000000:root</Arn><Account>000000000000</Account>"
                result = f"<GetCallerIdentityResult>{account}</GetCallerIdentityResult>"
                return xml("GetCallerIdentityResponse", result)
            case _:
                status, answer = 400, b'{"__type":"UnknownOperationException","message":"not in the stub"}'
        headers = {"x-amz-crc32": str(zlib.crc32(answer) if crc is None else crc)}
        return Response(answer, status, headers | {"Content-Type": "application/x-amz-json-1.0"})


def _parse(table: str) -> tuple[str, int]:
    """The shape and the number of items that a table's name tells."""
    shape, _, items = table.removeprefix(COPY).rpartition("-")
    return shape, 0 if table.startswith(COPY) else int(items)


def _told(path: str, dynamodb: DynamoDB, s3: S3) -> dict[str, float]:
    """What the stub tells about itself."""
    what, _, name = path.removeprefix("/_stub/").partition("/")
    if what == "shape":
        pages = dynamodb.pages(name)
        return {"item_bytes": pages.item_bytes, "items_per_page": pages.items}
    return {
        "scanned_items": dynamodb.scanned_items,
        "sampled_items": dynamodb.sampled_items,
        "records": dynamodb.streams.records,
        "puts": dynamodb.puts,
        "put_bytes": dynamodb.put_bytes,
        "stored_bytes": s3.stored_bytes,
    }


def handler() -> Handler:
    """All of the stub, with nothing in it."""
    dynamodb, s3 = DynamoDB(), S3()

    def handle(request: Request) -> Response:
        if request.path.startswith("/_stub/"):
            return Response(json.dumps(_told(request.path, dynamodb, s3)).encode())
        if request.path == "/" and request.method == "POST":
            return dynamodb.call(request)
        return s3.call(request)

    return handle


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--certificate", help="a PEM file of the certificate and its key: serve over TLS")
    options = parser.parse_args()
    uvloop.run(serve(handler(), options.port, options.certificate))
