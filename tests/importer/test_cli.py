"""The command line of ddb-import."""

import pytest

from ddb_import.cli import command
from support.help import assert_help, outcome

OPTIONS = ("--create-table", "--max-wcu", "--on-existing", "--restart", "--state", "--from-rejects")
EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A user needs no other page to run it."""
    assert outcome(command, "--help") == 0
    assert_help(command, capsys.readouterr().out, OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'EXPORT'"),
        ([EXPORT], "Missing argument 'TABLE'"),
        ([EXPORT, "T", "--on-existing", "merge"], "'merge' is not one of"),
        ([EXPORT, "T", "--max-wcu", "-5"], "'-5' is not a rate"),
        ([EXPORT, "T", "--max-wcu", "inf"], "'inf' is not a rate"),
        ([EXPORT, "T", "--max-wcu", "fast"], "'fast' is not a rate"),
        ([EXPORT, "T", "--billing-mode", "provisioned"], "--billing-mode is an option of --create-table"),
        ([EXPORT, "T", "--definition-only"], "--definition-only is an option of --create-table"),
        ([EXPORT, "T", "--create-table", "--warm-write-units", "10"], "10 is not in the range"),
        ([EXPORT, "T", "more"], "unexpected extra argument"),
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
