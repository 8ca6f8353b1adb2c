"""The command line of ddb-verify."""

import pytest

from ddb_import.verify.cli import command
from support.help import assert_help, outcome

EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"
OPTIONS = (
    "--tables",
    "--sample",
    "--max-differences",
    "--repair",
    "--delete-extra",
    "--yes",
    "--max-rcu",
    "--max-wcu",
    "--base-only",
    "--state",
)


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A user needs no other page to run it."""
    assert outcome(command, "--help") == 0
    assert_help(command, capsys.readouterr().out, OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "EXPORT and TABLE are required"),
        ([EXPORT], "EXPORT and TABLE are required"),
        (["--tables", "A"], "EXPORT and TABLE are required"),
        (["--tables", "A", "B", "C"], "--tables takes two tables"),
        (["--tables", "A", "B", "--base-only"], "--base-only is about an export"),
        ([EXPORT, "T", "--source-region", "eu-west-1"], "--source options require --tables"),
        ([EXPORT, "T", "--delete-extra"], "require --repair"),
        ([EXPORT, "T", "--yes"], "require --repair"),
        ([EXPORT, "T", "--max-wcu", "5"], "require --repair"),
        ([EXPORT, "a b"], "'a b' is not a table name"),
        (["--tables", "a b", "Orders"], "'a b' is not a table name"),
        (["--tables", "Orders", "a/b"], "'a/b' is not a table name"),
        (["--tables", "Orders", "Copy", "--source-region", "Ireland!"], "'Ireland!' is not a region"),
        ([EXPORT, "T", "--sample", "0"], "0.0 is not in the range"),
        ([EXPORT, "T", "--sample", "101"], "101.0 is not in the range"),
        ([EXPORT, "T", "--repair", "--yes", "--sample", "5"], "needs a comparison of all items"),
        ([EXPORT, "T", "--repair"], "no terminal is attached"),
    ],
)
def test_a_bad_command_line_exits_2_and_says_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked of AWS; nothing goes to stdout."""
    assert outcome(command, *arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
