"""Loads the corrected rejects of an import."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import msgspec

from ddb_import.batch_write import Outcome, Writer, WriteRequests
from ddb_import.load import Loaded, LoadTask, open_writer
from ddb_import.shard_progress import batches
from ddb_import.state import read_rejects, read_superseded, rejects_file, write_rejects
from ddb_shared.aws.clients import connect
from ddb_shared.dynamodb.messages import delete_request
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.lines import RejectLine, join_lines
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage


@dataclass(frozen=True, kw_only=True)
class RejectsTask:
    """Where to load, the states of the shards that have rejects, and the files of rejects that no shard's state counts."""

    load: LoadTask
    states: tuple[ShardCheckpoint, ...]
    files: tuple[str, ...] = ()


def load_rejects(task: RejectsTask, channel: Channel) -> Loaded:
    """Writes every item of the rejects files; items rejected again stay there, with their new reason.

    Raises StateError if a line is not a reject record, before anything is written.
    """
    return run_loop(_load_rejects(task, channel), threads=2)


async def _load_rejects(task: RejectsTask, channel: Channel) -> Loaded:
    aws = connect(task.load.aws).under(LeaseGuard(channel.validity))
    storage = open_storage(aws.s3, task.load.state_url)
    files = [(_read(storage, state), partial(_save, storage, state)) for state in task.states]
    files += [(read_rejects(storage, name), partial(write_rejects, storage, name)) for name in task.files]
    superseded = read_superseded(storage)
    async with open_writer(replace(task.load, writers=None), aws, channel) as (items, client):
        deletes = WriteRequests(client, task.load.table, task.load.key_names)
        units = 0.0
        for lines, save in files:
            if channel.stopping():
                break
            # written now, they would take items back in time
            kept, standing = _split(lines, superseded)
            outcome, left = await _load_file(items, deletes, standing)
            units += outcome.units
            save(sorted([*left, *kept], key=lambda line: line.line))
            written = outcome.written + outcome.skipped
            channel.report(ProgressEvent(items=written, units=outcome.units, rejected=len(left), shards=1))
    return Loaded(units, dict(client.throttled))


def _read(storage: Storage, state: ShardCheckpoint) -> list[RejectLine]:
    """The rejects of a shard that its checkpoint counts; those after it come again when the shard is loaded on."""
    return [line for line in read_rejects(storage, rejects_file(state.shard)) if line.line <= state.confirmed]


def _split(
    lines: list[RejectLine], superseded: dict[str, set[int]]
) -> tuple[list[RejectLine], list[RejectLine]]:
    """The lines that a later change has superseded, and the others."""
    kept, standing = list[RejectLine](), list[RejectLine]()
    for line in lines:
        (kept if line.line in superseded.get(line.shard, ()) else standing).append(line)
    return kept, standing


async def _load_file(
    items: Writer, deletes: WriteRequests, rejects: list[RejectLine]
) -> tuple[Outcome, list[RejectLine]]:
    """Writes the items and deletes the keys of a file; returns the lines that are left."""
    whole = Outcome()
    puts = [line for line in rejects if line.item is not msgspec.UNSET]
    gone = [line for line in rejects if line.item is msgspec.UNSET and line.key is not msgspec.UNSET]
    left = [line for line in rejects if line.item is msgspec.UNSET and line.key is msgspec.UNSET]
    for writer, lines, encoded in (
        (items, puts, join_lines([msgspec.json.encode(line.item) for line in puts]).splitlines()),
        (deletes, gone, [delete_request(msgspec.json.encode(line.key)) for line in gone]),
    ):
        for start, batch in batches(encoded):
            outcome = await writer.write(batch)
            left += [
                msgspec.structs.replace(lines[start + reject.index], error=reject.error)
                for reject in outcome.rejects
            ]
            whole.add(outcome)
    return whole, left


def _save(storage: Storage, state: ShardCheckpoint, left: list[RejectLine]) -> None:
    """Writes the file before the checkpoint that counts it: after a crash in between, the next run counts it again."""
    write_rejects(storage, rejects_file(state.shard), left)
    checkpoints.save(storage, msgspec.structs.replace(state, rejected=len(left)))
