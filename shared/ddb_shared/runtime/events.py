"""What a command tells beside its result: events with stable names, for people and for programs.

Each is a log record with the attributes `event` and `fields`. `command.log` decides where they go, and in which form. The
names are documented in docs/events.md.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from ddb_shared.text import printable

NOTICE: Final = 25  # between INFO and WARNING: shown unless --quiet
LOGGER: Final = logging.getLogger("ddb_transfer")
HANDLER: Final = "ddb_transfer"  # the name of the handlers that show events
LOGGER.propagate = False
LOGGER.setLevel(logging.DEBUG)
logging.addLevelName(NOTICE, "NOTICE")


def announce(text: str, *, event: str = "notice", level: int = NOTICE, **fields: Any) -> None:
    """Tells the user something beside the progress, on stderr and in the log file."""
    if any(handler.name == HANDLER for handler in LOGGER.handlers):
        LOGGER.log(level, "%s", text, extra={"event": event, "fields": fields})
    else:  # before the options are parsed, and where there is no command line
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the place


def warn(text: str) -> None:
    """Tells the user what to be careful about, also with --quiet."""
    announce(f"Warning: {text}", event="warning", level=logging.WARNING)


def record(text: str, *, event: str, **fields: Any) -> None:
    """Tells the log file alone."""
    LOGGER.log(logging.INFO, "%s", text, extra={"event": event, "fields": fields, "file_only": True})
