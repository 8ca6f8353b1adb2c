"""A table's definition as a flat map, whether it comes from a manifest or from the destination.

The map goes from setting to value. A setting is `kind` or `kind:name` (`time_to_live`, `global_index:by-date`,
`tag:team`); settings that are off or absent have no entry. Definitions are compared as maps, and settings that the
destination lacks are applied by kind.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ddb_shared.table.settings import Setting
from ddb_shared.times import now_text

ON_DEMAND: Final = "PAY_PER_REQUEST"
PROVISIONED: Final = "PROVISIONED"
_ON: Final = frozenset({"ENABLED", "ENABLING", "ACTIVE", "UPDATING"})

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """Values by setting, and the reasons for kinds that could not be read."""

    values: Values
    unknown: dict[str, str] = field(default_factory=dict)


def kind_of(setting: str) -> str:
    """The kind of a setting, such as `tag` for `tag:team`."""
    return setting.partition(":")[0]


def spec_of(description: Mapping[str, Any], settings: Mapping[str, Setting]) -> TableSpec:
    """The spec of a table from its description and the settings of `read_settings`."""
    values = dict(_of_description(description))
    unknown = {}
    for name, convert in _CONVERSIONS.items():
        setting = settings.get(name, Setting(unknown="not recorded"))
        if setting.unknown:
            unknown[_KINDS[name]] = setting.unknown
        elif setting.value is not None:
            values |= dict(convert(setting.value, description["TableName"]))
    return TableSpec(values, unknown)


def billing_mode_of(description: Mapping[str, Any]) -> str:
    """The billing mode; the member is absent for tables that were never on-demand."""
    return str(description.get("BillingModeSummary", {}).get("BillingMode") or PROVISIONED)


def _of_description(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    provisioned = billing_mode_of(table) == PROVISIONED
    yield "key", _key(table, types)
    yield "billing_mode", billing_mode_of(table)
    yield from (("capacity", units) for units in _capacity(table, provisioned=provisioned))
    for index in table.get("LocalSecondaryIndexes", ()):
        yield f"local_index:{index['IndexName']}", _index(index, types)
    for index in table.get("GlobalSecondaryIndexes", ()):
        if index.get("IndexStatus") != "DELETING":
            capacity = next(_capacity(index, provisioned=provisioned), None)
            units = {"capacity": capacity} if capacity else {}
            yield f"global_index:{index['IndexName']}", _index(index, types) | units
    for index in table.get("VectorIndexes", ()):
        yield f"vector_index:{index['IndexName']}", _vector_index(index, types)
    if table.get("StreamSpecification", {}).get("StreamEnabled"):
        yield "stream", table["StreamSpecification"]["StreamViewType"]
    if table.get("SSEDescription", {}).get("Status") in _ON:
        yield "encryption", table["SSEDescription"].get("KMSMasterKeyArn", "")
    if table.get("TableClassSummary", {}).get("TableClass", "STANDARD") != "STANDARD":
        yield "table_class", table["TableClassSummary"]["TableClass"]
    if table.get("DeletionProtectionEnabled"):
        yield "deletion_protection", True
    for replica in table.get("Replicas", ()):
        yield f"replica:{replica['RegionName']}", replica.get("ReplicaStatus", "")


def _key(entry: Mapping[str, Any], types: Mapping[str, str]) -> list[list[str]]:
    """Key elements as [attribute, type, role]; their order matters for keys of several attributes."""
    return [
        [element["AttributeName"], types[element["AttributeName"]], element["KeyType"]]
        for element in entry["KeySchema"]
    ]


def _index(index: Mapping[str, Any], types: Mapping[str, str]) -> Values:
    return {"key": _key(index, types), "projection": _projection(index)}


def _projection(index: Mapping[str, Any]) -> Values:
    projection = index.get("Projection", {})
    result: Values = {"type": projection.get("ProjectionType", "ALL")}
    if result["type"] == "INCLUDE":
        result["attributes"] = sorted(projection["NonKeyAttributes"])  # their order has no meaning
    return result


def _capacity(entry: Mapping[str, Any], *, provisioned: bool) -> Iterator[Values]:
    """Units of a table or an index, if any: AWS uses 0/0 and -1 for none."""
    if provisioned:
        members = entry.get("ProvisionedThroughput", {})
        names = ("ReadCapacityUnits", "WriteCapacityUnits")
    else:
        members = entry.get("OnDemandThroughput", {})
        names = ("MaxReadRequestUnits", "MaxWriteRequestUnits")
    units = {name: members[name] for name in names if members.get(name, 0) > 0}
    if units:
        yield units


def _vector_index(index: Mapping[str, Any], types: Mapping[str, str]) -> Values:
    schema = index.get("SearchSchema", [])
    members = ("VectorAttribute", "SearchSchema", "Dimensions", "DistanceFunction")
    used = [entry["AttributeName"] for entry in schema]
    return {
        **{name: index[name] for name in members if name in index},
        "projection": _projection(index),
        "types": {name: types[name] for name in used if name in types},
    }


def _time_to_live(value: Any, _: str) -> Iterator[tuple[str, Any]]:
    if value.get("TimeToLiveStatus") in _ON:
        yield "time_to_live", value["AttributeName"]


def _backups(value: Any, _: str) -> Iterator[tuple[str, Any]]:
    if value.get("PointInTimeRecoveryStatus") in _ON:
        # 35 days is the default retention.
        yield "point_in_time_recovery", value.get("RecoveryPeriodInDays", 35)


def _tags(value: Any, _: str) -> Iterator[tuple[str, Any]]:
    for tag in value:
        if not tag["Key"].startswith("aws:"):  # only AWS can set these
            yield f"tag:{tag['Key']}", tag["Value"]


def _policy(name: str) -> Any:
    def convert(value: Any, _: str) -> Iterator[tuple[str, Any]]:
        yield name, value

    return convert


def _kinesis(value: Any, _: str) -> Iterator[tuple[str, Any]]:
    for destination in value:
        if destination.get("DestinationStatus") in _ON:
            yield (
                f"kinesis_destination:{destination['StreamArn']}",
                destination.get("ApproximateCreationDateTimePrecision", "MILLISECOND"),
            )


def _insights(value: Any, _: str) -> Iterator[tuple[str, Any]]:
    for entry in value:
        if entry.get("ContributorInsightsStatus") in _ON:
            mode = entry.get("ContributorInsightsMode", "ACCESSED_AND_THROTTLED_KEYS")
            index = f":{entry['IndexName']}" if "IndexName" in entry else ""
            yield f"contributor_insights{index}", mode


def _scaling(kind: str, name: str, members: tuple[str, ...]) -> Any:
    """Targets, policies and actions, with the resource relative to the table: "" or "/index/by-date"."""

    def convert(value: Any, table: str) -> Iterator[tuple[str, Any]]:
        for entry in value:
            resource = entry["ResourceId"].removeprefix(f"table/{table}")
            where = f"{resource} {entry['ScalableDimension']} {entry.get(name, '')}".strip()
            desired = {member: entry[member] for member in members if member in entry}
            yield f"{kind}:{where}", {"resource": resource, **desired}

    return convert


def _scheduled(value: Any, table: str) -> Iterator[tuple[str, Any]]:
    """Actions with their start and end. A start that has passed says nothing any more; after its end an action never runs."""
    members = ("ScheduledActionName", "ScalableDimension", "Schedule", "Timezone", "ScalableTargetAction")
    convert = _scaling("scheduled_action", "ScheduledActionName", (*members, "StartTime", "EndTime"))
    now = now_text()  # text of RFC 3339 in UTC sorts as the times do
    for setting, action in convert(value, table):
        expired = "EndTime" in action and action["EndTime"] <= now
        started = {"StartTime"} if action.get("StartTime", now) <= now else set()
        kept = {name: member for name, member in action.items() if name not in started}
        yield (f"expired_{setting}", action) if expired else (setting, kept)


_CONVERSIONS: Final = {
    "time_to_live": _time_to_live,
    "point_in_time_recovery": _backups,
    "tags": _tags,
    "resource_policy": _policy("resource_policy"),
    "stream_policy": _policy("stream_policy"),
    "kinesis_destinations": _kinesis,
    "contributor_insights": _insights,
    # without the role: it is a service-linked role of each account
    "scalable_targets": _scaling(
        "scalable_target", "", ("ScalableDimension", "MinCapacity", "MaxCapacity", "SuspendedState")
    ),
    "scaling_policies": _scaling(
        "scaling_policy",
        "PolicyName",
        ("PolicyName", "ScalableDimension", "PolicyType", "TargetTrackingScalingPolicyConfiguration"),
    ),
    "scheduled_actions": _scheduled,
}
_KINDS: Final = {
    name: {
        "tags": "tag",
        "kinesis_destinations": "kinesis_destination",
        "scalable_targets": "scalable_target",
        "scaling_policies": "scaling_policy",
        "scheduled_actions": "scheduled_action",
    }.get(name, name)
    for name in _CONVERSIONS
}
