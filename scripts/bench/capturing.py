"""The section `captured_changes`: changes captured per CPU-second, from a stream to records in a bucket.

All of a capture runs in this process: HTTP and S3 client, signatures, checksums, splitting, compression, commits. The stream is
disabled, so that the capture ends once it has read everything; it waits for three seconds then, which take no CPU.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Final

from bench.rows import Row
from bench.verification import best_seconds
from ddb_export.capture.capture import Capture
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.format import changes as log
from ddb_shared.format.changes import DISABLED, FinishRequest, StreamRecord
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import describe

SHAPE: Final = "typical"
BUCKET: Final = "capture"
ROUNDS: Final = 3
CHANGES: Final = 400_000
SHARDS: Final = (4, 40)


def measure(url: str, *, rounds: int = ROUNDS, changes: int = CHANGES) -> list[Row]:
    """A row for each number of shards; `url` is that of the stub."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "1" * 12, "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ |= {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "NO_PROXY": "127.0.0.1"}
    aws = Aws(AwsOptions(region="us-east-1", endpoint_url=url))
    exports = itertools.count()
    return [
        _row(shards, rounds, best_seconds(capturing(aws, changes, shards, exports), rounds), changes)
        for shards in SHARDS
    ]


def capturing(aws: Aws, changes: int, shards: int, exports: Iterator[int]) -> Callable[[], None]:
    """A capture of so many changes into the next export, from its start to the end of its log."""
    table = f"{SHAPE}-{changes}"
    described = describe(aws.dynamodb, table)
    stream = StreamRecord(
        table_arn=described.arn,
        table_id=described.id,
        stream_arn=f"{described.arn}/stream/{shards}",
        view="NEW_IMAGE",
        ours=True,
        intended_at="now",
    )

    def work() -> None:
        storage = S3Storage(aws.s3, BUCKET, f"export-{next(exports)}")
        log.write_new(storage, log.FINISH, FinishRequest(requested_at="now", by="bench", proof=DISABLED))
        capture = Capture(storage, stream, table, aws, Stop(), tell=print)
        capture.start()
        capture.wait()
        closed = log.read_closed(storage)
        assert closed is not None
        assert closed.changes >= changes, f"{closed.changes} changes of {changes}"

    return work


def _row(shards: int, rounds: int, seconds: float, changes: int) -> Row:
    return Row(
        section="captured_changes",
        contestant=f"{shards} stream shards",
        direction="capture",
        shape=SHAPE,
        items=changes,
        runs=rounds,
        cpu_seconds=seconds,
        per_cpu_second=changes / seconds,
    )
