"""Foreign text cannot move the cursor, hide what is printed, or break JSON."""

import json

import pytest

from ddb_shared.text import columns_text, count_text, duration_text, printable, size_text, told_once


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\rb", "\x07", "\x7f", "\x9b1m", "\u202egnp.exe", "\u2028", "\ud800"]
)
def test_control_characters_are_escaped(text: str) -> None:
    """Escape sequences, carriage returns, C1 controls, marks of direction, lone surrogates."""
    shown = printable(text)
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == text


def test_other_text_stays() -> None:
    """Newlines and tabs of our own messages, letters of every script, emoji."""
    text = "Größe 大 😀\n\tnext"
    assert printable(text) == text


@pytest.mark.parametrize(("count", "expected"), [(0, "0 shards"), (1, "1 shard"), (1_234, "1,234 shards")])
def test_one_is_not_many(count: int, expected: str) -> None:
    """As people write it."""
    assert expected == count_text(count, "shard")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.44, "0.4 s"), (45.0, "45 s"), (60.0, "1 min"), (125.0, "2 min 5 s"), (3_599.6, "1 h"), (7_800.0, "2 h 10 min"),
     (86_400.0, "1 d"), (273_600.0, "3 d 4 h"), (86_370.0, "24 h")],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds: float, expected: str) -> None:
    """Nobody thinks in 130.0 minutes."""
    assert duration_text(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5e12, "5.0 TB"),
        (9e18, "9,000.0 PB"),
    ],
)
def test_a_size_has_its_largest_unit(size: float, expected: str) -> None:
    """In powers of a thousand."""
    assert size_text(size) == expected


def test_columns_are_aligned() -> None:
    """Numbers to the right, and no line ends in spaces."""
    text = columns_text(("NAME", "ITEMS", "X"), [("Orders", "1,234", ""), ("A", "-", "s3://x")])
    assert text.splitlines() == ["NAME    ITEMS  X", "Orders  1,234", "A           -  s3://x"]


def test_a_remark_on_many_tables_is_told_once() -> None:
    """With the tables that it is about, unless it is about all; in the order in which the remarks come."""
    remarks = [("a", "slow"), ("b", "large"), ("b", "slow"), ("c", "large"), ("c", "slow")]
    assert ["slow", "b, c: large"] == told_once(remarks, 3)
