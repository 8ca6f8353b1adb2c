"""Works on the tables of a move, each in a thread of its own: how many at a time, what stops one of them, and what stops all.

A table that fails does not stop the others, unless it is for the credentials.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ddb_shared.errors import CredentialsError, Interrupted, TransferError, map_error
from ddb_shared.runtime.events import about, announce
from ddb_shared.runtime.stop import Stop

_POLL_SECONDS: Final = 0.1
Result = TypeVar("Result")


class Turn:
    """A table's turn to be copied. It may be given up before the table's work ends, which continues without one, and taken again."""

    def __init__(self, turns: threading.Semaphore, stop: Stop) -> None:
        self._turns = turns
        self._stop = stop
        self._is_held = False

    def take(self) -> None:
        """Waits for the turn, in no order, or until the table's run is to stop; raises Interrupted after a signal."""
        while not (self._is_held or self._stop.requested()):
            self._is_held = self._turns.acquire(timeout=_POLL_SECONDS)
        self._stop.check()

    def give_up(self) -> None:
        """Lets another table have it."""
        if self._is_held:
            self._is_held = False
            self._turns.release()


@dataclass(eq=False)
class _Table(Generic[Result]):
    """One table: its thread's outcome is a result, an error of this package, or a bug."""

    name: str
    stop: Stop
    turn: Turn
    outcome: list[Result | TransferError] = field(default_factory=list)
    bug: BaseException | None = None


def run_each(
    names: Sequence[str],
    run_one: Callable[[int, Stop, Turn], Result],
    stop: Stop,
    *,
    at_once: int = 1,
    begins_at_once: Container[int] = (),
    names_tables: bool = False,
) -> list[Result | TransferError]:
    """What `run_one` returns for the index of each table, or the error that ended it.

    At most `at_once` tables have their turn at the same time. Those in `begins_at_once` begin first, and each takes its turn itself; the
    others begin in order, each when it has its turn. With `names_tables`, everything that is told is told with the table's name. Once
    the credentials are refused, or there was a bug, the tables that have not begun are not tried.
    Raises Interrupted, as `stop` explains it, after a signal.

    Each table has a Stop of its own: one that is ended by the loss of its lease ends alone.
    """
    turns = threading.Semaphore(at_once)
    tables: dict[int, _Table[Result]] = {}
    threads = []
    for index in sorted(range(len(names)), key=lambda at: at not in begins_at_once):
        name, part = names[index], stop.part()
        table = _Table[Result](name, part, Turn(turns, part))
        try:
            if index not in begins_at_once:
                table.turn.take()
            stop.check()
        except Interrupted:
            break
        if any(_ends_all(one) for one in tables.values()):
            break
        tables[index] = table
        announce(
            f"Table {index + 1} of {len(names)}: {name}",
            event="table",
            number=index + 1,
            tables=len(names),
            table=name,
        )
        told_as = name if names_tables else ""
        thread = threading.Thread(target=_run, args=(run_one, index, table, told_as), name=name, daemon=True)
        thread.start()
        threads.append(thread)
    _join(threads, list(tables.values()))
    stop.check()
    return _outcomes(tables, len(names))


def _join(threads: Sequence[threading.Thread], tables: Sequence[_Table[Result]]) -> None:
    """Returns once all have ended. A bug in one is raised once the others are interrupted.

    They are stopped as by a signal: without one, what is half done may pass for the whole.
    """
    for thread in threads:
        while thread.is_alive():  # in steps: a signal's handler runs between them
            thread.join(_POLL_SECONDS)
            if any(table.bug is not None for table in tables):
                for table in tables:
                    table.stop.request(signal.SIGTERM)
    for table in tables:
        if table.bug is not None:
            raise table.bug


def _run(
    run_one: Callable[[int, Stop, Turn], Result], index: int, table: _Table[Result], told_as: str
) -> None:
    """The thread of one table."""
    with about(told_as):
        try:
            table.outcome.append(run_one(index, table.stop, table.turn))
        except Interrupted as error:
            table.outcome.append(error)
        except BaseException as error:  # noqa: BLE001 - the command's thread raises it
            _note(error, table)
        finally:
            table.turn.give_up()


def _note(error: BaseException, table: _Table[Result]) -> None:
    mapped = error if isinstance(error, TransferError) else None
    if mapped is None and isinstance(error, Exception):
        mapped = map_error(error, f"move table {table.name}")
    if mapped is None:  # a bug in this package
        table.bug = error
        return
    if table.stop.signal_number is None:
        announce(
            f"Error: table {table.name}: {mapped}",
            event="table_failed",
            level=logging.ERROR,
            table=table.name,
            error=mapped.message,
            remedy=mapped.remedy,
        )
    table.outcome.append(mapped)


def _ends_all(table: _Table[Result]) -> bool:
    """Whether no further table is tried, for what ended this one."""
    return table.bug is not None or any(isinstance(one, CredentialsError) for one in table.outcome)


def _outcomes(tables: Mapping[int, _Table[Result]], wanted: int) -> list[Result | TransferError]:
    """By the indexes of the tables."""
    untried = wanted - len(tables)
    if untried:
        announce(
            f"Error: {untried:,} more tables were not tried, since the credentials are missing, invalid or expired.",
            event="not_tried",
            level=logging.ERROR,
            tables=untried,
        )
    not_tried = TransferError("not tried: the credentials are missing, invalid or expired.")
    return [tables[index].outcome[0] if index in tables else not_tried for index in range(wanted)]
