"""A table's definition by --key or by a file, for exports that hold none."""

import json
from pathlib import Path
from typing import Any

import pytest

from ddb_import.definition.create_request import create_request
from ddb_import.definition.given import GivenDefinition, parse_key, read_definition
from ddb_import.definition.table_spec import spec_of
from ddb_shared.errors import UsageError

SAMPLE = Path(__file__).parents[2] / "data" / "ddb-transfer-1" / "manifest.json"
KEY = {
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
}


def request_of(given: GivenDefinition) -> dict[str, Any]:
    return create_request("Copy", spec_of(given.table, given.settings).values, with_indexes=True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pk:S", [("pk", "S", "HASH")]),
        ("pk:S,sk:N", [("pk", "S", "HASH"), ("sk", "N", "RANGE")]),
        ("a b.c:B,#x:B", [("a b.c", "B", "HASH"), ("#x", "B", "RANGE")]),
    ],
)
def test_a_key_is_an_on_demand_table(text: str, key: list[tuple[str, str, str]]) -> None:
    """Partition key first; nothing else is set, and nothing is unknown."""
    given = parse_key(text)
    request = request_of(given)
    assert [(name, role) for name, _, role in key] == [
        (one["AttributeName"], one["KeyType"]) for one in request["KeySchema"]
    ]
    assert {name: kind for name, kind, _ in key} == {
        one["AttributeName"]: one["AttributeType"] for one in request["AttributeDefinitions"]
    }
    assert request["BillingMode"] == "PAY_PER_REQUEST"
    assert spec_of(given.table, given.settings).unknown == {}


@pytest.mark.parametrize(
    "text", ["", "pk", "pk:X", "pk:s", "pk:S,", "pk:S,pk:N", "pk:S,sk:N,x:S", ":S", "pk:S, "]
)
def test_a_key_of_another_form_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(UsageError, match="--key expects") as caught:
        parse_key(text)
    assert "--key pk:S,sk:N" in caught.value.remedy


def test_what_describe_table_prints_is_a_definition(tmp_path: Path) -> None:
    """Indexes, capacity and billing mode come with it."""
    index = {
        "IndexName": "by-x",
        "KeySchema": KEY["KeySchema"],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    }
    table = KEY | {
        "TableName": "T",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2},
        "GlobalSecondaryIndexes": [index],
    }
    request = request_of(_given(tmp_path, {"Table": table}))
    assert request["BillingMode"] == "PROVISIONED"
    assert request["ProvisionedThroughput"] == {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
    assert [one["IndexName"] for one in request["GlobalSecondaryIndexes"]] == ["by-x"]


def test_a_create_table_request_is_a_definition(tmp_path: Path) -> None:
    """Its members have other names than DescribeTable's."""
    given = _given(
        tmp_path,
        KEY
        | {
            "BillingMode": "PAY_PER_REQUEST",
            "TableClass": "STANDARD_INFREQUENT_ACCESS",
            "SSESpecification": {"Enabled": True, "KMSMasterKeyId": "arn:aws:kms:x"},
        },
    )
    values = spec_of(given.table, given.settings).values
    assert values["billing_mode"] == "PAY_PER_REQUEST"
    assert values["table_class"] == "STANDARD_INFREQUENT_ACCESS"
    assert values["encryption"] == "arn:aws:kms:x"


def test_a_manifest_of_ours_is_a_definition() -> None:
    """With its settings, as of another export of the same table."""
    given = read_definition(str(SAMPLE))
    assert given.table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    manifest = json.loads(SAMPLE.read_bytes())
    assert set(manifest.get("settings", {})) <= set(given.settings)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"KeySchema":[],"AttributeDefinitions":[]}', b'{"Table":{}}', b'{"Table":[]}', b'{"KeySchema":[],"AttributeDefinitions":"x"}', b"\xff",
     b'{"KeySchema":[{"AttributeName":"a","KeyType":"HASH"}],"AttributeDefinitions":[]}'],
)  # fmt: skip
def test_a_file_without_a_definition_is_refused(tmp_path: Path, data: bytes) -> None:
    """Named, with what it may be."""
    path = tmp_path / "table.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="does not hold a table's definition") as caught:
        read_definition(str(path))
    assert "describe-table" in caught.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(UsageError, match="No such file"):
        read_definition(str(tmp_path / "none.json"))


def _given(folder: Path, document: dict[str, Any]) -> GivenDefinition:
    path = folder / "table.json"
    path.write_text(json.dumps(document))
    return read_definition(str(path))
