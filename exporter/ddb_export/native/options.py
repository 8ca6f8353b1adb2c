"""The command-line options of `--method pitr`."""

from __future__ import annotations

from typing import Final

import click

from ddb_export.native.windows import MAX_WINDOW, MIN_WINDOW
from ddb_export.options import PitrOptions
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.command.values import Duration, JsonObject, Moment
from ddb_shared.errors import UsageError

_NAMES: Final = {
    "export_time": "--export-time",
    "since": "--since",
    "every": "--every",
    "enable_pitr": "--enable-pitr",
    "filter": "--filter",
    "projection": "--projection",
    "key_condition": "--key-condition",
    "names": "--expression-attribute-names",
    "values": "--expression-attribute-values",
}
OPTION_NAMES: Final = frozenset(_NAMES)
_OPTIONS: Final = (
    click.option(
        "--export-time",
        type=Moment(),
        metavar="TIME",
        help="With --method pitr: export the table as it was at this time, such as 2026-09-01T12:00:00Z; with --since, the changes "
        "up to this time.  [default: now]",
    ),
    click.option(
        "--since",
        metavar="EXPORT",
        help="With --method pitr: export the changes since this export, full or incremental. ddb-import applies them after it.",
    ),
    click.option(
        "--every",
        type=Duration(minimum=MIN_WINDOW, maximum=MAX_WINDOW),
        metavar="DURATION",
        help="With --method pitr: after the full export (or the one given with --since), export the changes at this interval, such "
        "as 15m, until interrupted. Each export takes ten minutes or more.",
    ),
    click.option(
        "--enable-pitr",
        is_flag=True,
        help="With --method pitr: turn on point-in-time recovery if it is off. It is billed by the size of the table and stays on.",
    ),
    click.option(
        "--filter",
        metavar="EXPRESSION",
        help="With --method pitr: export only items that match this filter expression.",
    ),
    click.option(
        "--projection", metavar="EXPRESSION", help="With --method pitr: export only these attributes."
    ),
    click.option(
        "--key-condition",
        metavar="EXPRESSION",
        help="With --method pitr: export only the items of one partition key.",
    ),
    click.option(
        "--expression-attribute-names",
        "names",
        type=JsonObject(),
        metavar="JSON",
        help='Attribute names used in the expressions, such as {"#s":"status"}.',
    ),
    click.option(
        "--expression-attribute-values",
        "values",
        type=JsonObject(),
        metavar="JSON",
        help='Attribute values used in the expressions, in DynamoDB JSON, such as {":s":{"S":"open"}}.',
    ),
)


def pitr_options(command: Command) -> Command:
    """Adds the options of `--method pitr`; the command receives them as one argument, `pitr`."""
    return bundle("pitr", PitrOptions, _OPTIONS)(command)


def refuse_bad_pitr(pitr: PitrOptions, *, is_native: bool) -> None:
    """Raises UsageError where options of a native export are given without one, or do not go together."""
    given = [option for name, option in _NAMES.items() if getattr(pitr, name)]
    if given and not is_native:
        raise UsageError(
            f"{', '.join(given)}: options of a new export with --method pitr.",
            "Give --method pitr, and no --resume.",
        )
    if pitr.every and pitr.export_time:
        raise UsageError(
            "--every exports until it is interrupted; --export-time says when one export ends.",
            "Leave one out.",
        )
    if (pitr.names or pitr.values) and not (pitr.filter or pitr.projection or pitr.key_condition):
        raise UsageError(
            "Names and values belong to an expression, and none is given.",
            "Give --filter, --projection or --key-condition as well.",
        )
