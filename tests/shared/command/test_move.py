"""The plan of a move."""

import msgspec
import pytest

from ddb_shared.command.move import MovePlan
from ddb_shared.command.plan import DryRunPlan
from ddb_shared.command.routes import Route
from ddb_shared.errors import CredentialsError, ExportError, TransferError


def plan(notes: list[str], cost_usd: float | None) -> DryRunPlan:
    return DryRunPlan(
        status="planned", checks=[], creates=[], items=5, bytes=1_000, parts=1, units=2.0, seconds=60.0, cost_usd=cost_usd,
        costs=[], prices="of the test", notes=notes, command="",
    )  # fmt: skip


def test_a_table_that_cannot_be_planned_stops_no_other() -> None:
    """Its plan is refused with the reason, and what is unknown of it is not zero."""
    plans: list[DryRunPlan | TransferError] = [
        plan([], 1.0),
        ExportError("not complete", "Wait for it."),
        plan([], 2.0),
    ]

    def plan_one(index: int) -> DryRunPlan:
        found = plans[index]
        if isinstance(found, TransferError):
            raise found
        return found

    found = MovePlan.of(["a", "b", "c"], plan_one, "ddb-import MOVE")
    assert ["planned", "refused", "planned"] == [one.status for one in found.plans]
    assert ("refused", 1, -1) == (found.status, found.exit_code, found.plans[1].items)
    assert "FAILED b: plan: not complete\nWait for it." in found.text()
    assert "3 tables, 10 items" in found.text()
    assert "cost: about 3.00 USD, that of 1 tables unknown" in found.text()


def test_a_dry_run_of_a_move_tells_cost_and_notes() -> None:
    """A note of all tables once; one of some with their names."""
    plans = [plan(["of all", "of a"], 1.5), plan(["of all"], 2.5)]
    lines = MovePlan.of(["a", "b"], plans.__getitem__, "ddb-import MOVE").text().splitlines()
    assert ["planned", "a", "5", "1.0", "kB", "2", "1", "min", "1.50", "USD"] == lines[1].split()
    assert "2 tables, 10 items, 2.0 kB; cost: about 4.00 USD." in lines
    assert ["Prices: of the test", "of all", "a: of a"] == lines[4:7]


def route(name: str, possible: bool | None, seconds: float | None, why: str = "") -> Route:
    return Route(
        route=name, possible=possible, why=why, seconds=seconds, cost_usd=1.25, load="none", downtime="all of it", basis="a guess"
    )  # fmt: skip


def test_a_dry_run_of_a_move_compares_the_routes() -> None:
    """Each once: for how many tables it is possible, and the sum of those; what it needs with the tables that need it."""
    routes = {
        "a": [route("scan", True, 60.0), route("bulk", False, 600.0, "a global table"), route("global", None, None)],
        "b": [route("scan", True, 120.0), route("bulk", True, 1200.0), route("global", False, 9.0, "one Region")],
        "c": list[Route](),
    }  # fmt: skip
    plans = [msgspec.structs.replace(plan([], 1.0), routes=found) for found in routes.values()]
    lines = MovePlan.of(list(routes), plans.__getitem__, "ddb-export a b c").text().splitlines()
    start = lines.index("Routes, for each table by itself:")
    table = [" ".join(line.split()) for line in lines[start + 1 : -2]]
    assert [
        "route possible duration (estimate) cost (estimate) downtime",
        "scan 2 of 3 about 3 min about 2.50 USD all of it",
        "bulk 1 of 3 about 20 min about 1.25 USD all of it",
        "global 0 of 3, 1 unknown unknown about 1.25 USD all of it",
        "a, b: scan, estimate: a guess",
        "a: bulk: a global table",
        "a, b: bulk, estimate: a guess",
        "a, b: global, estimate: a guess",
        "b: global: one Region",
    ] == table


def test_without_credentials_nothing_is_planned() -> None:
    """Each table would be refused for the same reason."""

    def plan_one(_: int) -> DryRunPlan:
        raise CredentialsError("expired")

    with pytest.raises(CredentialsError):
        MovePlan.of(["a"], plan_one, "")
