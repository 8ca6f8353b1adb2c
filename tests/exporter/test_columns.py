"""Which attributes of a table become typed columns, with which names and types."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_export.columns import (
    MIN_SHARE,
    choose_columns,
    format_columns,
    number_type,
    parse_columns,
    unmatched,
)
from ddb_shared.errors import UsageError
from ddb_shared.format.columns import Column, tag_of
from ddb_shared.table.description import KeyAttribute
from support.items import numbers

KEY = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))


def chosen(
    *items: dict[str, Any], key: tuple[KeyAttribute, ...] = KEY, columns: dict[str, str] | None = None
) -> dict[str, str]:
    """Type by attribute."""
    return {column.attribute: column.type for column in choose_columns(items, key, columns)}


def names(*attributes: str) -> dict[str, str]:
    """Column name by attribute, of a sample with these attributes."""
    item = {"pk": {"S": "a"}} | {attribute: {"S": "x"} for attribute in attributes}
    return {column.attribute: column.name for column in choose_columns([item], KEY[:1])}


def test_every_scalar_and_set_has_a_type() -> None:
    """Keys first, then the others by name; lists, maps and NULL make no column."""
    item = {
        "pk": {"S": "a"},
        "sk": {"N": "1"},
        "z": {"S": "x"},
        "b": {"B": "AA=="},
        "yes": {"BOOL": True},
        "ss": {"SS": ["x"]},
        "ns": {"NS": ["1", "2.5"]},
        "bs": {"BS": ["AA=="]},
        "list": {"L": []},
        "map": {"M": {}},
        "null": {"NULL": True},
    }
    expected = {
        "pk": "string",
        "sk": "int64",
        "b": "binary",
        "bs": "list<binary>",
        "ns": "list<decimal(38,1)>",
        "ss": "list<string>",
        "yes": "bool",
        "z": "string",
    }
    assert list(expected.items()) == list(chosen(item).items())


def test_the_more_frequent_type_wins_and_the_rare_attribute_has_no_column() -> None:
    """NULL does not count; an attribute of fewer than one item in a hundred is left to the column `item`."""
    items = [{"pk": {"S": "a"}, "mixed": {"S": "x"}} for _ in range(150)]
    items += [{"pk": {"S": "a"}, "mixed": {"N": "1"}} for _ in range(200)]
    items += [{"pk": {"S": "a"}, "mixed": {"NULL": "true"}} for _ in range(500)]
    items += [{"pk": {"S": "a"}, "rare": {"S": "x"}} for _ in range(int(850 * MIN_SHARE) - 1)]
    assert {"pk": "string", "mixed": "int64"} == chosen(*items, key=KEY[:1])


def test_an_empty_table_has_its_keys() -> None:
    """A number key of which nothing is known is a double, which takes them all nearly."""
    assert {"pk": "string", "sk": "double"} == chosen()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-7", "9223372036854775807", "-9223372036854775808"], "int64"),
        (["1.0", "1E2"], "int64"),
        (["9223372036854775808"], "decimal(38,0)"),
        (["12.50", "3"], "decimal(38,1)"),
        (["12.25", "-0.01"], "decimal(38,2)"),
        (["12345678901234567890123456789012345678"], "decimal(38,0)"),
        (["1234567890123456789012345678901234567.1"], "decimal(38,1)"),
        (["123456789012345678901234567890123456.1", "0.001"], "double"),
        (["0.30000000000000004"], "double"),
        (["1E125"], "double"),
        (["1E-130"], "double"),
        (["0", "-0"], "int64"),
        (["no number"], "double"),
        (["NaN"], "double"),
        ([], "double"),
    ],
)
def test_numbers_get_the_narrowest_type_that_takes_the_sample(texts: list[str], expected: str) -> None:
    """int64, decimal(38,S) while it is exact, else double."""
    assert expected == number_type(texts)


@given(st.lists(numbers(), min_size=1, max_size=20))
def test_the_chosen_type_takes_every_number_of_the_sample(texts: list[str]) -> None:
    """A decimal's scale and digits suffice for each of them."""
    kind = number_type(texts)
    for number in map(Decimal, texts):
        if kind == "int64":
            assert number == int(number)
            assert -(2**63) <= number < 2**63
        elif kind != "double":
            scale = int(kind.removeprefix("decimal(38,").removesuffix(")"))
            assert number == round(number, scale) if abs(number) < 1 else True
            assert number.copy_abs() < Decimal(10) ** (38 - scale)  # abs() would round to 28 digits


def test_names_that_clash_get_a_number() -> None:
    """`item` is taken, case does not count for Athena, odd characters become underscores; clean names win."""
    assert {
        "pk": "pk",
        "Item": "Item_2",
        "State": "State",
        "a.b": "a_b_2",
        "a_b": "a_b",
        "größe": "gr__e",
        "item": "item_3",
        "state": "state_2",
    } == names("item", "Item", "State", "state", "a.b", "a_b", "größe")


@given(st.lists(st.text(min_size=1, max_size=5), max_size=20, unique=True))
def test_names_are_clean_and_differ_in_more_than_case(attributes: list[str]) -> None:
    """For any attributes."""
    given_names = list(names(*attributes).values())
    lowered = {name.lower() for name in given_names}
    assert len(lowered | {"item"}) == len(given_names) + 1
    assert all(name.replace("_", "a").isalnum() and name.isascii() for name in given_names)


def test_asked_columns_come_after_the_keys() -> None:
    """Those alone, whatever the sample holds; a key may be given another type."""
    item = {"pk": {"S": "a"}, "sk": {"N": "1"}, "x": {"S": "b"}}
    columns = parse_columns("total:decimal(38,2), sk:double,a:b:string,tags:list<string>")
    expected = {
        "pk": "string",
        "sk": "double",
        "total": "decimal(38,2)",
        "a:b": "string",
        "tags": "list<string>",
    }
    assert expected == chosen(item, columns=columns)
    assert columns == parse_columns(format_columns(columns))


@pytest.mark.parametrize(
    "text",
    [
        "total",
        "total:",
        ":string",
        "a:text",
        "a:list<bool>",
        "a:decimal(39,1)",
        "a:decimal",
        "a:string,a:double",
    ],
)
def test_columns_that_can_not_be_are_refused(text: str) -> None:
    """With a message that says how to write them."""
    with pytest.raises(UsageError):
        parse_columns(text)


def test_a_type_stands_for_one_of_dynamodb_s() -> None:
    """The tag of the values that a column can show."""
    tags = {
        "string": "S",
        "double": "N",
        "decimal(38,3)": "N",
        "list<decimal(38,0)>": "NS",
        "list<binary>": "BS",
    }
    assert tags == {name: tag_of(name) for name in tags}
    assert Column(attribute="a", name="a", type="bool").tag == "BOOL"


def test_columns_that_match_nothing_are_found() -> None:
    """An attribute that no item of the sample has with that type; of an empty sample nothing is said."""
    sample = [{"pk": {"S": "a"}, "total": {"N": "1"}}, {"pk": {"S": "b"}}]
    columns = {"total": "int64", "totl": "int64", "pk": "binary"}
    assert unmatched(sample, columns) == {"totl": "int64", "pk": "binary"}
    assert unmatched([], columns) == {}
