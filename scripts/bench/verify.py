"""Measures the two roads of a verification: items per CPU-second of a worker, for each side.

`digest` is the work on bytes that have arrived: checksum or decompression, the split into items, keys, hashes, sums.
`worker` is all of a worker against a stub server: HTTP and S3 client, signatures and the shard's checksums as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from isal import isal_zlib

from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_import.verify.digests import DigestTask, Form, digest
from ddb_import.verify.sides import ExportSide, Side, TableSide, items_of
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.compression import compressor, decompress
from ddb_shared.digest import Bucketer, Item, Sums, canonical_hashes, raw_hashes
from ddb_shared.items import join_lines
from ddb_shared.progress import Tick
from ddb_shared.storage import S3Folder
from ddb_shared.table import KeyAttribute
from ddb_shared.wire import ScanPage

sys.path.insert(0, str(Path(__file__).parent))
from shapes import item

KEY: Final = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
HASHES: Final = {Form.RAW: raw_hashes, Form.CANONICAL: canonical_hashes}
ROUNDS: Final = 7
SEGMENTS: Final = 8
PAGES: Final = (
    30  # of each segment and each shard: 470,000 typical items a side, against the start of a worker
)
Hashes = Callable[[Sequence[Item]], list[bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="typical", choices=["small", "typical", "large", "binary"])
    shape = parser.parse_args().shape
    rng = random.Random(1)
    first = json.dumps(item(shape, 0, rng), separators=(",", ":"))
    made = [
        json.dumps(item(shape, number, rng), separators=(",", ":")).encode()
        for number in range(1_000_000 // len(first))
    ]
    size = sum(map(len, made)) / len(made)
    print(f"{shape}: {size:.0f} bytes an item, Python {sys.version.split()[0]}, best of {ROUNDS}")
    for form, hashes in HASHES.items():
        for side, work in (("table", table_page(made, hashes)), ("shard", shard_page(made, hashes))):
            tell("digest", form, side, len(made) / best_seconds(work))
    with stub() as url:
        for form in HASHES:
            for side, task in worker_tasks(url, shape, made, form).items():
                tell("worker", form, side, PAGES * SEGMENTS * len(made) / best_seconds(run_worker(task)))


def tell(what: str, form: Form, side: str, rate: float) -> None:
    print(f"{what} {form:9} {side}: {rate:>9,.0f} items per CPU-second")


def table_page(made: Sequence[bytes], hashes: Hashes) -> Callable[[], None]:
    """A Scan's answer."""
    body = b'{"Items":[' + b",".join(made) + b'],"Count":1}'
    page, bucketer, sums = msgspec.json.Decoder(ScanPage), Bucketer(KEY), Sums()

    def work() -> None:
        isal_zlib.crc32(body)
        items = page.decode(body).items
        sums.add(bucketer.buckets(items), hashes(items))

    return work


def shard_page(made: Sequence[bytes], hashes: Hashes) -> Callable[[], None]:
    """As much of a shard."""
    packer = compressor("gzip")
    stored = packer.compress(join_lines(made)) + packer.flush()
    bucketer, sums = Bucketer(KEY), Sums()

    def work() -> None:
        text = b"".join(decompress("x.gz", [stored], 1 << 30))
        items = items_of(text.splitlines())
        sums.add(bucketer.buckets(items), hashes(items))

    return work


def worker_tasks(url: str, shape: str, made: Sequence[bytes], form: Form) -> dict[str, DigestTask]:
    """A task that reads the stub's table, and one that reads shards of as many items."""
    aws = AwsOptions(region="eu-west-1", endpoint_url=url)
    folder = S3Folder(Aws(aws).s3, "bench", "export")
    shards = []
    for segment in range(SEGMENTS):
        writer = ShardWriter(folder, segment, 0, Encoding(compression="gzip"))
        for _ in range(PAGES):
            writer.write([msgspec.Raw(data) for data in made])
        shards.append(writer.commit())
    segments = tuple(range(SEGMENTS))
    table = TableSide(
        aws=aws,
        table=f"{shape}-{PAGES * SEGMENTS * len(made)}",
        segments=segments,
        total_segments=SEGMENTS,
        max_rcu=1e9,
    )
    export = ExportSide(aws=aws, bucket="bench", prefix="export", shards=tuple(shards))
    none = ExportSide(aws=aws, bucket="bench", prefix="export", shards=())
    sides: dict[str, Side] = {"table": table, "shard": export}
    return {name: DigestTask(sides=(side, none), key=KEY, form=form) for name, side in sides.items()}


def run_worker(task: DigestTask) -> Callable[[], None]:
    """All that a worker does, in this process."""

    def work() -> None:
        found = digest(task, Deaf()).left.sums.items
        assert found, "nothing was read"

    return work


class Deaf:
    """A parent that listens to nothing."""

    def report(self, tick: Tick) -> None:
        pass

    def stopping(self) -> bool:
        return False

    def workers(self) -> int:
        return 1


@contextmanager
def stub() -> Iterator[str]:
    """The stub server, in a process whose CPU is not counted."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "1" * 12, "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ |= {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "NO_PROXY": "127.0.0.1"}
    script = str(Path(__file__).with_name("stub.py"))
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


def best_seconds(work: Callable[[], None]) -> float:
    """CPU seconds of the fastest of ROUNDS runs: the machine's other work only slows them down."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
