"""The table's definition where the export holds none, as for exports that AWS wrote: by --key, or by a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from ddb_import.definition.table_spec import ON_DEMAND
from ddb_shared.errors import UsageError
from ddb_shared.table.description import key_of
from ddb_shared.table.settings import READS, Setting

_KEY: Final = re.compile(r"([^:,]+):([SNB])(?:,([^:,]+):([SNB]))?")
_ROLES: Final = ("HASH", "RANGE")


@dataclass(frozen=True, slots=True)
class GivenDefinition:
    """A definition in DescribeTable's members, and the settings that belong to it; what is not named is not set."""

    table: dict[str, Any]
    settings: dict[str, Setting] = field(default_factory=dict)


class _Document(msgspec.Struct, rename={"described": "Table"}):
    """What a file may hold: DescribeTable's answer, or the members that our manifests have."""

    described: dict[str, Any] | None = None
    table: dict[str, Any] | None = None
    settings: dict[str, Setting] = {}


def parse_key(text: str) -> GivenDefinition:
    """An on-demand table with the key `pk:S[,sk:N]`; raises UsageError."""
    found = _KEY.fullmatch(text)
    if found is None or found[1] == found[3]:
        raise UsageError(
            f"--key expects NAME:TYPE[,NAME:TYPE] with the types S, N and B, got {text!r}.",
            "Write the partition key first, such as --key pk:S,sk:N.",
        )
    names = [(found[1], found[2]), *([(found[3], found[4])] if found[3] else [])]
    return _given(
        {
            "TableName": "",
            "KeySchema": [
                {"AttributeName": name, "KeyType": role}
                for (name, _), role in zip(names, _ROLES, strict=False)
            ],
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in names],
            "BillingModeSummary": {"BillingMode": ON_DEMAND},
        },
        {},
    )


def read_definition(path: str) -> GivenDefinition:
    """The definition in a file: the output of `aws dynamodb describe-table`, a manifest of ours, or a CreateTable request.

    Raises UsageError.
    """
    try:
        data = Path(path).expanduser().read_bytes()
        settings = msgspec.json.decode(data, type=_Document).settings
        return _given(_described(_table_in(data)), settings)
    except OSError as error:
        raise UsageError(f"--definition {path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise UsageError(
            f"--definition {path} does not hold a table's definition: {error}",
            "Give the output of `aws dynamodb describe-table --table-name NAME`, a CreateTable request, or the manifest.json "
            "of an export.",
        ) from error


def _table_in(data: bytes) -> dict[str, Any]:
    """The definition in a document; raises LookupError, TypeError or DecodeError where it has none."""
    document = msgspec.json.decode(data, type=_Document)
    table = document.described or document.table or msgspec.json.decode(data, type=dict[str, Any])
    if not key_of(table):
        raise LookupError("KeySchema is empty")
    return table


def _given(table: dict[str, Any], settings: Mapping[str, Setting]) -> GivenDefinition:
    return GivenDefinition(table, {name: Setting() for name in READS} | dict(settings))


def _described(table: dict[str, Any]) -> dict[str, Any]:
    """The members of a CreateTable request as DescribeTable names them."""
    renamed: dict[str, Any] = {"TableName": ""}
    if "BillingMode" in table:
        renamed["BillingModeSummary"] = {"BillingMode": table["BillingMode"]}
    if "TableClass" in table:
        renamed["TableClassSummary"] = {"TableClass": table["TableClass"]}
    encryption = table.get("SSESpecification", {})
    if encryption.get("Enabled"):
        renamed["SSEDescription"] = {
            "Status": "ENABLED",
            "KMSMasterKeyArn": encryption.get("KMSMasterKeyId", ""),
        }
    return renamed | table
