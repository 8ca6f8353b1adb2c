"""Estimates say what they rest on, and unknown where they rest on nothing."""

import datetime as dt
from typing import Any

import pytest

from ddb_shared.plan import Prices, cost_of, load_prices, read_units, seconds_for, warming_note, write_units
from ddb_shared.table import Table, from_description


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


def test_cost_is_the_list_price_or_unknown() -> None:
    """With date and region; provisioned capacity costs nothing more."""
    cost, note = cost_of(2e6, "us-east-1", on_demand=True, kind="Write")
    assert cost == 1.25
    assert load_prices().date in note
    assert "us-east-1" in note
    unknown, why = cost_of(2e6, "mars-north-1", on_demand=True, kind="Write")
    assert unknown is None
    assert "mars-north-1" in why
    assert cost_of(2e6, "us-east-1", on_demand=False, kind="Write")[0] == 0.0
    rare = cost_of(2e6, "us-east-1", on_demand=True, kind="Write", table_class="STANDARD_INFREQUENT_ACCESS")
    assert (rare[0], "of table class STANDARD_INFREQUENT_ACCESS" in rare[1]) == (None, True)


def test_warming_is_priced_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is charged for is counted in any case, and where the price stands is said."""
    note = warming_note(6_000, "us-east-1")
    assert "charged once, for 6,000 write units a second" in note
    assert "unknown here; see https://aws.amazon.com/" in note
    known = Prices(
        date="2026-01-01", source="https://x", note="", regions={"us-east-1": {"warm_write_unit": 0.5}}
    )
    monkeypatch.setattr("ddb_shared.plan.load_prices", lambda: known)
    assert "3,000.00 USD at 0.5 USD for each" in warming_note(6_000, "us-east-1")
    assert "unknown here" in warming_note(6_000, "eu-west-1")


def test_the_price_list_is_dated() -> None:
    """One file, with its date and source."""
    prices = load_prices()
    assert dt.date.fromisoformat(prices.date)
    assert prices.source.startswith("https://aws.amazon.com/")
    assert all({"read_million", "write_million"} == set(region) for region in prices.regions.values())
