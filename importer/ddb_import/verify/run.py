"""One verification, from the checks to the verdict.

A verification saves no state: its first step is one pass whose sums are complete only with the last item read, so a resumed
run would have to read everything again. It is simply run again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ddb_import.preflight import holds_items
from ddb_import.proof import Step, record_proof
from ddb_import.verify.captured import Captured, is_same_run, newest_record
from ddb_import.verify.earlier import add_step, forget
from ddb_import.verify.first_look import FirstLook
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.named import Named
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.outcome import Outcome, after_repair, count_failing, limit_kinds, with_unnamed
from ddb_import.verify.page import publish_page, show_differences
from ddb_import.verify.passes import Passes
from ddb_import.verify.prepare import Comparison, prepare
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_import.verify.refine_pass import kinds_of
from ddb_import.verify.repair import Repaired, RepairTask, repair
from ddb_import.verify.report import DifferenceKind, ItemDifference, Obstacle, Report
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import seconds_for
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import announce, warn
from ddb_shared.runtime.progress import Progress
from ddb_shared.runtime.runner import Serial
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.capacity import units_at
from ddb_shared.times import now_text

Confirm = Callable[[str], bool]

# A table that lacks so many items in a row, of all over the source, is not worth a pass.
MIN_LOOK: Final = 20
_TOO_MANY: Final = (
    "More items changed during the comparison than can be told apart from items that differ. Run it again, perhaps with a larger "
    "--max-differences, while less is written; or verify after ddb-export --finish."
)
_ABSENT: Final = (DifferenceKind.MISSING, DifferenceKind.EXPIRED)


def run_verify(
    options: VerifyOptions, aws: Aws, stop: Stop, *, ask: Confirm = lambda _: False
) -> VerifyResult:
    """Compares both sides, reports the differences, and repairs them if requested.

    `ask` asks the user for confirmation. Raises TransferError if the comparison could not be completed.
    """
    stop.explain(f"A verification cannot be resumed. Run it again with:\n  {options.command}", saved=False)
    comparison = prepare(options, aws)
    verification = _Verification(options, comparison, aws, stop)
    if options.sample is not None:
        return verification.reported(verification.sample(options.sample))
    seconds = seconds_for(
        comparison.scan_units, comparison.table_input.max_rcu, comparison.table, kind="Read"
    )
    for warning in expiry_warnings(aws, seconds, resumable=False):
        warn(warning)
    captured = comparison.captured
    after = captured.verified_until if captured and not options.full else None
    compared = verification.whole(ask) if after is None else verification.changed(after, ask)
    result = verification.reported(_unless_unapplied(compared))
    if captured:
        _remember(comparison, captured, result)
    if result.verdict is Verdict.IDENTICAL and comparison.manifest and not result.so_far:
        _record_proof(options, comparison, comparison.manifest, result, aws)
    return result


def _remember(comparison: Comparison, captured: Captured, result: VerifyResult) -> None:
    """Stores what the next verification need not compare again: what an open export has in common with the table."""
    if result.verdict is Verdict.DIFFERENT and result.log_from is None:
        forget(comparison.storage, captured.verified)
    elif result.verdict is Verdict.IDENTICAL and result.so_far and is_same_run(captured, comparison.storage):
        step = Step(
            begun_at=result.begun_at or result.verified_at,
            verified_at=result.verified_at,
            log_number=captured.records.last,
            log_from=result.log_from,
            items=(result.items_export if result.log_from is None else result.items_compared) or 0,
        )
        add_step(comparison.storage, captured.verified, step)


def _unless_unapplied(result: VerifyResult) -> VerifyResult:
    """The result; `incomplete` where all is equal, but an import has still to apply changes, and would over later writes."""
    applied, captured = result.log_applied, result.log_number
    if result.verdict is not Verdict.IDENTICAL or applied is None or captured is None or applied >= captured:
        return result
    reason = (
        f"All items are equal, but the import has recorded {applied:,} of {captured:,} records as applied, and would apply the "
        "others again over what is written to the table: let ddb-import end, then verify again."
    )
    return msgspec.structs.replace(result, verdict=Verdict.INCOMPLETE, reason=reason)


def _record_proof(
    options: VerifyOptions, comparison: Comparison, manifest: Manifest, result: VerifyResult, aws: Aws
) -> None:
    """Stores that the table was equal to the export, which a rollback asks for."""
    captured = comparison.captured
    record_proof(
        comparison.storage,
        manifests.export_storage(aws.s3, options.export or ""),
        manifest,
        comparison.table,
        times=(result.begun_at or result.verified_at, result.verified_at),
        log_number=captured.records.last if captured else None,
        earlier=result.earlier,
    )


class _Verification:
    def __init__(self, options: VerifyOptions, comparison: Comparison, aws: Aws, stop: Stop) -> None:
        self._options = options
        self._comparison = comparison
        self._aws = aws
        self._stop = stop
        self._passes = Passes(options, comparison, stop)
        self._started_at = time.monotonic()
        self._begun_at = now_text()
        self._report = Report(comparison.storage, dt.datetime.now(dt.UTC))
        self._hasher = KeyHasher(comparison.table.key)
        self._failing = 0

    def whole(self, ask: Confirm) -> VerifyResult:
        """Compares all items of both sides."""
        seen = self._passes.look()
        seen.differences = self._unchanged(seen.differences)
        if self._is_another_table(seen):
            return self._another_table(seen)
        announce(
            f"Comparing {self._comparison.source_name} with {self._comparison.table.arn}: one pass if they are equal, two if not, "
            "or three where the items to compare again do not fit in 256 MiB. At most "
            f"{self._options.max_differences:,} differences are named (--max-differences)."
        )
        digests = self._passes.digest(seen.representation)
        items_source, items_table = digests.source.items, digests.table.items
        buckets = digests.source.differing(digests.table)
        outcome = Outcome()
        if buckets:
            refined = self._passes.refine(seen.representation, digests, buckets, self._passes.changed_since())
            for sums, canonical in ((digests.source, refined.source), (digests.table, refined.table)):
                sums.clear(buckets)
                sums.merge(canonical)
            decoded = refined.uncommon.decode()
            outcome = self._name(self._stable(kinds_of(decoded.items)), decoded.share, refined.kept, seen)
        result = self._result(
            outcome,
            items_export=items_source,
            items_table=items_table,
            # while the table changes, its digest is of no moment
            digest_export=None if self._so_far else digests.source.digest(),
            digest_table=None if self._so_far else digests.table.digest(),
            representation=seen.representation,
            canonical_buckets=len(buckets),
            reason=_TOO_MANY if self._so_far and outcome.unnamed is None else None,
        )
        return self._repair(result, outcome, ask)

    def changed(self, after: int, ask: Confirm) -> VerifyResult:
        """Compares the items that changes after this record of the log have changed: up to it, all were equal."""
        found = self._passes.changed(after)
        kept = found.differences
        self._add(self._unchanged(kept))
        named = self._report.counts
        rest = found.counts - Counter(one.kind for one in kept)
        outcome = Outcome(
            counts=named + rest,
            unnamed=rest.total(),
            settled=len(kept) - named.total(),
            failing=self._failing,
        )
        result = self._result(outcome, log_from=after, items_compared=found.items, earlier=self._earlier)
        return self._repair(result, outcome, ask)

    def sample(self, percent: float) -> VerifyResult:
        """Some items of the source."""
        found = self._passes.sample(percent)
        self._add(found.differences)
        outcome = Outcome(
            counts=found.counts,
            unnamed=found.counts.total() - len(found.differences),
            failing=self._failing,
        )
        result = self._result(
            outcome,
            sample_percent=percent,
            items_export=found.items,
            items_table=found.items - sum(found.counts[kind] for kind in _ABSENT),
            extra=None,
        )
        if not found.items:
            reason = "The sample holds no item, so nothing was compared: give a larger --sample."
            return msgspec.structs.replace(result, verdict=Verdict.INCOMPLETE, reason=reason)
        return result

    def reported(self, result: VerifyResult) -> VerifyResult:
        """The result, once its first differences are shown and its page is written."""
        show_differences(self._report.first, result)
        publish_page(
            self._aws,
            self._comparison,
            self._options,
            result=result,
            report=self._report,
            runs=self._passes.records,
            gets=self._passes.gets,
        )
        return result

    def _is_another_table(self, seen: FirstLook) -> bool:
        """Whether a pass over all items would only find that they are missing, more of them than are named."""
        items = self._comparison.items_about
        missing = sum(one.kind is DifferenceKind.MISSING for one in seen.differences)
        many = items is None or items > self._options.max_differences
        return many and seen.items >= MIN_LOOK and missing == seen.items

    def _another_table(self, seen: FirstLook) -> VerifyResult:
        """The result without a pass. Of an empty table everything is missing; else there is no telling what is."""
        self._add(seen.differences)
        items, empty = self._comparison.items, holds_items(self._aws, self._comparison.table) is False
        missing = seen.items if items is None else items
        outcome = Outcome(
            counts=Counter({DifferenceKind.MISSING: missing}),
            unnamed=missing - seen.items if empty and items is not None else None,
            estimated=not empty,
            failing=self._failing,
        )
        what = "the table is empty" if empty else "this is another table, or little was loaded into it"
        reason = (
            f"None of {seen.items:,} items of the source, chosen from all of it, is in the table: {what}. No pass was made, "
            "and nothing was repaired; ddb-import loads a table."
        )
        return self._result(
            outcome,
            items_export=items,
            items_table=0 if empty else None,
            extra=0 if empty else None,
            different=0 if empty else None,
            reason=reason,
        )

    def _name(
        self, kinds: Mapping[bytes, DifferenceKind], share: float, kept: Named, seen: FirstLook
    ) -> Outcome:
        """Names the items that differ, if any do, up to the limit."""
        # what changed meanwhile cannot be told from what differs, and a part that holds nothing says nothing of the others
        if share < 1 and (self._so_far or not kinds):
            share = 0.0
        chosen = limit_kinds(kinds, self._options.max_differences)
        named: set[bytes] = set(chosen)
        unnamed = self._confirm_kept(chosen, kept)
        if unnamed:
            found = self._passes.name(unnamed)
            named -= found.left_out
            for differences in self._passes.confirm(found.candidates):
                self._add(self._unchanged(differences))
        if not chosen and not share:  # nothing can be told apart, but these differ
            self._add(self._unchanged(seen.differences))
        counts = self._report.counts
        outcome = Outcome(
            counts=Counter(counts),
            settled=max(len(named) - counts.total(), 0),
            failing=self._failing,
        )
        return with_unnamed(outcome, kinds, named, share)

    def _confirm_kept(self, chosen: dict[bytes, DifferenceKind], kept: Named) -> dict[bytes, DifferenceKind]:
        """Names the items that differ by what was kept of them; returns those that are left to a further pass.

        An export may hold a key twice, and what is equal was not kept: a missing item that the table has is such a one.
        """
        found = kept.only(chosen)
        if found is None:
            return chosen
        left: dict[bytes, DifferenceKind] = {}
        for confirmed in self._passes.confirm(found.candidates):
            differences, sure = self._unchanged(confirmed), []
            for key, one in zip(self._hashes(differences), differences, strict=True):
                if (chosen.get(key), one.kind) == (DifferenceKind.MISSING, DifferenceKind.DIFFERENT):
                    left[key] = chosen[key]
                else:
                    sure.append(one)
            self._add(sure)
        return left

    def _hashes(self, differences: list[ItemDifference]) -> list[bytes]:
        """The hashes of their keys, as the passes have them."""
        return [key[:HASH_BYTES] for key in self._hasher.hashes([one.key for one in differences])]

    def _stable(self, kinds: Mapping[bytes, DifferenceKind]) -> dict[bytes, DifferenceKind]:
        """Those whose keys no later record of the log has changed by now: the others differ because they are on their way."""
        if not kinds:
            return {}
        changed = {key[:HASH_BYTES] for key in self._passes.changed_since(frozenset(kinds))}
        return {key: kind for key, kind in kinds.items() if key not in changed}

    def _unchanged(self, differences: list[ItemDifference]) -> list[ItemDifference]:
        """The same of differences."""
        hashes = self._hashes(differences)
        stable = self._stable({key: one.kind for key, one in zip(hashes, differences, strict=True)})
        return [one for key, one in zip(hashes, differences, strict=True) if key in stable]

    @property
    def _so_far(self) -> bool:
        captured = self._comparison.captured
        return captured is not None and captured.so_far

    @property
    def _earlier(self) -> list[Step]:
        captured = self._comparison.captured
        return captured.verified.steps if captured else []

    def _add(self, differences: list[ItemDifference]) -> None:
        """Adds differences to the report."""
        self._report.add(differences)
        self._failing += count_failing(differences, self._comparison.lookups.expiry)

    def _repair(self, result: VerifyResult, outcome: Outcome, ask: Confirm) -> VerifyResult:
        """The result after a repair, if that was asked for and is confirmed."""
        requested, named = self._options.repair, self._report.counts
        repairable = named.total() - named[DifferenceKind.EXPIRED]
        if requested is None or not repairable or not (requested.confirmed or ask(self._question())):
            return result
        repaired = Repaired()
        with display(self._options.common.progress, Progress("repair", named.total())) as on_event:
            for differences in self._report.parts():
                task = RepairTask(
                    lookups=self._comparison.lookups,
                    differences=differences,
                    delete_extra=requested.delete_extra,
                    max_wcu=units_at(self._options.max_wcu, self._comparison.table.definition, "Write"),
                )
                part = Serial().alone(repair, task, on_event, self._stop)
                self._report.add_unrepaired(part.unrepaired)
                repaired.add(part)
        self._passes.cost.add(repaired.cost)
        after = after_repair(outcome, repaired.remaining, named, repaired.failing)
        return self._repaired_result(result, after, repaired)

    def _repaired_result(self, before: VerifyResult, after: Outcome, repaired: Repaired) -> VerifyResult:
        """The table as it is now, and apart from that as it was found."""
        added = (before.missing or 0) - after.counts[DifferenceKind.MISSING]
        removed = (before.extra or 0) - after.counts[DifferenceKind.EXTRA]
        return self._result(
            after,
            items_export=before.items_export,
            items_table=None if before.items_table is None else before.items_table + added - removed,
            digest_export=before.digest_export,
            representation=before.representation,
            canonical_buckets=before.canonical_buckets,
            before=before.found(),
            repaired=repaired.written,
            deleted=repaired.deleted,
            changed_since=repaired.obstacles[Obstacle.CHANGED],
            refused=repaired.obstacles[Obstacle.REFUSED],
            refusals=repaired.refusals,
            unrepaired=self._report.unrepaired_url,
            log_from=before.log_from,
            items_compared=before.items_compared,
            earlier=before.earlier,
        )

    def _question(self) -> str:
        found, requested = self._report.counts, self._options.repair
        extra = (
            f", delete {found[DifferenceKind.EXTRA]:,} extra" if requested and requested.delete_extra else ""
        )
        return (
            f"The differences are named in {self._report.url}\nIn table {self._comparison.table.arn}: write "
            f"{found[DifferenceKind.MISSING]:,} missing and {found[DifferenceKind.DIFFERENT]:,} different items again{extra}?"
        )

    def _result(self, outcome: Outcome, **found: object) -> VerifyResult:
        comparison, cost, captured = self._comparison, self._passes.cost, self._comparison.captured
        members: dict[str, object] = {
            "verdict": outcome.verdict,
            "export": comparison.source_name,
            "table": comparison.table.arn,
            "account": comparison.table.account,
            "region": comparison.table.region,
            **{kind.value: outcome.counts[kind] for kind in DifferenceKind},
            "unnamed": outcome.unnamed,
            "estimated": outcome.estimated,
            "settled": outcome.settled,
            "report": self._report.url,
            "changes": captured.records.changes if captured else None,
            "log_number": captured.records.last if captured else None,
            "log_applied": captured.applied if captured else None,
            "log_newest": newest_record(captured.export) if captured and captured.so_far else None,
            "so_far": self._so_far,
            "begun_at": self._begun_at,
            "verified_at": now_text(),
            "seconds": round(time.monotonic() - self._started_at, 3),
            "passes": self._passes.count,
            "consumed_rcu": round(cost.consumed_rcu, 1),
            "throttled": cost.throttled.total(),
            "throttle_reasons": dict(cost.throttled),
        }
        return VerifyResult(**(members | found))  # type: ignore[arg-type] # the fields of VerifyResult by name
