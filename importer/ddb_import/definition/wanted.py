"""What the destination's table shall be: the source's definition, with the options and the other account applied."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_import.definition.form import ON_DEMAND, PROVISIONED, Form, Values, kind_of
from ddb_shared.errors import UsageError

# The name with which a destination takes AWS's own key of its account in place of a customer's.
AWS_KEY: Final = "alias/aws/dynamodb"
POLICIES: Final = ("resource_policy", "stream_policy")
_SCALING: Final = frozenset({"scalable_target", "scaling_policy", "scheduled_action"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is: its ARN, its account, and the ARN of its stream where it has one."""

    arn: str
    account: str
    stream_arn: str = ""


def wanted_form(source: Form, *, billing_mode: str | None, kms_keys: Mapping[str, str]) -> Form:
    """The form that the destination shall have, save for ARNs; raises UsageError where options are missing."""
    values = dict(source.values)
    if billing_mode and billing_mode != values["billing_mode"]:
        values = _rebilled(values, billing_mode)
    if "encryption" in values:
        values["encryption"] = _mapped_key(values["encryption"], kms_keys)
    return Form(values, source.unknown)


def wanted_at(wanted: Form, source: Place, destination: Place) -> Form:
    """The same with the policies in the destination's terms."""
    policies = {
        kind: rename_stream(rewrite(wanted.values[kind], source, destination), destination.stream_arn)
        for kind in POLICIES
        if kind in wanted.values
    }
    return Form(wanted.values | policies, wanted.unknown)


def _rebilled(values: Values, billing_mode: str) -> Values:
    """Capacity belongs to its billing mode, and so does autoscaling."""
    if billing_mode == PROVISIONED:
        raise UsageError(
            "The exported table is on-demand and has no provisioned capacity to copy.",
            "Leave --billing-mode out and switch the table to provisioned capacity after the import.",
        )
    kept = {
        name: _without_capacity(value)
        for name, value in values.items()
        if name != "capacity" and kind_of(name) not in _SCALING
    }
    return kept | {"billing_mode": ON_DEMAND}


def _without_capacity(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != "capacity"} if isinstance(value, dict) else value


def _mapped_key(source_key: str, kms_keys: Mapping[str, str]) -> str:
    """A KMS key lives in one account; DescribeTable does not tell a customer's key from AWS's own."""
    for known in (source_key, source_key.rpartition("/")[2]):
        if known in kms_keys:
            return kms_keys[known]
    raise UsageError(
        f"The exported table is encrypted with the key {source_key or '(not named)'} of the source account.",
        f"Name the destination's key: --map-kms {source_key}=arn:aws:kms:…; or --map-kms {source_key}={AWS_KEY} "
        "for AWS's own key of the destination account.",
    )


def rewrite(document: Any, source: Place, destination: Place) -> Any:
    """A policy in the terms of the destination: the table's ARN, and the source's account number wherever it stands."""
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
    """A policy with the name of the destination's stream: a stream's name is its time of birth."""
    if not stream_arn:
        return document
    streams = re.escape(stream_arn.partition("/stream/")[0]) + r"/stream/[0-9T:.-]+"
    return msgspec.json.decode(re.sub(streams, stream_arn, msgspec.json.encode(document).decode()))


def rewritten(document: Any, source: Place, destination: Place) -> Iterator[tuple[str, str]]:
    """Every text of a policy that `rewrite` changes: before and after."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for value in document:
            yield from rewritten(value, source, destination)
    elif document != (changed := rewrite(document, source, destination)):
        yield document, changed
