"""What an index of the destination asks of items that the source's keys do not guarantee is told, or refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.item_limits import check_item_limits
from ddb_shared.errors import TableError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from ddb_shared.table.description import Table, from_description
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"


def index(name: str, *keys: tuple[str, str]) -> dict[str, Any]:
    schema = [{"AttributeName": attribute, "KeyType": role} for attribute, role in keys]
    return {"IndexName": name, "KeySchema": schema}


def definition(types: dict[str, str], *indexes: dict[str, Any], kind: str = "Global") -> dict[str, Any]:
    """What changes in the sample's table, which is keyed by id (S)."""
    attributes = {"id": "S"} | types
    return {
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in attributes.items()],
        f"{kind}SecondaryIndexes": list(indexes),
    }


def manifest(**changes: Any) -> Manifest:
    sample = manifests.read(MemoryFolder.of(DATA / "ddb-transfer-1", "AWSDynamoDB/01732350000000-0badcafe"))
    return msgspec.structs.replace(sample, table=sample.table | changes)


def table(**changes: Any) -> Table:
    return from_description(manifest().table | changes)


BY_NAME = definition({"name": "S"}, index("by-name", ("name", "HASH")))


@pytest.mark.parametrize(
    "of_table",
    [
        {},
        BY_NAME,
        definition({"name": "S"}, index("other", ("id", "HASH"), ("name", "HASH"))),
    ],
)
def test_what_the_source_holds_to_already(of_table: dict[str, Any]) -> None:
    """The same keys, and an index over attributes that are such keys in the source, prove every size."""
    assert check_item_limits(manifest(**BY_NAME), table(**of_table)) == "the source enforces the same limits"


def test_an_index_that_the_source_has_not_is_told() -> None:
    """With the type and the size that it takes; what does not fit is rejected item by item."""
    found = check_item_limits(manifest(), table(**BY_NAME))
    assert "Index by-name requires name of type S with 1 to 2,048 bytes" in found
    local = definition({"day": "N"}, index("by-day", ("id", "HASH"), ("day", "RANGE")), kind="Local")
    assert "Index by-day requires day of type N with 1 to 1,024 bytes" in check_item_limits(
        manifest(), table(**local)
    )


def test_a_longer_key_of_the_source_proves_no_shorter_one() -> None:
    """A partition key may have 2,048 bytes, a sort key 1,024."""
    turned = definition({"name": "S"}, index("turned", ("name", "HASH"), ("id", "RANGE")))
    found = check_item_limits(manifest(**BY_NAME), table(**turned))
    assert found.startswith(
        "not enforced by the source: Index turned requires id of type S with 1 to 1,024 bytes;"
    )


def test_another_type_than_the_sources_is_refused() -> None:
    """No item that has the attribute could be written."""
    numbers = definition({"name": "N"}, index("by-name", ("name", "HASH")))
    with pytest.raises(
        TableError, match=r"Index by-name of table .* requires name to be of type N.* type S"
    ) as caught:
        check_item_limits(manifest(**BY_NAME), table(**numbers))
    assert "Delete that index" in caught.value.remedy


def test_an_export_of_aws_tells_nothing() -> None:
    """Its manifest has no keys; that is said."""
    silent = msgspec.structs.replace(manifest(), table={})
    assert check_item_limits(silent, table()).startswith("the export does not contain the keys of the source")
