"""`ddb-verify MOVE`: every table of a move is compared with its export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from ddb_import.move_tables import Pair, SelectedMove, require_export
from ddb_import.preflight import check_not_source
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.result import Verdict, VerifyResult, incomplete
from ddb_import.verify.run import run_verify
from ddb_shared.aws.clients import Aws
from ddb_shared.command.move import for_each_table, worst
from ddb_shared.command.tables import Turn, run_each
from ddb_shared.errors import TableError, TransferError
from ddb_shared.format.manifest import Manifest
from ddb_shared.report.move_page import MoveReport, publish_move
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import describe
from ddb_shared.text import duration_text
from ddb_shared.times import now_text


class MoveVerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-verify MOVE --json` prints: the worst verdict of all tables, and the result of each."""

    verdict: Verdict
    move: str
    tables: list[VerifyResult]

    @property
    def exit_code(self) -> int:
        """0, 4 or 1, as of the worst table."""
        return worst(one.exit_code for one in self.tables)

    def text(self) -> str:
        """One table of all tables for people, and the whole result of each that is not identical."""
        report = self.report("")
        return "\n".join([report.table_text(), *(text for _, text in report.problems), report.summary])

    def report(self, command: str) -> MoveReport:
        """The same for the page."""
        same = sum(one.verdict is Verdict.IDENTICAL for one in self.tables)
        summary = f"Verdict: {self.verdict.upper()}; {same:,} of {len(self.tables):,} tables identical."
        if any(one.sample_percent is not None for one in self.tables):
            summary = f"Of SAMPLES, which do not prove equality: {summary}"
        return MoveReport(
            action="Verification",
            move=self.move,
            summary=summary,
            is_good=self.verdict is Verdict.IDENTICAL,
            head=_HEAD,
            rows=[_row(one) for one in self.tables],
            problems=[
                (one.table or "unknown", one.text())
                for one in self.tables
                if one.verdict is not Verdict.IDENTICAL
            ],
            command=command,
        )


def verify_move(options: VerifyOptions, selected: SelectedMove, aws: Aws, stop: Stop) -> MoveVerifyResult:
    """Compares every table; one that cannot be compared is `incomplete`. `options` are those of each but for export and table."""
    stop.explain(f"A verification cannot be resumed. Run it again with:\n  {options.command}", saved=False)

    at_once = options.common.tables_at_once
    copy = options.common.report
    options = replace(options, common=for_each_table(options.common, options.max_rcu))

    def verify(index: int, part: Stop, _: Turn) -> VerifyResult:
        pair = selected.pairs[index]
        refuse_source(aws, require_export(aws, selected, pair), pair)
        return run_verify(replace(options, export=pair.export, table=pair.target), aws, part)

    outcomes = run_each(selected.names, verify, stop, at_once=at_once, names_tables=at_once > 1)
    tables = [
        incomplete(outcome, pair.export, pair.target, now_text())
        if isinstance(outcome, TransferError)
        else outcome
        for pair, outcome in zip(selected.pairs, outcomes, strict=True)
    ]
    order = (Verdict.IDENTICAL, Verdict.DIFFERENT, Verdict.INCOMPLETE)
    verdict = max((one.verdict for one in tables), key=order.index)
    found = MoveVerifyResult(verdict=verdict, move=selected.url, tables=tables)
    publish_move(found.report(options.command), None, copy=copy)
    return found


def refuse_source(aws: Aws, export: Manifest, pair: Pair) -> None:
    """Raises TableError if a table would be compared with its own export, which would prove nothing of the move."""
    try:
        check_not_source(export, describe(aws.dynamodb, pair.target))
    except TableError as error:
        if pair.target == pair.source:
            error.add_remedy(
                "If the tables have other names at the destination, give the --rename of the import."
            )
        raise


_HEAD: Final = ("VERDICT", "TABLE", "ITEMS", "MISSING", "EXTRA", "DIFFERENT", "TIME")


def _row(one: VerifyResult) -> Sequence[str]:
    counts = (one.items_table, one.missing, one.extra, one.different)
    return (
        one.verdict.value,
        (one.table or "unknown").rpartition("/")[2],
        *("-" if count is None else f"{count:,}" for count in counts),
        duration_text(one.seconds),
    )
