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
        ([EXPORT, "Orders", "--on-existing", "merge"], "'merge' is not one of"),
        ([EXPORT, "Orders", "--max-wcu", "-5"], "'-5' is not a rate"),
        ([EXPORT, "Orders", "--max-wcu", "inf"], "'inf' is not a rate"),
        ([EXPORT, "Orders", "--max-wcu", "fast"], "'fast' is not a rate"),
        (
            [EXPORT, "Orders", "--billing-mode", "provisioned"],
            "--billing-mode requires --create-table",
        ),
        ([EXPORT, "Orders", "--definition-only"], "--definition-only requires --create-table"),
        ([EXPORT, "Orders", "--create-table", "--warm-write-units", "10"], "10 is not in the range"),
        (["Orders"], "Missing argument 'EXPORT'"),
        ([EXPORT, EXPORT], "Missing argument 'TABLE'"),
        (
            ["arn:aws:s3:eu-west-1:111111111111:accesspoint/moves", "Orders"],
            "Give the access point's alias (it ends in -s3alias)",
        ),
        ([EXPORT, "Orders", "--rollback-of", "nonsense"], "neither an S3 URL nor a folder that exists"),
        ([EXPORT, "Orders", "--rollback-of", "ftp://x"], "'ftp://x' is neither an S3 URL nor a local path"),
        ([EXPORT, "Orders", "more"], "'Orders'"),
        (
            [EXPORT, "Orders", "--restart", "--from-rejects"],
            "--restart discards the rejects that --from-rejects loads",
        ),
        ([EXPORT, "not a table"], "'not a table' is not "),
        ([EXPORT, EXPORT, "Orders", "--status"], "--status and --control are about the import of one export"),
        ([EXPORT, "Orders", "--max-rejects", "-1"], "'-1' is neither a number of items nor a percentage"),
        ([EXPORT, "Orders", "--max-rejects", "101%"], "'101%' is neither a number of items nor a percentage"),
        ([EXPORT, "Orders", "--max-rejects", "0%"], "'0%' is neither a number of items nor a percentage"),
        ([EXPORT, "Orders", "--max-rejects", "1.5"], "'1.5' is neither a number of items nor a percentage"),
        ([EXPORT, "Orders", "--state", "ftp://x"], "'ftp://x' is neither an S3 URL nor a local path"),
        ([EXPORT, "Orders", "--state", "s3://b"], "Invalid S3 URL 's3://b'"),
        (
            [EXPORT, "Orders", "--state", "orders", "--scheduler", "tcp://127.0.0.1:1"],
            "--state orders is a folder of this machine, which the workers of --scheduler cannot see",
        ),
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
