"""Whether the exported items fit the limits of the table's keys, as far as the manifest shows.

The source enforces DynamoDB's limits: 400 KB for an item, 2,048 bytes for a partition key, 1,024 for a sort key, and no
empty keys. It does not enforce those of keys and indexes that only the destination has.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.errors import TableError
from ddb_shared.format.manifest import Manifest
from ddb_shared.table.description import Table

_MAX_BYTES: Final = {"HASH": 2048, "RANGE": 1024}


def check_item_limits(manifest: Manifest, table: Table) -> str:
    """Raises TableError if a key of the table requires another type of an attribute than the keys of the source."""
    if not manifest.table:
        return "the export does not contain the keys of the source; items that DynamoDB rejects go to the rejects files"
    known = _keys(manifest.table)
    types = {key.attribute: key.type for key in known}
    proven = {(key.attribute, size) for key in known for size in _MAX_BYTES.values() if key.max_bytes <= size}
    unverified = []
    for key in _keys(table.definition):
        if types.get(key.attribute, key.type) != key.type:
            raise TableError(
                f"{key.where} of table {table.name} requires {key.attribute} to be of type {key.type}, but in the source it is "
                f"of type {types[key.attribute]}: DynamoDB would reject every item with that attribute.",
                "Delete that index, and recreate it after the load; it will not contain such items.",
            )
        if (key.attribute, key.max_bytes) not in proven:
            unverified.append(
                f"{key.where} requires {key.attribute} of type {key.type} with 1 to {key.max_bytes:,} bytes"
            )
    if unverified:
        return f"not enforced by the source: {'; '.join(unverified)}; items that do not fit go to the rejects files"
    return "the source enforces the same limits"


@dataclass(frozen=True, slots=True)
class _Key:
    """A key attribute of the table or of an index, with its maximum length."""

    where: str
    attribute: str
    type: str
    max_bytes: int


def _keys(definition: Mapping[str, Any]) -> list[_Key]:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in definition["AttributeDefinitions"]}
    return [
        _Key(where, element["AttributeName"], types[element["AttributeName"]], _MAX_BYTES[element["KeyType"]])
        for where, schema in _schemas(definition)
        for element in schema
    ]


def _schemas(definition: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    yield "The key", definition["KeySchema"]
    for kind in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        for index in definition.get(kind, ()):
            yield f"Index {index['IndexName']}", index["KeySchema"]
