"""A move of several tables: its plan, its exit code, which is the worst of all tables, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from ddb_shared.command.options import Common
from ddb_shared.command.plan import DryRunPlan, refused_plan
from ddb_shared.command.prices import about_usd, usd_text
from ddb_shared.command.routes import routes_of_tables_text
from ddb_shared.errors import (
    EXIT_DIFFERENT,
    EXIT_FAILED,
    EXIT_REJECTS,
    CredentialsError,
    TransferError,
    UsageError,
)
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.table.capacity import Cap
from ddb_shared.text import columns_text, duration_text, size_text, told_once

COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"
# From the best to the worst.
_SEVERITY: Final = (0, EXIT_REJECTS, EXIT_DIFFERENT, EXIT_FAILED)


class MovePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What `--dry-run` prints of several tables: a plan for each."""

    status: str
    tables: list[str]
    plans: list[DryRunPlan]
    command: str

    @classmethod
    def of(cls, tables: Sequence[str], plan_one: Callable[[int], DryRunPlan], command: str) -> MovePlan:
        """The plans of the tables, by their indexes, which all have the one command.

        A table that cannot be planned has a plan that is refused. Raises CredentialsError, since every other would fail as well.
        """
        plans = [
            msgspec.structs.replace(_planned(plan_one, at), command=command) for at in range(len(tables))
        ]
        status = "refused" if any(plan.exit_code for plan in plans) else "planned"
        return cls(status=status, tables=list(tables), plans=plans, command=command)

    @property
    def exit_code(self) -> int:
        """0, or 1 if a check of any table failed."""
        return worst(plan.exit_code for plan in self.plans)

    def text(self) -> str:
        """One table of all tables for people; what each costs, its notes, and the checks of those that would fail."""
        pairs = list(zip(self.tables, self.plans, strict=True))
        failed = [
            f"FAILED {name}: {check.name}: {check.found}"
            for name, plan in pairs
            for check in plan.checks
            if check.ok is False
        ]
        step = (
            ["These tables would fail: fix the FAILED checks first."]
            if failed
            else ["Run it with:", f"  {self.command}"]
        )
        return "\n".join(
            [
                columns_text(_PLAN_HEAD, [_plan_row(*pair) for pair in pairs]),
                self._total(),
                *(
                    f"Prices: {source}"
                    for source in dict.fromkeys(plan.prices for plan in self.plans)
                    if source
                ),
                *self._notes(),
                *self._routes(),
                *failed,
                *step,
            ]
        )

    def _total(self) -> str:
        known = [plan.cost_usd for plan in self.plans if plan.cost_usd is not None]
        partly = (
            ""
            if len(known) == len(self.plans)
            else f", that of {len(self.plans) - len(known):,} tables unknown"
        )
        cost = f"{about_usd(sum(known))}{partly}" if known else "unknown"
        return (
            f"{len(self.plans):,} tables, {sum(max(plan.items, 0) for plan in self.plans):,} items, "
            f"{size_text(sum(max(plan.bytes, 0) for plan in self.plans))}; cost: {cost}."
        )

    def _routes(self) -> list[str]:
        tables = [(name, plan.routes) for name, plan in zip(self.tables, self.plans, strict=True)]
        lines = routes_of_tables_text(tables)
        return ["Routes, for each table by itself:", *(f"  {line}" for line in lines)] if lines else []

    def _notes(self) -> list[str]:
        pairs = zip(self.tables, self.plans, strict=True)
        return told_once(((name, note) for name, plan in pairs for note in plan.notes), len(self.tables))


def _planned(plan_one: Callable[[int], DryRunPlan], index: int) -> DryRunPlan:
    try:
        return plan_one(index)
    except CredentialsError:
        raise
    except TransferError as error:
        return refused_plan(error)


_PLAN_HEAD: Final = ("STATUS", "TABLE", "ITEMS", "SIZE", "UNITS", "TIME", "COST")


def _plan_row(name: str, plan: DryRunPlan) -> Sequence[str]:
    if plan.items < 0:
        return plan.status, name, "-", "-", "-", "-", "-"
    return (
        plan.status,
        name,
        f"{plan.items:,}",
        size_text(max(plan.bytes, 0)),
        f"{plan.units:,.0f}",
        "unknown" if plan.seconds is None else duration_text(plan.seconds),
        "unknown" if plan.cost_usd is None else usd_text(plan.cost_usd),
    )


def worst(exit_codes: Iterable[int]) -> int:
    """The exit code of the whole; whatever else ended a table is a failure."""
    return max(
        (code if code in _SEVERITY else EXIT_FAILED for code in exit_codes),
        key=_SEVERITY.index,
        default=0,
    )


def for_each_table(common: Common, cap: Cap | None) -> Common:
    """The options of each table of a move: those that are worked on at the same time share the cap, unless it is a percentage.

    A --report is that of the move.
    """
    return replace(common, report=None, share=None if cap is None or cap.percent else CapShare())


def refuse_for_one(common: Common) -> None:
    """Raises UsageError where an option is given that belongs to a move."""
    if common.tables_at_once > 1:
        raise UsageError(
            "--tables-at-once is about the tables of a move.",
            "Leave it out, or give several tables or a move.",
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
