"""The command line as given, and with changes: to resume a run, to execute a plan, to verify again."""

from __future__ import annotations

import datetime as dt
import enum
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
import msgspec
from click.core import ParameterSource

from ddb_shared.times import time_text

# Values given on the command line or by an environment variable; defaults need not be repeated.
_GIVEN: Final = frozenset({ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT})
# The parameters of every command that say who calls which services.
_ACCESS: Final = frozenset(
    {
        "region", "profile", "role_arns", "external_id", "role_session_name", "mfa_serial", "s3_profile", "s3_role_arns",
        "endpoint_url", "s3_endpoint_url", "streams_endpoint_url", "bucket_owner",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command, and the words of each given parameter by its name."""

    program: str = ""
    given: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, context: click.Context) -> Invocation:
        """The invocation that click has parsed: arguments first, then options in the order of --help."""
        command = context.command
        parameters = sorted(command.params, key=lambda parameter: isinstance(parameter, click.Option))
        words = ((str(one.name), tuple(_words_of(one, context))) for one in parameters if one.expose_value)
        return cls(command.name or "", tuple((name, part) for name, part in words if part))

    def line(self, *first: str, without: Collection[str] = ()) -> str:
        """The command line, quoted for a shell: the words `first`, then all parameters but those in `without`."""
        rest = (word for name, words in self.given if name not in without for word in words)
        return shlex.join([self.program, *first, *rest])

    def access(self, *also: str) -> list[str]:
        """The words of the AWS access options, and of the parameters `also`: for the same caller's next command."""
        return [word for name, words in self.given if name in _ACCESS or name in also for word in words]

    def next(self, *words: str) -> str:
        """The line of the same caller's next command: these words, and the AWS access options."""
        return shlex.join([self.program, *words, *self.access()])


def _words_of(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    name = str(parameter.name)
    value = context.params.get(name)
    if context.get_parameter_source(name) not in _GIVEN or value is None:
        return
    values = value if parameter.multiple or isinstance(value, tuple) else (value,)
    for one in values:
        if not isinstance(parameter, click.Option):
            yield _text(one)
        elif parameter.count:
            yield from [parameter.opts[0]] * int(one)
        elif not parameter.is_flag:
            yield from (parameter.opts[0], _text(one))
        elif one:
            yield parameter.opts[0]


def _text(value: Any) -> str:
    """A value as its option takes it."""
    match value:
        case float():
            return f"{value:.15g}"
        case enum.Enum():
            return str(value.value)
        case dt.datetime():
            return time_text(value)
        case dt.timedelta():
            return f"{value.total_seconds():.0f}s"
        case dict():
            return msgspec.json.encode(value).decode()
    return str(value)
