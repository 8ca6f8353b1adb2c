"""A move of several tables: one after another in the same process, so that a cap holds for all of them.

A table that fails does not stop the others, unless it is for the credentials, and the worst exit code of all is that of the command.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from ddb_shared.command.plan import DryRunPlan
from ddb_shared.errors import (
    EXIT_DIFFERENT,
    EXIT_FAILED,
    EXIT_REJECTS,
    CredentialsError,
    Interrupted,
    TransferError,
    UsageError,
    map_error,
)
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.text import columns_text, duration_text, size_text

COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"
# From the best to the worst.
_SEVERITY: Final = (0, EXIT_REJECTS, EXIT_DIFFERENT, EXIT_FAILED)
Result = TypeVar("Result")


class MovePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What `--dry-run` prints of several tables: a plan for each."""

    status: str
    tables: list[str]
    plans: list[DryRunPlan]
    command: str

    @classmethod
    def of(cls, tables: Sequence[str], plans: Sequence[DryRunPlan], command: str) -> MovePlan:
        """The plans of the tables, which all have the one command."""
        status = "refused" if any(plan.exit_code for plan in plans) else "planned"
        same = [msgspec.structs.replace(plan, command=command) for plan in plans]
        return cls(status=status, tables=list(tables), plans=same, command=command)

    @property
    def exit_code(self) -> int:
        """0, or 1 if a check of any table failed."""
        return worst(plan.exit_code for plan in self.plans)

    def text(self) -> str:
        """One table of all tables for people; the checks of those that would fail."""
        pairs = list(zip(self.tables, self.plans, strict=True))
        failed = [
            f"FAILED {name}: {check.name}: {check.found}"
            for name, plan in pairs
            for check in plan.checks
            if check.ok is False
        ]
        total = (
            f"{len(pairs):,} tables, {sum(plan.items for plan in self.plans):,} items, "
            f"{size_text(sum(max(plan.bytes, 0) for plan in self.plans))}, one after another."
        )
        step = (
            ["These tables would fail: fix the FAILED checks first."]
            if failed
            else ["Run it with:", f"  {self.command}"]
        )
        return "\n".join(
            [columns_text(_PLAN_HEAD, [_plan_row(*pair) for pair in pairs]), total, *failed, *step]
        )


_PLAN_HEAD: Final = ("STATUS", "TABLE", "ITEMS", "SIZE", "UNITS", "TIME")


def _plan_row(name: str, plan: DryRunPlan) -> Sequence[str]:
    return (
        plan.status,
        name,
        f"{plan.items:,}",
        size_text(max(plan.bytes, 0)),
        f"{plan.units:,.0f}",
        "unknown" if plan.seconds is None else duration_text(plan.seconds),
    )


def run_each(
    names: Sequence[str], run_one: Callable[[int, Stop], Result], stop: Stop
) -> list[Result | TransferError]:
    """What `run_one` returns for the index of each table, or the error that ended it.

    Once the credentials are refused, the tables that are left are not tried. Raises Interrupted, as `stop` explains it, after a signal.

    Each table has a Stop of its own: one that is ended by the loss of its lease ends alone.
    """
    outcomes: list[Result | TransferError] = []
    for number, name in enumerate(names, 1):
        stop.check()
        announce(
            f"Table {number} of {len(names)}: {name}",
            event="table",
            number=number,
            tables=len(names),
            table=name,
        )
        try:
            outcomes.append(run_one(number - 1, stop.part()))
        except Interrupted:
            stop.check()
            raise
        except Exception as error:
            mapped = error if isinstance(error, TransferError) else map_error(error, f"move table {name}")
            if mapped is None:  # a bug in this package
                raise
            stop.check()
            announce(
                f"Error: table {name}: {mapped}",
                event="table_failed",
                level=logging.ERROR,
                table=name,
                error=mapped.message,
                remedy=mapped.remedy,
            )
            outcomes.append(mapped)
            if isinstance(mapped, CredentialsError):
                break
    untried = len(names) - len(outcomes)
    if untried:
        announce(
            f"Error: {untried:,} more tables were not tried, since the credentials are missing, invalid or expired.",
            event="not_tried",
            level=logging.ERROR,
            tables=untried,
        )
    return outcomes + [TransferError("not tried: the credentials are missing, invalid or expired.")] * untried


def worst(exit_codes: Iterable[int]) -> int:
    """The exit code of the whole; whatever else ended a table is a failure."""
    return max(
        (code if code in _SEVERITY else EXIT_FAILED for code in exit_codes),
        key=_SEVERITY.index,
        default=0,
    )


def refuse_for_move(given: Iterable[tuple[str, object]], command: str) -> None:
    """Raises UsageError where an option is given that belongs to a single table; `command` is the one to run for each."""
    names = [option for option, value in given if value]
    if names:
        several = len(names) > 1
        raise UsageError(
            f"{', '.join(names)} {'do' if several else 'does'} not apply to several tables at once.",
            f"Run one command for each table: {command}",
        )
