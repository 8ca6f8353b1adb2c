"""One verification, from the first look at both sides to the verdict.

A verification keeps no state: its first step is one pass that ends in sums, and a bucket's sum is complete only with the
last item read, so there is nothing that a resumed run could trust without reading it again. It is simply run again.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from ddb_import.verify.confirm import ConfirmTask, confirm
from ddb_import.verify.digests import Digests, DigestTask, Form, digest
from ddb_import.verify.match import SLICE_BYTES, Found, MatchTask, collect, pair, slices, sums_of
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.prepare import Comparison, prepare
from ddb_import.verify.repair import Repaired, RepairTask, repair
from ddb_import.verify.report import Kind, Report
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_import.verify.sample import Sampled, SampleTask, sample, thin
from ddb_import.verify.sides import Cost, Side
from ddb_shared.aws import Aws
from ddb_shared.cap import units_at
from ddb_shared.digest import Sums
from ddb_shared.plan import read_units, seconds_for
from ddb_shared.progress import Meter, announce, display
from ddb_shared.start import outlived
from ddb_shared.throttle import workers_at
from ddb_shared.times import now_text
from ddb_shared.workers import Serial, Stop, Work

Task = TypeVar("Task")
Confirm = Callable[[str], bool]


class _Adds(Protocol):
    def add(self, other: Self, /) -> None: ...


Part = TypeVar("Part", bound=_Adds)


def run_verify(
    options: VerifyOptions, aws: Aws, stop: Stop, *, ask: Confirm = lambda _: False
) -> VerifyResult:
    """Compares both sides, names the differences, and mends them where that was asked for.

    `ask` puts a question to the user. Raises TransferError where the check could not run to its end.
    """
    work = prepare(options, aws)
    verification = _Verification(options, work, stop)
    if options.sample is not None:
        return verification.sample(options.sample)
    units = read_units(work.table.size_bytes, consistent=False)
    seconds = seconds_for(units, work.right.max_rcu, work.table, kind="Read")
    for warning in outlived(aws, seconds, resumable=False):
        announce(warning)
    return verification.whole(ask)


class _Verification:
    def __init__(self, options: VerifyOptions, work: Comparison, stop: Stop) -> None:
        self._options = options
        self._work = work
        self._stop = stop
        self._cost = Cost()
        self._began = time.monotonic()
        self._begun_at = now_text()
        self._report = Report(work.folder, dt.datetime.now(dt.UTC))

    def whole(self, ask: Confirm) -> VerifyResult:
        """Every item of both sides."""
        digests = self._digest("verify", Form.RAW, None)
        left, right = digests.left.sums, digests.right.sums
        items = left.items, right.items
        raw_differing = differing = left.differing(right)
        parts = list(slices(differing, digests, SLICE_BYTES))
        if len(parts) > 1:
            canonical = self._digest("verify canonically", Form.CANONICAL, frozenset(differing))
            left.replace(canonical.left.sums, differing)
            right.replace(canonical.right.sums, differing)
            differing = left.differing(right)
            parts = list(slices(differing, digests, SLICE_BYTES))
        candidates = sum(self._name(part, left, right) for part in parts)
        repaired = self._repair(ask)
        found = self._report.counts
        clean = not found.total() if repaired is None else not repaired.left
        return self._result(
            Verdict.IDENTICAL if clean else Verdict.DIFFERENT,
            items_export=items[0],
            items_table=items[1],
            missing=found[Kind.MISSING],
            extra=found[Kind.EXTRA],
            different=found[Kind.DIFFERENT],
            settled=candidates - found.total(),
            digest_export=left.digest(),
            digest_table=right.digest(),
            canonical_buckets=len(raw_differing),
            repaired=repaired.written if repaired else 0,
            deleted=repaired.deleted if repaired else 0,
            refusals=repaired.refusals if repaired else [],
        )

    def sample(self, percent: float) -> VerifyResult:
        """Some items of the left side."""
        work = self._work
        side, buckets = thin(work.left, percent, random.Random())
        tasks = [
            SampleTask(
                side=part,
                key=work.table.key,
                buckets=buckets,
                table=work.lookup,
                source=work.source_lookup,
            )
            for part in self._deal(side)
        ]
        found = self._sum("verify a sample", None, sample, tasks, Sampled())
        self._cost.add(found.cost)
        self._report.add(found.differences)
        return self._result(
            Verdict.DIFFERENT if found.missing or found.different else Verdict.IDENTICAL,
            sample_percent=percent,
            items_export=found.items,
            items_table=found.items - found.missing,
            missing=found.missing,
            different=found.different,
        )

    def _digest(self, action: str, form: Form, buckets: frozenset[int] | None) -> Digests:
        work = self._work
        pairs = zip(self._deal(work.left), self._deal(work.right), strict=True)
        tasks = [DigestTask(sides=sides, key=work.table.key, form=form, buckets=buckets) for sides in pairs]
        digests = self._sum(action, self._expected, digest, tasks, Digests())
        self._cost.add(digests.cost)
        return digests

    def _name(self, buckets: Sequence[int], left: Sums, right: Sums) -> int:
        """Names the differences of a slice in the report; returns how many items might have differed."""
        work = self._work
        pairs = zip(self._deal(work.left), self._deal(work.right), strict=True)
        tasks = [MatchTask(sides=sides, key=work.table.key, buckets=frozenset(buckets)) for sides in pairs]
        found = self._sum("name the differences", self._expected, collect, tasks, Found())
        self._cost.add(found.cost)
        left.replace(sums_of(found.left), buckets)
        right.replace(sums_of(found.right), buckets)
        candidates = pair(found, work.table.key_names)
        task = ConfirmTask(table=work.lookup, source=work.source_lookup, candidates=candidates)
        confirmed = Serial().run(confirm, [task], lambda _: None, self._stop)[0]
        self._check()
        self._cost.add(confirmed.cost)
        self._report.add(confirmed.differences)
        return len(candidates)

    def _repair(self, ask: Confirm) -> Repaired | None:
        """Mends what the report names, if that was asked for and is confirmed."""
        wanted, found = self._options.repair, self._report.counts
        if wanted is None or not found.total() or not (wanted.confirmed or ask(self._question())):
            return None
        repaired = Repaired()
        meter = Meter("repair", found.total())
        with display(self._options.common.progress, meter) as on_tick:
            for differences in self._report.parts():
                task = RepairTask(
                    table=self._work.lookup,
                    source=self._work.source_lookup,
                    differences=differences,
                    delete_extra=wanted.delete_extra,
                    max_wcu=units_at(self._options.max_wcu, self._work.table.definition, "Write"),
                )
                repaired.add(Serial().run(repair, [task], on_tick, self._stop)[0])
                self._check()
        self._cost.add(repaired.cost)
        return repaired

    def _question(self) -> str:
        found, wanted = self._report.counts, self._options.repair
        extra = f", delete {found[Kind.EXTRA]:,} extra" if wanted and wanted.delete_extra else ""
        return (
            f"The differences are named in {self._report.url}\nIn table {self._work.table.arn}: write "
            f"{found[Kind.MISSING]:,} missing and {found[Kind.DIFFERENT]:,} different items again{extra}?"
        )

    @property
    def _expected(self) -> int | None:
        """Items that one pass over both sides reads."""
        return None if self._work.items is None else 2 * self._work.items

    def _deal(self, side: Side) -> Sequence[Side]:
        return side.deal(workers_at(self._work.right.max_rcu, self._options.common.processes))

    def _sum(
        self, action: str, total: int | None, work: Work[Task, Part], tasks: Sequence[Task], whole: Part
    ) -> Part:
        """Runs tasks in parallel and adds their results to `whole`."""
        common = self._options.common
        with display(common.progress, Meter(action, total)) as on_tick:
            results = common.runner().run(work, tasks, on_tick, self._stop)
        self._check()
        for result in results:
            whole.add(result)
        return whole

    def _check(self) -> None:
        self._stop.check(
            f"A verification is one pass and keeps no state. Run it again with:\n  {self._options.command}"
        )

    def _result(self, verdict: Verdict, **found: object) -> VerifyResult:
        work, cost = self._work, self._cost
        return VerifyResult(
            verdict=verdict,
            export=work.left_name,
            table=work.table.arn,
            account=work.table.account,
            region=work.table.region,
            report=self._report.url,
            begun_at=self._begun_at,
            verified_at=now_text(),
            seconds=round(time.monotonic() - self._began, 3),
            consumed_rcu=round(cost.consumed_rcu, 1),
            throttled=cost.throttled.total(),
            throttle_reasons=dict(cost.throttled),
            **found,  # type: ignore[arg-type] # the fields of VerifyResult by name
        )
