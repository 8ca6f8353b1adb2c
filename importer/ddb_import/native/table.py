"""The table that ImportTable makes: what its request takes of a definition, and what is set afterwards.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableCreationParameters.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ddb_import.definition.create import Definition
from ddb_shared.errors import UsageError

_MEMBERS: Final = frozenset(
    {
        "TableName",
        "AttributeDefinitions",
        "KeySchema",
        "BillingMode",
        "ProvisionedThroughput",
        "OnDemandThroughput",
        "SSESpecification",
        "GlobalSecondaryIndexes",
    }
)

# Set once the items are loaded.
_AFTERWARDS: Final = frozenset({"TableClass"})


def table_parameters(definition: Definition) -> dict[str, Any]:
    """The TableCreationParameters; raises UsageError where ImportTable would lose something for good.

    A table class is set once the items are loaded, as vector indexes, streams, tags and the like are for every engine.
    """
    request = definition.request
    refuse_local_indexes(request)
    unknown = sorted(request.keys() - _MEMBERS - _AFTERWARDS)
    if unknown:
        raise UsageError(
            f"ImportTable has no parameter for {', '.join(unknown)} of the table's definition.",
            "Use --engine bulk --create-table, which makes the table first and has DynamoDB load it, or --engine batch-write.",
        )
    return {name: value for name, value in request.items() if name in _MEMBERS}


def refuse_local_indexes(request: Mapping[str, Any]) -> None:
    """Raises UsageError for a table with local indexes, which only CreateTable makes."""
    local = [index["IndexName"] for index in request.get("LocalSecondaryIndexes", ())]
    if local:
        raise UsageError(
            f"The table has local secondary indexes ({', '.join(local)}), which ImportTable cannot make, and which nothing can add later.",
            "Use --engine bulk --create-table, which makes the table first and has DynamoDB load it, or --engine batch-write.",
        )
