"""The command line of ddb-export."""

import pytest

from ddb_export.cli import Location, command
from support.help import assert_help, outcome

OPTIONS = ("--resume", "--compression", "--segments", "--consistent-read", "--max-rcu", "--shard-size", "--kms-key-id", "--acl", "--dry-run")  # fmt: skip


@pytest.mark.parametrize(
    ("as_json", "stdout", "stderr"), [(False, "s3://b/e/\n", ""), (True, "", "Location: s3://b/e/\n")]
)
def test_the_location_is_told_early(
    as_json: bool, stdout: str, stderr: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs that wait for one JSON object on stdout find it among the events."""
    location = Location(as_json=as_json)
    location.show("s3://b/e/")
    assert (stdout, stderr) == tuple(capsys.readouterr())
    assert ("s3://b/e/" if as_json else "") == location.text("s3://b/e/")


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A user needs no other page to run it."""
    assert outcome(command, "--help") == 0
    assert_help(command, capsys.readouterr().out, OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["T", "s3://bucket", "--compression", "lzma"], "'lzma' is not one of"),
        (["T", "s3://bucket", "--segments", "0"], "0 is not in the range"),
        (["T", "s3://bucket", "--segments", "many"], "'many' is not a valid integer"),
        (["T", "s3://bucket", "--max-rcu", "0"], "'0' is not a rate. Expected capacity units per second"),
        (["T", "s3://bucket", "--max-rcu", "nan"], "'nan' is not a rate"),
        (
            ["T", "s3://bucket", "--shard-size", "64 parsecs"],
            "'64 parsecs' is not a size such as 64MiB",
        ),
        (["T", "s3://bucket", "--processes", "0"], "0 is not in the range"),
        (["T", "s3://bucket", "--no-such-option"], "No such option"),
        (["T", "s3://bucket", "one", "more"], "Invalid S3 URL 'more'"),
        (["--resume", "s3://bucket/AWSDynamoDB/1/", "a b"], "'a b' is not a table name"),
        (["T", "s3://bucket", "--kms-key-id", "alias/mine"], "is not an ARN"),
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


MOVE = "s3://bucket/moves/01732000000000-00000000.json"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("a*", "s3://bucket", "--follow", "--changes-only"),
            "--changes-only does not apply to several",
        ),
        (("a*", "s3://bucket", "--method", "pitr"), "--method pitr does not apply to several tables"),
        (
            ("a*", "s3://bucket", "--follow", "--metrics", "x.prom"),
            "--metrics does not apply to several tables",
        ),
        (("aaa", "s3://bucket", "--tables-at-once", "2"), "--tables-at-once is about the tables of a move"),
        (("a*", "bbb"), "Invalid S3 URL 'bbb'"),
        (("s3://bucket", "bbb", "s3://other"), "'s3://bucket' is not a table name"),
        (("arn:aws:dynamodb:eu-west-1:111111111111:table/a*", "s3://bucket"), "is an ARN with a wildcard"),
        (("a[bc]*", "s3://bucket"), "'a[bc]*' is not a table name"),
        (("aaa", "--resume", MOVE), "takes no other argument"),
        (("--resume", MOVE, "--method", "pitr"), "--method pitr does not"),
        (("--resume", MOVE, "--dry-run"), "--dry-run applies to new exports only"),
    ],
)
def test_what_several_tables_do_not_take(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before anything is asked of AWS, and the message says what does not apply."""
    assert outcome(command, *words) == 2
    assert message in capsys.readouterr().err
