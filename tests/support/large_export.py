"""An export of 100,000 shards and 10 TB that exists on paper: small objects that claim to be large ones, in the benchmark's stub.

`python -m support.large_export` prints its URL and runs until its input ends. A shard is never served: who asks for one, or for a
page of the table, has begun, which `/_stub/begun` counts. `/_stub/settle` makes 99,000 shards done in the state of the import, as a
run that was killed leaves it: in summaries, and 1,000 more in checkpoints of their own.
"""

import json
from typing import Any

import msgspec
import uvloop

from bench.stub import DynamoDB
from bench.stub_http import Request, Response, serve
from bench.stub_s3 import S3, xml
from ddb_import.ledger import SUMMARY_SHARDS, DoneShard, Summary
from ddb_shared.format import manifest as manifests
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.manifest import FORMAT, FormatOptions, Manifest, Shard, Source
from support.memory import MemoryFolder

SHARDS = 100_000
SEGMENTS = 1_000
SHARD_BYTES = 100 * 1024 * 1024
SHARD_ITEMS = 1_000_000
SUMMARISED = 98_000
BUCKET = "paper"
ROOT = "moves/AWSDynamoDB/"
EXPORT_ID = "01715685260608-c488b4e1"
TABLE = "copy-typical-0"
ACCOUNT, REGION = "111111111111", "us-east-1"


class Claim(bytes):
    """An object that is listed with the size of a shard."""

    def __len__(self) -> int:
        return SHARD_BYTES


def shard(number: int) -> Shard:
    """One of 100 in each segment."""
    name = f"{number % SEGMENTS:04d}-{number // SEGMENTS:06d}.json.gz"
    return Shard(
        key=f"{ROOT}{EXPORT_ID}/data/{name}",
        segment=number % SEGMENTS,
        items=SHARD_ITEMS,
        bytes=6 * SHARD_BYTES,
        stored_bytes=SHARD_BYTES,
        md5="1B2M2Y8AsgTpgAmY7PhCfg==",
        sha256=f"{number:064x}",
        etag=f"{number:032x}",
    )


def manifest(table: dict[str, Any]) -> Manifest:
    """What the export says of itself."""
    return Manifest(
        format=FORMAT,
        export_id=EXPORT_ID,
        tool_version="0.1.0",
        method=manifests.SCAN,
        started_at="2026-01-01T00:00:00.000Z",
        finished_at="2026-01-02T00:00:00.000Z",
        source=Source(
            table_name="orders",
            table_arn=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders",
            table_id="9b5c2f5e-0000-4000-8000-000000000000",
            account=ACCOUNT,
            region=REGION,
        ),
        table=table,
        options=FormatOptions(
            format=manifests.JSONL,
            compression="gzip",
            segments=SEGMENTS,
            shard_size=SHARD_BYTES,
            consistent_read=False,
        ),
        consumed_rcu=1.0,
        items=SHARDS * SHARD_ITEMS,
        bytes=SHARDS * 6 * SHARD_BYTES,
        shards=[shard(number) for number in range(SHARDS)],
    )


class Service:
    """S3 with the export, and a DynamoDB whose tables are empty."""

    def __init__(self) -> None:
        self.dynamodb, self.s3 = DynamoDB(), S3()
        self.begun = 0
        table = json.loads(self.dynamodb.describe(json.dumps({"TableName": TABLE}).encode()))["Table"]
        told, folder = manifest(table), MemoryFolder(ROOT + EXPORT_ID)
        manifests.write(folder, told)
        for name, data in folder.files.items():
            self.put(f"{ROOT}{EXPORT_ID}/{name}", data)
        for part in told.shards:
            self.put(part.key, Claim(), part.etag)

    def put(self, key: str, data: bytes, etag: str = "") -> None:
        self.s3.objects[f"{BUCKET}/{key}"] = (data, etag or self.s3.etag())

    def settle(self) -> None:
        """The state of an import that was killed shortly before its end."""
        plan = next(path for path in self.s3.objects if path.endswith("/plan.json"))
        state = plan.removeprefix(f"{BUCKET}/").removesuffix("plan.json")
        run = json.loads(self.s3.objects[plan][0])["run"]
        names = [shard(number).name for number in range(SHARDS)]
        for index, first in enumerate(range(0, SUMMARISED, SUMMARY_SHARDS), 1):
            done = [DoneShard(name, SHARD_ITEMS, 0, 0) for name in names[first : first + SUMMARY_SHARDS]]
            data = msgspec.json.encode(Summary(run=run, shards=done))
            self.put(f"{state}summary/{index:06d}.json", data)
        for name in names[: SUMMARISED + SUMMARY_SHARDS]:
            checkpoint = ShardCheckpoint(shard=name, confirmed=SHARD_ITEMS, done=True, run=run)
            self.put(state + checkpoint.file, msgspec.json.encode(checkpoint))

    def handle(self, request: Request) -> Response:
        """A request of a command, or of the test."""
        if request.path == "/_stub/settle":
            self.settle()
            return Response()
        if request.path == "/_stub/begun":
            return Response(json.dumps(self.begun).encode())
        if request.path == "/" and request.method == "POST":
            target, scan = request.headers.get("x-amz-target", ""), b"Limit" not in request.body
            self.begun += target.endswith(".Scan") and scan
            return self.dynamodb.call(request)
        if request.method == "GET" and "/data/" in request.path:
            self.begun += 1
            return xml("Error", "<Code>SlowDown</Code><Message>not on paper</Message>", 503)
        return self.s3.call(request)


if __name__ == "__main__":
    uvloop.run(serve(Service().handle, 0))
