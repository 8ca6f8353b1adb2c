"""The command-line options of `--method pitr`."""

from __future__ import annotations

from typing import Final

import click

from ddb_export.native.windows import MAX_WINDOW, MIN_WINDOW
from ddb_export.options import PitrOptions
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.command.options import Common
from ddb_shared.command.values import Duration, JsonObject, Moment
from ddb_shared.errors import UsageError
from ddb_shared.runtime.events import warn

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
        help="With --method pitr: export the changes since this export, full or incremental, which ddb-import applies after it.",
    ),
    click.option(
        "--every",
        type=Duration(minimum=MIN_WINDOW, maximum=MAX_WINDOW),
        metavar="DURATION",
        help="With --method pitr: after the full export (or the one of --since), export the changes of each such while, such as 15m, "
        "until interrupted. Each takes ten minutes or more.",
    ),
    click.option(
        "--enable-pitr",
        is_flag=True,
        help="With --method pitr: switch point-in-time recovery on where it is off. It costs by the size of the table and stays on.",
    ),
    click.option(
        "--filter",
        metavar="EXPRESSION",
        help="With --method pitr: export only items for which this filter expression holds.",
    ),
    click.option(
        "--projection", metavar="EXPRESSION", help="With --method pitr: export only these attributes."
    ),
    click.option(
        "--key-condition",
        metavar="EXPRESSION",
        help="With --method pitr: export only items of one partition key.",
    ),
    click.option(
        "--expression-attribute-names",
        "names",
        type=JsonObject(),
        metavar="JSON",
        help='Names of the expressions, such as {"#s":"status"}.',
    ),
    click.option(
        "--expression-attribute-values",
        "values",
        type=JsonObject(),
        metavar="JSON",
        help='Values of the expressions in DynamoDB JSON, such as {":s":{"S":"open"}}.',
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


def refuse_outputs(common: Common) -> None:
    """Raises UsageError where files are asked for that a native export does not write."""
    names = _outputs(common)
    if names:
        raise UsageError(
            f"{', '.join(names)}: {_NO_OUTPUTS}.",
            "Leave it out, or use --method scan.",
        )


def warn_of_outputs(common: Common) -> None:
    """The same as a warning, where the method was not known before: of --method auto, and of a resumed export."""
    names = _outputs(common)
    if names:
        warn(f"{', '.join(names)}: not written. {_NO_OUTPUTS}.")


_NO_OUTPUTS: Final = (
    "DynamoDB's own exports have neither a report nor metrics, since DynamoDB tells no progress"
)


def _outputs(common: Common) -> list[str]:
    given = {"--report": common.report, "--metrics": common.progress.metrics}
    return [option for option, value in given.items() if value]
