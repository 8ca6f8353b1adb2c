"""The desired settings of the destination: the source's definition, adapted to the options and the other account."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_import.definition.table_spec import ON_DEMAND, PROVISIONED, TableSpec, Values, kind_of
from ddb_shared.errors import UsageError

# The AWS managed key of the destination's account, as replacement of a customer managed key.
AWS_KEY: Final = "alias/aws/dynamodb"
POLICIES: Final = ("resource_policy", "stream_policy")
_SCALING: Final = frozenset({"scalable_target", "scaling_policy", "scheduled_action"})


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """What identifies a table in policies: its ARN, its account, and the ARN of its stream if it has one."""

    arn: str
    account: str
    stream_arn: str = ""


def desired_spec(source: TableSpec, *, billing_mode: str | None, kms_keys: Mapping[str, str]) -> TableSpec:
    """The settings that the destination should have, with the source's ARNs; raises UsageError if options are missing."""
    values = dict(source.values)
    if billing_mode and billing_mode != values["billing_mode"]:
        values = _switch_billing_mode(values, billing_mode)
    if "encryption" in values:
        values["encryption"] = _map_key(values["encryption"], kms_keys)
    return TableSpec(values, source.unknown)


def desired_at(desired: TableSpec, source: TableIdentity, destination: TableIdentity) -> TableSpec:
    """The same with the policies adapted to the destination."""
    policies = {
        kind: rename_stream(rewrite(desired.values[kind], source, destination), destination.stream_arn)
        for kind in POLICIES
        if kind in desired.values
    }
    return TableSpec(desired.values | policies, desired.unknown)


def _switch_billing_mode(values: Values, billing_mode: str) -> Values:
    """The values for another billing mode: without capacity and autoscaling, which belong to the old one."""
    if billing_mode == PROVISIONED:
        raise UsageError(
            "The exported table is on-demand and has no provisioned capacity to copy.",
            "Omit --billing-mode, and switch the table to provisioned capacity after the import.",
        )
    kept = {
        name: _without_capacity(value)
        for name, value in values.items()
        if name != "capacity" and kind_of(name) not in _SCALING
    }
    return kept | {"billing_mode": ON_DEMAND}


def _without_capacity(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != "capacity"} if isinstance(value, dict) else value


def _map_key(source_key: str, kms_keys: Mapping[str, str]) -> str:
    """The destination's key: KMS keys belong to one account, and DescribeTable does not say whether AWS manages a key."""
    for known in (source_key, source_key.rpartition("/")[2]):
        if known in kms_keys:
            return kms_keys[known]
    raise UsageError(
        f"The exported table is encrypted with the key {source_key or '(not recorded)'} of the source account.",
        f"Choose a key of the destination account: --map-kms {source_key}=arn:aws:kms:…; or --map-kms {source_key}={AWS_KEY} "
        "for the AWS managed key.",
    )


def rewrite(document: Any, source: TableIdentity, destination: TableIdentity) -> Any:
    """A policy adapted to the destination: replaces the table's ARN, and the source's account number everywhere."""
    if isinstance(document, dict):
        return {name: rewrite(value, source, destination) for name, value in document.items()}
    if isinstance(document, list):
        return [rewrite(value, source, destination) for value in document]
    if not isinstance(document, str):
        return document
    table = re.compile(re.escape(source.arn) + r"(?![A-Za-z0-9_.-])")
    text = table.sub(destination.arn, document)
    return re.sub(rf"(?<!\d){source.account}(?!\d)", destination.account, text)


def rename_stream(document: Any, stream_arn: str) -> Any:
    """A policy with the ARN of the destination's stream, which contains its creation time."""
    if not stream_arn:
        return document
    streams = re.escape(stream_arn.partition("/stream/")[0]) + r"/stream/[0-9T:.-]+"
    return msgspec.json.decode(re.sub(streams, stream_arn, msgspec.json.encode(document).decode()))


def changed_texts(
    document: Any, source: TableIdentity, destination: TableIdentity
) -> Iterator[tuple[str, str]]:
    """Every text of a policy that `rewrite` changes, before and after."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for value in document:
            yield from changed_texts(value, source, destination)
    elif document != (changed := rewrite(document, source, destination)):
        yield document, changed
