"""What a run costs at list price: from AWS's Price List API where the caller may ask it, else from the list of the package.

The API takes no account of discounts, free tiers and taxes. https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ddb_shared.aws.clients import Aws
from ddb_shared.errors import TransferError, map_errors
from ddb_shared.report.page import Table
from ddb_shared.times import now_text

STANDARD: Final = "STANDARD"
_INFREQUENT: Final = "STANDARD_INFREQUENT_ACCESS"
_ON_DEMAND: Final = "Amazon DynamoDB PayPerRequest Throughput"
_REGION_CODE: Final = re.compile(r"^[A-Z]{2,4}[0-9]?-")
_FALLBACK: Final = "us-east-1"
# They have prices, and some of them a currency, of their own.
_OTHER_PARTITIONS: Final = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")
_LOG: Final = logging.getLogger(__name__)

# Products of the Price List: service, filters beside the Region, and the member of PriceList by `group` or `usagetype`.
_Product = tuple[str, dict[str, str], dict[str, str]]
_STORAGE: Final = {"productFamily": "Storage", "volumeType": "Standard", "storageClass": "General Purpose"}
_UNITS: Final = {
    STANDARD: {"DDB-ReadUnits": "read_unit", "DDB-WriteUnits": "write_unit"},
    _INFREQUENT: {"DDB-ReadUnitsIA": "read_unit", "DDB-WriteUnitsIA": "write_unit"},
}


class BundledPrices(msgspec.Struct, frozen=True, kw_only=True):
    """The list of the package, in US dollars by Region."""

    date: str
    source: str
    note: str
    regions: dict[str, dict[str, float]]


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """List prices of one Region in US dollars, each of a single unit; None if unknown. `source` says where they are from."""

    region: str
    source: str
    read_unit: float | None = None
    write_unit: float | None = None
    put: float | None = None
    get: float | None = None
    storage_gb_month: float | None = None


class NativePrices(msgspec.Struct, frozen=True, kw_only=True):
    """What DynamoDB's own exports, imports, restores and backups cost in one Region, in US dollars for each GB; None if unknown."""

    source: str
    export_gb: float | None = None
    increment_gb: float | None = None
    import_gb: float | None = None
    restore_gb: float | None = None
    pitr_gb_month: float | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a cost: so many of a unit; `usd` is None if the price is unknown."""

    what: str
    quantity: float
    unit: str
    usd: float | None

    def __str__(self) -> str:
        return f"{self.what}: {self.rounded():,} {self.unit}, {self.price()}"

    def rounded(self) -> float:
        """Whole units and requests, rounded up; gigabytes with three decimals where they tell something."""
        if self.unit != "GB":
            return math.ceil(self.quantity)
        return round(self.quantity, 3) if self.quantity < 100 else round(self.quantity)  # noqa: PLR2004

    def price(self) -> str:
        """In dollars, or that it is unknown."""
        return "price unknown" if self.usd is None else usd_text(self.usd)


def usd_text(usd: float) -> str:
    """`12.34 USD`, and `less than 0.01 USD` instead of nothing."""
    return "less than 0.01 USD" if 0 < usd < 0.005 else f"{usd:,.2f} USD"  # noqa: PLR2004 - what rounds to nothing


def about_usd(usd: float | None) -> str:
    """The same of an estimate; None is unknown."""
    if usd is None:
        return "unknown"
    text = usd_text(usd)
    return text if text.startswith("less") else f"about {text}"


def total_usd(costs: Iterable[Cost]) -> float | None:
    """The sum; None if a price is unknown."""
    known = [cost.usd for cost in costs]
    return None if None in known else sum(usd for usd in known if usd is not None)


def costs_table(costs: Sequence[Cost], source: str, note: str = "") -> Table:
    """The costs as a table of a report; `source` says where the prices are from, `note` what else there is to say."""
    total = total_usd(costs)
    rows = [(cost.what, cost.rounded(), cost.unit, cost.price()) for cost in costs]
    return Table(
        title="Cost at list price",
        head=("What", "Quantity", "Unit", "Price"),
        rows=[*rows, ("Total", "", "", "unknown" if total is None else usd_text(total))],
        note=f"Prices: {source}.{f' {note}' if note else ''}",
    )


def capacity_cost(prices: PriceList, kind: str, units: float, *, on_demand: bool, indexes: int = 0) -> Cost:
    """Units of a table on demand; `kind` is Read or Write. Provisioned capacity is charged by the hour, used or not."""
    price = prices.read_unit if kind == "Read" else prices.write_unit
    with_indexes = f", those of {indexes} indexes included" if indexes else ""
    if not on_demand:
        what = f"{kind} units of provisioned capacity, which is charged in any case{with_indexes}"
        return Cost(what=what, quantity=units, unit="units", usd=0.0)
    usd = None if price is None else units * price
    return Cost(what=f"{kind} units on demand{with_indexes}", quantity=units, unit="units", usd=usd)


def s3_costs(
    prices: PriceList, *, puts: float = 0, gets: float = 0, stored_gb: float | None = None
) -> list[Cost]:
    """Requests to S3, and storage for a month."""
    lines = [
        ("S3 requests (PUT, LIST)", puts, "requests", prices.put),
        ("S3 requests (GET)", gets, "requests", prices.get),
    ]
    if stored_gb is not None:
        lines.append(("S3 Standard storage, each month", stored_gb, "GB", prices.storage_gb_month))
    return [
        Cost(what=what, quantity=quantity, unit=unit, usd=None if price is None else quantity * price)
        for what, quantity, unit, price in lines
        if quantity
    ]


def price_list(aws: Aws, region: str, table_class: str = STANDARD) -> PriceList:
    """The prices of a Region: AWS's own if the caller may ask for them, else those of the package."""
    if not aws.has_price_list:
        return bundled(region, table_class, "this is not an AWS endpoint")
    try:
        with map_errors("read AWS's price list"):
            found = dict(_found(aws, region, table_class))
    except TransferError as error:
        _LOG.info("%s", error)
        return bundled(region, table_class, "the Price List API (pricing:GetProducts) could not be asked")
    if "read_unit" not in found:
        return bundled(region, table_class, f"the Price List API knows no price in USD for {region}")
    return PriceList(region=region, source=f"AWS Price List API, {now_text()[:10]}", **found)


# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CostOptimization_TableLevelCostAnalysis.html and the usage types
# of the Cost and Usage Report; their unit is the GB, whatever their names say.
_NATIVE_USAGE: Final = {
    "ExportDataSize-Bytes": "export_gb",
    "IncrementalExportDataSize-Bytes": "increment_gb",
    "ImportDataSize-Bytes": "import_gb",
    "RestoreDataSize-Bytes": "restore_gb",
    "TimedPITRStorage-ByteHrs": "pitr_gb_month",
}


def native_prices(aws: Aws, region: str) -> NativePrices:
    """The prices of DynamoDB's own jobs: AWS's own if the caller may ask for them, else those of the package."""
    found: dict[str, float] = {}
    if aws.has_price_list:
        try:
            with map_errors("read AWS's price list"):
                for item in _products(aws, "AmazonDynamoDB", {"regionCode": region}):
                    usage = _REGION_CODE.sub("", item.product.attributes.get("usagetype", ""))
                    usd = item.usd()
                    if usage in _NATIVE_USAGE and usd is not None:
                        found[_NATIVE_USAGE[usage]] = usd
        except TransferError as error:
            _LOG.info("%s", error)
    if found:
        return NativePrices(source=f"AWS Price List API, {now_text()[:10]}", **found)
    known, source = _listed(region)
    return NativePrices(
        source=source,
        **{member: known[member] for member in _NATIVE_USAGE.values() if member in known},
    )


def bundled(region: str, table_class: str, why: str) -> PriceList:
    """The prices of the package, which say so where they are of another Region; other table classes than Standard are unknown."""
    prices, source = _listed(region)
    return PriceList(
        region=region,
        source=f"{source}, {'since' if prices else 'and'} {why}",
        read_unit=_part(prices, "read_million", 1e6) if table_class == STANDARD else None,
        write_unit=_part(prices, "write_million", 1e6) if table_class == STANDARD else None,
        put=_part(prices, "put_thousand", 1e3),
        get=_part(prices, "get_thousand", 1e3),
        storage_gb_month=prices.get("storage_gb_month"),
    )


