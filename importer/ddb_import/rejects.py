"""Loads the rejects of an import again, after somebody mended their lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from ddb_import.batch_write import BATCH_ITEMS, Outcome, Writer
from ddb_import.load import Loaded, LoadTask, open_writer
from ddb_import.state import REJECTS, list_rejects, read_rejects, write_rejects
from ddb_shared import checkpoint as checkpoints
from ddb_shared.aws import Aws
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.items import RejectLine, join_lines
from ddb_shared.loop import run_loop
from ddb_shared.progress import Tick
from ddb_shared.storage import Folder, open_folder
from ddb_shared.workers import Channel


@dataclass(frozen=True, slots=True)
class _Batch:
    """Reject lines of one file, and what the table says of them now."""

    lines: list[RejectLine]

    def still_rejected(self, outcome: Outcome) -> Iterator[RejectLine]:
        for reject in outcome.rejects:
            error = {"code": reject.code, "message": reject.message}
            yield msgspec.structs.replace(self.lines[reject.index], error=error)


def load_rejects(task: LoadTask, channel: Channel) -> Loaded:
    """Writes every item of the rejects files; what is refused again stays there, with its new reason.

    Raises StateError where a line is no reject line, before anything is written.
    """
    return run_loop(_load_rejects(task, channel), threads=2)


async def _load_rejects(task: LoadTask, channel: Channel) -> Loaded:
    aws = Aws(task.aws)
    folder = open_folder(aws.s3, task.state_url)
    files = {name: read_rejects(folder, name) for name in list_rejects(folder)}
    async with open_writer(task, aws, channel) as (writer, wire):
        units = 0.0
        for name, lines in files.items():
            if channel.stopping():
                break
            outcome, left = await _load_file(writer, lines)
            units += outcome.units
            _save(folder, name, left)
            channel.report(
                Tick(
                    items=outcome.written + outcome.skipped, units=outcome.units, rejected=len(left), shards=1
                )
            )
    return Loaded(units, dict(wire.throttled))


async def _load_file(writer: Writer, lines: list[RejectLine]) -> tuple[Outcome, list[RejectLine]]:
    whole, left = Outcome(), [line for line in lines if line.item is msgspec.UNSET]
    mended = [line for line in lines if line.item is not msgspec.UNSET]
    for start in range(0, len(mended), BATCH_ITEMS):
        batch = _Batch(mended[start : start + BATCH_ITEMS])
        items = [msgspec.json.encode(line.item) for line in batch.lines]
        outcome = await writer.write(join_lines(items).splitlines())
        left += batch.still_rejected(outcome)
        whole.add(outcome)
    return whole, sorted(left, key=lambda line: line.line)


def _save(folder: Folder, name: str, left: list[RejectLine]) -> None:
    """The file before the checkpoint that counts it: in between, a crash only loads the mended items twice."""
    write_rejects(folder, name, left)
    shard = name.removeprefix(REJECTS).removesuffix(".jsonl")
    state = checkpoints.load(folder, checkpoints.shard_file(shard), ShardCheckpoint)
    if state is not None:
        checkpoints.save(folder, msgspec.structs.replace(state, rejected=len(left)))
