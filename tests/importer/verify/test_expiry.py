"""Expired items: those that time to live deletes."""

import json
from typing import Any

import pytest

from ddb_import.verify.expiry import Expiry, attribute_of
from ddb_shared.table.settings import Setting

NOW = 1_800_000_000.0
YEAR = 365 * 24 * 3600


def item(**attributes: Any) -> bytes:
    return json.dumps({"pk": {"S": "a"}} | attributes).encode()


@pytest.mark.parametrize(
    ("value", "expired"),
    [
        ({"N": "1800000000"}, True), ({"N": "1799999999.5"}, True), ({"N": "1800000001"}, False),
        ({"N": str(int(NOW) - 4 * YEAR)}, True), ({"N": str(int(NOW) - 6 * YEAR)}, False), ({"N": "0"}, False),
        ({"S": "1700000000"}, False), ({"N": "x"}, False), ({"NS": ["1700000000"]}, False), ({"NULL": True}, False),
        (None, False),
    ],
)  # fmt: skip
def test_an_item_expires_as_dynamodb_says(value: Any, expired: bool) -> None:
    """A number of epoch seconds that is past, but by less than five years."""
    made = item(ttl=value) if value else item()
    assert expired == Expiry(table="ttl").is_expired(made, NOW)
    assert expired == Expiry(source="ttl", table="other").is_expired(made, NOW)
    assert not Expiry().is_expired(made, NOW)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (Setting({"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}), "ttl"),
        (Setting({"TimeToLiveStatus": "ENABLING", "AttributeName": "ttl"}), "ttl"),
        (Setting({"TimeToLiveStatus": "DISABLED"}), ""),
        (Setting({"TimeToLiveStatus": "DISABLING", "AttributeName": "ttl"}), ""),
        (Setting(unknown="denied"), ""),
        (None, ""),
    ],
)
def test_the_attribute_of_a_setting(setting: Setting | None, name: str) -> None:
    """Only where time to live is on, and known."""
    assert name == attribute_of(setting)
