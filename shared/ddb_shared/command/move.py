"""A move of several tables: one after another in the same process, so that a cap holds for all of them.

A table that fails does not stop the others, and the worst exit code of all is that of the command.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ddb_shared.errors import (
    EXIT_DIFFERENT,
    EXIT_FAILED,
    EXIT_REJECTS,
    Interrupted,
    TransferError,
    UsageError,
    map_error,
)
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop

COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"
# From the best to the worst.
_SEVERITY: Final = (0, EXIT_REJECTS, EXIT_DIFFERENT, EXIT_FAILED)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one table: its result, or the error that ended it."""

    result: Result | None = None
    error: TransferError | None = None


def run_each(
    names: Sequence[str], run_one: Callable[[int, Stop], Result], stop: Stop
) -> list[Outcome[Result]]:
    """Runs `run_one` for the index of each table in turn; raises Interrupted, as `stop` explains it, after a signal.

    Each table has a Stop of its own: one that is ended by the loss of its lease ends alone.
    """
    outcomes: list[Outcome[Result]] = []
    for number, name in enumerate(names, 1):
        stop.check()
        announce(
            f"Table {number} of {len(names)}: {name}",
            event="table",
            number=number,
            tables=len(names),
            table=name,
        )
        try:
            outcomes.append(Outcome(run_one(number - 1, stop.part())))
        except Interrupted:
            stop.check()
            raise
        except Exception as error:
            mapped = error if isinstance(error, TransferError) else map_error(error, f"move table {name}")
            if mapped is None:  # a bug in this package
                raise
            stop.check()
            announce(
                f"Error: table {name}: {mapped}",
                event="table_failed",
                level=logging.ERROR,
                table=name,
                error=mapped.message,
                remedy=mapped.remedy,
            )
            outcomes.append(Outcome(error=mapped))
    return outcomes


def worst(exit_codes: Iterable[int]) -> int:
    """The exit code of the whole; whatever else ended a table is a failure."""
    return max(
        (code if code in _SEVERITY else EXIT_FAILED for code in exit_codes),
        key=_SEVERITY.index,
        default=0,
    )


def refuse_for_move(given: Iterable[tuple[str, object]], command: str) -> None:
    """Raises UsageError where an option is given that belongs to a single table; `command` is the one to run for each."""
    names = [option for option, value in given if value]
    if names:
        several = len(names) > 1
        raise UsageError(
            f"{', '.join(names)} {'do' if several else 'does'} not apply to several tables at once.",
            f"Run one command for each table: {command}",
        )
