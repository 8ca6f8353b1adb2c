"""The options that every command shares."""

import shlex

import click
import pytest

from ddb_shared.command.options import Common, common_options
from ddb_shared.runtime.display import Style
from support.help import outcome


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
    assert (3, Style.NONE, True) == (common.processes, common.progress.style, common.as_json)
    assert common.aws.role_arns == ("arn:1", "arn:2")
    again = shlex.split(common.invocation.line())[1:]
    assert outcome(command, *again) == 0
    assert seen[1].aws == common.aws
    assert capsys.readouterr().out == ""


def test_what_was_not_given_is_not_repeated() -> None:
    """A resume command has only what it needs."""
    seen: list[Common] = []

    @click.command("ddb-test")
    @common_options
    def command(common: Common) -> None:
        seen.append(common)

    assert outcome(command, "--region", "eu-west-1") == 0
    assert seen[0].invocation.line() == "ddb-test --region eu-west-1"
