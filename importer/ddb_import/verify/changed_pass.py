"""Compares the items whose keys have changes in a range of the change log, each with the image of its last change.

Memory: READ_AHEAD files of the log, some 20 MB each, what they change of the table, and what `Checked` keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ddb_import.verify.checked import Checked
from ddb_import.verify.confirm import Candidate, Lookups, candidate_of, open_confirmer
from ddb_import.verify.inputs import ExportInput
from ddb_import.verify.last_changes import READ_AHEAD
from ddb_import.verify.overlay import LastLines, read_lines
from ddb_import.verify.records import key_or_raw
from ddb_shared.aws.clients import connect
from ddb_shared.format.change_lines import Change
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.s3 import S3Storage


@dataclass(frozen=True, kw_only=True)
class ChangedTask:
    """Where the last changes are, and how to read the table. At most `max_differences` are named."""

    source: ExportInput
    lines: tuple[LastLines, ...]
    lookups: Lookups
    max_differences: int


def check_changed(task: ChangedTask, channel: Channel) -> Checked:
    """Reads the items by their keys, with ConsistentRead, until the run is stopped."""
    return run_loop(_check(task, channel), threads=READ_AHEAD)


async def _check(task: ChangedTask, channel: Channel) -> Checked:
    found, source, names = Checked(task.max_differences), task.source, task.lookups.table.key_names
    storage = S3Storage(connect(source.aws).s3, source.bucket, source.prefix)
    async with open_confirmer(task.lookups, found.cost, channel) as confirmer:
        for start in range(0, len(task.lines), READ_AHEAD):
            if channel.stopping():
                break
            records = task.lines[start : start + READ_AHEAD]
            changes = await asyncio.gather(
                *(asyncio.to_thread(read_lines, storage, record) for record in records)
            )
            candidates = [_candidate_of(change, names) for part in changes for change in part]
            found.count(len(candidates), await confirmer.check(candidates))
            channel.report(ProgressEvent(items=len(candidates)))
    return found


def _candidate_of(change: Change, key_names: Sequence[str]) -> Candidate:
    if change.new_image is None:
        return Candidate(key_or_raw(change.keys, key_names))
    return candidate_of(change.new_image, key_names, keep_item=True)
