"""Whether the table's keys take what the export's items hold, so far as the manifest tells.

The source has held the items to DynamoDB's limits: 400 KB an item, 2,048 bytes a partition key, 1,024 a sort key, none
of them empty. An index that the source has not, or keys otherwise, is held to nothing yet.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.errors import TableError
from ddb_shared.manifest import Manifest
from ddb_shared.table import Table

_MOST_BYTES: Final = {"HASH": 2048, "RANGE": 1024}


def check_item_limits(manifest: Manifest, table: Table) -> str:
    """Raises TableError where an index of the table wants another type of an attribute than the source's keys."""
    if not manifest.table:
        return "the export does not tell the source's keys; what DynamoDB refuses is kept in rejects files"
    known = _keys(manifest.table)
    types = {key.attribute: key.type for key in known}
    proven = {
        (key.attribute, size) for key in known for size in _MOST_BYTES.values() if key.most_bytes <= size
    }
    unproven = []
    for key in _keys(table.definition):
        if types.get(key.attribute, key.type) != key.type:
            raise TableError(
                f"{key.where} of table {table.name} is keyed by {key.attribute} ({key.type}), but in the source's keys "
                f"it has type {types[key.attribute]}: DynamoDB would refuse every item that has it.",
                "Delete that index; once the items are loaded it can be made again, and leaves such items out.",
            )
        if (key.attribute, key.most_bytes) not in proven:
            unproven.append(
                f"{key.where} takes {key.attribute} as {key.type} of 1 to {key.most_bytes:,} bytes"
            )
    if unproven:
        return f"not known from the source: {'; '.join(unproven)}; what does not fit is kept in rejects files"
    return "400 KB an item, and the types and sizes of all keys, are as in the source"


@dataclass(frozen=True, slots=True)
class _Key:
    """An attribute that is a key of the table or of an index, and how long it may be there."""

    where: str
    attribute: str
    type: str
    most_bytes: int


def _keys(definition: Mapping[str, Any]) -> list[_Key]:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in definition["AttributeDefinitions"]}
    return [
        _Key(
            where, element["AttributeName"], types[element["AttributeName"]], _MOST_BYTES[element["KeyType"]]
        )
        for where, schema in _schemas(definition)
        for element in schema
    ]


def _schemas(definition: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    yield "The key", definition["KeySchema"]
    for kind in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        for index in definition.get(kind, ()):
            yield f"Index {index['IndexName']}", index["KeySchema"]
