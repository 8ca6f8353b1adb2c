"""Shows the progress of a run: as a bar on a terminal, as lines of a log, as JSON lines, as a file of metrics."""

from __future__ import annotations

import enum
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from ddb_shared.runtime.events import about, announce, record, table_in_hand
from ddb_shared.runtime.progress import LOG_SECONDS, Progress, ProgressEvent
from ddb_shared.text import printable

JSON_SECONDS: Final = 1.0
# Beside a bar, the log file has a line this often.
FILE_SECONDS: Final = 30.0
METRICS_SECONDS: Final = 5.0
# A bar costs 3 ms of CPU each time.
_REFRESH_SECONDS: Final = 0.25


class Style(enum.StrEnum):
    """The choices of --progress."""

    AUTO = "auto"
    BAR = "bar"
    LOG = "log"
    JSONL = "jsonl"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Picture:
    """What rich shows, and its height in lines."""

    content: Any
    height: int


class Screen:
    """The place of the bars on a terminal: those of tables that are worked on at the same time are below each other.

    Where they are higher than the terminal, those that began first are shown, and how many more there are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._pictures: dict[object, Picture] = {}
        self._live: Any = None
        self._clock = clock
        self._refreshed_at = -math.inf

    @cached_property
    def _console(self) -> Any:
        import rich.console  # noqa: PLC0415 - 25 ms that only a terminal needs

        return rich.console.Console(stderr=True)

    @property
    def width(self) -> int:
        """In characters."""
        return int(self._console.width)

    def show(self, owner: object, picture: Picture) -> None:
        """Shows the picture in place of the owner's last one, now or with that of the next owner who comes."""
        import rich.live  # noqa: PLC0415 - as above

        with self._lock:
            is_new = owner not in self._pictures
            self._pictures[owner] = picture
            if self._live is None:
                self._live = rich.live.Live(console=self._console, transient=True, auto_refresh=False)
                self._live.start()
            # each of 40 bars comes as often as a single one, and all are drawn each time
            if is_new or self._clock() - self._refreshed_at >= _REFRESH_SECONDS / 2:
                self._refresh()

    def remove(self, owner: object) -> None:
        """Takes the owner's picture away; without any, the terminal is as it was before."""
        with self._lock:
            del self._pictures[owner]
            self._refresh()
            if not self._pictures:
                self._live.stop()
                self._live = None

    def _refresh(self) -> None:
        from rich.console import Group  # noqa: PLC0415 - as above

        self._live.update(Group(*self._fitting()), refresh=True)
        self._refreshed_at = self._clock()

    def _fitting(self) -> list[Any]:
        """The pictures that the terminal is high enough for, and a line about the others; the first is shown in any case."""
        from rich.text import Text  # noqa: PLC0415 - as above

        pictures = list(self._pictures.values())
        heights = list(itertools.accumulate(picture.height for picture in pictures))
        height = int(self._console.height)
        count = len(pictures)
        if heights and heights[-1] > height:
            count = max(sum(total < height for total in heights), 1)
        more = len(pictures) - count
        return [
            *(picture.content for picture in pictures[:count]),
            *([Text(f"… and {more:,} more")] if more else []),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressOptions:
    """How progress is shown: the style, the file of metrics, if there is one, and the place of bars."""

    style: Style = Style.AUTO
    metrics: Path | None = None
    screen: Screen = field(default_factory=Screen, compare=False)


class Display(Protocol):
    """Shows the progress."""

    def refresh(self, progress: Progress) -> None:
        """Called a few times a second."""
        ...

    def close(self, progress: Progress) -> None:
        """Called once at the end."""
        ...


class Lines:
    """A line each `seconds` and one at the end."""

    def __init__(
        self,
        emit: Callable[[Progress], None],
        seconds: float = LOG_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._seconds = seconds
        self._clock = clock
        self._next = clock() + seconds

    def refresh(self, progress: Progress) -> None:
        if self._clock() >= self._next:
            self._emit(progress)
            self._next = self._clock() + self._seconds

    def close(self, progress: Progress) -> None:
        self._emit(progress)


class Bar:
    """On a terminal: a bar, and below it as many lines as it takes to tell everything at the terminal's width."""

    def __init__(self, progress: Progress, screen: Screen) -> None:
        self._screen = screen
        self.refresh(progress)

    def refresh(self, progress: Progress) -> None:
        self._screen.show(self, self._picture(progress))

    def close(self, progress: Progress) -> None:
        self._screen.remove(self)
        _announce(progress)  # the bar is gone, its last line stays

    def _picture(self, progress: Progress) -> Picture:
        from rich.console import Group  # noqa: PLC0415 - as above
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - as above
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        total = None if progress.total_items is None else max(progress.total_items, progress.done_items, 1)
        percent = "" if progress.percent is None else f"{progress.percent:3.0f}%"
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column()
        head.add_column(ratio=1)
        head.add_column()
        bar = ProgressBar(total=total, completed=progress.done_items, pulse=total is None)
        table = table_in_hand()
        action = f"{table}: {progress.action}" if table else progress.action
        head.add_row(Text(action, style="bold", no_wrap=True, overflow="ellipsis"), bar, Text(percent))
        lines = list(self._wrapped(progress))
        height = 1 + sum(max(math.ceil(line.cell_len / self._screen.width), 1) for line in lines)
        return Picture(Group(head, *lines), height)

    def _wrapped(self, progress: Progress) -> Iterator[Any]:
        """The parts in lines, none of them broken unless it is wider than the terminal."""
        from rich.text import Text  # noqa: PLC0415 - as above

        line = Text()
        for part in progress.parts():
            text = printable(part.text)  # notes of services and of other users are among them
            if line.cell_len and line.cell_len + len(_BETWEEN) + len(text) > self._screen.width:
                yield line
                line = Text()
            line.append(_BETWEEN if line.cell_len else "", style="dim")
            line.append(text, style=_STYLES[part.kind])
        yield line


_BETWEEN: Final = " · "
_STYLES: Final = {"": "", "warning": "yellow", "error": "bold red"}


def _announce(progress: Progress) -> None:
    announce(progress.line(), event="progress", **fields_of(progress))


def _record(progress: Progress) -> None:
    record(progress.line(), event="progress", **fields_of(progress))


def fields_of(progress: Progress) -> dict[str, Any]:
    """The members of the event `progress`; what is unknown is None."""
    rates = {name: progress.rate(name) for name in ("items", "bytes", "units")}
    rounded = {name: None if rate is None else round(rate, 1) for name, rate in rates.items()}
    return {
        "action": progress.action,
        "items_done": progress.done_items,
        "items_total": progress.total_items,
        "percent": None if progress.percent is None else round(progress.percent, 2),
        "bytes": progress.bytes,
        "shards_done": progress.shards,
        "shards_total": progress.total_shards,
        "units": round(progress.units, 1),
        "units_name": progress.units_name,
        "items_per_second": rounded["items"],
        "bytes_per_second": rounded["bytes"],
        "units_per_second": rounded["units"],
        "cap": progress.cap,
        "paused": progress.paused,
        "controlled": progress.controlled or None,
        "throttled": progress.throttled,
        "throttle_reasons": dict(progress.reasons),
        "retried": progress.retried,
        "rejected": progress.rejected,
        "elapsed_seconds": round(progress.seconds, 1),
        "seconds_left": None if progress.seconds_left is None else round(progress.seconds_left),
        "stalled_seconds": round(progress.stalled_seconds),
        "slow_workers": progress.slow_workers(),
        "note": progress.note or None,
        **(progress.beside.fields() if progress.beside else {}),
    }


@contextmanager
def display(options: ProgressOptions, progress: Progress) -> Iterator[Callable[[ProgressEvent], None]]:
    """Yields a function that adds an event; a thread shows the sums a few times a second, stalls too."""
    showing = _Showing(_displays(options, progress), progress)
    showing.start()
    try:
        yield showing.add
    finally:
        showing.finish()


class _Showing(threading.Thread):
    """Refreshes the displays, until it is told to finish."""

    def __init__(self, displays: list[Display], progress: Progress) -> None:
        super().__init__(name="display", daemon=True)
        self._displays = displays
        self._progress = progress
        self._table = table_in_hand()
        self._lock = threading.Lock()
        self._done = threading.Event()

    def add(self, event: ProgressEvent) -> None:
        """Adds a worker's report."""
        with self._lock:
            self._progress.add(event)

    def run(self) -> None:
        with about(self._table):
            while not self._done.wait(_REFRESH_SECONDS):
                self.add(ProgressEvent())  # time continues, whether anything moves or not
                with self._lock:
                    for one in self._displays:
                        one.refresh(self._progress)

    def finish(self) -> None:
        """Shows the end."""
        self._done.set()
        self.join()
        for one in self._displays:
            one.close(self._progress)


def _displays(options: ProgressOptions, progress: Progress) -> list[Display]:
    style = options.style
    if style is Style.AUTO:
        style = Style.BAR if sys.stderr.isatty() else Style.LOG
    shown: list[Display] = []
    match style:
        case Style.BAR:
            shown = [Bar(progress, options.screen), Lines(_record, max(FILE_SECONDS, progress.log_seconds))]
        case Style.LOG:
            shown = [Lines(_announce, progress.log_seconds)]
        case Style.JSONL:
            shown = [Lines(_announce, JSON_SECONDS)]
        case _:
            shown = [Lines(_record, max(FILE_SECONDS, progress.log_seconds))]
    return [*shown, *metrics_of(options)]


def metrics_of(options: ProgressOptions) -> list[Display]:
    """The file of metrics, if one is asked for."""
    if options.metrics is None:
        return []
    from ddb_shared.runtime.metrics import Metrics  # noqa: PLC0415 - 70 ms that few need

    return [Metrics(options.metrics, METRICS_SECONDS)]
