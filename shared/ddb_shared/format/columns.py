"""The typed columns of Parquet shards: how an export records them, and their types.

A column shows one attribute, for analysis; the column `item` holds the item's DynamoDB JSON, and only that is imported.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ddb_shared.errors import UsageError

ITEM: Final = "item"
# Athena, Spark and DuckDB read Parquet decimals of up to 128 bits, 38 digits. DynamoDB's numbers have 38 as well.
DECIMAL_DIGITS: Final = 38
# DynamoDB's type tags by column type.
_TAGS: Final = {"string": "S", "int64": "N", "double": "N", "decimal": "N", "binary": "B", "bool": "BOOL"}
_SET_TAGS: Final = {"S": "SS", "N": "NS", "B": "BS"}
_DECIMAL: Final = re.compile(r"decimal\(38,(\d|[12]\d|3[0-8])\)")
_LIST: Final = re.compile(r"list<(.+)>")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One typed column: the attribute that it shows, its name in the file, its type.

    Types are `string int64 double decimal(38,S) binary bool`, and for sets lists of all but bool, such as `list<int64>`.
    """

    attribute: str
    name: str
    type: str

    @property
    def tag(self) -> str:
        """DynamoDB's type tag of the values that the column shows, such as S or NS."""
        return tag_of(self.type)

    @property
    def element(self) -> str:
        """The type of a list's elements; the column's type if it is not a list."""
        return element_of(self.type)


def element_of(type_name: str) -> str:
    """The element type of a `list<…>`; any other type unchanged."""
    found = _LIST.fullmatch(type_name)
    return found[1] if found else type_name


def scale_of(type_name: str) -> int | None:
    """The fraction digits of a `decimal(38,S)`; None for any other type."""
    found = _DECIMAL.fullmatch(type_name)
    return int(found[1]) if found else None


def tag_of(type_name: str) -> str:
    """DynamoDB's tag for a column's type; raises UsageError for an unknown type."""
    element = element_of(type_name)
    tag = _TAGS.get(
        "decimal" if scale_of(element) is not None else "" if element == "decimal" else element, ""
    )
    if tag and element != type_name:
        tag = _SET_TAGS.get(tag, "")
    if not tag:
        raise UsageError(
            f"{type_name!r} is not a column type.",
            "Types are string, int64, double, decimal(38,S), binary, bool, and list<…> of any of those except bool.",
        )
    return tag
