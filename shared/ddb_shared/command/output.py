"""The stdout of a command: its result, or with --json its failure, as one JSON object."""

from __future__ import annotations

import logging
from typing import Any

import click
import msgspec

from ddb_shared.errors import TransferError
from ddb_shared.runtime.events import announce
from ddb_shared.text import printable


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The `--json` output of a command that failed before it had a result; `exit` is its exit code."""

    status: str = "failed"
    error: str
    remedy: str
    exit: int


class Output:
    """The stdout of one command: at most one result."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.has_result = False

    def report(self, error: TransferError) -> int:
        """Prints an expected failure; returns the exit code."""
        announce(
            f"Error: {error}",
            event="failed",
            level=logging.ERROR,
            error=error.message,
            remedy=error.remedy,
            exit=error.exit_code,
        )
        self.fail(error.message, error.remedy, error.exit_code)
        return error.exit_code

    def fail(self, error: str, remedy: str, exit_code: int) -> None:
        """Prints a failure as JSON, unless a result was printed."""
        if self._as_json and not self.has_result:
            failure = Failure(error=error, remedy=remedy, exit=exit_code)
            click.echo(printable(msgspec.json.encode(failure).decode()))
            self.has_result = True


def print_result(result: Any, text: str, *, as_json: bool, summary: str = "") -> None:
    """Prints a command's result on stdout: the msgspec Struct as JSON, or the text for people.

    The `summary` goes to stderr: other programs read stdout, which holds the text alone.
    """
    if summary and not as_json:
        announce(summary, event="result")
    if as_json or text:
        click.echo(printable(msgspec.json.encode(result).decode() if as_json else text))
    context = click.get_current_context(silent=True)
    output = context.find_object(Output) if context else None
    if output:
        output.has_result = True
