"""The section `verify`: items per CPU-second of a verification's worker, for each side and representation.

`digest` is the work on bytes that have arrived: checksum or decompression, splitting into items, hashes, sums. `worker`
is all of a worker against the stub: HTTP and S3 client, signatures and checksums of shards as well.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import msgspec
from isal import isal_zlib

from bench.rows import Row
from bench.shapes import item
from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_import.verify.digest import Sums
from ddb_import.verify.digest_pass import DigestTask, digest
from ddb_import.verify.inputs import ExportInput, TableInput
from ddb_import.verify.records import items_of
from ddb_import.verify.representation import Representation, hashes_of
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.dynamodb.messages import ScanPage
from ddb_shared.format.compression import compressor, decompress
from ddb_shared.format.lines import join_lines
from ddb_shared.storage.s3 import S3Storage
from support.channel import MemoryChannel

SHAPE: Final = "typical"
BUCKET: Final = "verification"
ROUNDS: Final = 7
SEGMENTS: Final = 8
# Of each segment and each shard: 470,000 typical items for each side, many compared to the start of a worker.
PAGES: Final = 30


def measure(url: str, *, rounds: int = ROUNDS, pages: int = PAGES) -> list[Row]:
    """A row for each kind of work, side and representation; `url` is that of the stub."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "1" * 12, "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ |= {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "NO_PROXY": "127.0.0.1"}
    page = _page_of_items()
    return [
        _row(f"{what}, {representation}", side, count, rounds, best_seconds(work, rounds))
        for representation in Representation
        for what, side, count, work in _works(url, page, pages, representation)
    ]


def _works(
    url: str, page: Sequence[bytes], pages: int, representation: Representation
) -> Iterator[tuple[str, str, int, Callable[[], None]]]:
    """What is measured: its name, its side, its number of items, and the function to time."""
    yield "digest", "table", len(page), table_page(page, representation)
    yield "digest", "export", len(page), shard_page(page, representation)
    for side, task in worker_tasks(url, page, pages, representation).items():
        yield "worker", side, pages * SEGMENTS * len(page), run_worker(task)


def _row(contestant: str, side: str, items: int, rounds: int, seconds: float) -> Row:
    return Row(
        section="verify",
        contestant=contestant,
        direction=side,
        shape=SHAPE,
        items=items,
        runs=rounds,
        cpu_seconds=seconds,
        per_cpu_second=items / seconds,
    )


def _page_of_items() -> list[bytes]:
    """As many items as a page of a Scan has."""
    rng = random.Random(1)
    first = json.dumps(item(SHAPE, 0, rng), separators=(",", ":"))
    count = 1_000_000 // len(first)
    return [json.dumps(item(SHAPE, number, rng), separators=(",", ":")).encode() for number in range(count)]


def table_page(page: Sequence[bytes], representation: Representation) -> Callable[[], None]:
    """The work on a Scan response."""
    body = b'{"Items":[' + b",".join(page) + b'],"Count":1}'
    decoder, sums = msgspec.json.Decoder(ScanPage), Sums()

    def work() -> None:
        isal_zlib.crc32(body)
        items = decoder.decode(body).items
        sums.add(hashes_of(items, representation))

    return work


def shard_page(page: Sequence[bytes], representation: Representation) -> Callable[[], None]:
    """The work on a shard with the same items."""
    packer = compressor("gzip")
    stored = packer.compress(join_lines(page)) + packer.flush()
    sums = Sums()

    def work() -> None:
        text = b"".join(decompress("x.gz", [stored], 1 << 30))
        items = items_of(text.splitlines())
        sums.add(hashes_of(items, representation))

    return work


def worker_tasks(
    url: str, page: Sequence[bytes], pages: int, representation: Representation
) -> dict[str, DigestTask]:
    """By side, a task that reads a table of the stub, and one that reads shards with as many items."""
    aws = AwsOptions(region="eu-west-1", endpoint_url=url)
    storage = S3Storage(Aws(aws).s3, BUCKET, "export")
    shards = []
    for segment in range(SEGMENTS):
        writer = ShardWriter(storage, segment, 0, Encoding(compression="gzip"))
        for _ in range(pages):
            writer.write([msgspec.Raw(data) for data in page])
        shards.append(writer.commit())
    table = TableInput(
        aws=aws,
        table=f"{SHAPE}-{pages * SEGMENTS * len(page)}",
        segments=tuple(range(SEGMENTS)),
        total_segments=SEGMENTS,
        max_rcu=1e9,
    )
    export = ExportInput(aws=aws, bucket=BUCKET, prefix="export", shards=tuple(shards))
    no_shards, no_segments = replace(export, shards=()), replace(table, segments=())
    return {
        "table": DigestTask(source=no_shards, table=table, representation=representation),
        "export": DigestTask(source=export, table=no_segments, representation=representation),
    }


def run_worker(task: DigestTask) -> Callable[[], None]:
    """All that a worker does, in this process."""

    def work() -> None:
        found = digest(task, MemoryChannel())
        assert found.source.items + found.table.items, "nothing was read"

    return work


def best_seconds(work: Callable[[], None], rounds: int) -> float:
    """CPU seconds of the fastest round: other work on the machine only slows them down."""
    seconds = []
    for _ in range(rounds):
        started_at = time.process_time()
        work()
        seconds.append(time.process_time() - started_at)
    return min(seconds)
