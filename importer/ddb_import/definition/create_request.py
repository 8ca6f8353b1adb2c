"""The CreateTable request for the desired definition.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ddb_import.definition.desired import AWS_KEY
from ddb_import.definition.table_spec import PROVISIONED, Values, kind_of
from ddb_shared.table.capacity import NEW_TABLE_WRITE_UNITS


def create_request(
    table: str, desired: Mapping[str, Any], *, with_indexes: bool, warm_write_units: int | None = None
) -> dict[str, Any]:
    """The request that creates `table`, without the settings that are applied after the load.

    It includes global indexes if `with_indexes`. `warm_write_units` (units per second) is the warm throughput of the table
    and those indexes: a throttled index throttles writes to the table.
    """
    local = _of_kind(desired, "local_index")
    indexes = _of_kind(desired, "global_index") if with_indexes else {}
    warm = {"WarmThroughput": {"WriteUnitsPerSecond": warm_write_units}} if warm_write_units else {}
    keys = [desired["key"], *(index["key"] for index in (*local.values(), *indexes.values()))]
    request = {
        "TableName": table,
        "KeySchema": key_schema(desired["key"]),
        "AttributeDefinitions": attribute_definitions(keys),
        "BillingMode": desired["billing_mode"],
        **_capacity(desired.get("capacity"), desired["billing_mode"]),
        **warm,
    }
    if local:
        request["LocalSecondaryIndexes"] = [_index(name, index) for name, index in local.items()]
    if indexes:
        request["GlobalSecondaryIndexes"] = [
            global_index(name, index, desired["billing_mode"]) | warm for name, index in indexes.items()
        ]
    if "encryption" in desired:
        request["SSESpecification"] = _encryption(desired["encryption"])
    if "table_class" in desired:
        request["TableClass"] = desired["table_class"]
    return request


def warmed_units(request: Mapping[str, Any]) -> int:
    """Warm throughput in a CreateTable request above the default, of table and indexes, in write units per second."""
    return sum(
        max(0, entry["WarmThroughput"]["WriteUnitsPerSecond"] - _ordinary_units(entry))
        for entry in (request, *request.get("GlobalSecondaryIndexes", ()))
        if "WarmThroughput" in entry
    )


def write_rate(request: Mapping[str, Any]) -> int:
    """Write units per second that the table of a CreateTable request accepts at once."""
    warm = request.get("WarmThroughput", {}).get("WriteUnitsPerSecond", 0)
    provisioned = request.get("ProvisionedThroughput", {}).get("WriteCapacityUnits")
    return int(provisioned or max(warm, NEW_TABLE_WRITE_UNITS))


def _ordinary_units(entry: Mapping[str, Any]) -> int:
    return int(entry.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", NEW_TABLE_WRITE_UNITS))


def key_schema(key: list[list[str]]) -> list[dict[str, str]]:
    """A KeySchema for the API."""
    return [{"AttributeName": name, "KeyType": role} for name, _, role in key]


def attribute_definitions(keys: Iterable[list[list[str]]]) -> list[dict[str, str]]:
    """The attributes of the keys, each once: CreateTable rejects unused ones."""
    types = {name: kind for key in keys for name, kind, _ in key}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def global_index(name: str, index: Values, billing_mode: str) -> dict[str, Any]:
    """A global secondary index for CreateTable and UpdateTable."""
    return _index(name, index) | _capacity(index.get("capacity"), billing_mode)


def vector_index(name: str, index: Values) -> dict[str, Any]:
    """A vector index for UpdateTable."""
    members = {member: value for member, value in index.items() if member not in {"projection", "types"}}
    return {"IndexName": name, **members, "Projection": projection(index)}


def projection(index: Values) -> dict[str, Any]:
    """A Projection for the API."""
    attributes = index["projection"].get("attributes")
    only = {"NonKeyAttributes": attributes} if attributes else {}
    return {"ProjectionType": index["projection"]["type"], **only}


def _of_kind(desired: Mapping[str, Any], kind: str) -> dict[str, Values]:
    return {name.partition(":")[2]: value for name, value in desired.items() if kind_of(name) == kind}


def _index(name: str, index: Values) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": key_schema(index["key"]), "Projection": projection(index)}


def _capacity(units: Values | None, billing_mode: str) -> dict[str, Any]:
    if not units:
        return {}
    return {"ProvisionedThroughput" if billing_mode == PROVISIONED else "OnDemandThroughput": units}


def _encryption(key: str) -> dict[str, Any]:
    own = {} if key == AWS_KEY else {"KMSMasterKeyId": key}
    return {"Enabled": True, "SSEType": "KMS", **own}
