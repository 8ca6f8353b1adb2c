"""The command lines' form: options in groups, help as wide as the terminal, an environment variable for each option.

GROUPS is the one place that says to which group an option belongs; a test checks that every option is in one. click has no
groups. cloup and rich-click have, but add 50 and 93 ms of CPU to a `--help` that takes 200 in all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

from ddb_shared.runtime.events import announce

# Groups and options in the order of --help.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Actions": (
        "--resume", "--list", "--status", "--control", "--pause", "--continue", "--ddl", "--tables", "--from-rejects",
        "--dry-run",
    ),
    "Table": (
        "--table", "--destination-table", "--rename", "--only", "--engine", "--on-existing", "--max-rejects", "--restart", "--create-table", "--key", "--definition", "--billing-mode", "--indexes",
        "--warm-write-units", "--map-kms", "--with-resource-policy", "--definition-only", "--verify", "--source-region", "--source-profile",
        "--source-role-arn", "--sample", "--max-differences", "--repair", "--delete-extra", "--yes",
    ),
    "Table in use": (
        "--follow", "--base-only", "--so-far", "--full", "--rollback-of", "--changes-only", "--finish", "--block-writes", "--unblock", "--cancel",
    ),
    "Native export": (
        "--method", "--export-time", "--since", "--every", "--enable-pitr", "--filter", "--projection", "--key-condition",
        "--expression-attribute-names", "--expression-attribute-values",
    ),
    "Format": ("--format", "--columns", "--compression", "--segments", "--shard-size", "--consistent-read"),
    "Bucket": (
        "--bucket", "--prefix", "--bucket-owner", "--acl", "--kms-key-id", "--state", "--state-owner", "--kms-key-arn",
        "--table-kms-key-arn", "--destination-table-kms-key-arn",
    ),
    "AWS access": (
        "--source-account", "--source-role", "--destination-account", "--destination-role", "--region", "--profile",
        "--role-arn", "--external-id", "--role-session-name", "--mfa-serial", "--s3-profile", "--s3-role-arn",
        "--endpoint-url", "--streams-endpoint-url", "--s3-endpoint-url",
    ),
    "Rate": ("--max-rcu", "--max-wcu", "--tables-at-once", "--processes", "--scheduler"),
    "Output": (
        "--json", "--report", "--progress", "--metrics", "--quiet", "--verbose", "--log-level", "--log-file", "--log-format",
        "--version", "--help",
    ),
}  # fmt: skip
UNGROUPED: Final = "Other options"
# Options that allow data to be replaced or deleted, or grant access: a variable may be left over from another run.
COMMAND_LINE_ONLY: Final = frozenset(
    {
        "--finish",
        "--block-writes",
        "--cancel",
        "--on-existing",
        "--restart",
        "--repair",
        "--delete-extra",
        "--yes",
        "--with-resource-policy",
        "--version",
        "--help",
    }
)
_COLUMN: Final = 26  # where the descriptions begin


class Command(click.Command):
    """A command whose options are grouped in --help and may come from environment variables.

    The variable of `ddb-export --max-rcu` is DDB_EXPORT_MAX_RCU. It precedes other variables that an option is declared
    with, such as AWS_REGION.
    """

    def __init__(self, name: str, **members: Any) -> None:
        settings = {
            "help_option_names": ["-h", "--help"],
            "max_content_width": sys.maxsize,  # click's own limit is 80 columns
            **members.pop("context_settings", {}),
        }
        super().__init__(name, context_settings=settings, **members)
        self._variables = {
            str(option.name): variable for option in self.params if (variable := variable_of(name, option))
        }
        for option in self.params:
            if option.name in self._variables:
                names = [self._variables[option.name], *_declared(option)]
                option.envvar = names if len(names) > 1 else names[0]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the command line; an invalid value that came from a variable is reported with the variable's name."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = str(error.param.name) if error.param else ""
            if not _is_used(ctx, name, variable := self._variables.get(name, "")):
                raise
            message = f"{error.message} It was read from {variable}."
            raise click.BadParameter(message, error.ctx, error.param) from error

    def variables_used(self, ctx: click.Context) -> list[str]:
        """The environment variables that this run has options from."""
        return [variable for name, variable in self._variables.items() if _is_used(ctx, name, variable)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a section for each group."""
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        records = {long_name(option): option.get_help_record(ctx) for option in options}
        for group, rows in _grouped({name: record for name, record in records.items() if record}):
            with formatter.section(group):
                formatter.write_dl([(names.ljust(_COLUMN), text) for names, text in rows], col_max=_COLUMN)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes how options are set by variables, then the examples and exit codes."""
        formatter.write_paragraph()
        formatter.write_text(
            f"Each option can also be set by an environment variable, such as {_example(self._variables)}; options that allow "
            "data to be replaced or deleted are read from the command line only."
        )
        super().format_epilog(ctx, formatter)


def announce_variables(ctx: click.Context) -> None:
    """Tells which options come from environment variables. A command that has a log calls it once that is set up."""
    used = ctx.command.variables_used(ctx) if isinstance(ctx.command, Command) else []
    if used:
        announce(
            f"Options from the environment: {', '.join(used)}.", event="environment_options", variables=used
        )


def long_name(parameter: click.Parameter) -> str:
    """The name of an option as users write it, such as `--max-rcu`."""
    return next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0])


def variable_of(command: str, parameter: click.Parameter) -> str | None:
    """The environment variable of an option; None for an argument, and where only the command line may say it."""
    name = long_name(parameter)
    if not isinstance(parameter, click.Option) or name in COMMAND_LINE_ONLY:
        return None
    return (command + name[1:]).replace("-", "_").upper()


def _declared(option: click.Parameter) -> list[str]:
    declared = option.envvar or []
    return [declared] if isinstance(declared, str) else list(declared)


def _is_used(ctx: click.Context, name: str, variable: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT and bool(os.environ.get(variable))


def _grouped(records: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    left = dict(records)
    for group, names in GROUPS.items():
        rows = [left.pop(name) for name in names if name in left]
        if rows:
            yield group, rows
    if left:
        yield UNGROUPED, list(left.values())


def _example(variables: Mapping[str, str]) -> str:
    """A variable with a value, of a cap where the command has one."""
    for name, value in (("max_rcu", "500"), ("max_wcu", "500"), ("region", "eu-west-1")):
        if name in variables:
            return f"{variables[name]}={value}"
    return next(iter(variables.values()), "")
