"""The frame in which every command runs: its exit code, and how its errors are shown."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from ddb_shared.command.groups import variable_of
from ddb_shared.command.output import Output
from ddb_shared.errors import EXIT_FAILED, TransferError, map_error

# Python collects after 700 new objects by default, mostly while modules are loaded, and finds nothing: a sixth of the CPU of
# a command on a small table.
_OBJECTS_PER_COLLECTION: Final = 50_000


def run(command: click.Command, argv: Sequence[str] | None = None) -> None:
    """Runs a command line and exits with the code of its outcome.

    Expected errors are printed without a traceback; bugs keep theirs. With --json, a failure is also printed as one JSON
    object on stdout, unless the command has printed its result.
    """
    gc.freeze()  # what has been imported stays
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    arguments = list(sys.argv[1:] if argv is None else argv)
    output = Output(as_json=_wants_json(command, arguments))
    try:
        code = command.main(args=arguments, standalone_mode=False, obj=output)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
        output.fail(error.format_message(), f"See {command.name} --help.", error.exit_code)
    except click.Abort:
        code = 130
        output.fail("Aborted.", "", code)
    except TransferError as error:
        code = output.report(error)
    except Exception as error:
        mapped = map_error(error, f"run {command.name}")
        if mapped is None:
            output.fail(
                f"{type(error).__name__}: {error}",
                "This is a bug in ddb-transfer; please report it with the traceback.",
                EXIT_FAILED,
            )
            raise
        code = output.report(mapped)
    sys.exit(code or 0)


def _wants_json(command: click.Command, arguments: Sequence[str]) -> bool:
    """Whether a failure is to be printed as JSON: known before the command line is parsed, which may fail."""
    variable = next(
        (variable_of(str(command.name), one) for one in command.params if "--json" in one.opts), None
    )
    return "--json" in arguments or os.environ.get(variable or "", "").lower() in {"1", "true", "yes", "on"}
