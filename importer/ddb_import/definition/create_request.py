"""The CreateTable request for a wanted definition.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ddb_import.definition.form import PROVISIONED, Values, kind_of
from ddb_import.definition.wanted import AWS_KEY

# What a new on-demand table takes at once, and each of its global indexes:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html
NEW_TABLE_WRITE_UNITS: Final = 4_000


def create_request(
    table: str, wanted: Mapping[str, Any], *, with_indexes: bool, warm_write_units: int | None = None
) -> dict[str, Any]:
    """The request that makes `table`; what is set after the load is left out.

    Global indexes are made with the table if `with_indexes`. `warm_write_units` (units per second) warms the table and
    those indexes: an index that throttles holds up the table's writes.
    """
    local = _of_kind(wanted, "local_index")
    indexes = _of_kind(wanted, "global_index") if with_indexes else {}
    warm = {"WarmThroughput": {"WriteUnitsPerSecond": warm_write_units}} if warm_write_units else {}
    keys = [wanted["key"], *(index["key"] for index in (*local.values(), *indexes.values()))]
    request = {
        "TableName": table,
        "KeySchema": key_schema(wanted["key"]),
        "AttributeDefinitions": attribute_definitions(keys),
        "BillingMode": wanted["billing_mode"],
        **_capacity(wanted.get("capacity"), wanted["billing_mode"]),
        **warm,
    }
    if local:
        request["LocalSecondaryIndexes"] = [_index(name, index) for name, index in local.items()]
    if indexes:
        request["GlobalSecondaryIndexes"] = [
            global_index(name, index, wanted["billing_mode"]) | warm for name, index in indexes.items()
        ]
    if "encryption" in wanted:
        request["SSESpecification"] = _encryption(wanted["encryption"])
    if "table_class" in wanted:
        request["TableClass"] = wanted["table_class"]
    return request


def warmed_units(request: Mapping[str, Any]) -> int:
    """Write units a second by which a CreateTable request warms the table and its indexes above what they have anyway."""
    return sum(
        max(0, place["WarmThroughput"]["WriteUnitsPerSecond"] - _ordinary_units(place))
        for place in (request, *request.get("GlobalSecondaryIndexes", ()))
        if "WarmThroughput" in place
    )


def write_rate(request: Mapping[str, Any]) -> int:
    """Write units a second that the table of a CreateTable request takes at once."""
    warm = request.get("WarmThroughput", {}).get("WriteUnitsPerSecond", 0)
    provisioned = request.get("ProvisionedThroughput", {}).get("WriteCapacityUnits")
    return int(provisioned or max(warm, NEW_TABLE_WRITE_UNITS))


def _ordinary_units(place: Mapping[str, Any]) -> int:
    return int(place.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", NEW_TABLE_WRITE_UNITS))


def key_schema(key: list[list[str]]) -> list[dict[str, str]]:
    """A key as the API takes it."""
    return [{"AttributeName": name, "KeyType": role} for name, _, role in key]


def attribute_definitions(keys: Iterable[list[list[str]]]) -> list[dict[str, str]]:
    """The attributes of the keys, each once: CreateTable refuses one that no key uses."""
    types = {name: kind for key in keys for name, kind, _ in key}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def global_index(name: str, index: Values, billing_mode: str) -> dict[str, Any]:
    """A global secondary index as CreateTable and UpdateTable take it."""
    return _index(name, index) | _capacity(index.get("capacity"), billing_mode)


def vector_index(name: str, index: Values) -> dict[str, Any]:
    """A vector index as UpdateTable takes it."""
    members = {member: value for member, value in index.items() if member not in {"projection", "types"}}
    return {"IndexName": name, **members, "Projection": projection(index)}


def projection(index: Values) -> dict[str, Any]:
    """An index's projection as the API takes it."""
    attributes = index["projection"].get("attributes")
    only = {"NonKeyAttributes": attributes} if attributes else {}
    return {"ProjectionType": index["projection"]["type"], **only}


def _of_kind(wanted: Mapping[str, Any], kind: str) -> dict[str, Values]:
    return {name.partition(":")[2]: value for name, value in wanted.items() if kind_of(name) == kind}


def _index(name: str, index: Values) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": key_schema(index["key"]), "Projection": projection(index)}


def _capacity(units: Values | None, billing_mode: str) -> dict[str, Any]:
    if not units:
        return {}
    return {"ProvisionedThroughput" if billing_mode == PROVISIONED else "OnDemandThroughput": units}


def _encryption(key: str) -> dict[str, Any]:
    own = {} if key == AWS_KEY else {"KMSMasterKeyId": key}
    return {"Enabled": True, "SSEType": "KMS", **own}
