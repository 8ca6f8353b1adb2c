"""The passes of a verification over both sides: each is announced with what it will read, then runs in parallel.

Equal sides take one pass; others a second one that finds which items differ, and a third that finds their keys, however many
differences there are. The changes of an export are laid over its base in each of them: its log is read first.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Final, Protocol, Self, TypeVar

from ddb_import.verify.confirm import Candidate, ConfirmTask, confirm, merge_candidates
from ddb_import.verify.digest import BUCKETS
from ddb_import.verify.digest_pass import Digests, DigestTask, digest
from ddb_import.verify.first_look import FirstLook, LookTask, look
from ddb_import.verify.inputs import Cost, ExportInput, Input, TableInput
from ddb_import.verify.last_changes import MAX_KEYS, Captured, ChangesTask, read_last_changes
from ddb_import.verify.naming_pass import Named, NamingTask, name
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison
from ddb_import.verify.reconcile import ReconciliationTable
from ddb_import.verify.refine_pass import Refined, RefineTask, refine
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.representation import Representation
from ddb_import.verify.sample import Sampled, SampleTask, sample, subsamples
from ddb_shared.dynamodb.rate import max_workers_at
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.progress import Progress
from ddb_shared.runtime.runner import Serial, Work
from ddb_shared.runtime.stop import Stop

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
        self.progress: list[Progress] = []
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

    def refine(self, representation: Representation, buckets: frozenset[int]) -> Refined:
        """What is in the buckets whose digests differ."""
        work, size = self._comparison, self._options.max_differences
        self._announce(
            f"finds which items differ in {len(buckets):,} of {BUCKETS:,} buckets",
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
                    size=size,
                )
                for source, table in shares
            ]
            for shares in self._shares_of_both()
        )
        return self._run("find the differences", 2, refine, tasks, Refined(ReconciliationTable(size)))

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

    def sample(self, percent: float) -> Sampled:
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
            for input_, share in subsamples(source, percent, rng)
        )
        return self._run("verify a sample", None, sample, tasks, Sampled(limit))

    def alone(self, work: Work[Task, Result], task: Task) -> Result:
        """Runs one task in this process."""
        result = Serial().run(work, [task], lambda _: None, self._stop)[0]
        self._stop.check()
        return result

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
        parts, key = self._overlay_parts, self._comparison.table.key
        self._overlaid = None  # before another one takes as much memory
        task = ChangesTask(
            source=source, closed=captured.closed, key=key, part=part, parts=parts, max_keys=MAX_KEYS
        )
        progress = Progress("read the changes", captured.closed.changes, items_name="changes", shards_name="")
        with display(self._options.common.progress, progress) as on_event:
            found = Serial().run(read_last_changes, [task], on_event, self._stop)[0]
        self._stop.check()
        return found.over(source, key)

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
        common, items = self._options.common, self._comparison.items_about
        total = None if items is None or sides is None else sides * items
        runner = common.runner(small=self._comparison.is_small)
        at_most = max_workers_at(self._comparison.table_input.max_rcu)
        for tasks in parts:
            progress = Progress(action, total, units_name="RCU", cap=self._cap)
            self.progress.append(progress)
            with display(common.progress, progress) as on_event:
                runner.run_each(work, tasks, whole.add, on_event, self._stop, at_most=at_most)
            self._stop.check()
        self.cost.add(whole.cost)
        return whole


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
