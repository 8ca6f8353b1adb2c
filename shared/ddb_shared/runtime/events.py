"""What a command tells beside its result: events with stable names, for people and for programs.

Each is a log record with the attributes `event` and `fields`. `command.log` decides where they go, and in which form. The
names are documented in docs/events.md.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from ddb_shared.text import printable

NOTICE: Final = 25  # between INFO and WARNING: shown unless --quiet
LOGGER: Final = logging.getLogger("ddb_transfer")
HANDLER: Final = "ddb_transfer"  # the name of the handlers that show events
LOGGER.propagate = False
LOGGER.setLevel(logging.DEBUG)
logging.addLevelName(NOTICE, "NOTICE")
# Of several tables that are worked on at the same time: which one the code is about.
_TABLE: Final = ContextVar("table", default="")


@contextmanager
def about(table: str) -> Iterator[None]:
    """What is told in the block, and in threads that take over its context, is told with the name of the table; "" tells no name."""
    token = _TABLE.set(table)
    try:
        yield
    finally:
        _TABLE.reset(token)


def table_in_hand() -> str:
    """The table that is told with everything; "" where there is one alone."""
    return _TABLE.get()


def announce(text: str, *, event: str = "notice", level: int = NOTICE, **fields: Any) -> None:
    """Tells the user something beside the progress, on stderr and in the log file."""
    text, fields = _with_table(text, fields)
    if any(handler.name == HANDLER for handler in LOGGER.handlers):
        LOGGER.log(level, "%s", text, extra={"event": event, "fields": fields})
    else:  # before the options are parsed, and where there is no command line
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the place


def warn(text: str) -> None:
    """Tells the user what to be careful about, also with --quiet."""
    announce(f"Warning: {text}", event="warning", level=logging.WARNING)


def record(text: str, *, event: str, **fields: Any) -> None:
    """Tells the log file alone."""
    text, fields = _with_table(text, fields)
    LOGGER.log(logging.INFO, "%s", text, extra={"event": event, "fields": fields, "file_only": True})


def _with_table(text: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    table = table_in_hand()
    return (
        (f"{table}: {text}", {**fields, "table": table})
        if table and "table" not in fields
        else (text, fields)
    )
