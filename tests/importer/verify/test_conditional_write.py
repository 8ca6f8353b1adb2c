"""Conditional writes: the requests that a repair sends."""

import json

from ddb_import.verify.conditional_write import MAX_TERMS, ConditionalWrites

WRITES = ConditionalWrites("T", ("pk", "sk"))
KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}


def encoded(item: object) -> bytes:
    return json.dumps(item).encode()


def test_a_missing_item_is_put_where_there_is_none() -> None:
    """The condition is on the partition key, which every item has."""
    request = json.loads(WRITES.put_new(encoded(KEY)))
    assert {
        "TableName": "T",
        "Item": KEY,
        "ConditionExpression": "attribute_not_exists(#k)",
        "ExpressionAttributeNames": {"#k": "pk"},
        "ReturnConsumedCapacity": "TOTAL",
    } == request


def test_a_different_item_is_replaced_if_it_is_as_it_was() -> None:
    """All attributes that were found, those that differ first; one that only the new item has must still be absent."""
    before = KEY | {"same": {"SS": ["x"]}, "n": {"N": "1"}}
    request = json.loads(WRITES.replace(encoded(KEY | {"n": {"N": "2"}}), encoded(before), ["n", "new"]))
    assert request["ConditionExpression"] == (
        "attribute_exists(#k) AND #n0 = :v0 AND attribute_not_exists(#n1) AND #n2 = :v2"
    )
    assert {"#k": "pk", "#n0": "n", "#n1": "new", "#n2": "same"} == request["ExpressionAttributeNames"]
    assert {":v0": {"N": "1"}, ":v2": {"SS": ["x"]}} == request["ExpressionAttributeValues"]


def test_an_extra_item_is_deleted_if_it_is_as_it_was() -> None:
    """An item of key attributes alone has no values to compare."""
    request = json.loads(WRITES.delete(encoded(KEY), encoded(KEY)))
    assert (request["Key"], request["ConditionExpression"]) == (KEY, "attribute_exists(#k)")
    assert "ExpressionAttributeValues" not in request


def test_an_expression_stays_within_the_limits() -> None:
    """300 operators and 4 KB: of an item with more attributes, those that differ are compared first."""
    before = KEY | {f"attribute{i:04d}": {"S": ""} for i in range(1_000)}
    request = json.loads(WRITES.replace(encoded(KEY), encoded(before), ["attribute0999"]))
    expression = request["ConditionExpression"]
    assert expression.count(" = ") + expression.count(" AND ") <= 300
    assert len(expression) <= 4_096
    assert (request["ExpressionAttributeNames"]["#n0"], len(request["ExpressionAttributeValues"])) == (
        "attribute0999",
        MAX_TERMS,
    )
