"""Numbers and binary values that DynamoDB holds equal have one text."""

import base64
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.format.normal import normal_base64, normal_number
from support.items import numbers, other_number

RANDOMS = st.integers(0, 2**32).map(random.Random)


@given(numbers(), RANDOMS)
def test_numbers_have_one_text(number: str, chance: random.Random) -> None:
    """Every spelling has the text that DynamoDB returns, which means the same number."""
    text = normal_number(number)
    assert text == normal_number(other_number(number, chance))
    assert Decimal(text) == Decimal(number)
    assert not set(text) & set("+eE")
    assert text == normal_number(text)


@given(numbers(), numbers())
def test_numbers_are_equal_if_their_texts_are(number: str, other: str) -> None:
    """Two numbers have one text if and only if they are one."""
    assert (Decimal(number) == Decimal(other)) == (normal_number(number) == normal_number(other))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("1.0", "1"), ("+1", "1"), ("1E0", "1"), ("-0", "0"), ("-0.00e7", "0"), (".5", "0.5"), ("5.", "5"),
        ("1E40", "1" + "0" * 40), ("1E-130", "0." + "0" * 129 + "1"), ("-1.20e-3", "-0.0012"), ("00012.300", "12.3"),
        ("9" * 38 + "E87", "9" * 38 + "0" * 87), ("0." + "1" * 60, "0." + "1" * 60),
        ("NaN", "NaN"), ("Infinity", "Infinity"), ("1_0", "1_0"), (" 1", " 1"), ("", ""), ("\uff11", "\uff11"),
        ("10E999999999", "1E1000000000"), ("1E9999999999999", "1E9999999999999"),
    ],
)  # fmt: skip
def test_number_texts(given_text: str, expected: str) -> None:
    """No exponent, no needless zero; no digit lost beyond the 28 of a Decimal context; no number stays as it is."""
    assert expected == normal_number(given_text)


@given(st.binary(max_size=40))
def test_base64_has_one_text(data: bytes) -> None:
    """Unused bits that are not zero mean the same bytes."""
    text = base64.b64encode(data).decode()
    assert text == normal_base64(text)
    assert normal_base64("YR==") == normal_base64("YQ==") == "YQ=="
    assert normal_base64("no base64!") == "no base64!"
