"""Costs are at AWS's own prices where they can be asked for, else at those of the package, which say what they are."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.stub import Stubber

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command import prices as module
from ddb_shared.command.prices import (
    BundledPrices,
    Cost,
    about_usd,
    capacity_cost,
    costs_table,
    load_prices,
    native_prices,
    price_list,
    s3_costs,
    total_usd,
    usd_text,
    warming_note,
)

DYNAMODB = "Amazon DynamoDB PayPerRequest Throughput"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    """With credentials that nobody asks for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    return Aws(AwsOptions(region="eu-west-1"))


def product(usage: str, *usd: str, group: str = "", currency: str = "USD") -> str:
    """One entry of PriceList, as the API has it: JSON in a string, with an empty tier in front."""
    dimensions = {
        f"X.{number}": {"unit": "Requests", "beginRange": "0", "pricePerUnit": {currency: price}}
        for number, price in enumerate(usd)
    }
    return json.dumps(
        {
            "product": {"productFamily": "x", "attributes": {"usagetype": usage, "group": group}, "sku": "S"},
            "serviceCode": "x",
            "terms": {"OnDemand": {"S.T": {"priceDimensions": dimensions, "sku": "S", "termAttributes": {}}}},
            "version": "1",
        }
    )


def answers(table_class: str = "") -> list[tuple[str, dict[str, str], list[str]]]:
    """What the API says of eu-west-1, by service and filters."""
    suffix = "IA" if table_class else ""
    return [
        ("AmazonDynamoDB", {"productFamily": DYNAMODB}, [
            product("EU-ReadRequestUnits", "0.0000000000", "0.0000001415", group="DDB-ReadUnits"),
            product("EU-WriteRequestUnits", "0.0000007070", group="DDB-WriteUnits"),
            product("EU-IA-ReadRequestUnits", "0.0000001765", group=f"DDB-ReadUnits{suffix}" if suffix else "DDB-ReadUnitsIA"),
            product("EU-ReplicatedWriteRequestUnits", "0.9", group="DDB-ReplicatedWriteUnits"),
        ]),
        ("AmazonS3", {"productFamily": "API Request", "group": "S3-API-Tier1"}, [
            product("EU-Requests-Tier1", "0.0000050000", group="S3-API-Tier1"),
        ]),
        ("AmazonS3", {"productFamily": "API Request", "group": "S3-API-Tier2"}, [
            product("EU-Requests-Tier2", "0.0000004000", group="S3-API-Tier2"),
        ]),
        ("AmazonS3", {"productFamily": "Storage", "volumeType": "Standard", "storageClass": "General Purpose"}, [
            product("EU-TimedStorage-ByteHrs", "0.0230000000", "0.0220000000", "0.0210000000"),
            product("EU-TimedStorage-XYZ-ByteHrs", "9.9"),
        ]),
    ]  # fmt: skip


@contextmanager
def stubbed(aws: Aws, said: list[tuple[str, dict[str, str], list[str]]]) -> Iterator[None]:
    """Answers in the shapes of botocore's model, two pages for the first question."""
    with Stubber(aws.pricing) as stub:
        for number, (service, filters, answer) in enumerate(said):
            products = answer
            asked: dict[str, Any] = {
                "ServiceCode": service,
                "Filters": [
                    {"Type": "TERM_MATCH", "Field": name, "Value": value}
                    for name, value in {"regionCode": "eu-west-1", **filters}.items()
                ],
            }
            if number == 0:
                first = {"FormatVersion": "aws_v1", "PriceList": products[:1], "NextToken": "more"}
                stub.add_response("get_products", first, asked)
                products, asked = products[1:], asked | {"NextToken": "more"}
            stub.add_response("get_products", {"FormatVersion": "aws_v1", "PriceList": products}, asked)
        yield
        stub.assert_no_pending_responses()


