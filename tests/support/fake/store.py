"""All tables of all accounts, and the control plane over them."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from support.fake.errors import FakeError, invalid, not_found
from support.fake.plan import FaultPlan
from support.fake.stream import VIEWS
from support.fake.streams import Streams
from support.fake.table import Table

_DESCRIBED: Final = (
    "AttributeDefinitions",
    "KeySchema",
    "OnDemandThroughput",
    "WarmThroughput",
    "DeletionProtectionEnabled",
)
_INDEXES: Final = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")


class Store:
    """The tables, by account and name; every operation is `name(account, region, request)`."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.tables: dict[tuple[str, str], Table] = {}
        self.streams = Streams(plan.streams)

    def limit(self, plan: FaultPlan) -> None:
        """Holds all tables to the limits of this plan."""
        self.plan = plan
        self.streams.limit(plan.streams)
        for table in self.tables.values():
            table.limit(plan)

    def table(self, account: str, name: str) -> Table:
        """The table for the data plane; `name` may be an ARN of the same account."""
        table = self.tables.get((account, _short(name)))
        if table is None:
            raise not_found()
        table.require_active()
        return table

    def _known(self, account: str, name: str) -> Table:
        table = self.tables.get((account, _short(name)))
        if table is None:
            raise not_found(f": Table: {name} not found")
        return table

    def create_table(self, account: str, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """CreateTable; the table is usable after the plan's `creating_seconds`."""
        name = request["TableName"]
        if not _NAME.fullmatch(name):
            raise invalid(
                f"1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint"
            )
        if (account, name) in self.tables:
            raise FakeError("ResourceInUseException", f"Table already exists: {name}")
        on_demand = request.get("BillingMode") == "PAY_PER_REQUEST"
        if on_demand == ("ProvisionedThroughput" in request):
            raise invalid(
                "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must be "
                "specified when BillingMode is PROVISIONED, and neither when it is PAY_PER_REQUEST"
            )
        arn = f"arn:aws:dynamodb:{region}:{account}:table/{name}"
        table = self.tables[account, name] = Table(request, arn=arn, plan=self.plan)
        if request.get("StreamSpecification", {}).get("StreamEnabled"):
            self._stream(table, request["StreamSpecification"])
        return {"TableDescription": _description(table)}

    def update_table(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """UpdateTable, which can enable and disable the stream."""
        table = self._known(account, request["TableName"])
        if set(request) != {"TableName", "StreamSpecification"}:
            raise invalid(f"the fake's UpdateTable changes the stream alone: {sorted(request)}")
        self._stream(table, request["StreamSpecification"])
        return {"TableDescription": _description(table)}

    def _stream(self, table: Table, wanted: dict[str, Any]) -> None:
        """Enables or disables the stream, once."""
        enabled = table.stream is not None and table.stream.enabled
        if wanted["StreamEnabled"] == enabled:
            state = "already has an enabled stream" if enabled else "has no stream to disable"
            raise invalid(f"Table {state}: TableName: {table.definition['TableName']}")
        if table.stream is not None and enabled:
            table.stream.disable()
        elif wanted.get("StreamViewType") not in VIEWS:
            raise invalid("One or more parameter values were invalid: StreamViewType is required")
        else:
            table.stream = self.streams.enable(table.arn, table.definition, wanted["StreamViewType"])

    def describe_table(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeTable; counts and sizes are live, where AWS's are hours old."""
        return {"Table": _description(self._known(account, request["TableName"]))}

    def delete_table(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DeleteTable, at once."""
        table = self._known(account, request["TableName"])
        if table.definition.get("DeletionProtectionEnabled"):
            raise invalid("Resource cannot be deleted as it is currently protected against deletion.")
        description = _description(table) | {"TableStatus": "DELETING"}
        if table.stream is not None and table.stream.enabled:
            table.stream.disable()
        del self.tables[account, _short(request["TableName"])]
        return {"TableDescription": description}

    def list_tables(self, account: str, _region: str, _request: dict[str, Any]) -> dict[str, Any]:
        """ListTables, on one page."""
        return {"TableNames": sorted(name for owner, name in self.tables if owner == account)}

    def describe_time_to_live(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeTimeToLive."""
        return {"TimeToLiveDescription": self._known(account, request["TableName"]).time_to_live}

    def update_time_to_live(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """UpdateTimeToLive; items never expire here."""
        wanted = request["TimeToLiveSpecification"]
        table = self._known(account, request["TableName"])
        on = {"TimeToLiveStatus": "ENABLED", "AttributeName": wanted["AttributeName"]}
        table.time_to_live = on if wanted["Enabled"] else {"TimeToLiveStatus": "DISABLED"}
        return {"TimeToLiveSpecification": wanted}

    def describe_continuous_backups(
        self, account: str, _region: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        """DescribeContinuousBackups: point-in-time recovery is off."""
        self._known(account, request["TableName"])
        recovery = {"PointInTimeRecoveryStatus": "DISABLED"}
        return {
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": recovery,
            }
        }

    def list_tags_of_resource(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """ListTagsOfResource, on one page."""
        return {"Tags": self._known(account, request["ResourceArn"]).tags}

    def tag_resource(self, account: str, _region: str, request: dict[str, Any]) -> dict[str, Any]:
        """TagResource."""
        table = self._known(account, request["ResourceArn"])
        new = {tag["Key"] for tag in request["Tags"]}
        table.tags = [tag for tag in table.tags if tag["Key"] not in new] + request["Tags"]
        return {}

    def control(self, operation: str, account: str, region: str, body: bytes) -> dict[str, Any]:
        """Runs a control-plane operation by its name on the wire."""
        method = getattr(self, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), None)
        if method is None:
            raise FakeError("UnknownOperationException", f"the fake has no {operation}")
        try:
            answer: dict[str, Any] = method(account, region, msgspec.json.decode(body))
        except (KeyError, TypeError, msgspec.DecodeError) as error:
            raise FakeError("SerializationException", f"{type(error).__name__}: {error}") from error
        return answer


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _description(table: Table) -> dict[str, Any]:
    wanted = table.definition
    described: dict[str, Any] = {name: wanted[name] for name in _DESCRIBED if name in wanted}
    throughput = wanted.get("ProvisionedThroughput") or {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
    described |= {
        "TableName": wanted["TableName"],
        "TableStatus": "CREATING" if table.creating else "ACTIVE",
        "TableArn": table.arn,
        "TableId": table.id,
        "CreationDateTime": table.created,
        "ItemCount": table.count,
        "TableSizeBytes": table.bytes,
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0} | throughput,
        "DeletionProtectionEnabled": wanted.get("DeletionProtectionEnabled", False),
    }
    if table.stream is not None:
        described |= {"LatestStreamArn": table.stream.arn, "LatestStreamLabel": table.stream.label}
        if table.stream.enabled:
            described["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream.view}
    if table.on_demand:
        described["BillingModeSummary"] = {"BillingMode": "PAY_PER_REQUEST"}
    if "TableClass" in wanted:
        described["TableClassSummary"] = {"TableClass": wanted["TableClass"]}
    if wanted.get("SSESpecification", {}).get("Enabled"):
        described["SSEDescription"] = {"Status": "ENABLED", "SSEType": "KMS"}
    for kind in _INDEXES:
        if kind in wanted:
            described[kind] = [_index(index, table, kind) for index in wanted[kind]]
    return described


def _index(index: dict[str, Any], table: Table, kind: str) -> dict[str, Any]:
    described = index | {
        "IndexArn": f"{table.arn}/index/{index['IndexName']}",
        "ItemCount": 0,
        "IndexSizeBytes": 0,
    }
    if kind == _INDEXES[0]:
        throughput = index.get("ProvisionedThroughput") or {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
        described |= {
            "IndexStatus": "ACTIVE",
            "ProvisionedThroughput": {"NumberOfDecreasesToday": 0} | throughput,
        }
    return described
