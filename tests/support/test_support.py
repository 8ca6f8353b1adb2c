"""The support code itself, proven on the real servers."""

import itertools
import os
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings

from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.items import MAX_ITEM_BYTES, conformance_items, items_strategy, largest_item
from support.services import Endpoint
from support.tables import KeySpec, assert_same_items, by_key, create_table, fill, read_all
from support.varied import varied_items

KEYS = [KeySpec("pk", h, "sk", r) for h, r in itertools.product("SNB", "SNB")]
KEYS += [KeySpec('the key\'s "name".\n', kind, "") for kind in "SNB"]


@pytest.mark.parametrize(
    "key", KEYS, ids=lambda key: key.hash_type + (key.range_type if key.range_name else "")
)
def test_conformance(
    engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str], key: KeySpec
) -> None:
    """Both engines store the conformance items and give them back."""
    client, table = accounts.dynamodb(engine), unique_name()
    items = conformance_items(key)
    create_table(client, table, key)
    for item in items:
        client.put_item(TableName=table, Item=item)
    assert_same_items(by_key(items, key), read_all(client, table))


@pytest.mark.parametrize(
    "key", KEYS, ids=lambda key: key.hash_type + (key.range_type if key.range_name else "")
)
def test_largest_item(
    ddb_local: Endpoint, accounts: Accounts, unique_name: Callable[[], str], key: KeySpec
) -> None:
    """One byte more than the largest item is refused."""
    client, table = accounts.dynamodb(ddb_local), unique_name()
    create_table(client, table, key)
    client.put_item(TableName=table, Item=largest_item(key))
    with pytest.raises(ClientError, match="Item size has exceeded"):
        client.put_item(TableName=table, Item=largest_item(key, MAX_ITEM_BYTES + 1))


def test_strategy(ddb_local: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> None:
    """DynamoDB's own engine takes whatever the strategy makes."""
    client = accounts.dynamodb(ddb_local)

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(items_strategy())
    def takes(items: list[dict[str, object]]) -> None:
        table = unique_name()
        create_table(client, table)
        fill(client, table, items, threads=1)
        assert_same_items(by_key(items), read_all(client, table))
        client.delete_table(TableName=table)

    takes()


def test_varied_items(engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> None:
    """A table filled by threads holds every item; parts made apart are the whole."""
    client, table = accounts.dynamodb(engine), unique_name()
    create_table(client, table)
    assert fill(client, table, varied_items(1_000)) == 1_000
    parts = [*varied_items(400), *varied_items(600, start=400)]
    assert_same_items(by_key(parts), read_all(client, table))


def test_accounts_are_apart(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> None:
    """A table of the source account is not seen by the destination account."""
    table = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), table)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        accounts.dynamodb(aws, DESTINATION).describe_table(TableName=table)


def test_differences_are_named() -> None:
    """The error says which item, which attribute, what was expected."""
    old = {"pk": {"S": "a"}, "sk": {"N": "1"}, "m": {"M": {"x": {"N": "1.0"}, "y": {"SS": ["a", "b"]}}}}
    same = {"pk": {"S": "a"}, "sk": {"N": "1.0"}, "m": {"M": {"x": {"N": "1"}, "y": {"SS": ["b", "a"]}}}}
    new = {"pk": {"S": "a"}, "sk": {"N": "1"}, "m": {"M": {"x": {"N": "2"}, "y": {"SS": ["a", "b"]}}}}
    assert_same_items(by_key([old]), by_key([same]))
    with pytest.raises(AssertionError, match=r"at m\.x: expected \('N', Decimal\('1\.0'\)\), got"):
        assert_same_items(by_key([old]), by_key([new]))
    with pytest.raises(AssertionError, match="1 missing, 0 extra, 0 different"):
        assert_same_items(by_key([old]), by_key([]))


def test_environment_is_clean() -> None:
    """No credentials or profile of the machine reach a test."""
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"} & os.environ.keys()
    assert os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] == "disabled"
