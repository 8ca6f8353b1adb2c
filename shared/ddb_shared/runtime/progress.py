"""Progress: workers report `ProgressEvent`s, and one `Progress` adds them up; `display` shows it."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ddb_shared.runtime.history import History, Row, SlowestShards
from ddb_shared.text import clock_text, count_text

# Long enough to even out pages and batches, short enough to follow changes.
RATE_SECONDS: Final = 10.0
STALL_SECONDS: Final = 30.0
# Between two lines of a log.
LOG_SECONDS: Final = 5.0
# Of what may wait for hours, where there is a line for each of several tables.
QUIET_LOG_SECONDS: Final = 60.0
# A worker is slow whose rate is less than this share of what the others do.
SLOW_SHARE: Final = 0.25
# A worker is called slow once it has been so for as long as a stall takes.
_FEW_WORKERS: Final = 2
ITEMS: Final = "items"
_HOST: Final = socket.gethostname()


def process_name(pid: int) -> str:
    """How the progress names a process of this host."""
    return f"{_HOST}:{pid}"


WORKER: Final = process_name(os.getpid())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """A shard that is complete, and how long it took from its first item to its last."""

    name: str
    items: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """What a worker did since its last report; units are capacity units. An empty event only refreshes the display.

    `reasons` are refusals for lack of capacity, counted by reason. `status` says where the worker is, where no count does.
    `began`: this worker has something to do from now on; `ended`: it has nothing left to do.
    """

    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    retried: int = 0
    rejected: int = 0
    note: str = ""
    status: str = ""
    shard: ShardDone | None = None
    began: bool = False
    ended: bool = False
    worker: str = WORKER

    @classmethod
    def sum(cls, events: Sequence[ProgressEvent]) -> ProgressEvent:
        """Several reports of one worker as one. None of them tells of a shard; the note is the last one."""
        reasons = sum((Counter(dict(event.reasons)) for event in events), Counter[str]())
        return cls(
            items=sum(event.items for event in events),
            bytes=sum(event.bytes for event in events),
            units=sum(event.units for event in events),
            shards=sum(event.shards for event in events),
            reasons=tuple(reasons.items()),
            retried=sum(event.retried for event in events),
            rejected=sum(event.rejected for event in events),
            note=next((event.note for event in reversed(events) if event.note), ""),
            status=next((event.status for event in reversed(events) if event.status), ""),
            ended=events[-1].ended,
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """The sums at one point in time."""

    at: float
    items: int
    bytes: int
    units: float


@dataclass(slots=True)
class _Worker:
    """What one worker has done: `behind_since` is when it became slower than the others."""

    items: int
    moved_at: float
    samples: deque[tuple[float, int]]
    behind_since: float | None = None

    def rate(self, now: float) -> float:
        """Items a second over the last RATE_SECONDS."""
        while len(self.samples) > 1 and now - self.samples[0][0] > RATE_SECONDS:
            self.samples.popleft()
        at, items = self.samples[0]
        return (self.items - items) / max(now - at, 1.0)


class Beside(Protocol):
    """What continues beside the items, such as the capture of changes, and tells of itself in the same lines."""

    def parts(self) -> list[Part]: ...

    def fields(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Progress:
    """The sums over all workers. `total_items` is None if unknown; unknown is not zero.

    `units_name` is RCU or WCU, `cap` the cap in units a second; `controlled` says since when and by whom it, or a pause, was
    set while the run continues. Rates are of the last RATE_SECONDS. `items_name` is what is counted, and shards where `counts_shards`; a run that
    `may_wait` for others is not stalled while nothing moves. A log has a line every `log_seconds`.
    """

    action: str
    total_items: int | None
    total_shards: int | None = None
    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    throttled: int = 0
    retried: int = 0
    rejected: int = 0
    note: str = ""
    status: str = ""
    items_name: str = ITEMS
    counts_shards: bool = True
    may_wait: bool = False
    started_at: float = field(default_factory=time.monotonic)
    resumed_items: int = 0
    units_name: str = "units"
    cap: float | None = None
    paused: bool = False
    controlled: str = ""
    beside: Beside | None = None
    log_seconds: float = LOG_SECONDS
    reasons: Counter[str] = field(default_factory=Counter)
    history: History = field(default_factory=History)
    slowest: SlowestShards = field(default_factory=SlowestShards)
    _samples: deque[_Sample] = field(default_factory=deque)
    _moved_at: float | None = None
    _workers: dict[str, _Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._samples.append(_Sample(self.started_at, 0, 0, 0.0))

    def add(self, event: ProgressEvent) -> None:
        """Adds one worker's report."""
        self.items += event.items
        self.bytes += event.bytes
        self.units += event.units
        self.shards += event.shards
        for reason, count in event.reasons:
            self.throttled += count
            self.reasons[reason] += count
        self.retried += event.retried
        self.rejected += event.rejected
        self.note = event.note or ("" if event.items else self.note)
        self.status = event.status or self.status
        if event.shard is not None:
            self.slowest.add(event.shard.seconds, event.shard.name, event.shard.items)
        if event.items or event.shards or event.ended:
            self._moved_at = time.monotonic()
        if event.items or event.shards or event.began or event.ended:
            self._note_worker(event)
        self._sample()

    def obey(self, cap: float | None, *, paused: bool, told: str) -> None:
        """Takes another cap, or a pause, that an operator has set; `told` says since when and by whom."""
        self.cap, self.paused, self.controlled = cap, paused, told
        self._moved_at = time.monotonic()  # a pause is not a stall
        for worker in self._workers.values():
            worker.moved_at = self._moved_at

    def _note_worker(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if event.ended:
            self._workers.pop(event.worker, None)
            return
        worker = self._workers.get(event.worker)
        if worker is None:
            worker = self._workers[event.worker] = _Worker(0, now, deque([(now, 0)]))
        worker.items += event.items
        worker.moved_at = now
        if now - worker.samples[-1][0] >= 1:
            worker.samples.append((now, worker.items))
        self.history.count(event.worker, event.items)

    def _sample(self) -> None:
        """Keeps about one sample per second, of the last RATE_SECONDS."""
        now = time.monotonic()
        if now - self._samples[-1].at >= 1:
            self._samples.append(_Sample(now, self.items, self.bytes, self.units))
            row = Row(
                seconds=now - self.started_at,
                items=self.done_items,
                bytes=self.bytes,
                units=self.units,
                throttled=self.throttled,
                cap=self.cap or 0.0,
            )
            self.history.sample(row)
        while len(self._samples) > 2 and now - self._samples[1].at >= RATE_SECONDS:  # noqa: PLR2004 - keep one before
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started_at

    @property
    def done_items(self) -> int:
        """Items done, including those of earlier runs."""
        return self.resumed_items + self.items

    @property
    def percent(self) -> float | None:
        """Percentage of the total; None if that is unknown, at most 100 if it was too small."""
        if self.total_items is None:
            return None
        return min(100.0, 100 * self.done_items / self.total_items) if self.total_items else 100.0

    def rate(self, member: str) -> float | None:
        """`items`, `bytes` or `units` per second over the last RATE_SECONDS; None before the first item."""
        first = self._samples[0]
        elapsed = time.monotonic() - first.at
        return (
            (getattr(self, member) - getattr(first, member)) / elapsed if elapsed > 0 and self.items else None
        )

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present rate; None if the total or the rate is unknown."""
        rate = self.rate("items")
        if self.total_items is None or not rate:
            return None
        return max(self.total_items - self.done_items, 0) / rate

    @property
    def stalled_seconds(self) -> float:
        """Seconds since the last progress, if more than STALL_SECONDS; otherwise 0."""
        if self.paused or self.may_wait:
            return 0.0
        silent = time.monotonic() - (self._moved_at if self._moved_at is not None else self.started_at)
        return silent if silent >= STALL_SECONDS else 0.0

    def slow_workers(self) -> list[str]:
        """Each worker that is stuck or far slower than the others, and how: while the run as a whole moves."""
        if self.paused or self.stalled_seconds or len(self._workers) < _FEW_WORKERS:
            return []
        now = time.monotonic()
        rates = sorted(worker.rate(now) for worker in self._workers.values())
        usual = rates[len(rates) // 2]
        return [
            text for name, worker in self._workers.items() if (text := _slowness(name, worker, usual, now))
        ]

    def line(self) -> str:
        """One line for a log."""
        percent = "" if self.percent is None else f" {self.percent:.0f}%"
        return f"{self.action}{percent}: {', '.join(part.text for part in self.parts())}"

    def parts(self) -> list[Part]:
        """Items done, rates, time left, and what is wrong."""
        items, units, size = self.rate("items"), self.rate("units"), self.rate("bytes")
        shards = (
            count_text(self.shards, "shard")
            if self.total_shards is None
            else f"{self.shards:,}/{count_text(self.total_shards, 'shard')}"
        )
        cap = f" of {self.cap:,.10g}" if self.cap else ""
        held = f"{'paused' if self.paused else 'rate set'} since {self.controlled}"
        stalled = self.stalled_seconds
        parts = [
            Part(self._headline()),
            Part("measuring" if items is None else f"{items:,.0f} {self.items_name}/s"),
            Part(f"{units:,.0f}{cap} {self.units_name}/s" if units else ""),
            Part(_speed(size) if size else ""),
            Part(self.status),
            Part(shards if self.counts_shards else ""),
            Part(f"{clock_text(self.seconds)} elapsed"),
            Part("" if self.seconds_left is None else f"{clock_text(self.seconds_left)} left"),
            Part(held if self.controlled else "", "warning"),
            Part(self.note, "warning"),
            Part(f"{self.throttled:,} throttled{_named(self.reasons)}" if self.throttled else "", "warning"),
            Part(f"{self.retried:,} retried" if self.retried else "", "warning"),
            Part(f"{self.rejected:,} rejected" if self.rejected else "", "error"),
            Part(f"no answer for {stalled:.0f} s" if stalled else "", "error"),
            *(Part(text, "warning") for text in self.slow_workers()),
            *(self.beside.parts() if self.beside else ()),
        ]
        return [part for part in parts if part.text]

    def _headline(self) -> str:
        of = f" of {self.total_items:,}" if self.total_items is not None else ""
        return f"{self.done_items:,}{of} {self.items_name}"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to tell; `kind` is "", `warning` or `error`."""

    text: str
    kind: str = ""


def _speed(bytes_per_second: float) -> str:
    """In MB/s; of a slow run in kB/s, which would be 0.0 MB/s."""
    if bytes_per_second < 1e5:  # noqa: PLR2004 - 0.1 MB
        return f"{bytes_per_second / 1e3:,.0f} kB/s"
    return f"{bytes_per_second / 1e6:,.1f} MB/s"


def _named(reasons: Counter[str]) -> str:
    """The most frequent reason, with the service's name of it."""
    if not reasons:
        return ""
    (first, _), *others = reasons.most_common(2)
    return f" ({first}{', …' if others else ''})"


def _slowness(name: str, worker: _Worker, usual: float, now: float) -> str:
    """How a worker is slow, once it has been so for STALL_SECONDS; empty where it is not."""
    short = name.removeprefix(f"{_HOST}:")
    who = f"worker process {short}" if short.isdigit() else f"worker {name}"
    silent = now - worker.moved_at
    if silent >= STALL_SECONDS:
        return f"{who}: no answer for {silent:.0f} s"
    rate = worker.rate(now)
    if rate >= SLOW_SHARE * usual:
        worker.behind_since = None
        return ""
    worker.behind_since = worker.behind_since or now
    slow = now - worker.behind_since >= STALL_SECONDS
    return f"{who} is slow: {rate:,.0f} items/s, others {usual:,.0f}" if slow else ""