def test_prices_are_those_of_the_price_list_api(aws: Aws) -> None:
    """Of the table's Region and class, the most expensive tier where there are several."""
    assert aws.pricing.meta.endpoint_url == "https://api.pricing.eu-central-1.amazonaws.com"
    with stubbed(aws, answers()):
        prices = price_list(aws, "eu-west-1")
    assert (1.415e-7, 7.07e-7, 5e-6, 4e-7, 0.023) == (
        prices.read_unit, prices.write_unit, prices.put, prices.get, prices.storage_gb_month,
    )  # fmt: skip
    assert prices.source.startswith("AWS Price List API, 20")


def test_a_caller_who_may_not_ask_gets_the_list_of_the_package(aws: Aws) -> None:
    """It says what it is and why."""
    with Stubber(aws.pricing) as stub:
        stub.add_client_error("get_products", "AccessDeniedException", "not authorized", http_status_code=403)
        prices = price_list(aws, "us-east-1")
    assert (prices.read_unit, prices.write_unit) == (0.125e-6, 0.625e-6)
    assert f"list prices of {load_prices().date} that come with ddb-transfer" in prices.source
    assert "pricing:GetProducts" in prices.source


@pytest.mark.parametrize(
    ("region", "table_class", "known"),
    [
        ("us-east-1", "STANDARD", True),
        ("cn-north-1", "STANDARD", False),
        ("us-gov-west-1", "STANDARD", False),
        ("us-east-1", "STANDARD_INFREQUENT_ACCESS", False),
    ],
)
def test_what_is_not_listed_is_unknown(aws: Aws, region: str, table_class: str, known: bool) -> None:
    """And so is a sum with it."""
    aws = Aws(AwsOptions(region=region, endpoint_url="http://127.0.0.1:1"))
    prices = price_list(aws, region, table_class)
    cost = capacity_cost(prices, "Write", 2e6, on_demand=True)
    assert (cost.usd == 1.25) == known
    assert (total_usd([cost, *s3_costs(prices, puts=1_000)]) is not None) == known
    assert "this is not an AWS endpoint" in prices.source


def test_prices_of_another_region_are_said_to_be(aws: Aws) -> None:
    """The package lists one Region: an estimate by its prices says so wherever it is shown, before anything else."""
    local = Aws(AwsOptions(region="eu-west-1", endpoint_url="http://127.0.0.1:1"))
    prices, native = price_list(local, "eu-west-1"), native_prices(local, "eu-west-1")
    assert (prices.read_unit, prices.put, native.pitr_gb_month) == (0.125e-6, 5e-6, 0.2)
    for source in (prices.source, native.source):
        assert source.startswith("us-east-1 list price; your Region (eu-west-1) may differ: list prices of ")
    table = costs_table([capacity_cost(prices, "Read", 8e6, on_demand=True)], prices.source)
    assert table.note.startswith("Prices: us-east-1 list price; your Region (eu-west-1) may differ")
    with stubbed(aws, answers()):
        assert "us-east-1" not in price_list(aws, "eu-west-1").source


def test_prices_in_another_currency_are_not_taken(aws: Aws) -> None:
    """They are not taken for dollars."""
    said = [(service, filters, [product("CNN1-X", "1", group="DDB-ReadUnits", currency="CNY")] * 2)
            for service, filters, _ in answers()]  # fmt: skip
    with stubbed(aws, said):
        prices = price_list(aws, "eu-west-1")
    assert "no price in USD for eu-west-1" in prices.source
    assert prices.source.startswith("us-east-1 list price")


def test_costs_add_up() -> None:
    """Indexes are named, provisioned capacity adds nothing, and what rounds to nothing is not nothing."""
    prices = module.bundled("us-east-1", "STANDARD", "of the test")
    costs = [
        capacity_cost(prices, "Write", 10e6, on_demand=True, indexes=2),
        *s3_costs(prices, puts=1_000, gets=1_000, stored_gb=100),
    ]
    assert [6.25, 0.005, 0.0004, 2.3] == [pytest.approx(cost.usd) for cost in costs]
    assert str(costs[0]) == "Write units on demand, those of 2 indexes included: 10,000,000 units, 6.25 USD"
    assert total_usd(costs) == pytest.approx(8.5554)
    assert capacity_cost(prices, "Read", 10e6, on_demand=False).usd == 0.0
    assert usd_text(0.0004) == "less than 0.01 USD"
    assert usd_text(0.0) == "0.00 USD"


