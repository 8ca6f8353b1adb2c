"""Where the events and logs of a command go: to stderr, and to the file that --log-file names.

Events (`runtime.events`) are shown as plain sentences on a terminal. Log records carry timestamps, and so do events among
them. botocore's debug log holds whole responses (credentials of assumed roles, items), so of libraries only warnings are
logged.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from ddb_shared.errors import UsageError
from ddb_shared.runtime.events import HANDLER, LOGGER, NOTICE
from ddb_shared.text import printable

_OWN: Final = frozenset({"ddb_export", "ddb_import", "ddb_shared", "ddb_transfer"})
TEXT: Final = "text"
JSON: Final = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is logged: records of at least `level`; events unless `quiet`. `as_json`: stderr has JSON lines too."""

    level: int = logging.WARNING
    quiet: bool = False
    file: Path | None = None
    as_json: bool = False
    stderr_as_json: bool = False


def set_up_logging(options: LogOptions) -> None:
    """Sends logs and events to stderr, and to the log file if there is one."""
    screen = _Stderr()
    screen.setFormatter(_screen_format(options))
    lowest = logging.WARNING if options.quiet else NOTICE
    screen.addFilter(lambda record: _is_safe(record) and _is_for_screen(record, options.level, lowest))
    handlers: list[logging.Handler] = [screen]
    if options.file is not None:
        handlers.append(_file_handler(options.file, options.level, as_json=options.as_json))
    root = logging.getLogger()
    for logger in (root, LOGGER):
        for handler in [handler for handler in logger.handlers if handler.name == HANDLER]:
            logger.removeHandler(handler)  # of an earlier command of this process
            handler.close()
        for handler in handlers:
            handler.name = HANDLER
            logger.addHandler(handler)
    root.setLevel(min(options.level, logging.INFO) if options.file else options.level)
    if (
        options.level > logging.DEBUG
    ):  # it logs a traceback for a role that is refused; our own message says it all
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)


def _screen_format(options: LogOptions) -> logging.Formatter:
    if options.as_json or options.stderr_as_json:
        return _JsonLines()
    return _Screen(timed=options.level <= logging.INFO)


class _Stderr(logging.StreamHandler[TextIO]):
    """Whatever stderr is at the moment: while a bar is shown, it prints above the bar."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # as logging's own handler of last resort has it
        return sys.stderr


def _file_handler(path: Path, level: int, *, as_json: bool) -> logging.Handler:
    """Events and records of INFO or more, or of DEBUG where that is asked for."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--log-file {path} cannot be written: {error.strerror}.", "Name another file."
        ) from error
    handler.setLevel(min(level, logging.INFO))
    handler.addFilter(_is_safe)
    handler.setFormatter(_JsonLines() if as_json else _Lines())
    return handler


def _is_safe(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in _OWN


def _is_for_screen(record: logging.LogRecord, level: int, lowest: int) -> bool:
    if hasattr(record, "event"):
        return record.levelno >= lowest and not hasattr(record, "file_only")
    return record.levelno >= level


class _Lines(logging.Formatter):
    """Lines with UTC timestamps, without control characters."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Screen(_Lines):
    """The same, but events are plain sentences, `timed` where log records are shown between them.

    Progress has its time in any case, since a build's log may have none.
    """

    def __init__(self, *, timed: bool) -> None:
        super().__init__()
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        if event is None:
            return super().format(record)
        message = printable(record.getMessage())
        return f"{self.formatTime(record)} {message}" if self._timed or event == "progress" else message


class _JsonLines(_Lines):
    """One JSON object a line: `at level event message` and the members of the event."""

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, Any] = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if not hasattr(record, "event"):
            members["logger"] = record.name
        if record.exc_info:
            members["traceback"] = self.formatException(record.exc_info)
        return json.dumps(members, ensure_ascii=True, default=str)
