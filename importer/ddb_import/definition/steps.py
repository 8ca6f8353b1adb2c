"""The settings applied to the destination's table after the load, one step for each kind.

Before the load, time to live would delete items, a stream would deliver the whole load to its readers, and autoscaling
would follow the load. Each step sets only what the table lacks, so running the steps again completes an interrupted run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from ddb_import.definition.create_request import attribute_definitions, global_index, vector_index
from ddb_import.definition.desired import rename_stream
from ddb_shared.errors import TableError, map_errors
from ddb_shared.table.settings import Clients

# AWS accepts one change of a table at a time, and point-in-time recovery only some time after the creation.
_BUSY: Final = frozenset(
    {"ResourceInUseException", "LimitExceededException", "ContinuousBackupsUnavailableException"}
)
_BUSY_TRIES: Final = 30
_WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """The table to complete; `table` is the TableName of requests. `stopped` ends waits early."""

    clients: Clients
    table: str
    name: str
    arn: str
    billing_mode: str
    stopped: Callable[[], bool]
    sleep: Callable[[float], None] = time.sleep

    @property
    def dynamodb(self) -> Any:
        """DynamoDB's control plane."""
        return self.clients.dynamodb


Step = Callable[[Target, Mapping[str, Any]], None]


def wait_active(target: Target) -> dict[str, Any]:
    """Waits until the table and its indexes are ACTIVE, and returns its description; indexes can take hours."""
    with map_errors(f"wait for table {target.table}"):
        while True:
            description: dict[str, Any] = target.dynamodb.describe_table(TableName=target.table)["Table"]
            if _is_active(description) or target.stopped():
                return description
            if description["TableStatus"] not in {"CREATING", "UPDATING", "ACTIVE"}:
                raise TableError(f"Table {target.table} is {description['TableStatus']}.")
            target.sleep(_WAIT_SECONDS)


def _is_active(description: Mapping[str, Any]) -> bool:
    indexes = [*description.get("GlobalSecondaryIndexes", ()), *description.get("VectorIndexes", ())]
    return description["TableStatus"] == "ACTIVE" and all(
        index.get("IndexStatus", "ACTIVE") == "ACTIVE" and not index.get("Backfilling") for index in indexes
    )


def retry_while_busy(target: Target, call: Callable[..., Any], **request: Any) -> None:
    """Makes a call, and repeats it while the table is busy with an earlier change."""
    for attempt in range(_BUSY_TRIES):
        try:
            call(**request)
        except ClientError as error:
            last = attempt == _BUSY_TRIES - 1 or target.stopped()
            if last or error.response["Error"]["Code"] not in _BUSY:
                raise
            target.sleep(_WAIT_SECONDS)
        else:
            return


def _update(target: Target, **request: Any) -> None:
    retry_while_busy(target, target.dynamodb.update_table, TableName=target.table, **request)
    wait_active(target)


def _global_indexes(target: Target, values: Mapping[str, Any]) -> None:
    for name, index in values.items():
        create = global_index(_name_of(name), index, target.billing_mode)
        _update(
            target,
            AttributeDefinitions=attribute_definitions([index["key"]]),
            GlobalSecondaryIndexUpdates=[{"Create": create}],
        )


def _vector_indexes(target: Target, values: Mapping[str, Any]) -> None:
    for name, index in values.items():
        types = [{"AttributeName": n, "AttributeType": t} for n, t in index["types"].items()]
        definitions = {"AttributeDefinitions": types} if types else {}
        _update(target, **definitions, VectorIndexUpdates=[{"Create": vector_index(_name_of(name), index)}])


def _stream(target: Target, values: Mapping[str, Any]) -> None:
    for view in values.values():
        _update(target, StreamSpecification={"StreamEnabled": True, "StreamViewType": view})


def _tags(target: Target, values: Mapping[str, Any]) -> None:
    tags = [{"Key": _name_of(name), "Value": value} for name, value in values.items()]
    retry_while_busy(target, target.dynamodb.tag_resource, ResourceArn=target.arn, Tags=tags)


def _backups(target: Target, values: Mapping[str, Any]) -> None:
    for days in values.values():
        retry_while_busy(
            target,
            target.dynamodb.update_continuous_backups,
            TableName=target.table,
            PointInTimeRecoverySpecification={
                "PointInTimeRecoveryEnabled": True,
                "RecoveryPeriodInDays": days,
            },
        )


def _insights(target: Target, values: Mapping[str, Any]) -> None:
    for name, mode in values.items():
        index = {"IndexName": _name_of(name)} if _name_of(name) else {}
        retry_while_busy(
            target,
            target.dynamodb.update_contributor_insights,
            TableName=target.table,
            ContributorInsightsAction="ENABLE",
            ContributorInsightsMode=mode,
            **index,
        )


def _scaling(operation: str) -> Step:
    def apply(target: Target, values: Mapping[str, Any]) -> None:
        call = getattr(target.clients.autoscaling, operation)
        for value in values.values():
            members = {name: member for name, member in value.items() if name != "resource"}
            resource = f"table/{target.name}{value['resource']}"
            retry_while_busy(target, call, ServiceNamespace="dynamodb", ResourceId=resource, **members)

    return apply


def _table_class(target: Target, values: Mapping[str, Any]) -> None:
    for table_class in values.values():
        _update(target, TableClass=table_class)


def _time_to_live(target: Target, values: Mapping[str, Any]) -> None:
    for attribute in values.values():
        retry_while_busy(
            target,
            target.dynamodb.update_time_to_live,
            TableName=target.table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute},
        )


def _resource_policy(target: Target, values: Mapping[str, Any]) -> None:
    for policy in values.values():
        _put_policy(target, target.arn, policy)


def _stream_policy(target: Target, values: Mapping[str, Any]) -> None:
    arn = str(wait_active(target).get("LatestStreamArn", ""))
    for policy in values.values() if arn else ():
        _put_policy(target, arn, rename_stream(policy, arn))


def _put_policy(target: Target, arn: str, policy: Any) -> None:
    text = msgspec.json.encode(policy).decode()
    retry_while_busy(target, target.dynamodb.put_resource_policy, ResourceArn=arn, Policy=text)


def _deletion_protection(target: Target, _: Mapping[str, Any]) -> None:
    _update(target, DeletionProtectionEnabled=True)


# In this order: slow changes first, changes that are hard to undo last.
STEPS: Final[Mapping[str, Step]] = {
    "global_index": _global_indexes,
    "vector_index": _vector_indexes,
    "stream": _stream,
    "tag": _tags,
    "point_in_time_recovery": _backups,
    "contributor_insights": _insights,
    "scalable_target": _scaling("register_scalable_target"),
    "scaling_policy": _scaling("put_scaling_policy"),
    "scheduled_action": _scaling("put_scheduled_action"),
    "time_to_live": _time_to_live,
    "stream_policy": _stream_policy,
    "resource_policy": _resource_policy,
    "deletion_protection": _deletion_protection,
}
APPLIED: Final = frozenset(STEPS)
# What a table lacks besides that ImportTable has made; of another table, it is the table's own.
AFTER_IMPORT: Final[Mapping[str, Step]] = {"table_class": _table_class}


def _name_of(setting: str) -> str:
    return setting.partition(":")[2]
