"""How the destination's table differs from what the export wants of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ddb_import.definition.form import Form, kind_of
from ddb_import.definition.wanted import AWS_KEY

# Why a setting is not copied, or not changed in a table that exists.
_NOT_COPIED: Final[Mapping[str, str]] = {
    "key": "the items of the export do not fit",
    "local_index": "AWS makes local indexes only together with the table",
    "billing_mode": "left as it is",
    "capacity": "left as it is",
    "encryption": "left as it is: the key decides who can read the table",
    "table_class": "left as it is",
    "kinesis_destination": "the stream belongs to the source account; enable one of the destination's own",
    "replica": "replicas of a global table are not copied; add them to the new table",
}
_SHOWN: Final = 100  # characters of a value in the report; the JSON result holds it whole
_OWN: Final = "the destination's own; left as it is"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in which the two sides differ; null is not set. `note` says what becomes of it."""

    setting: str
    source: Any = None
    destination: Any = None
    note: str = ""

    def __str__(self) -> str:
        if kind_of(self.setting) == self.setting and self.note.startswith("unknown"):
            return f"{self.setting}: {self.note}"
        return f"{self.setting}: source {_short(self.source)}, destination {_short(self.destination)}; {self.note}"


def drift(wanted: Form, present: Form, *, applied: frozenset[str] = frozenset()) -> list[Difference]:
    """Every difference. `applied` are the kinds that will yet be set where the destination has none."""
    unknown = [
        Difference(setting=kind, note=f"unknown in the source: {reason}")
        for kind, reason in wanted.unknown.items()
    ] + [
        Difference(setting=kind, note=f"unknown in the destination: {reason}")
        for kind, reason in present.unknown.items()
        if kind not in wanted.unknown and any(kind_of(name) == kind for name in wanted.values)
    ]
    names = [*wanted.values, *(name for name in present.values if name not in wanted.values)]
    known = (name for name in names if kind_of(name) not in wanted.unknown.keys() | present.unknown.keys())
    return unknown + [
        _difference(name, wanted, present, applied)
        for name in known
        if not _same(name, wanted.values.get(name), present.values.get(name))
    ]


def is_compatible(wanted: Form, present: Form) -> bool:
    """Whether the export's items fit: the same key attributes, of the same types, in the same roles."""
    return bool(wanted.values["key"] == present.values["key"])


def missing(wanted: Form, present: Form, kind: str) -> dict[str, Any]:
    """The settings of a kind that the destination lacks; one that it has otherwise is its own."""
    if kind in wanted.unknown or kind in present.unknown:
        return {}
    return {
        name: value
        for name, value in wanted.values.items()
        if kind_of(name) == kind and name not in present.values
    }


def _difference(name: str, wanted: Form, present: Form, applied: frozenset[str]) -> Difference:
    source, destination = wanted.values.get(name), present.values.get(name)
    if destination is None and kind_of(name) in applied:
        note = "set after the load"
    else:
        note = _OWN if source is None else _NOT_COPIED.get(kind_of(name), "not as in the source")
    return Difference(setting=name, source=source, destination=destination, note=note)


def _same(name: str, wanted: Any, present: Any) -> bool:
    """Equality, but that DescribeTable shows the ARN of a key that was named by its id or alias."""
    if name == "encryption" and wanted and present:
        return wanted == AWS_KEY or "alias/" in wanted or str(present).endswith(str(wanted))
    return bool(wanted == present)


def _short(value: Any) -> str:
    if value is None:
        return "has none"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
