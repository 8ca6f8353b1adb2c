"""The passes of a verification over both sides: each is announced with what it will read, then runs in parallel.

Equal sides take one pass; others a second one that finds which items differ, and a third that finds their keys, however many
differences there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, Protocol, Self, TypeVar

from ddb_import.verify.confirm import Candidate, ConfirmTask, confirm, merge_candidates
from ddb_import.verify.digest import BUCKETS
from ddb_import.verify.digest_pass import Digests, DigestTask, digest
from ddb_import.verify.first_look import FirstLook, LookTask, look
from ddb_import.verify.inputs import Cost, ExportInput, Input
from ddb_import.verify.naming_pass import Named, NamingTask, name
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison
from ddb_import.verify.reconcile import ReconciliationTable
from ddb_import.verify.refine_pass import Refined, RefineTask, refine
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.representation import Representation
from ddb_import.verify.sample import Sampled, SampleTask, sample
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

    def look(self) -> FirstLook:
        """Looks at a hundred items."""
        task = LookTask(source=self._comparison.source, lookups=self._comparison.lookups)
        seen = self.alone(look, task)
        self.cost.add(seen.cost)
        return seen

    def digest(self, representation: Representation) -> Digests:
        """The digests of both sides."""
        work = self._comparison
        self._announce(f"compares digests of all items ({representation})", (work.source, work.table_input))
        tasks = [
            DigestTask(source=source, table=table, representation=representation)
            for source, table in zip(self._split(work.source), self._split(work.table_input), strict=True)
        ]
        return self._run("verify", 2, digest, tasks, Digests())

    def refine(self, representation: Representation, buckets: frozenset[int]) -> Refined:
        """What is in the buckets whose digests differ."""
        work, size = self._comparison, self._options.max_differences
        self._announce(
            f"finds which items differ in {len(buckets):,} of {BUCKETS:,} buckets",
            (work.source, work.table_input),
        )
        tasks = [
            RefineTask(
                source=source,
                table=table,
                key=work.table.key,
                representation=representation,
                buckets=buckets,
                size=size,
            )
            for source, table in zip(self._split(work.source), self._split(work.table_input), strict=True)
        ]
        return self._run("find the differences", 2, refine, tasks, Refined(ReconciliationTable(size)))

    def name(self, kinds: dict[bytes, DifferenceKind]) -> Named:
        """The keys of the items that differ, by the hashes of their keys."""
        wanted = self._keys_wanted(kinds)
        self._announce(f"finds the keys of {len(kinds):,} items", [input_ for input_, _ in wanted])
        shares = [self._split(input_) for input_, _ in wanted]
        tasks = [
            NamingTask(
                inputs=tuple((part, keys) for part, (_, keys) in zip(parts, wanted, strict=True)),
                key=self._comparison.table.key,
            )
            for parts in zip(*shares, strict=True)
        ]
        return self._run("name the differences", len(wanted), name, tasks, Named())

    def confirm(self, candidates: Sequence[Candidate]) -> Iterator[list[ItemDifference]]:
        """The candidates that differ when they are read again, in parts that fit in memory."""
        for part in _parts(merge_candidates(candidates)):
            confirmed = self.alone(confirm, ConfirmTask(lookups=self._comparison.lookups, candidates=part))
            self.cost.add(confirmed.cost)
            yield confirmed.differences

    def sample(self, input_: Input, share: float) -> Sampled:
        """Compares a share of the items that `input_` reads."""
        work, limit = self._comparison, self._options.max_differences
        tasks = [
            SampleTask(
                input_=part, key=work.table.key, share=share, lookups=work.lookups, max_differences=limit
            )
            for part in self._split(input_)
        ]
        return self._run("verify a sample", None, sample, tasks, Sampled(limit))

    def alone(self, work: Work[Task, Result], task: Task) -> Result:
        """Runs one task in this process."""
        result = Serial().run(work, [task], lambda _: None, self._stop)[0]
        self._stop.check()
        return result

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
        source = "the export" if work.source_table is None else "the source table"
        sides = " and ".join([source] * of_source + ["the table"] * of_table)
        cost = f"about {units:,.0f} read units" if of_table or work.source_table else "no read units"
        announce(
            f"Pass {self.count} {what}: reads {sides}, {cost}.",
            event="pass",
            number=self.count,
            read_units=round(units),
        )

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
        self, action: str, sides: int | None, work: Work[Task, Part], tasks: Sequence[Task], whole: Part
    ) -> Part:
        """Runs tasks in parallel and adds their results to `whole`; `sides` are those that are read."""
        common, items = self._options.common, self._comparison.items
        total = None if items is None or sides is None else sides * items
        runner = common.runner(small=self._comparison.is_small)
        at_most = max_workers_at(self._comparison.table_input.max_rcu)
        progress = Progress(action, total, units_name="RCU")
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
