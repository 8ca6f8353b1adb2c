"""A DynamoDB and S3 stub for benchmarks, in a process whose CPU is not counted: `python scripts/bench/stub.py`.

It prints its URL and lives until its input ends. Every table exists: `typical-100000` has 100,000 items of the shape
`typical`, spread evenly over the segments of whoever scans it. BatchWriteItem and PutItem are counted and forgotten;
S3 (path style) keeps objects in memory until their bucket is deleted. GET /_stub/stats tells the counts, GET
/_stub/shape/NAME the bytes of an item. Nothing is checked: neither signatures nor items.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import zlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))
from shapes import Pages

MAX_BODY_BYTES: Final = 1 << 31


class DynamoDB:
    """Scan, BatchWriteItem, PutItem and DescribeTable. A Scan with a Limit is a sample and counted apart."""

    def __init__(self) -> None:
        self.made: dict[str, Pages] = {}
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
            "TableId": "00000000-0000-0000-0000-000000000000",
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

    async def call(self, request: web.Request) -> web.Response:
        """A call by its X-Amz-Target; without one it is STS."""
        body = await request.read()
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
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
            case "DescribeTimeToLive":
                answer = b'{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}'
            case "ListTagsOfResource":
                answer = b'{"Tags":[]}'
            case "":
                account = "<Arn>arn:aws:iam::000000000000:root</Arn><Account>000000000000</Account>"
                result = f"<GetCallerIdentityResult>{account}</GetCallerIdentityResult>"
                return _xml("GetCallerIdentityResponse", result)
            case _:
                status, answer = 400, b'{"__type":"UnknownOperationException","message":"not in the stub"}'
        headers = {"x-amz-crc32": str(zlib.crc32(answer) if crc is None else crc)}
        return web.Response(
            status=status, body=answer, headers=headers, content_type="application/x-amz-json-1.0"
        )


class S3:
    """Objects and multipart uploads; listings hold at most 1,000 keys a page."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.ids = itertools.count(1)
        self.stored_bytes = 0

    async def call(self, request: web.Request) -> web.Response:
        """A request by method, path and query."""
        bucket, _, key = request.path[1:].partition("/")
        body = await request.read()
        query = request.query
        if not key:
            return self.bucket(request, bucket)
        if request.method in {"PUT", "POST"} and ("uploads" in query or "uploadId" in query):
            return self.upload(request, f"{bucket}/{key}", body)
        match request.method:
            case "PUT":
                return self.store(request, f"{bucket}/{key}", body, self.etag())
            case "DELETE":
                self.uploads.pop(query.get("uploadId", ""), None)
                if "uploadId" not in query:
                    self.objects.pop(f"{bucket}/{key}", None)
                return web.Response(status=204)
            case _:
                return self.get(request, f"{bucket}/{key}")

    def etag(self) -> str:
        """A new one; hashing the body would only cost a core that the measured program may need."""
        return f"{next(self.ids):032x}"

    def store(self, request: web.Request, path: str, body: bytes, etag: str) -> web.Response:
        """Keeps an object unless If-None-Match or If-Match forbids it."""
        old = self.objects.get(path)
        wanted = request.headers.get("If-Match")
        if (old and request.headers.get("If-None-Match") == "*") or (
            wanted and (old is None or wanted.strip('"') != old[1])
        ):
            return _error(412, "PreconditionFailed")
        self.objects[path] = (body, etag)
        self.stored_bytes += len(body)
        return web.Response(headers={"ETag": f'"{etag}"'})

    def upload(self, request: web.Request, path: str, body: bytes) -> web.Response:
        """CreateMultipartUpload, UploadPart and CompleteMultipartUpload."""
        if "uploads" in request.query:
            name = f"upload-{next(self.ids)}"
            self.uploads[name] = (path, {})
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        name = request.query["uploadId"]
        if name not in self.uploads:
            return _error(404, "NoSuchUpload")
        parts = self.uploads[name][1]
        if request.method == "PUT":
            parts[int(request.query["partNumber"])] = body
            return web.Response(headers={"ETag": f'"{self.etag()}"'})
        whole = b"".join(parts[number] for number in sorted(parts))
        stored = self.store(request, path, whole, etag := f"{self.etag()}-{len(parts)}")
        if stored.status != 200:
            return stored
        del self.uploads[name]
        return _xml("CompleteMultipartUploadResult", f'<ETag>"{etag}"</ETag>')

    def get(self, request: web.Request, path: str) -> web.Response:
        """GetObject, or a Range of it, and HeadObject."""
        if path not in self.objects:
            return _error(404, "NoSuchKey")
        body, etag = self.objects[path]
        headers = {
            "ETag": f'"{etag}"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Accept-Ranges": "bytes",
        }
        span = request.http_range
        if "Range" not in request.headers:
            return web.Response(body=body, headers=headers)
        first, end, _ = span.indices(len(body))
        if first >= end:
            return _error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(body)}"
        return web.Response(status=206, body=body[first:end], headers=headers)

    def bucket(self, request: web.Request, bucket: str) -> web.Response:
        """HeadBucket, CreateBucket, DeleteBucket with all its objects, ListObjectsV2 and ListMultipartUploads."""
        query = request.query
        if request.method == "DELETE":
            self.objects = {
                path: kept for path, kept in self.objects.items() if not path.startswith(f"{bucket}/")
            }
            return web.Response(status=204)
        if request.method != "GET":
            return web.Response(headers={"x-amz-bucket-region": "us-east-1"})
        start = f"{bucket}/{query.get('prefix', '')}"
        if "uploads" in query:
            found = [(name, path) for name, (path, _) in self.uploads.items() if path.startswith(start)]
            rows = (
                f"<Upload><Key>{escape(path[len(bucket) + 1 :])}</Key><UploadId>{name}</UploadId></Upload>"
                for name, path in found
            )
            return _xml("ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>" + "".join(rows))
        return self.listing(query, bucket, start)

    def listing(self, query: Any, bucket: str, start: str) -> web.Response:
        """ListObjectsV2, with a delimiter as S3 has it."""
        after = f"{bucket}/{query.get('continuation-token') or query.get('start-after', '')}"
        delimiter, rows = query.get("delimiter", ""), {}
        coded = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        spell = quote if coded else escape
        for path in sorted(path for path in self.objects if path.startswith(start) and path > after):
            rest, cut, _ = path[len(start) :].partition(delimiter) if delimiter else ("", "", "")
            name = start + rest + cut if cut else path
            key = spell(name[len(bucket) + 1 :])
            body, etag = self.objects[path]
            size = f"<Size>{len(body)}</Size><ETag>&quot;{etag}&quot;</ETag>"
            entry = f"<Contents><Key>{key}</Key>{size}<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            rows[name] = f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>" if cut else entry
            if len(rows) == int(query.get("max-keys", "1000")):
                more = f"<NextContinuationToken>{escape(path[len(bucket) + 1 :])}</NextContinuationToken>"
                return _xml(
                    "ListBucketResult",
                    f"{coded}<IsTruncated>true</IsTruncated>{more}" + "".join(rows.values()),
                )
        return _xml("ListBucketResult", f"{coded}<IsTruncated>false</IsTruncated>" + "".join(rows.values()))


