"""The settings of a table that DescribeTable does not return: time to live, backups, tags, autoscaling, policies, destinations.

A setting that could not be read, for lack of permission or because the service does not support it, is recorded as
unknown with the reason; it never counts as absent. Values are AWS's own members as JSON, as each call documents them:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ddb_shared.errors import CREDENTIAL_CODES, DENIED_CODES, EXPIRED_CODES, map_errors
from ddb_shared.permissions import denied_action
from ddb_shared.table.description import Table, plain

# ListTagsOfResource allows 10 calls per second, the others more. Four at a time read a table in a second.
_READERS: Final = 4


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One setting: AWS's members (null if not set), or the reason why it is unknown."""

    value: Any = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """The two services that hold the settings of tables; `account` is the caller's, empty if unknown.

    Application Auto Scaling takes no ARNs: it knows the caller's own tables alone, by name.
    """

    dynamodb: Any
    autoscaling: Any
    account: Callable[[], str] = str

    def may_scale(self, table: Table) -> bool:
        """Whether autoscaling is asked about this very table, not about the caller's own one of the same name."""
        return not table.address.startswith("arn:") or table.account == self.account()


def read_settings(clients: Clients, table: Table) -> dict[str, Setting]:
    """Every setting of the table, by the names in `READS`; raises AccessError only for invalid credentials."""
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(READS, pool.map(lambda name: read_setting(clients, table, name), READS), strict=True))


def unknown_settings(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Why each setting that could not be read is unknown, by name."""
    return {name: setting.unknown for name, setting in settings.items() if setting.unknown}


def read_setting(clients: Clients, table: Table, name: str) -> Setting:
    """A setting, known or not. It is also unknown if a private network has no access to the autoscaling service."""
    if name in AUTOSCALING and not clients.may_scale(table):
        return Setting(unknown="autoscaling is set in the table's own account")
    with map_errors(f"read the settings of table {table.name}"):
        try:
            return Setting(plain(READS[name](clients, table)))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in EXPIRED_CODES | CREDENTIAL_CODES:
                raise
            return Setting(unknown=_reason(error, code))
        except BotoCoreError as error:
            return Setting(unknown=str(error))


def _reason(error: ClientError, code: str) -> str:
    detail = error.response.get("Error", {}).get("Message") or f"HTTP {code}"
    if code in DENIED_CODES:
        return f"the permission {denied_action(detail, error.operation_name)} is missing: {detail}"
    return f"{error.operation_name} is refused: {detail}"


Read = Callable[[Clients, Table], Any]


def _time_to_live(clients: Clients, table: Table) -> Any:
    return clients.dynamodb.describe_time_to_live(TableName=table.address)["TimeToLiveDescription"]


def _backups(clients: Clients, table: Table) -> Any:
    response = clients.dynamodb.describe_continuous_backups(TableName=table.address)
    return response["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})


def _tags(clients: Clients, table: Table) -> Any:
    pages = clients.dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=table.arn)
    return [tag for page in pages for tag in page.get("Tags", ())]


def _kinesis(clients: Clients, table: Table) -> Any:
    response = clients.dynamodb.describe_kinesis_streaming_destination(TableName=table.address)
    return response.get("KinesisDataStreamDestinations", [])


def _resource_policy(clients: Clients, table: Table) -> Any:
    return _policy_of(clients, table.arn)


def _stream_policy(clients: Clients, table: Table) -> Any:
    arn = table.definition.get("LatestStreamArn") if table.definition.get("StreamSpecification") else None
    return _policy_of(clients, arn) if arn else None


def _policy_of(clients: Clients, arn: str) -> Any:
    try:
        return msgspec.json.decode(clients.dynamodb.get_resource_policy(ResourceArn=arn)["Policy"])
    except clients.dynamodb.exceptions.PolicyNotFoundException:
        return None


def _insights(clients: Clients, table: Table) -> Any:
    responses = [clients.dynamodb.describe_contributor_insights(TableName=table.address)]
    responses += [
        clients.dynamodb.describe_contributor_insights(TableName=table.address, IndexName=index)
        for index in table.index_names
    ]
    members = ("IndexName", "ContributorInsightsStatus", "ContributorInsightsMode")
    return [{name: response[name] for name in members if response.get(name)} for response in responses]


def resource_ids(table: Table) -> list[str]:
    """The table and its global indexes as Application Auto Scaling names them."""
    return [f"table/{table.name}"] + [f"table/{table.name}/index/{index}" for index in table.index_names]


def _targets(clients: Clients, table: Table) -> Any:
    pages = clients.autoscaling.get_paginator("describe_scalable_targets").paginate(
        ServiceNamespace="dynamodb", ResourceIds=resource_ids(table)
    )
    return [target for page in pages for target in page["ScalableTargets"]]


def _scaling(operation: str, member: str) -> Read:
    def read(clients: Clients, table: Table) -> Any:
        paginator = clients.autoscaling.get_paginator(operation)
        return [
            entry
            for resource in resource_ids(table)
            for page in paginator.paginate(ServiceNamespace="dynamodb", ResourceId=resource)
            for entry in page[member]
        ]

    return read


AUTOSCALING: Final = frozenset({"scalable_targets", "scaling_policies", "scheduled_actions"})
READS: Final[Mapping[str, Read]] = {
    "time_to_live": _time_to_live,
    "point_in_time_recovery": _backups,
    "tags": _tags,
    "resource_policy": _resource_policy,
    "stream_policy": _stream_policy,
    "kinesis_destinations": _kinesis,
    "contributor_insights": _insights,
    "scalable_targets": _targets,
    "scaling_policies": _scaling("describe_scaling_policies", "ScalingPolicies"),
    "scheduled_actions": _scaling("describe_scheduled_actions", "ScheduledActions"),
}
