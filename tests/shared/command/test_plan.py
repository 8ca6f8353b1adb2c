"""Estimates say what they rest on, and unknown where they rest on nothing."""

from typing import Any

import pytest

from ddb_shared.command.plan import (
    DryRunPlan,
    read_units,
    seconds_for,
    write_units,
)
from ddb_shared.command.preflight import Check, status_of
from ddb_shared.table.description import Table, from_description


def table(**members: Any) -> Table:
    return from_description(
        {
            "TableName": "T",
            "TableArn": "arn:aws:dynamodb:us-east-1:111111111111:table/T",
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            **members,
        }
    )


PROVISIONED = table(ProvisionedThroughput={"ReadCapacityUnits": 100, "WriteCapacityUnits": 50})
ON_DEMAND = table(
    BillingModeSummary={"BillingMode": "PAY_PER_REQUEST"},
    WarmThroughput={"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000},
)


def test_units() -> None:
    """A scan rounds its pages and halves them when eventually consistent; a load rounds each item, for each index."""
    assert (read_units(8192, consistent=True), read_units(8192, consistent=False)) == (2, 1)
    assert write_units(10, 10 * 1500, 0) == 20
    assert write_units(10, 10 * 1000, 2) == 30
    assert write_units(0, 0, 2) == 0


@pytest.mark.parametrize(
    ("cap", "of", "expected"),
    [
        (None, PROVISIONED, 10.0),
        (10, PROVISIONED, 100.0),
        (None, ON_DEMAND, 1000 / 12_000),
        (None, None, None),
        (20, None, 50.0),
    ],
)
def test_seconds(cap: float | None, of: Table | None, expected: float | None) -> None:
    """The lower one of the cap and the table's rate; unknown without either."""
    assert expected == seconds_for(1000, cap, of, kind="Read")


@pytest.mark.parametrize(
    ("ok", "mark", "runs"), [(True, "ok ", True), (None, "not checked", True), (False, "FAILED", False)]
)
def test_a_plan_says_what_was_checked(ok: bool | None, mark: str, runs: bool) -> None:
    """What was not checked is not ok, and after a failure there is nothing to run."""
    checks = [Check(name="region", ok=ok, found="x")]
    plan = DryRunPlan(
        status=status_of(checks), checks=checks, creates=[], items=0, bytes=0, parts=1, units=0.0, seconds=None,
        cost_usd=None, costs=[], prices="unknown", notes=[], command="ddb-export",
    )  # fmt: skip
    assert f"  {mark}" in plan.text()
    assert ("Run it with" in plan.text()) == runs
