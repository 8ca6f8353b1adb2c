"""The result of a verification, as JSON and as text for the ticket of a migration."""

from __future__ import annotations

import enum

import msgspec

from ddb_import.proof import Step
from ddb_import.verify.representation import Representation
from ddb_shared.errors import EXIT_DIFFERENT, EXIT_FAILED, TransferError


class Verdict(enum.StrEnum):
    """The verdict. Only `identical` is a pass; `incomplete` means that the comparison could not be completed."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    INCOMPLETE = "incomplete"


_EXIT_CODES = {Verdict.IDENTICAL: 0, Verdict.DIFFERENT: EXIT_DIFFERENT, Verdict.INCOMPLETE: EXIT_FAILED}


class BeforeRepair(msgspec.Struct, frozen=True, kw_only=True):
    """What was found before a repair: members as of VerifyResult."""

    verdict: Verdict
    items_table: int | None
    missing: int | None
    extra: int | None
    different: int | None
    expired: int | None
    digest_table: str | None


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """The `--json` output of `ddb-verify`; null means unknown.

    `export` is the export's location, or the source table's ARN with --tables, and `items_export` its items.

    `verdict`, `items_table`, `missing`, `extra`, `different` and `expired` are of the table as it is now: after a repair, whose
    items were read again. What was found before it is in `before`. `expired` items are on one side only, and time to live deletes
    them. `unnamed` of all these are not in the report: they are counted as the passes found them, and were not read again; null
    where there may be any number of them. `estimated` counts are projected from a part of the key space.

    `settled` are items that differed in the passes and were equal, or gone on both sides, when read again with ConsistentRead.
    `changes` were captured of an export that followed its table, up to the record `log_number` of the log, and count as the
    export; null where the export has none, or its base alone is compared. The import has applied the records up to `log_applied`; null
    where its state does not tell.

    With `so_far`, the export was still followed: only the changes that were applied count, and items that records after `log_number`
    change, up to `log_newest`, are not compared. Where `log_from` is given, only the `items_compared` that changes after that
    record have changed were compared; up to it, the `earlier` verifications have found everything equal.

    The digests are of the buckets' counts and sums: of the items' `representation` where these are equal, of canonical items
    elsewhere.
    """

    verdict: Verdict
    export: str | None
    table: str | None
    account: str | None = None
    region: str | None = None
    items_export: int | None = None
    items_table: int | None = None
    missing: int | None = None
    extra: int | None = None
    different: int | None = None
    expired: int | None = None
    unnamed: int | None = None
    estimated: bool = False
    settled: int = 0
    report: str | None = None
    digest_export: str | None = None
    digest_table: str | None = None
    representation: Representation | None = None
    canonical_buckets: int | None = None
    sample_percent: float | None = None
    before: BeforeRepair | None = None
    repaired: int = 0
    deleted: int = 0
    changed_since: int = 0
    refused: int = 0
    refusals: list[str] = []
    unrepaired: str | None = None
    changes: int | None = None
    log_number: int | None = None
    log_applied: int | None = None
    log_newest: int | None = None
    log_from: int | None = None
    items_compared: int | None = None
    earlier: list[Step] = []
    so_far: bool = False
    begun_at: str | None = None
    verified_at: str
    seconds: float = 0.0
    passes: int = 0
    consumed_rcu: float = 0.0
    throttled: int = 0
    throttle_reasons: dict[str, int] = {}
    reason: str | None = None

    @property
    def exit_code(self) -> int:
        """0, 4 or 1."""
        return _EXIT_CODES[self.verdict]

    def found(self) -> BeforeRepair:
        """What stays true of the table once it is repaired: that it was so before."""
        return BeforeRepair(
            verdict=self.verdict,
            items_table=self.items_table,
            missing=self.missing,
            extra=self.extra,
            different=self.different,
            expired=self.expired,
            digest_table=self.digest_table,
        )

    def text(self) -> str:
        """The result as text."""
        lines = [self._headline()]
        if self.begun_at is None:  # nothing was compared
            return "\n".join([*lines, f"  reason     {self.reason}"])
        lines += [
            f"  export     {self.export}{self._side(self.items_export, self.digest_export)}",
            *self._changes(),
            f"  table      {self.table}{self._side(self.items_table, self.digest_table)}",
            *self._since(),
            f"  where      account {self.account}, region {self.region}",
            f"  when       {self.begun_at} to {self.verified_at}, {self.seconds:,.1f} s",
            f"  cost       passes: {self.passes}, {self.consumed_rcu:,.1f} RCU, {self.throttled:,} times throttled",
        ]
        if self.before is not None:
            lines += [
                f"  before     {self.before.verdict.upper()}: {_found(self.before)}",
                f"  repaired   {self.repaired:,} written, {self.deleted:,} deleted",
                f"  unrepaired {self.changed_since:,} changed since they were compared, {self.refused:,} refused",
                f"  after      {self.verdict.upper()}: {_found(self)}; the items of the report were read again",
                *(f"  refused    {refusal}" for refusal in self.refusals[:3]),
            ]
        else:
            lines.append(f"  found      {_found(self)}{self._settled()}")
        lines += self._unnamed()
        lines += [f"  reason     {self.reason}"] if self.reason else []
        lines += [f"  report     {self.report}"] if self.report else []
        lines += [f"  rest       {self.unrepaired}"] if self.unrepaired else []
        return "\n".join(lines)

    def _side(self, items: int | None, digest: str | None) -> str:
        if self.log_from is not None:
            return ""
        return f": {_count(items)} items" + (f", digest {digest}" if digest else "")

    def _since(self) -> list[str]:
        """What was compared now, where it is not everything, and what before."""
        lines = [f"  earlier    {step.text()}" for step in self.earlier]
        if self.log_from is not None and self.log_number is not None:
            records = f"records {self.log_from + 1:,} to {self.log_number:,}"
            lines.append(
                f"  compared   {self.items_compared:,} items that changed in {records}; the others were not read again (--full reads all)"
            )
        if self.so_far:
            lines.append(
                f"  later      records up to {_count(self.log_newest)}: what they change is left to the next verification"
            )
        return lines

    def _headline(self) -> str:
        if self.so_far:
            return f"Verdict SO FAR, before the capture is closed: {self.verdict.upper()}"
        if self.sample_percent is None or self.verdict is Verdict.INCOMPLETE:
            return f"Verdict: {self.verdict.upper()}"
        return (
            f"Verdict of a SAMPLE of {self.sample_percent:g}%, which does not prove equality and cannot find extra items: "
            f"{self.verdict.upper()}"
        )

    def _changes(self) -> list[str]:
        if self.changes is None or self.log_number is None:
            return []
        applied = "unknown" if self.log_applied is None else f"{self.log_applied:,}"
        lines = [
            f"  changes    {self.changes:,} captured in {self.log_number:,} records, which count as the export; records applied: {applied}"
        ]
        if self.log_applied is not None and self.log_applied < self.log_number:
            lines.append(
                "  unapplied  what the other records change shows as differences: let ddb-import end, then verify again"
            )
        return lines

    def _settled(self) -> str:
        return f"; {self.settled:,} equal when read again" if self.settled else ""

    def _unnamed(self) -> list[str]:
        estimated = "estimated, " if self.estimated else ""
        if self.unnamed:
            return [
                f"  unnamed    {estimated}{self.unnamed:,} of these are not in the report (limits: --max-differences, 256 MiB)"
            ]
        if self.unnamed is None and self.sample_percent is None:
            return [f"  unnamed    {estimated}there are more differences than those that the report names"]
        return []


def incomplete(error: TransferError, export: str | None, table: str, now: str) -> VerifyResult:
    """The result of a comparison that could not be completed."""
    return VerifyResult(
        verdict=Verdict.INCOMPLETE, export=export, table=table, verified_at=now, reason=error.message
    )


def _found(counts: VerifyResult | BeforeRepair) -> str:
    expired = f", {counts.expired:,} expired" if counts.expired else ""
    return f"{_count(counts.missing)} missing, {_count(counts.extra)} extra, {_count(counts.different)} different{expired}"


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"
