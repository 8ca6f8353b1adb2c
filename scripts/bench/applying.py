"""The section `applied_changes`: changes per CPU-second of the worker that applies a captured log, and of one that applies an increment of AWS.

All of a worker against the stub: reading, checksums, decompressing, decoding, keys, collapsing, requests, signatures, HTTP. In
`hot keys` nine of ten changes are of a thousand items, so that most are superseded by a later one and need no write.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec

from bench.rows import Row
from bench.shapes import item
from bench.verification import best_seconds
from ddb_import.apply.follow import FollowTask, follow_changes
from ddb_import.apply.increments import IncrementWriters
from ddb_import.load import LoadPart, LoadTask, load_shards
from ddb_import.options import OnExisting
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import change_line, compress_lines
from ddb_shared.format.changes import Closed, LogRecord
from ddb_shared.format.increment import NEW_IMAGE
from ddb_shared.format.manifest import Shard
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import KeyAttribute
from support.channel import MemoryChannel

KEY: Final = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))
BUCKET: Final = "changes"
SHAPE: Final = "typical"
ROUNDS: Final = 5
FILES: Final = 40
LINES: Final = 8_000  # of a file: 5 MiB
HOT_KEYS: Final = 1_000


def measure(url: str, *, rounds: int = ROUNDS, files: int = FILES) -> list[Row]:
    """A row for each kind of work; `url` is that of the stub."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "1" * 12, "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ |= {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "NO_PROXY": "127.0.0.1"}
    aws = AwsOptions(region="eu-west-1", endpoint_url=url)
    rows = []
    for what, changes, work in _works(aws, files):
        seconds = best_seconds(work, rounds)
        row = Row(section="applied_changes", contestant=what, direction="import", shape=SHAPE, items=changes)
        rows.append(replace(row, runs=rounds, cpu_seconds=seconds, per_cpu_second=changes / seconds))
    return rows


def _works(aws: AwsOptions, files: int) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """What is measured: its name, its number of changes, and the function to time."""
    lines = _lines(files, hot=False)
    yield "captured log", files * LINES, _follow(aws, "log/", lines)
    yield "captured log, hot keys", files * LINES, _follow(aws, "hot/", _lines(files, hot=True))
    yield "AWS increment", files * LINES, _increment(aws, lines)


def _lines(files: int, *, hot: bool) -> list[list[bytes]]:
    """Changes by file; all of different items, unless hot."""
    rng = random.Random(1)
    images = [item(SHAPE, number, rng) for number in range(1_000)]
    return [
        [
            _line(images[line % len(images)], _number(file * LINES + line, rng, hot=hot))
            for line in range(LINES)
        ]
        for file in range(files)
    ]


def _number(number: int, rng: random.Random, *, hot: bool) -> int:
    return rng.randrange(HOT_KEYS) if hot and rng.random() < 0.9 else HOT_KEYS + number


def _line(image: dict[str, Any], number: int) -> bytes:
    keys = {"pk": {"S": f"customer#{number:012d}"}, "sk": {"N": str(number)}}
    return change_line(
        micros=1_700_000_000_000_000,
        sequence="1" * 21,
        expired=False,
        keys=msgspec.Raw(json.dumps(keys, separators=(",", ":")).encode()),
        new_image=msgspec.Raw(json.dumps(image | keys, separators=(",", ":")).encode()),
    )


def _follow(aws: AwsOptions, prefix: str, lines: list[list[bytes]]) -> Callable[[], None]:
    """The worker of a follow, from the first record of a closed log to its last."""
    storage, total = S3Storage(Aws(aws).s3, BUCKET, prefix), 0
    for number, changes in enumerate(lines, 1):
        total += len(changes)
        data, file = compress_lines(changes), log.data_file(number, "0badcafe")
        storage.write(log.CHANGES + file, data)
        record = LogRecord(
            number=number,
            file=file,
            stored_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            changes=len(changes),
            written_at="",
            total_changes=total,
            total_expired=0,
        )
        log.write_new(storage, log.record_file(number), record)
    log.write_new(storage, log.CLOSED, Closed(closed_at="", last_number=len(lines), changes=total))
    runs = iter(range(1, 1_000))

    def work() -> None:
        task = FollowTask(
            aws=aws,
            table=f"copy-{SHAPE}-{total}",
            key=KEY,
            bucket=BUCKET,
            prefix=prefix,
            state_url=f"s3://{BUCKET}/{prefix}state/",
            max_wcu=None,
            run=next(runs),
        )
        channel = MemoryChannel()
        follow_changes(task, channel)
        assert channel.items == total, f"{channel.items} of {total} changes"

    return work


def _increment(aws: AwsOptions, lines: list[list[bytes]]) -> Callable[[], None]:
    """The worker of a load, over the files of an increment."""
    storage, total = S3Storage(Aws(aws).s3, BUCKET, "AWSDynamoDB"), sum(map(len, lines))
    shards = []
    for number, changes in enumerate(lines):
        data, name = compress_lines(changes), f"{number:026d}.json.gz"
        etag = storage.write(f"data/{name}", data).strip('"')
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        shards.append(
            Shard(key=f"AWSDynamoDB/data/{name}", segment=number, items=len(changes), bytes=-1, stored_bytes=-1, md5=md5, etag=etag)
        )  # fmt: skip
    runs = iter(range(1, 1_000))

    def work() -> None:
        task = LoadTask(
            aws=aws,
            table=f"copy-{SHAPE}-{total}",
            key_names=("pk", "sk"),
            bucket=BUCKET,
            prefix="AWSDynamoDB/",
            state_url=f"s3://{BUCKET}/increment/",
            on_existing=OnExisting.OVERWRITE,
            max_wcu=None,
            run=next(runs),
            writers=IncrementWriters(view=NEW_IMAGE, key=KEY),
        )
        channel = MemoryChannel([LoadPart(shard) for shard in shards])
        load_shards(task, channel)
        assert channel.items == total, f"{channel.items} of {total} changes"

    return work
