"""What a command says of itself, and how it ends on a command line."""

from collections.abc import Sequence

import click
import pytest

from ddb_shared.command.main import run

SHARED_OPTIONS = (
    "--region", "--profile", "--role-arn", "--external-id", "--endpoint-url", "--s3-endpoint-url", "--bucket-owner",
    "--processes", "--progress", "--json", "--log-level",
)  # fmt: skip


def outcome(command: click.Command, *arguments: str) -> int:
    """The exit code of a command line, run in this process."""
    with pytest.raises(SystemExit) as caught:
        run(command, arguments)
    return int(caught.value.code or 0)


def assert_help(command: click.Command, text: str, options: Sequence[str]) -> None:
    """Every option of the design and the exit codes are there, and each option says what it is for."""
    missing = [option for option in (*SHARED_OPTIONS, *options) if option not in text]
    assert missing == []
    for line in ("Exit codes:", "0         complete", "1         failed", "2         bad option", "3         complete, but",
                 "4         verification found differences", "130, 143  interrupted"):  # fmt: skip
        assert line in text
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert silent == []
