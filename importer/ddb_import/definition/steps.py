"""What is set on the destination's table after the load, kind by kind.

Time to live before the load would delete items; a stream would carry the whole load to its readers; autoscaling would
chase it. Each step sets only what the table lacks, so the same steps again finish what was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from ddb_import.definition.create_request import attribute_definitions, global_index, vector_index
from ddb_import.definition.wanted import rename_stream
from ddb_shared.definition import Clients
from ddb_shared.errors import TableError, explained

# AWS takes one change of a table at a time, and point-in-time recovery only a while after the creation.
_BUSY: Final = frozenset(
    {"ResourceInUseException", "LimitExceededException", "ContinuousBackupsUnavailableException"}
)
_BUSY_TRIES: Final = 30
_WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """The table that is completed. `stopped` ends waits early."""

    clients: Clients
    table: str
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
    """Waits until the table and its indexes are ACTIVE and returns its description; indexes can take hours."""
    with explained(f"wait for table {target.table}"):
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


def patiently(target: Target, call: Callable[..., Any], **request: Any) -> None:
    """Makes a call, again and again while the table is busy with an earlier one."""
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
    patiently(target, target.dynamodb.update_table, TableName=target.table, **request)
    wait_active(target)


def _global_indexes(target: Target, values: Mapping[str, Any]) -> None:
    for name, index in values.items():
        create = global_index(_rest(name), index, target.billing_mode)
        _update(
            target,
            AttributeDefinitions=attribute_definitions([index["key"]]),
            GlobalSecondaryIndexUpdates=[{"Create": create}],
        )


def _vector_indexes(target: Target, values: Mapping[str, Any]) -> None:
    for name, index in values.items():
        types = [{"AttributeName": n, "AttributeType": t} for n, t in index["types"].items()]
        definitions = {"AttributeDefinitions": types} if types else {}
        _update(target, **definitions, VectorIndexUpdates=[{"Create": vector_index(_rest(name), index)}])


def _stream(target: Target, values: Mapping[str, Any]) -> None:
    for view in values.values():
        _update(target, StreamSpecification={"StreamEnabled": True, "StreamViewType": view})


def _tags(target: Target, values: Mapping[str, Any]) -> None:
    tags = [{"Key": _rest(name), "Value": value} for name, value in values.items()]
    patiently(target, target.dynamodb.tag_resource, ResourceArn=target.arn, Tags=tags)


def _backups(target: Target, values: Mapping[str, Any]) -> None:
    for days in values.values():
        patiently(
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
        index = {"IndexName": _rest(name)} if _rest(name) else {}
        patiently(
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
            resource = f"table/{target.table}{value['resource']}"
            patiently(target, call, ServiceNamespace="dynamodb", ResourceId=resource, **members)

    return apply


def _time_to_live(target: Target, values: Mapping[str, Any]) -> None:
    for attribute in values.values():
        patiently(
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
    patiently(target, target.dynamodb.put_resource_policy, ResourceArn=arn, Policy=text)


def _deletion_protection(target: Target, _: Mapping[str, Any]) -> None:
    _update(target, DeletionProtectionEnabled=True)


# In this order: what takes long first, what makes a mistake hard to undo last.
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


def _rest(setting: str) -> str:
    return setting.partition(":")[2]
