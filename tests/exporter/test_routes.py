"""`--method auto` takes what suits the table and says why; the routes of a table say what forbids each."""

import datetime as dt
from typing import Any

import pytest

from ddb_export import routes as module
from ddb_export.options import Method, NewExport, PitrOptions, RequestedFormat
from ddb_export.routes import choose_method
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.command.prices import NativePrices
from ddb_shared.command.routes import (
    BULK,
    COPY_BYTES_PER_SECOND,
    GLOBAL_TABLE,
    IMPORT_TABLE,
    SCAN,
    Route,
    TableFacts,
    native_seconds,
    routes_of,
    routes_text,
)
from ddb_shared.runtime.display import ProgressOptions
from ddb_shared.table.capacity import Cap
from ddb_shared.table.description import Table, from_description

GB = 1024**3


def table(size: int, *, rate: int = 0) -> Table:
    """An on-demand table; `rate` is its warm throughput, unknown if 0."""
    warm = {"WarmThroughput": {"ReadUnitsPerSecond": rate}} if rate else {}
    return from_description(
        {
            "TableName": "T",
            "TableArn": "arn:aws:dynamodb:eu-west-1:111111111111:table/T",
            "TableStatus": "ACTIVE",
            "TableSizeBytes": size,
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            **warm,
        }
    )


def chosen(
    monkeypatch: pytest.MonkeyPatch, of: Table, *, backups: bool | None = True, **options: Any
) -> tuple[Method, str]:
    monkeypatch.setattr(module, "_backups", lambda *_: backups)
    common = Common(aws=AwsOptions(), processes=None, progress=ProgressOptions(), as_json=False)
    given = NewExport(common=common, table="T", destination="s3://bucket", method=Method.AUTO, **options)
    return choose_method(given, None, of)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "options", "method", "why"),
    [
        (table(1 * GB, rate=12_000), {}, Method.SCAN, "a scan takes about"),
        (table(2_000 * GB, rate=12_000), {}, Method.PITR, "read units"),
        (table(1 * GB, rate=12_000), {"max_rcu": Cap(100)}, Method.PITR, "a scan takes about"),
        (table(1 * GB), {}, Method.SCAN, "sooner"),
        (table(500 * GB), {}, Method.PITR, "no read capacity"),
        (table(500 * GB), {"requested": RequestedFormat(format="parquet")}, Method.SCAN, "--format"),
        (table(500 * GB), {"backups": False}, Method.SCAN, "is off"),
        (table(500 * GB), {"backups": None}, Method.SCAN, "is unknown"),
        (
            table(500 * GB),
            {"backups": False, "pitr": PitrOptions(enable_pitr=True)},
            Method.PITR,
            "no read capacity",
        ),
        (table(1), {"pitr": PitrOptions(since="s3://x")}, Method.PITR, "only DynamoDB itself"),
        (
            table(1),
            {"pitr": PitrOptions(every=dt.timedelta(minutes=15))},
            Method.PITR,
            "only DynamoDB itself",
        ),
    ],
)
def test_the_method_is_chosen_by_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, of: Table, options: dict[str, Any], method: Method, why: str
) -> None:
    """By the options first, then by the backups, then by how long a scan takes."""
    found, reason = chosen(monkeypatch, of, **options)
    assert (found, why in reason) == (method, True), reason


def by_name(**facts: Any) -> dict[str, Route]:
    prices = NativePrices(source="x", export_gb=0.1, import_gb=0.15, restore_gb=0.2, pitr_gb_month=0.3)
    return {route.route: route for route in routes_of(TableFacts(size_bytes=10 * GB, **facts), prices)}


def test_every_route_is_compared() -> None:
    """What adds up is added up; what nobody knows is unknown, not zero; each figure has its basis."""
    routes = by_name(
        backups=True, scan_seconds=60.0, load_seconds=120.0, scan_usd=1.0, load_usd=2.0, read_units=5.0
    )
    assert list(routes) == [SCAN, IMPORT_TABLE, BULK, GLOBAL_TABLE]
    assert (routes[SCAN].seconds, routes[SCAN].cost_usd) == (180.0, 3.0)
    copied = 10 * GB / COPY_BYTES_PER_SECOND
    assert routes[IMPORT_TABLE].seconds == routes[BULK].seconds == pytest.approx(2 * (600 + copied))
    assert routes[GLOBAL_TABLE].seconds == pytest.approx(600 + copied)
    assert routes[IMPORT_TABLE].cost_usd == pytest.approx(2.5)
    assert routes[BULK].cost_usd is None
    assert routes[GLOBAL_TABLE].cost_usd == pytest.approx(2)
    assert all(route.basis for route in routes.values())
    assert by_name()[SCAN].seconds is None


def test_the_copy_of_10_tb_takes_a_day() -> None:
    """And the ten minutes of the smallest job; of an unknown size nothing is said."""
    assert native_seconds(10 * 1024**4, 1) == pytest.approx(86_400 + 600)
    assert native_seconds(-1, 2) is None


@pytest.mark.parametrize(
    ("facts", "route", "possible", "why"),
    [
        ({"backups": False}, IMPORT_TABLE, False, "--enable-pitr switches it on for about 3.00 USD a month"),
        ({}, IMPORT_TABLE, None, "does not exist yet"),
        ({"backups": True, "local_indexes": ["by-date"]}, IMPORT_TABLE, False, "local indexes (by-date)"),
        ({"backups": True, "local_indexes": ["by-date"]}, BULK, True, "exists"),
        ({"backups": True, "is_global": True}, BULK, False, "global table"),
        ({"is_global": True}, GLOBAL_TABLE, False, "global table already"),
        ({"other_region": False}, GLOBAL_TABLE, False, "another Region"),
        ({"other_region": True}, GLOBAL_TABLE, None, "another Region"),
    ],
)
def test_what_forbids_a_route_is_said(
    facts: dict[str, Any], route: str, possible: bool | None, why: str
) -> None:
    """Or what it needs."""
    found = by_name(**facts)[route]
    assert (found.possible, why in found.why) == (possible, True), found.why


def test_routes_are_shown_in_columns() -> None:
    """With their remarks below."""
    lines = routes_text(list(by_name(backups=False).values()))
    assert lines[0].split("  ")[0] == "route"
    assert any(line.startswith(f"{IMPORT_TABLE}: ") for line in lines)
    assert "duration (estimate)" in lines[0]
    assert any(line.startswith(f"{IMPORT_TABLE}, estimate: each job") for line in lines)
    assert routes_text([]) == []
