"""What --max-rcu and --max-wcu take, and what they mean for a table."""

from typing import Any

import pytest

from ddb_shared.command.preflight import rate_check
from ddb_shared.command.values import Capacity
from ddb_shared.errors import UsageError
from ddb_shared.table.capacity import Cap, units_at

PROVISIONED: dict[str, Any] = {
    "TableName": "Orders",
    "ProvisionedThroughput": {"ReadCapacityUnits": 400, "WriteCapacityUnits": 800},
    "GlobalSecondaryIndexes": [
        {"ProvisionedThroughput": {"ReadCapacityUnits": 10, "WriteCapacityUnits": 200}},
        {"ProvisionedThroughput": {"ReadCapacityUnits": 10, "WriteCapacityUnits": 100}},
    ],
}
# as CreateTable takes it, and as DescribeTable answers
ON_DEMAND: tuple[dict[str, Any], ...] = (
    {"TableName": "Orders", "BillingMode": "PAY_PER_REQUEST", "GlobalSecondaryIndexes": [{}]},
    {
        "TableName": "Orders",
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
    },
)


@pytest.mark.parametrize(
    ("text", "cap"), [("500", Cap(500)), ("2.5", Cap(2.5)), ("50%", Cap(50, percent=True))]
)
def test_a_cap_is_written_as_it_is_read(text: str, cap: Cap) -> None:
    """So that a resumed command has the same one."""
    assert cap == Capacity().convert(text, None, None)
    assert text == str(cap)


@pytest.mark.parametrize(
    ("cap", "kind", "units"),
    [
        (None, "Read", None),
        (Cap(70), "Write", 70),
        (Cap(50, percent=True), "Read", 200),
        (Cap(50, percent=True), "Write", 550),
    ],
)
def test_a_part_of_what_is_provisioned(cap: Cap | None, kind: str, units: float | None) -> None:
    """Of the table for reads; of the table and its global indexes for writes, which reach all of them."""
    assert units == units_at(cap, PROVISIONED, kind)


@pytest.mark.parametrize("definition", ON_DEMAND)
def test_a_table_on_demand_has_no_part(definition: dict[str, Any]) -> None:
    """The error names the option, the table, the reason and the way out; a number of units means the same there."""
    with pytest.raises(
        UsageError, match=r"--max-wcu 50% .* table Orders is on-demand and has none"
    ) as caught:
        units_at(Cap(50, percent=True), definition, "Write")
    assert caught.value.remedy == "Give write capacity units per second, such as --max-wcu 500."
    assert units_at(Cap(50), definition, "Write") == 50


def test_the_check_says_what_the_cap_comes_to() -> None:
    """In the plan, before anything runs."""
    for cap, found in (
        (Cap(50, percent=True), "at most 200 read units per second"),
        (None, "unlimited (adaptive); set a cap with --max-rcu"),
    ):
        ((name, check),) = rate_check(cap, PROVISIONED, "Read").items()
        assert (name, check()) == ("read rate", found)
