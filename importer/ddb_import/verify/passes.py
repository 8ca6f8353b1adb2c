"""The passes of a verification over both sides: each is announced with what it will read, then runs in parallel.

Equal sides take one pass; others a second one that finds which items differ, however many do. Where the items to be compared again
are too many to be kept, a third one finds the keys of those that differ. The changes of an export are laid over its base in each of
them: its log is read first.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import repeat
from typing import Final, Protocol, Self, TypeVar

from ddb_import.requests import READS_OF_A_SHARD
from ddb_import.verify.captured import Captured, newest_record
from ddb_import.verify.changed_pass import ChangedTask, check_changed
from ddb_import.verify.checked import Checked
from ddb_import.verify.confirm import Candidate, ConfirmTask, confirm, merge_candidates
from ddb_import.verify.digest import BUCKETS
from ddb_import.verify.digest_pass import Digests, DigestTask, digest
from ddb_import.verify.first_look import FirstLook, LookTask, look
from ddb_import.verify.inputs import Cost, ExportInput, Input, TableInput
from ddb_import.verify.last_changes import MAX_KEYS, ChangesTask, LastChanges, LogRange, read_last_changes
from ddb_import.verify.named import KEY_BYTES, MAX_BYTES, Named
from ddb_import.verify.naming_pass import NamingTask, name
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison
from ddb_import.verify.reconcile import ReconciliationTable
from ddb_import.verify.refine_pass import Refined, RefineTask, refine
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.representation import Representation
from ddb_import.verify.sample import SampleTask, sample, subsamples
from ddb_shared.command.identity import local_user
from ddb_shared.dynamodb.rate import max_workers_at
from ddb_shared.report.runs import RunRecord
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.progress import Progress, ProgressEvent
from ddb_shared.runtime.runner import Serial, Work, ignore
from ddb_shared.runtime.stop import Stop
from ddb_shared.times import now_text

Task = TypeVar("Task")
Result = TypeVar("Result")

# Items that a task reads of each side, before compression: half a minute's work of a core. Its result takes a twentieth of a
# second to add up, one of the second pass four times as long.
TASK_BYTES: Final = 4 * 1024 * 1024 * 1024
# Of items of the export, and about as much of the table's, that are compared and reported at once.
_CONFIRM_BYTES: Final = 16 * 1024 * 1024


class _Addable(Protocol):
    cost: Cost

    def add(self, other: Self, /) -> None: ...


class _Splittable(Protocol):
    def split(self, workers: int) -> list[Self]: ...


Part = TypeVar("Part", bound=_Addable)
Side = TypeVar("Side", bound=_Splittable)


class Passes:
    """Runs the passes of one verification, and adds up what they cost."""

    def __init__(self, options: VerifyOptions, comparison: Comparison, stop: Stop) -> None:
        self._options = options
        self._comparison = comparison
        self._stop = stop
        self.cost = Cost()
        self.count = 0
        self.records: list[RunRecord] = []  # of each pass
        self.gets = 0
        self._overlaid: ExportInput | None = None

    def look(self) -> FirstLook:
        """Looks at a hundred items."""
        task = LookTask(source=next(self._sources()), lookups=self._comparison.lookups)
        seen = self.alone(look, task)
        self.cost.add(seen.cost)
        return seen

    def digest(self, representation: Representation) -> Digests:
        """The digests of both sides."""
        work = self._comparison
        self._announce(f"compares digests of all items ({representation})", (work.source, work.table_input))
        tasks = (
            [
                DigestTask(source=source, table=table, representation=representation)
                for source, table in shares
            ]
            for shares in self._shares_of_both()
        )
        return self._run("verify", 2, digest, tasks, Digests())

    def refine(
        self,
        representation: Representation,
        digests: Digests,
        buckets: frozenset[int],
        left_out: frozenset[bytes],
    ) -> Refined:
        """What is in the buckets whose digests differ, but for the items with these hashes of keys."""
        work, size = self._comparison, self._options.max_differences
        keep = self._fit(digests, buckets)
        what = "finds which items differ" + (", and their keys," if keep else "")
        self._announce(
            f"{what} in {len(buckets):,} of {BUCKETS:,} buckets",
            (work.source, work.table_input),
        )
        tasks = (
            [
                RefineTask(
                    source=source,
                    table=table,
                    key=work.table.key,
                    representation=representation,
                    buckets=buckets,
                    left_out=left_out,
                    keep=keep,
                    size=size,
                )
                for source, table in shares
            ]
            for shares in self._shares_of_both()
        )
        return self._run("find the differences", 2, refine, tasks, Refined(ReconciliationTable(size)))

    def _fit(self, digests: Digests, buckets: Iterable[int]) -> bool:
        """Whether the items in these buckets fit in memory, if they are as large as others."""
        of_source, of_table = (
            sum(sums[bucket].items for bucket in buckets) for sums in (digests.source, digests.table)
        )
        items = digests.source.items if isinstance(self._comparison.source, ExportInput) else 0
        kept_bytes = of_source * max(self._comparison.bytes, 0) // items if items else 0
        return kept_bytes + KEY_BYTES * (of_source + of_table) <= MAX_BYTES

    def name(self, kinds: dict[bytes, DifferenceKind]) -> Named:
        """The keys of the items that differ, by the hashes of their keys."""
        wanted = self._keys_wanted(kinds)
        self._announce(f"finds the keys of {len(kinds):,} items", [input_ for input_, _ in wanted])
        tasks = (
            [
                NamingTask(
                    inputs=tuple((part, keys) for part, (_, keys) in zip(parts, inputs, strict=True)),
                    key=self._comparison.table.key,
                )
                for parts in zip(*(self._split(input_) for input_, _ in inputs), strict=True)
            ]
            for inputs in self._parts_wanted(wanted)
        )
        return self._run("name the differences", len(wanted), name, tasks, Named())

    def confirm(self, candidates: Sequence[Candidate]) -> Iterator[list[ItemDifference]]:
        """The candidates that differ when they are read again, in parts that fit in memory."""
        for part in _parts(merge_candidates(candidates)):
            confirmed = self.alone(confirm, ConfirmTask(lookups=self._comparison.lookups, candidates=part))
            self.cost.add(confirmed.cost)
            yield confirmed.differences

    def changed_since(self, wanted: frozenset[bytes] | None = None) -> frozenset[bytes]:
        """The hashes of keys that records after those that count have changed by now, MAX_KEYS at most, or those of the wanted ones.

        What was read of the table before holds no change that is not among them.
        """
        captured, source = self._comparison.captured, self._comparison.source
        if captured is None or not captured.so_far or not isinstance(source, ExportInput):
            return frozenset()
        newest = newest_record(captured.export)
        records = LogRange.of(captured.export, captured.records.last, newest)
        return self._read_log(source, records, wanted=wanted).keys

    def changed(self, after: int) -> Checked:
        """Compares the items whose keys have changes in records after this one, of those that count."""
        work, whole = self._comparison, Checked(self._options.max_differences)
        assert isinstance(work.source, ExportInput) and work.captured  # noqa: S101, PT018 - only an export has changes
        records = LogRange.of(work.captured.export, after, work.captured.records.last)
        moving = self.changed_since()
        self.count += 1
        part, parts = 0, 1
        while part < parts:
            last = self._read_log(work.source, records, part, parts)
            parts = last.parts
            last.leave_out(moving)
            announce(
                f"Compares {len(last):,} items that changed in records {after + 1:,} to {records.last:,}, read by their keys."
            )
            task = ChangedTask(
                source=work.source, lines=last.lines(), lookups=work.lookups, max_differences=whole.limit
            )
            with self._recorded("verify what changed", len(last)) as on_event:
                whole.add(Serial().alone(check_changed, task, on_event, self._stop))
            part += 1
        self.cost.add(whole.cost)
        return whole

    def sample(self, percent: float) -> Checked:
        """Compares a share of the items of the source."""
        work, limit, rng = self._comparison, self._options.max_differences, random.Random()
        tasks = (
            [
                SampleTask(
                    input_=part, key=work.table.key, share=share, lookups=work.lookups, max_differences=limit
                )
                for part in self._split(input_)
            ]
            for source in self._sources()
            for input_, share in self._counted(subsamples(source, percent, rng))
        )
        return self._run("verify a sample", None, sample, tasks, Checked(limit))

    def _counted(self, samples: Iterable[tuple[Input, float]]) -> Iterator[tuple[Input, float]]:
        for input_, share in samples:
            self._count_gets(input_)
            yield input_, share

    def alone(self, work: Work[Task, Result], task: Task) -> Result:
        """Runs one task in this process."""
        return Serial().alone(work, task, ignore, self._stop)

    def _sources(self) -> Iterator[Input]:
        """The source: as it is, or for each part of all keys the base with its changes, of which one is kept at a time."""
        source, captured = self._comparison.source, self._comparison.captured
        if captured is None or not isinstance(source, ExportInput):
            yield source
            return
        part, parts = 0, self._overlay_parts
        while part < parts:
            held = self._overlaid.overlay if self._overlaid else None
            if self._overlaid is None or held is None or held.part != part:
                self._overlaid = self._with_changes(source, captured, part)
            yield self._overlaid
            part, parts = part + 1, self._overlay_parts

    @property
    def _overlay_parts(self) -> int:
        return self._overlaid.overlay.parts if self._overlaid and self._overlaid.overlay else 1

    def _with_changes(self, source: ExportInput, captured: Captured, part: int) -> ExportInput:
        """The base, and the last changes of the keys in one part."""
        self._overlaid, parts = None, self._overlay_parts  # before another one takes as much memory
        return self._read_log(source, captured.records, part, parts).over(source, self._comparison.table.key)

    def _read_log(
        self,
        source: ExportInput,
        records: LogRange,
        part: int = 0,
        parts: int = 1,
        *,
        wanted: frozenset[bytes] | None = None,
    ) -> LastChanges:
        """The last changes in these records, of the keys in one part of all."""
        task = ChangesTask(
            source=source,
            range=records,
            key=self._comparison.table.key,
            part=part,
            parts=parts,
            max_keys=MAX_KEYS,
            wanted=wanted,
        )
        progress = Progress("read the changes", records.changes, items_name="changes", counts_shards=False)
        with display(self._options.common.progress, progress) as on_event:
            return Serial().alone(read_last_changes, task, on_event, self._stop)

    def _shares_of_both(self) -> Iterator[list[tuple[Input, TableInput]]]:
        """Both sides, split; the table once, however many parts the source has."""
        table = self._comparison.table_input
        for source in self._sources():
            yield list(zip(self._split(source), self._split(table), strict=True))
            table = dataclasses.replace(table, segments=())

    def _parts_wanted(
        self, wanted: Sequence[tuple[Input, frozenset[bytes]]]
    ) -> Iterator[list[tuple[Input, frozenset[bytes]]]]:
        """The sides to read, with the source in its parts."""
        work = self._comparison
        of_source = [keys for input_, keys in wanted if input_ is work.source]
        rest = [(input_, keys) for input_, keys in wanted if input_ is not work.source]
        for source in self._sources() if of_source else ():
            yield [*zip(repeat(source), of_source), *rest]
            rest = []
        if rest:
            yield rest

    def _keys_wanted(self, kinds: dict[bytes, DifferenceKind]) -> list[tuple[Input, frozenset[bytes]]]:
        """The sides to read and the keys to look for: an export has the items, a table no more than the keys."""
        source, table = self._comparison.source, self._comparison.table_input
        of_source = {DifferenceKind.MISSING}
        if isinstance(source, ExportInput) or DifferenceKind.EXTRA not in kinds.values():
            of_source.add(DifferenceKind.DIFFERENT)
        in_source = frozenset(key for key, kind in kinds.items() if kind in of_source)
        in_table = frozenset(kinds) - in_source
        sides: list[tuple[Input, frozenset[bytes]]] = [(source, in_source), (table, in_table)]
        return [(input_, keys) for input_, keys in sides if keys]

    def _announce(self, what: str, inputs: Sequence[Input]) -> None:
        self.count += 1
        work = self._comparison
        of_source, of_table = work.source in inputs, work.table_input in inputs
        for input_ in inputs:
            self._count_gets(input_, times=self._overlay_parts)
        units = work.source_scan_units * of_source + work.scan_units * of_table
        source = "the source table" if work.source_table else self._export_text()
        sides = " and ".join([source] * of_source + ["the table"] * of_table)
        cost = f"about {units:,.0f} read units" if of_table or work.source_table else "no read units"
        announce(
            f"Pass {self.count} {what}: reads {sides}, {cost}.",
            event="pass",
            number=self.count,
            read_units=round(units),
        )

    def _count_gets(self, input_: Input, times: int = 1) -> None:
        """Counts the requests that read an export."""
        if isinstance(input_, ExportInput):
            self.gets += READS_OF_A_SHARD * len(input_.shards) * times

    def _export_text(self) -> str:
        if self._comparison.captured is None:
            return "the export"
        times = f", {self._overlay_parts} times" if self._overlay_parts > 1 else ""
        return f"the export with its changes{times}"

    @property
    def _cap(self) -> float | None:
        """The cap of all that is read; of two tables each has its own."""
        work = self._comparison
        return work.table_input.max_rcu if work.source_table is None else None

    def _split(self, input_: Side) -> list[Side]:
        return input_.split(self._parts)

    @cached_property
    def _parts(self) -> int:
        """How many tasks one pass is: one for each worker, and more of a large table, for workers that join or are lost."""
        work = self._comparison
        workers = self._options.common.workers(small=work.is_small)
        largest = max(work.table.size_bytes, work.bytes)
        return max(min(workers, max_workers_at(work.table_input.max_rcu) or workers), largest // TASK_BYTES)

    def _run(
        self,
        action: str,
        sides: int | None,
        work: Work[Task, Part],
        parts: Iterable[Sequence[Task]],
        whole: Part,
    ) -> Part:
        """Runs the tasks of each part in parallel and adds their results to `whole`; `sides` are those that are read."""
        items = self._comparison.items_about
        total = None if items is None or sides is None else sides * items
        runner = self._options.common.runner(small=self._comparison.is_small)
        at_most = max_workers_at(self._comparison.table_input.max_rcu)
        for tasks in parts:
            with self._recorded(action, total) as on_event:
                runner.run_each(work, tasks, whole.add, on_event, self._stop, at_most=at_most)
        self.cost.add(whole.cost)
        return whole

    @contextmanager
    def _recorded(self, action: str, total: int | None) -> Iterator[Callable[[ProgressEvent], None]]:
        """Shows what is read during the block, and keeps the record of it."""
        common, progress = self._options.common, Progress(action, total, units_name="RCU", cap=self._cap)
        since = now_text()
        with display(common.progress, progress) as on_event:
            yield on_event
        self._stop.check_any()
        self.records.append(
            RunRecord.of(progress, self._options.command, by=local_user(), since=since, name=action)
        )


def _parts(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    part: list[Candidate] = []
    size = 0
    for candidate in candidates:
        part.append(candidate)
        size += len(candidate.key) + sum(map(len, candidate.items))
        if size > _CONFIRM_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
