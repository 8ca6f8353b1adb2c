"""Types of option values."""

import click
import pytest

from ddb_shared.command.values import ByteSize, Capacity


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1_048_576),
        ("64MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("500MB", 500_000_000),
        ("1 GiB", 1 << 30),
        ("7b", 7),
        ("2kb", 2_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units, in any case."""
    assert size == ByteSize().convert(text, None, None)


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "1TiBx", "64 MiB MiB", "1_000", "0x10"])
def test_what_is_no_size(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(click.BadParameter, match="is not a size such as 64MiB"):
        ByteSize().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x", "", "%", "0%", "5%%", "5 percent"])
def test_what_is_no_rate(text: str) -> None:
    """A rate is positive and finite."""
    with pytest.raises(click.BadParameter, match="is not a rate"):
        Capacity().convert(text, None, None)
