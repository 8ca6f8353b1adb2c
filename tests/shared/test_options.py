"""Shared options, the values that they take, and the frame in which every command ends."""

from typing import Any

import click
import msgspec
import pytest

from ddb_shared.aws import AwsOptions
from ddb_shared.errors import Interrupted, StateError, TableError, UsageError
from ddb_shared.options import ByteSize, Capacity, Common, common_options, print_result
from ddb_shared.progress import Style
from support.help import outcome


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
    with pytest.raises(click.BadParameter, match="Write it like 64MiB"):
        ByteSize().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x", "", "%", "0%", "5%%", "5 percent"])
def test_what_is_no_rate(text: str) -> None:
    """A rate is positive and finite."""
    with pytest.raises(click.BadParameter, match="is not a rate"):
        Capacity().convert(text, None, None)


def test_the_options_reach_the_command_and_the_resume_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What was given comes back as arguments with which a later command reaches the same place."""
    seen: list[Common] = []

    @click.command()
    @common_options
    def command(common: Common) -> None:
        seen.append(common)

    arguments = ["--region", "eu-west-1", "--role-arn", "arn:1", "--role-arn", "arn:2", "--external-id", "x",
                 "--endpoint-url", "http://127.0.0.1:1", "--bucket-owner", "222222222222"]  # fmt: skip
    assert outcome(command, *arguments, "--processes", "3", "--progress", "none", "--json") == 0
    (common,) = seen
    assert (3, Style.NONE, True) == (common.processes, common.progress, common.as_json)
    assert common.aws.role_arns == ("arn:1", "arn:2")
    again = common.arguments
    assert outcome(command, *again) == 0
    assert seen[1].aws == common.aws
    assert capsys.readouterr().out == ""


def test_what_was_not_given_is_not_repeated() -> None:
    """A resume command has only what it needs."""
    common = Common(aws=AwsOptions(region="eu-west-1"), processes=1, progress=Style.NONE, as_json=False)
    assert common.arguments == ["--region", "eu-west-1"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("Bad.", "Do so."), 2, "Error: Bad.\nDo so.\n"),
        (TableError("Gone.", "Look."), 1, "Error: Gone.\nLook.\n"),
        (StateError("Held."), 1, "Error: Held.\n"),
        (Interrupted("Interrupted by SIGINT.", "Resume.", 2), 130, "Resume."),
        (Interrupted("Interrupted by SIGTERM.", "Resume.", 15), 143, "Resume."),
        (click.UsageError("No such thing."), 2, "No such thing."),
        (click.Abort(), 130, ""),
        (ConnectionRefusedError("refused"), 1, "refused"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_each_error_ends_the_command_with_its_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An expected error shows its message and no traceback, on stderr."""

    @click.command()
    def command() -> None:
        raise error

    assert code == outcome(command)
    streams = capsys.readouterr()
    assert said in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""


def test_a_bug_keeps_its_traceback() -> None:
    """It is not made to look like the user's mistake."""

    @click.command()
    def command() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        outcome(command)


class _Result(msgspec.Struct):
    items: int
    export: str


def test_json_is_one_object_and_text_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout is the result and nothing else."""
    result: Any = _Result(3, "s3://b/ü")
    print_result(result, "3 items", as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out, type=_Result) == result
    print_result(result, "3 items", as_json=False)
    assert capsys.readouterr().out == "3 items\n"
