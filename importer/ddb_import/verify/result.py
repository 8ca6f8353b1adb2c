"""What a verification found, as JSON and as the text that goes into a migration's ticket."""

from __future__ import annotations

import enum

import msgspec

from ddb_shared.errors import EXIT_DIFFERENT, EXIT_FAILED, TransferError


class Verdict(enum.StrEnum):
    """The outcome. Only `identical` is a pass; `incomplete` is a check that could not run to its end."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    INCOMPLETE = "incomplete"


_EXIT_CODES = {Verdict.IDENTICAL: 0, Verdict.DIFFERENT: EXIT_DIFFERENT, Verdict.INCOMPLETE: EXIT_FAILED}


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-verify --json` prints; what is unknown is null.

    `export` is the export's location, or the source table's ARN with --tables, and `items_export` its items. `missing`,
    `extra` and `different` are as found, before a repair; the verdict is as of its end. `settled` are items that differed
    in the scan and were equal, or gone on both sides, when read again with ConsistentRead. The digests are of the buckets'
    counts and sums: of raw bytes where these are equal, of canonical items elsewhere.
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
    settled: int = 0
    report: str | None = None
    digest_export: str | None = None
    digest_table: str | None = None
    canonical_buckets: int | None = None
    sample_percent: float | None = None
    repaired: int = 0
    deleted: int = 0
    refusals: list[str] = []
    begun_at: str | None = None
    verified_at: str
    seconds: float = 0.0
    consumed_rcu: float = 0.0
    throttled: int = 0
    throttle_reasons: dict[str, int] = {}
    reason: str | None = None

    @property
    def exit_code(self) -> int:
        """0, 4 or 1."""
        return _EXIT_CODES[self.verdict]

    def text(self) -> str:
        """The result for people."""
        lines = [self._headline()]
        if self.verdict is Verdict.INCOMPLETE:
            return "\n".join([*lines, f"  reason     {self.reason}"])
        lines += [
            f"  export     {self.export}: {_side(self.items_export, self.digest_export)}",
            f"  table      {self.table}: {_side(self.items_table, self.digest_table)}",
            f"  where      account {self.account}, region {self.region}",
            f"  when       {self.begun_at} to {self.verified_at}, {self.seconds:,.1f} s",
            f"  cost       {self.consumed_rcu:,.1f} RCU, {self.throttled:,} times throttled",
            f"  found      {_count(self.missing)} missing, {_count(self.extra)} extra, {_count(self.different)} different"
            + (f"; {self.settled:,} settled when read again" if self.settled else ""),
        ]
        if self.repaired or self.deleted or self.refusals:
            lines.append(
                f"  repaired   {self.repaired:,} written, {self.deleted:,} deleted, {len(self.refusals):,} refused"
            )
        lines += [f"  refused    {refusal}" for refusal in self.refusals[:3]]
        if self.report:
            lines.append(f"  report     {self.report}")
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.sample_percent is None or self.verdict is Verdict.INCOMPLETE:
            return f"Verdict: {self.verdict.upper()}"
        return (
            f"Verdict of a SAMPLE of {self.sample_percent:g}%, which is no proof: {self.verdict.upper()} so far as it was "
            "read; a sample cannot see extra items"
        )


def incomplete(error: TransferError, export: str | None, table: str, now: str) -> VerifyResult:
    """The result of a check that could not run to its end."""
    return VerifyResult(
        verdict=Verdict.INCOMPLETE, export=export, table=table, verified_at=now, reason=error.message
    )


def _side(items: int | None, digest: str | None) -> str:
    return f"{_count(items)} items" + (f", digest {digest}" if digest else "")


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"
