"""Names of the tables of a move at the destination."""

import pytest

from ddb_import.cli import command as import_command
from ddb_import.move_tables import Rename
from ddb_import.verify.cli import command as verify_command
from support.help import outcome

MOVE = "s3://bucket/moves/01732000000000-00000000.json"
EXPORT = "s3://bucket/AWSDynamoDB/01732000000000-00000000/"


@pytest.mark.parametrize(
    ("source", "target", "table", "expected"),
    [
        ("prod-*", "new-*", "prod-orders", "new-orders"),
        ("prod-*", "new-*", "prod-", "new-"),
        ("prod-*", "new-*", "production", None),
        ("*-v1", "*-v2", "orders-v1", "orders-v2"),
        ("*", "new-*", "orders", "new-orders"),
        ("a*a", "b*b", "a", None),
        ("a.*", "b*", "axy", None),
        ("orders", "items", "orders", "items"),
        ("orders", "items", "orders2", None),
    ],
)
def test_a_rename(source: str, target: str, table: str, expected: str | None) -> None:
    """What the star stands for is kept; a name without one is about one table."""
    assert expected == Rename(source, target).apply(table)


@pytest.mark.parametrize("value", ["a", "a=", "=b", "a*=b", "a=b*", "a**=b**", "a?=b?", "a*=b*=c*"])
def test_what_is_not_a_rename(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 before anything is asked of AWS."""
    assert outcome(import_command, MOVE, "--rename", value) == 2
    assert "is not SOURCE=DEST" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((MOVE, "Orders"), "is a move of several tables, which stands alone"),
        ((EXPORT, MOVE, "Orders"), "is a move of several tables, which stands alone"),
        ((EXPORT, "Orders", "--only", "Orders"), "--rename and --only are about the tables of a move"),
        ((EXPORT, "Orders", "--rename", "a=b"), "--rename and --only are about the tables of a move"),
        ((MOVE, "--follow", "--metrics", "m.prom"), "--metrics does not apply to several tables"),
        ((MOVE, "--restart", "--base-only"), "--base-only, --restart do not apply to several tables"),
        ((MOVE, "--create-table", "--engine", "import-table"), "--engine import-table does not apply"),
        ((MOVE, "--create-table", "--key", "pk:S"), "--key or --definition does not apply"),
        ((MOVE, "--control", "--pause"), "--control changes the rate of one import"),
        ((MOVE, "--tables-at-once", "2", "--metrics", "m.prom"), "--metrics does not apply to several"),
    ],
)
def test_what_the_import_of_a_move_does_not_take(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before anything is asked of AWS."""
    assert outcome(import_command, *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((MOVE, "Orders"), "is a move of several tables, which stands alone"),
        ((EXPORT, "Orders", "--rename", "a=b"), "--rename and --only are about the tables of a move"),
        ((MOVE, "--repair", "--yes"), "--repair does not apply to several tables"),
        ((MOVE, "--tables-at-once", "2", "--metrics", "m.prom"), "--metrics does not apply to several"),
        ((EXPORT,), "EXPORT and TABLE are required"),
    ],
)
def test_what_the_verification_of_a_move_does_not_take(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same."""
    assert outcome(verify_command, *words) == 2
    assert message in capsys.readouterr().err
