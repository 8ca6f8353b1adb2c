"""Mends what a report names: writes missing and different items again, deletes extra ones where that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS, Outcome, Overwrite
from ddb_import.verify.confirm import Lookup, open_confirmer
from ddb_import.verify.match import Candidate, is_object
from ddb_import.verify.report import Difference, Kind
from ddb_import.verify.sides import Cost
from ddb_shared.aws import Aws
from ddb_shared.items import join_lines
from ddb_shared.loop import run_loop, shared_pace
from ddb_shared.progress import Tick
from ddb_shared.wire import open_wire
from ddb_shared.workers import Channel


@dataclass(frozen=True, kw_only=True)
class RepairTask:
    """Differences to mend, and how to check them afterwards. `max_wcu` is write capacity units per second."""

    table: Lookup
    source: Lookup | None
    differences: list[Difference]
    delete_extra: bool
    max_wcu: float | None


@dataclass(slots=True)
class Repaired:
    """What became of the differences; `left` are those that a consistent read still finds."""

    written: int = 0
    deleted: int = 0
    left: int = 0
    refusals: list[str] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Repaired) -> None:
        """Adds another part of the same report."""
        self.written += other.written
        self.deleted += other.deleted
        self.left += other.left
        self.refusals += other.refusals
        self.cost.add(other.cost)


def repair(task: RepairTask, channel: Channel) -> Repaired:
    """Mends the task's differences and reads them again."""
    return run_loop(_repair(task, channel), threads=2)


async def _repair(task: RepairTask, channel: Channel) -> Repaired:
    aws, done = Aws(task.table.aws), Repaired()
    async with shared_pace(task.max_wcu, channel) as pace, open_wire(aws, 1, pace) as wire:
        writer = Overwrite(wire, task.table.table, task.table.key_names)
        for batch in _batches(task.differences):
            if channel.stopping():
                break
            await _mend(batch, writer, done, delete_extra=task.delete_extra)
            channel.report(Tick(items=len(batch)))
        done.cost.throttled.update(wire.throttled)
    candidates = [
        Candidate(bytes(difference.key), difference.expected_item) for difference in task.differences
    ]
    async with open_confirmer(task.table, task.source, done.cost, channel) as confirmer:
        done.left = len(await confirmer.check(candidates))
    return done


def _batches(differences: Sequence[Difference]) -> Iterator[list[Difference]]:
    """As many as fit into one BatchWriteItem, all of them puts or all of them deletes."""
    batch: list[Difference] = []
    size = 0
    for difference in sorted(differences, key=lambda difference: difference.kind is Kind.EXTRA):
        length = len(bytes(difference.key)) + len(bytes(difference.expected))
        mixed = batch and (batch[0].kind is Kind.EXTRA) != (difference.kind is Kind.EXTRA)
        if batch and (mixed or len(batch) == BATCH_ITEMS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(difference)
        size += length
    if batch:
        yield batch


async def _mend(batch: list[Difference], writer: Overwrite, done: Repaired, *, delete_extra: bool) -> None:
    if batch[0].kind is Kind.EXTRA:
        if delete_extra:
            deletes = [b'{"DeleteRequest":{"Key":' + bytes(extra.key) + b"}}" for extra in batch]
            await writer.send(b",".join(deletes), len(deletes))
            done.deleted += len(batch)
        return
    items = [difference.expected for difference in batch if is_object(bytes(difference.expected))]
    if len(items) < len(batch):
        done.refusals += ["NotAnItem: a line of the export is no item"] * (len(batch) - len(items))
    if not items:
        return
    outcome: Outcome = await writer.write(join_lines(items).split(b"\n")[:-1])
    done.written += outcome.written
    done.refusals += [f"{reject.code}: {reject.message}" for reject in outcome.rejects]
