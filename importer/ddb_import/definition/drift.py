"""How the destination's table differs from the exported one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ddb_import.definition.desired import AWS_KEY, POLICIES
from ddb_import.definition.table_spec import TableSpec, kind_of

# Why a setting is not copied, or not changed in an existing table.
_NOT_COPIED: Final[Mapping[str, str]] = {
    "key": "the exported items do not fit",
    "local_index": "local indexes can only be created with the table",
    "billing_mode": "not changed",
    "capacity": "not changed",
    "encryption": "not changed: the key determines who can read the table",
    "table_class": "not changed",
    "expired_scheduled_action": "not copied: its end has passed",
    "kinesis_destination": "not copied: the stream belongs to the source account",
    "replica": "not copied: add replicas to the new table",
}
_SHOWN: Final = 100  # characters of a value in the report; the JSON result has the whole value
_OWN: Final = "not changed: set in the destination only"


class SettingDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs between source and destination; null means not set. `note` says what happens to it."""

    setting: str
    source: Any = None
    destination: Any = None
    note: str = ""

    def __str__(self) -> str:
        if self.source is None and self.destination is None:
            return f"{self.setting}: {self.note}"
        return f"{self.setting}: source {_short(self.source)}, destination {_short(self.destination)}; {self.note}"


def drift(
    desired: TableSpec, actual: TableSpec, *, applied: frozenset[str] = frozenset()
) -> list[SettingDrift]:
    """All differences. `applied` are the kinds that will be set after the load if the destination lacks them."""
    unknown = [
        SettingDrift(setting=kind, note=f"not copied: could not be read at export time: {reason}")
        for kind, reason in desired.unknown.items()
    ] + [
        SettingDrift(setting=kind, note=f"could not be read in the destination: {reason}")
        for kind, reason in actual.unknown.items()
        if kind not in desired.unknown and any(kind_of(name) == kind for name in desired.values)
    ]
    names = [*desired.values, *(name for name in actual.values if name not in desired.values)]
    known = (name for name in names if kind_of(name) not in desired.unknown.keys() | actual.unknown.keys())
    return unknown + [
        _difference(name, desired, actual, applied)
        for name in known
        if not _same(name, desired.values.get(name), actual.values.get(name))
    ]


def is_compatible(desired: TableSpec, actual: TableSpec) -> bool:
    """Whether the exported items fit: the same key attributes with the same types and roles."""
    return bool(desired.values["key"] == actual.values["key"])


def missing(desired: TableSpec, actual: TableSpec, kind: str) -> dict[str, Any]:
    """The settings of a kind that the destination lacks; existing ones with other values are kept."""
    if kind in desired.unknown or kind in actual.unknown:
        return {}
    return {
        name: value
        for name, value in desired.values.items()
        if kind_of(name) == kind and name not in actual.values
    }


def _difference(name: str, desired: TableSpec, actual: TableSpec, applied: frozenset[str]) -> SettingDrift:
    source, destination = desired.values.get(name), actual.values.get(name)
    if destination is None and kind_of(name) in applied:
        note = "set after the load"
    elif destination is None and kind_of(name) in POLICIES:
        note = "not set; --with-resource-policy sets it"
    else:
        note = _OWN if source is None else _NOT_COPIED.get(kind_of(name), "differs from the source")
    return SettingDrift(setting=name, source=source, destination=destination, note=note)


def _same(name: str, desired: Any, actual: Any) -> bool:
    """Equality; DescribeTable returns the ARN of a key that was given by its id or alias."""
    if name == "encryption" and desired and actual:
        return desired == AWS_KEY or "alias/" in desired or str(actual).endswith(str(desired))
    return bool(desired == actual)


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
