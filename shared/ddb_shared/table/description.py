"""A table as DescribeTable describes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from ddb_shared.errors import AccessError, TableError, map_errors

# The key attributes after which a scan continues (LastEvaluatedKey), as DynamoDB JSON.
LastKey = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One key attribute: its name, its type (S, N or B) and its role (HASH or RANGE)."""

    name: str
    type: str
    role: str

    def __str__(self) -> str:
        kind = "partition key" if self.role == "HASH" else "sort key"
        return f"{kind} {self.name} ({self.type})"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is now; its sizes are up to about six hours old (documentation of DescribeTable).

    `address` is the TableName of requests: the ARN if the user gave one, since the table may belong to another account.
    """

    name: str
    arn: str
    id: str
    account: str
    region: str
    status: str
    key: tuple[KeyAttribute, ...]
    item_count: int
    size_bytes: int
    on_demand: bool
    read_units: int
    write_units: int
    definition: dict[str, Any] = field(compare=False, hash=False)
    address: str = ""

    @property
    def key_names(self) -> tuple[str, ...]:
        """Partition key first."""
        return tuple(attribute.name for attribute in self.key)

    @property
    def index_names(self) -> list[str]:
        """The global secondary indexes."""
        return [index["IndexName"] for index in self.definition.get("GlobalSecondaryIndexes", ())]

    @property
    def index_count(self) -> int:
        """The number of all secondary indexes."""
        return len(self.index_names) + len(self.definition.get("LocalSecondaryIndexes", ()))

    @property
    def table_class(self) -> str:
        """STANDARD if DescribeTable names none; prices depend on it."""
        return str(self.definition.get("TableClassSummary", {}).get("TableClass", "STANDARD"))

    def describe_key(self) -> str:
        """The key schema in words."""
        return ", ".join(map(str, self.key))


def find(client: Any, name_or_arn: str) -> Table | None:
    """The table; None if it does not exist."""
    with _names_table(client, name_or_arn), map_errors(f"describe table {name_or_arn}"):
        try:
            table = from_description(client.describe_table(TableName=name_or_arn)["Table"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return None
    if not name_or_arn.startswith("arn:"):
        return table
    if table.arn != name_or_arn:
        raise TableError(
            f"DescribeTable returned {table.arn} for {name_or_arn}.",
            "The endpoint does not resolve ARNs of other accounts: use credentials of the table's account, and its name.",
        )
    return replace(table, address=name_or_arn)


@contextmanager
def _names_table(client: Any, name_or_arn: str) -> Iterator[None]:
    """A policy for one table denies a misspelt one, and one in another Region: whoever is denied looks at these first."""
    try:
        yield
    except AccessError as error:
        if "AccessDenied" not in error.message:  # such as expired credentials
            raise
        region = client.meta.region_name
        error.reword(
            error.message,
            f"Check the table's name ({name_or_arn}) and the Region ({region}): policies of ddb-policy allow one table in one Region.\n"
            f"{error.remedy}",
        )
        raise


def describe(client: Any, name_or_arn: str) -> Table:
    """The table; raises TableError if it does not exist."""
    table = find(client, name_or_arn)
    if table is None:
        raise TableError(
            f"Table {name_or_arn} does not exist in region {client.meta.region_name} of this account.",
            "Check the name, the account (--profile, --role-arn) and --region.",
        )
    return table


def from_description(description: dict[str, Any]) -> Table:
    """A table from the `Table` member of a DescribeTable response."""
    arn = description["TableArn"]
    _, _, _, region, account, _ = arn.split(":", 5)
    throughput = description.get("ProvisionedThroughput", {})
    # The member is absent for tables that were never on-demand.
    on_demand = description.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    created = description.get("CreationDateTime", "")
    return Table(
        name=description["TableName"],
        arn=arn,
        # DynamoDB Local returns no TableId; the creation time identifies a recreated table as well.
        id=description.get("TableId") or str(plain(created)),
        account=account,
        region=region,
        status=description["TableStatus"],
        key=key_of(description),
        item_count=description.get("ItemCount", 0),
        size_bytes=description.get("TableSizeBytes", 0),
        on_demand=on_demand,
        read_units=throughput.get("ReadCapacityUnits", 0),
        write_units=throughput.get("WriteCapacityUnits", 0),
        definition=plain(description),
        address=description["TableName"],
    )


def key_of(definition: dict[str, Any]) -> tuple[KeyAttribute, ...]:
    """The key attributes of a table definition, partition key first."""
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in definition["AttributeDefinitions"]}
    return tuple(
        KeyAttribute(entry["AttributeName"], types[entry["AttributeName"]], entry["KeyType"])
        for entry in sorted(definition["KeySchema"], key=lambda entry: str(entry["KeyType"]))
    )


def require_readable(table: Table) -> None:
    """Raises TableError unless items can be read and written."""
    if table.status not in {"ACTIVE", "UPDATING"}:
        raise TableError(
            f"Table {table.name} is {table.status}.", "Wait until it is ACTIVE, then run the command again."
        )


def plain(value: Any) -> Any:
    """A description as JSON can represent it: times become RFC 3339 text."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value