def _listed(region: str) -> tuple[Mapping[str, float], str]:
    """The prices of the package for a Region, and what they are: those of us-east-1 where it lists none, which are often lower."""
    listed = load_prices()
    if region.startswith(_OTHER_PARTITIONS):
        return {}, f"unknown: {region} is not in the price list of ddb-transfer ({listed.source})"
    what = f"list prices of {listed.date} that come with ddb-transfer ({listed.source})"
    if region in listed.regions:
        return listed.regions[region], what
    return listed.regions[_FALLBACK], f"{_FALLBACK} list price; your Region ({region}) may differ: {what}"


def _part(prices: Mapping[str, float], name: str, count: float) -> float | None:
    return prices[name] / count if name in prices else None


def warming_note(units: int, region: str) -> str:
    """The one-time charge for warm throughput of `units` write units per second above the default, indexes included."""
    prices = load_prices()
    price = prices.regions.get(region, {}).get("warm_write_unit")
    cost = (
        f"the price in {region} is not in the price list of ddb-transfer; see {prices.source}"
        if price is None
        else f"{units * price:,.2f} USD at {price} USD each, list price in {region} of {prices.date} ({prices.source})"
    )
    return f"Warm throughput is charged once, for {units:,} write units per second above the default of table and indexes: {cost}"


def load_prices() -> BundledPrices:
    """The price list of the package."""
    from importlib import resources  # noqa: PLC0415 - 15 ms that `--help` does without

    data = resources.files("ddb_shared.command").joinpath("prices.json").read_bytes()
    return msgspec.json.decode(data, type=BundledPrices)


class _Dimension(msgspec.Struct, frozen=True, rename="camel"):
    """One price of a product: storage and requests may have several, by quantity."""

    price_per_unit: dict[str, str]


class _Term(msgspec.Struct, frozen=True, rename="camel"):
    price_dimensions: dict[str, _Dimension]


class _Terms(msgspec.Struct, frozen=True):
    on_demand: dict[str, _Term] = msgspec.field(name="OnDemand", default_factory=dict)


class _ProductOf(msgspec.Struct, frozen=True):
    attributes: dict[str, str]


class _PriceItem(msgspec.Struct, frozen=True):
    """One entry of GetProducts' PriceList, which is JSON in a string."""

    product: _ProductOf
    terms: _Terms

    def usd(self) -> float | None:
        """The price of one unit, of the most expensive tier; None if it is not in US dollars."""
        prices = [
            float(dimension.price_per_unit["USD"])
            for term in self.terms.on_demand.values()
            for dimension in term.price_dimensions.values()
            if "USD" in dimension.price_per_unit
        ]
        return max(prices, default=None)


def _found(aws: Aws, region: str, table_class: str) -> Iterator[tuple[str, float]]:
    """Members of PriceList with their prices, as far as the Price List has them."""
    products: list[_Product] = [
        ("AmazonDynamoDB", {"productFamily": _ON_DEMAND}, _UNITS.get(table_class, {})),
        ("AmazonS3", {"productFamily": "API Request", "group": "S3-API-Tier1"}, {"Requests-Tier1": "put"}),
        ("AmazonS3", {"productFamily": "API Request", "group": "S3-API-Tier2"}, {"Requests-Tier2": "get"}),
        ("AmazonS3", _STORAGE, {"TimedStorage-ByteHrs": "storage_gb_month"}),
    ]
    for service, filters, members in products:
        for item in _products(aws, service, {"regionCode": region, **filters}):
            attributes, usd = item.product.attributes, item.usd()
            usage = _REGION_CODE.sub("", attributes.get("usagetype", ""))  # EU-Requests-Tier1
            member = members.get(attributes.get("group", "")) or members.get(usage)
            if member is not None and usd is not None:
                yield member, usd


def _products(aws: Aws, service: str, filters: Mapping[str, str]) -> Iterator[_PriceItem]:
    pages = aws.pricing.get_paginator("get_products").paginate(
        ServiceCode=service,
        Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()],
    )
    for page in pages:
        for text in page["PriceList"]:
            yield msgspec.json.decode(text, type=_PriceItem)