def _xml(name: str, inside: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inside}</{name}>'
    return web.Response(status=status, content_type="application/xml", text=text)


def _error(status: int, code: str) -> web.Response:
    return _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>", status)


def _parse(table: str) -> tuple[str, int]:
    """The shape and the number of items that a table's name tells."""
    shape, _, items = table.rpartition("-")
    return shape, int(items)


def _told(path: str, dynamodb: DynamoDB, s3: S3) -> web.Response:
    """What the stub tells about itself."""
    what, _, name = path.removeprefix("/_stub/").partition("/")
    if what == "shape":
        pages = dynamodb.pages(name)
        return web.json_response({"item_bytes": pages.item_bytes, "items_per_page": pages.items})
    return web.json_response(
        {
            "scanned_items": dynamodb.scanned_items,
            "sampled_items": dynamodb.sampled_items,
            "puts": dynamodb.puts,
            "put_bytes": dynamodb.put_bytes,
            "stored_bytes": s3.stored_bytes,
        }
    )


async def serve(port: int) -> None:
    """Serves until the input ends."""
    dynamodb, s3 = DynamoDB(), S3()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        if request.path.startswith("/_stub/"):
            return _told(request.path, dynamodb, s3)
        if request.path == "/" and request.method == "POST":
            return await dynamodb.call(request)
        return await s3.call(request)

    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    uvloop.run(serve(parser.parse_args().port))