def test_warming_is_priced_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is charged for is counted in any case, and where the price stands is said."""
    note = warming_note(6_000, "us-east-1")
    assert "charged once, for 6,000 write units per second" in note
    assert "is not in the price list of ddb-transfer; see https://aws.amazon.com/" in note
    known = BundledPrices(
        date="2026-01-01", source="https://x", note="", regions={"us-east-1": {"warm_write_unit": 0.5}}
    )
    monkeypatch.setattr(module, "load_prices", lambda: known)
    assert "3,000.00 USD at 0.5 USD each" in warming_note(6_000, "us-east-1")
    assert "is not in the price list" in warming_note(6_000, "eu-west-1")


def test_the_price_list_of_the_package_is_dated() -> None:
    """One file, with its date and source."""
    listed = load_prices()
    assert dt.date.fromisoformat(listed.date)
    assert listed.source.startswith("https://aws.amazon.com/")
    members = {
        "read_million",
        "write_million",
        "put_thousand",
        "get_thousand",
        "storage_gb_month",
        "pitr_gb_month",
        "export_gb",
        "import_gb",
        "restore_gb",
    }
    assert all(members == set(region) for region in listed.regions.values())


def test_the_prices_of_dynamodb_s_own_jobs_are_asked_for(aws: Aws) -> None:
    """By their usage types, whatever the Region's prefix; others are passed over."""
    answer = [
        product("EU-ExportDataSize-Bytes", "0.1130000000"),
        product("EU-IncrementalExportDataSize-Bytes", "0.1140000000"),
        product("EU-ImportDataSize-Bytes", "0.1690000000"),
        product("EU-RestoreDataSize-Bytes", "0.1700000000"),
        product("EU-TimedPITRStorage-ByteHrs", "0.2280000000"),
        product("EU-TimedBackupStorage-ByteHrs", "0.1140000000"),
    ]
    with stubbed(aws, [("AmazonDynamoDB", {}, answer)]):
        prices = native_prices(aws, "eu-west-1")
    assert (prices.export_gb, prices.increment_gb, prices.import_gb) == (0.113, 0.114, 0.169)
    assert (prices.pitr_gb_month, prices.restore_gb) == (0.228, 0.17)
    assert prices.source.startswith("AWS Price List API")


@pytest.mark.usefixtures("aws")
def test_prices_of_jobs_that_nobody_tells_are_unknown() -> None:
    """At a local endpoint, but for what the package knows."""
    local = Aws(AwsOptions(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    prices = native_prices(local, "us-east-1")
    assert (prices.pitr_gb_month, prices.increment_gb) == (0.2, None)
    assert (prices.export_gb, prices.import_gb, prices.restore_gb) == (0.1, 0.15, 0.15)
    assert native_prices(local, "cn-north-1").export_gb is None


def test_units_and_requests_are_whole_and_gigabytes_have_decimals() -> None:
    """Nobody pays for a part of a request."""
    assert "S3 requests: 19 requests, price unknown" == str(
        Cost(what="S3 requests", quantity=18.4, unit="requests", usd=None)
    )
    assert "Storage: 0.352 GB, 1.00 USD" == str(Cost(what="Storage", quantity=0.3518, unit="GB", usd=1.0))


@pytest.mark.parametrize(
    ("usd", "text"),
    [(None, "unknown"), (0.0, "about 0.00 USD"), (0.001, "less than 0.01 USD"), (12.5, "about 12.50 USD")],
)
def test_an_estimate_of_next_to_nothing_is_told_as_less(usd: float | None, text: str) -> None:
    """And what is unknown as unknown."""
    assert text == about_usd(usd)
