"""What an import ended with: the sums of the checkpoints, before and after, and the result that is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec

from ddb_import.apply.cut_over import CutOver
from ddb_import.apply.state import read_change_rejects
from ddb_import.definition.drift import SettingDrift
from ddb_import.load import Loaded
from ddb_import.prepare import ExportLoad, Work
from ddb_import.state import REJECTS, NativeJob, read_superseded
from ddb_import.verify.result import VerifyResult
from ddb_shared.errors import EXIT_REJECTS
from ddb_shared.format.checkpoint import ShardCheckpoint

# The status of a run that created the table and loaded nothing.
DEFINED: Final = "defined"


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-import --json` prints.

    `items_written` and `items_skipped` are of this run: skipped are those that were there already, with
    `--on-existing skip`, or that a later line with the same key replaces. `items_resumed` were loaded or skipped by an earlier
    run; `items_rejected` are those of all runs. Together they are the items of the export. Changes of increments are counted
    in `changes_applied`, of all runs, as are those of an export that follows its table, and in `items_rejected`, which leaves out
    what a later change has superseded. `cut_over` is the end of a follow.
    `drift` is where the table differs from the source's, with `--create-table`; `verification` is what `--verify` found. `engine` is
    what loaded the full export, `job` the ARN of its job where that was DynamoDB itself.
    """

    status: str
    table: str
    items_written: int
    items_resumed: int
    items_skipped: int
    items_rejected: int
    rejects: str | None
    rejects_superseded: int = 0
    changes_applied: int | None = None
    shards_done: int
    shards_total: int
    seconds: float
    consumed_wcu: float
    throttled: int
    throttle_reasons: dict[str, int]
    drift: list[SettingDrift] = []
    cut_over: CutOver | None = None
    verification: VerifyResult | None = None
    engine: str = "batch-write"
    job: str | None = None

    @property
    def exit_code(self) -> int:
        """The code of a verification that did not pass; otherwise 0, or 3 if items were rejected."""
        unverified = self.verification.exit_code if self.verification else 0
        return unverified or (EXIT_REJECTS if self.items_rejected else 0)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the checkpoints of an import add up to."""

    confirmed: int = 0
    skipped: int = 0
    rejected: int = 0
    done: int = 0

    @classmethod
    def of(cls, states: Mapping[str, ShardCheckpoint]) -> Sums:
        """Over all shards."""
        return cls(
            confirmed=sum(state.confirmed for state in states.values()),
            skipped=sum(state.skipped for state in states.values()),
            rejected=sum(state.rejected for state in states.values()),
            done=sum(state.done for state in states.values()),
        )


@dataclass(frozen=True)
class ExportOutcome:
    """What became of one export: its sums before and after this run, and what this run cost.

    `native` is the job where DynamoDB itself has loaded it.
    """

    load: ExportLoad
    before: Sums
    after: Sums
    cost: Loaded = field(default_factory=Loaded)
    cut_over: CutOver | None = None
    native: NativeJob | None = None

    @classmethod
    def of_job(cls, load: ExportLoad, job: NativeJob, *, is_new: bool) -> ExportOutcome:
        """What a job of DynamoDB has loaded, in this run if `is_new`."""
        sums = Sums(
            confirmed=job.written + job.rejected, rejected=job.rejected, done=len(load.given.manifest.shards)
        )
        return cls(load, Sums() if is_new else sums, sums, native=job)

    @property
    def rejected(self) -> int:
        """Items and changes that are rejected, and not superseded by a later change."""
        storage, given = self.load.storage, self.load.given
        changes = len(read_change_rejects(storage)) if given.stream else 0
        return self.after.rejected - self.superseded + changes

    @cached_property
    def superseded(self) -> int:
        """Rejected items that later changes have superseded; which items DynamoDB has refused is known to its report alone."""
        if not self.after.rejected or self.native:
            return 0
        marks = read_superseded(self.load.storage)
        return sum(len(marks.get(shard.name, ())) for shard in self.load.given.manifest.shards)

    @property
    def rejects_place(self) -> str:
        """Where its rejects are told, the items before the changes."""
        native = self.native
        return native.report if native and native.rejected else self.load.storage.url + REJECTS

    @property
    def changes(self) -> int | None:
        """Changes that took effect, of all runs; None of an export that has none."""
        if self.cut_over is not None:
            return self.cut_over.applied
        return self.after.confirmed - self.after.rejected if self.load.given.increment else None

    @property
    def is_done(self) -> bool:
        """Every shard is loaded."""
        return self.after.done == len(self.load.given.manifest.shards)


def result_of(work: Work, outcomes: Sequence[ExportOutcome], seconds: float) -> ImportResult:
    """The result over all exports."""
    items = [outcome for outcome in outcomes if outcome.load.given.increment is None]
    standing = {outcome.load.storage.url: outcome.rejected for outcome in outcomes}
    changes = [outcome.changes for outcome in outcomes if outcome.changes is not None]
    throttled = add_counts(outcome.cost.throttled for outcome in outcomes)
    skipped = sum(one.after.skipped - one.before.skipped for one in items)
    rejected = sum(one.after.rejected - one.before.rejected for one in items)
    return ImportResult(
        status="rejects" if any(standing.values()) else "complete",
        table=work.table.arn,
        items_written=sum(one.after.confirmed - one.before.confirmed for one in items) - skipped - rejected,
        items_resumed=sum(one.before.confirmed - one.before.rejected for one in items),
        items_skipped=skipped,
        items_rejected=sum(standing.values()),
        rejects=next((one.rejects_place for one in outcomes if standing[one.load.storage.url]), None),
        rejects_superseded=sum(outcome.superseded for outcome in outcomes),
        changes_applied=sum(changes) if changes else None,
        shards_done=sum(one.after.done for one in outcomes),
        shards_total=sum(len(one.load.given.manifest.shards) for one in outcomes),
        seconds=round(seconds, 3),
        consumed_wcu=round(sum(one.cost.consumed_wcu for one in outcomes), 1),
        throttled=sum(throttled.values()),
        throttle_reasons=throttled,
        cut_over=next((one.cut_over for one in outcomes if one.cut_over), None),
        **_engine_of(outcomes),
    )


def _engine_of(outcomes: Sequence[ExportOutcome]) -> dict[str, Any]:
    """Engine and job of the full export, where DynamoDB has loaded it."""
    jobs = [outcome.native for outcome in outcomes if outcome.native]
    return {"engine": jobs[0].engine, "job": jobs[0].arn} if jobs else {}


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name."""
    return dict(sum((Counter(count) for count in counts), Counter[str]()))
