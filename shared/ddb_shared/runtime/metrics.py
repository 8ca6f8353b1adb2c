"""Writes the progress as a Prometheus text file, for node_exporter's textfile collector.

https://github.com/prometheus/node_exporter#textfile-collector: the file is replaced atomically, and its name ends in .prom.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ddb_shared.runtime.progress import Progress

_PREFIX: Final = "ddb_transfer_"
_LOG: Final = logging.getLogger(__name__)


class Metrics:
    """A display that is a file, written every few seconds and once at the end, when `running` becomes 0."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._next = 0.0

    def refresh(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._write(progress, running=True)

    def close(self, progress: Progress) -> None:
        self._write(progress, running=False)

    def _write(self, progress: Progress, *, running: bool) -> None:
        registry = CollectorRegistry()
        registry.register(_Collector(progress, running=running))
        try:
            write_to_textfile(str(self._path), registry)
        except OSError as error:  # a run does not end for the sake of its metrics
            _LOG.warning("The metrics file %s could not be written: %s", self._path, error)


class _Collector(Collector):
    """What is known at this moment; what is unknown is left out."""

    def __init__(self, progress: Progress, *, running: bool) -> None:
        self._progress = progress
        self._running = running

    def collect(self) -> Iterator[Metric]:
        progress = self._progress
        action = {"action": progress.action}
        units = action | {"unit": progress.units_name}
        yield _counter("items", "Items done, those of earlier runs included.", progress.done_items, action)
        yield _counter("bytes", "Bytes of items moved by this run.", progress.bytes, action)
        if progress.counts_shards:
            yield _counter(
                "shards", "Shards complete, those of earlier runs included.", progress.shards, action
            )
        if progress.units_name:  # a job of DynamoDB's own tells none of these
            yield from self._requests(action, units)
        for name, text, value, labels in (
            ("items_expected", "Items to do in all.", progress.total_items, action),
            ("items_per_second", "Items a second, over the last seconds.", progress.rate("items"), action),
            ("bytes_per_second", "Bytes a second, over the last seconds.", progress.rate("bytes"), action),
            (
                "capacity_units_per_second",
                "Units a second, over the last seconds.",
                progress.rate("units") if progress.units_name else None,
                units,
            ),
            ("capacity_units_per_second_cap", "The cap of the rate.", progress.cap, units),
            ("seconds_left", "Time left at the present rate.", progress.seconds_left, action),
            ("elapsed_seconds", "Time since the start.", progress.seconds, action),
            (
                "stalled_seconds",
                "Time since anything moved, if that is long.",
                progress.stalled_seconds,
                action,
            ),
            (
                "slow_workers",
                "Workers that are stuck or far slower than others.",
                len(progress.slow_workers()),
                action,
            ),
            ("paused", "1 while an operator has paused the run.", float(progress.paused), action),
            ("running", "1 while the command runs, 0 once it has ended.", float(self._running), action),
            ("written_timestamp_seconds", "When this file was written.", time.time(), action),
        ):
            if value is not None:
                yield _gauge(name, text, value, labels)

    def _requests(self, action: dict[str, str], units: dict[str, str]) -> Iterator[Metric]:
        """What the requests of this run cost, and how they fared."""
        progress = self._progress
        yield _counter("capacity_units", "Capacity units consumed by this run.", progress.units, units)
        yield _counter(
            "retries", "Requests sent again for other reasons than throttling.", progress.retried, action
        )
        yield _counter("rejected_items", "Items that DynamoDB refused for good.", progress.rejected, action)
        throttled = CounterMetricFamily(
            f"{_PREFIX}throttled",
            "Requests or items refused for lack of capacity.",
            labels=["action", "reason"],
        )
        for reason, count in progress.reasons.items():
            throttled.add_metric([progress.action, reason], count)
        yield throttled


def _counter(name: str, text: str, value: float, labels: dict[str, str]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _gauge(name: str, text: str, value: float, labels: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
