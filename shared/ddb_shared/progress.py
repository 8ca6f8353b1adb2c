"""Progress: workers report `Tick`s, one `Meter` adds them up, one `Display` shows them on stderr."""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import rich.console
import rich.progress

LOG_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 0.2


class Style(enum.StrEnum):
    """The choices of --progress."""

    AUTO = "auto"
    BAR = "bar"
    LOG = "log"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a worker did since its last report; units are capacity units."""

    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    throttled: int = 0
    rejected: int = 0
    note: str = ""


@dataclass(slots=True)
class Meter:
    """The sums over all workers. `total_items` is None where nobody knows it; unknown is not zero."""

    action: str
    total_items: int | None
    total_shards: int | None = None
    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    throttled: int = 0
    rejected: int = 0
    note: str = ""
    started_at: float = field(default_factory=time.monotonic)
    resumed_items: int = 0

    def add(self, tick: Tick) -> None:
        """Adds one worker's report."""
        self.items += tick.items
        self.bytes += tick.bytes
        self.units += tick.units
        self.shards += tick.shards
        self.throttled += tick.throttled
        self.rejected += tick.rejected
        self.note = tick.note or ("" if tick.items else self.note)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started_at

    @property
    def items_per_second(self) -> float:
        """Over the whole run."""
        return self.items / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where the total or the rate is unknown."""
        rate = self.items_per_second
        if self.total_items is None or not rate:
            return None
        return max(self.total_items - self.resumed_items - self.items, 0) / rate

    def line(self) -> str:
        """One line for a log."""
        done = self.resumed_items + self.items
        of = f" of {self.total_items:,}" if self.total_items is not None else ""
        shards = f"{self.shards:,}" + (f"/{self.total_shards:,}" if self.total_shards is not None else "")
        left = self.seconds_left
        eta = f", {_duration(left)} left" if left is not None else ""
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.action}: {done:,}{of} items, {self.items_per_second:,.0f} items/s, {shards} shards, "
            f"{self.throttled:,} throttled{rejected}{eta}{note}"
        )


class Display(Protocol):
    """Shows a meter."""

    def refresh(self, meter: Meter) -> None:
        """Called a few times a second."""
        ...

    def close(self, meter: Meter) -> None:
        """Called once at the end."""
        ...


class Silent:
    """Shows nothing."""

    def refresh(self, meter: Meter) -> None:
        pass

    def close(self, meter: Meter) -> None:
        pass


class LogLines:
    """A line every ten seconds and one at the end, for logs."""

    def __init__(self, emit: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._next = clock() + LOG_SECONDS

    def refresh(self, meter: Meter) -> None:
        if self._clock() >= self._next:
            self._emit(meter.line())
            self._next = self._clock() + LOG_SECONDS

    def close(self, meter: Meter) -> None:
        self._emit(meter.line())


class Bar:
    """A bar on a terminal."""

    def __init__(self, meter: Meter) -> None:
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("[bold]{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TextColumn("{task.fields[text]}"),
            console=rich.console.Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(meter.action, total=meter.total_items, text="")
        self._bar.start()

    def refresh(self, meter: Meter) -> None:
        done = meter.resumed_items + meter.items
        total = None if meter.total_items is None else max(meter.total_items, done)
        text = meter.line().partition(": ")[2]
        self._bar.update(self._task, completed=done, total=total, text=text)

    def close(self, meter: Meter) -> None:
        self.refresh(meter)
        self._bar.stop()
        print(meter.line(), file=sys.stderr)  # noqa: T201 - the bar is gone, its last line stays


def announce(text: str) -> None:
    """Tells the user something beside the progress, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the place


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def display(style: Style, meter: Meter) -> Iterator[Callable[[Tick], None]]:
    """Yields a function that adds a tick and shows the sums, a few times a second at the most."""
    chosen = _choose(style, meter)
    last = 0.0

    def add(tick: Tick) -> None:
        nonlocal last
        meter.add(tick)
        if time.monotonic() - last >= _REFRESH_SECONDS:
            last = time.monotonic()
            chosen.refresh(meter)

    try:
        yield add
    finally:
        chosen.close(meter)


def _choose(style: Style, meter: Meter) -> Display:
    if style is Style.AUTO:
        style = Style.BAR if sys.stderr.isatty() else Style.LOG
    match style:
        case Style.BAR:
            return Bar(meter)
        case Style.LOG:
            return LogLines(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - this is the place
        case _:
            return Silent()
